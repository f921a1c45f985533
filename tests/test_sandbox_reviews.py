"""Reviews and comments on lines in the sandbox: what it takes and refuses, what the Apps hear, what a page shows."""

# ruff: noqa: E501 -- a row of a table stays on its line

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gamma_bot.sandbox.call import ApiError
from gamma_bot.sandbox.model import PullRequest
from tests.sandbox_api import Reply, Stage, open_stage, signing_key

REPO = "/repos/ada/walker"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path / "github") as stage:
        yield stage


@pytest.fixture
async def pull(hub: Stage) -> PullRequest:
    """A change of line 1 of two; line 2 is shown beside it."""
    await hub.github.commit(hub.repository, "models/wider", {"src/train.py": "rate = 0.2\nsteps = 10\n"})
    pull = await hub.github.open_pull_request(hub.repository, "models/wider", author="grace")
    await hub.github.wait_for_deliveries()
    hub.received.clear()
    return pull


async def review(hub: Stage, by: str, **body: Any) -> Reply:
    token = hub.github.state.accounts[by].token
    return await hub.call("POST", f"{REPO}/pulls/1/reviews", body, token=token)


async def test_a_review_is_heard_with_each_of_its_comments(hub: Stage, pull: PullRequest) -> None:
    comments = [{"path": "src/train.py", "line": 1, "body": "/gamma train"}]
    await hub.github.review(pull, "/gamma status", "ada", event="APPROVE", comments=comments)
    await hub.github.wait_for_deliveries()

    assert hub.names() == ["pull_request_review_comment.created", "pull_request_review.submitted"]
    comment, told = hub.received[0].payload["comment"], hub.received[1].payload["review"]
    assert (comment["body"], comment["line"], comment["pull_request_review_id"]) == ("/gamma train", 1, told["id"])
    assert comment["diff_hunk"] == "@@ -1,2 +1,2 @@\n-rate = 0.1\n+rate = 0.2"
    assert (told["state"], told["body"], told["user"]["login"]) == ("approved", "/gamma status", "ada")
    assert hub.received[1].payload["pull_request"]["head"]["sha"] == pull.head_sha


async def test_a_single_comment_on_a_line_comes_with_a_review_without_words(hub: Stage, pull: PullRequest) -> None:
    await hub.github.review_comment(pull, "src/train.py", 1, "/gamma help", "guest")
    await hub.github.wait_for_deliveries()

    assert hub.names() == ["pull_request_review_comment.created", "pull_request_review.submitted"]
    assert hub.received[1].payload["review"]["body"] is None


async def test_an_answer_stands_at_the_line_of_the_first_comment(hub: Stage, pull: PullRequest) -> None:
    first = await hub.github.review_comment(pull, "src/train.py", 1, "Why?", "ada")
    path = f"{REPO}/pulls/1/comments/{first.id}/replies"
    reply = (await hub.call("POST", path, {"body": "Faster"}, token=await hub.token())).body
    again = await hub.github.reply(hub.github.review_comments(pull)[-1], "I see", "ada")

    assert (reply["in_reply_to_id"], reply["line"], reply["user"]["login"]) == (first.id, 1, "gamma-test[bot]")
    assert again.in_reply_to is first


async def test_an_edit_and_a_deletion_tell_what_was_there(hub: Stage, pull: PullRequest) -> None:
    comment = await hub.github.review_comment(pull, "src/train.py", None, "Old", "ada")
    await hub.github.edit_review_comment(comment, "New")
    await hub.github.delete_review_comment(comment)
    await hub.github.wait_for_deliveries()

    edited, deleted = hub.received[-2].payload, hub.received[-1].payload
    assert (edited["action"], edited["changes"], edited["comment"]["body"]) == (
        "edited", {"body": {"from": "Old"}}, "New",
    )  # fmt: skip
    assert (deleted["action"], deleted["comment"]["subject_type"]) == ("deleted", "file")
    assert hub.github.review_comments(pull) == []


async def test_an_edited_comment_of_the_conversation_tells_what_it_was(hub: Stage, pull: PullRequest) -> None:
    comment = await hub.github.comment(hub.repository, pull.number, "/gamma trian", "ada")
    await hub.github.edit_comment(comment, "/gamma train", "grace")
    await hub.github.delete_comment(comment, "grace")
    await hub.github.wait_for_deliveries()

    edited, deleted = hub.received[-2].payload, hub.received[-1].payload
    assert (edited["changes"], edited["sender"]["login"]) == ({"body": {"from": "/gamma trian"}}, "grace")
    assert (deleted["action"], "changes" in deleted) == ("deleted", False)


@pytest.mark.parametrize(
    ("by", "body", "error"),
    [
        ("grace", {"event": "APPROVE"}, "Can not approve your own pull request"),
        ("grace", {"event": "REQUEST_CHANGES", "body": "x"}, "Can not request changes on your own pull request"),
        ("ada", {"event": "COMMENT"}, "Review body can't be blank"),
        ("ada", {"event": "REQUEST_CHANGES"}, "Review body can't be blank"),
        ("ada", {"event": "COMMENT", "comments": [{"path": "src/train.py", "line": 9, "body": "x"}]}, "Line could not be resolved"),
        ("ada", {"event": "COMMENT", "comments": [{"path": "README.md", "line": 1, "body": "x"}]}, "Path could not be resolved"),
    ],
)  # fmt: skip
async def test_a_review_that_github_refuses_is_refused(
    hub: Stage, pull: PullRequest, by: str, body: dict[str, Any], error: str
) -> None:
    refused = await review(hub, by, **body)

    assert (refused.status, refused.body["errors"]) == (422, [error])
    assert hub.repository.reviews == {}
    assert hub.repository.review_comments == {}


@pytest.mark.parametrize(
    ("place", "field"),
    [
        ({"path": "src/train.py", "line": 3}, "pull_request_review_thread.line"),
        ({"path": "src/train.py", "line": 2, "side": "MIDDLE"}, "side"),
        ({"path": "src/train.py"}, "line"),
        ({"path": "gone.py", "line": 1}, "path"),
        ({"path": "src/train.py", "line": 1, "commit_id": "f" * 40}, "commit_id"),
    ],
)
async def test_a_comment_stands_on_a_line_that_the_diff_shows(
    hub: Stage, pull: PullRequest, place: dict[str, Any], field: str
) -> None:
    body = {"body": "x", "commit_id": pull.head_sha, **place}
    refused = await hub.call("POST", f"{REPO}/pulls/1/comments", body, token=await hub.token())

    assert (refused.status, refused.body["errors"][0]["field"]) == (422, field)


async def test_a_line_can_be_named_by_side_or_by_position(hub: Stage, pull: PullRequest) -> None:
    token, basics = await hub.token(), {"body": "x", "commit_id": pull.head_sha, "path": "src/train.py"}
    found = [
        (await hub.call("POST", f"{REPO}/pulls/1/comments", {**basics, **place}, token=token)).body
        for place in ({"line": 1, "side": "LEFT"}, {"line": 1, "side": "RIGHT"}, {"position": 3})
    ]

    assert [(one["line"], one["side"], one["position"]) for one in found] == [
        (1, "LEFT", 1), (1, "RIGHT", 2), (2, "RIGHT", 3),
    ]  # fmt: skip


async def test_reactions_to_a_comment_on_a_line_need_the_permission_for_pull_requests(
    hub: Stage, pull: PullRequest
) -> None:
    on_line = await hub.github.review_comment(pull, "src/train.py", 1, "/gamma train", "ada")
    in_talk = await hub.github.comment(hub.repository, 1, "/gamma train", "ada")
    statuses = []
    for permission in ("issues", "pull_requests"):
        hub.app = hub.github.create_app(permission, {permission: "write"}, [], private_key_pem=signing_key())
        hub.installation = hub.github.install(hub.app, hub.repository)
        token = await hub.token()
        for path in (f"pulls/comments/{on_line.id}", f"issues/comments/{in_talk.id}"):
            url = f"{REPO}/{path}/reactions"
            statuses.append((await hub.call("POST", url, {"content": "eyes"}, token=token)).status)

    assert statuses == [403, 201, 201, 403]


async def test_a_reaction_to_a_comment_on_a_line_given_twice_is_one(hub: Stage, pull: PullRequest) -> None:
    comment, token = await hub.github.review_comment(pull, "src/train.py", 1, "Hi", "ada"), await hub.token()
    path = f"{REPO}/pulls/comments/{comment.id}/reactions"
    replies = [await hub.call("POST", path, {"content": "eyes"}, token=token) for _ in range(2)]
    gone = await hub.call("DELETE", f"{path}/{replies[0].body['id']}", token=token)

    assert [reply.status for reply in replies] == [201, 200]
    assert (gone.status, comment.reactions) == (204, [])


async def test_only_the_author_or_a_writer_changes_a_comment_on_a_line(hub: Stage, pull: PullRequest) -> None:
    comment = await hub.github.review_comment(pull, "src/train.py", 1, "Hi", "ada")
    path, accounts = f"{REPO}/pulls/comments/{comment.id}", hub.github.state.accounts
    stranger = await hub.call("PATCH", path, {"body": "Ho"}, token=accounts["guest"].token)
    writer = await hub.call("PATCH", path, {"body": "Ho"}, token=accounts["grace"].token)

    assert (stranger.status, writer.status, comment.body) == (403, 200, "Ho")


async def test_people_meet_the_same_rules_as_the_api(hub: Stage, pull: PullRequest) -> None:
    with pytest.raises(ApiError, match="Unprocessable"):
        await hub.github.review(pull, "Fine", "grace", event="APPROVE")


async def test_the_conversation_shows_reviews_with_their_lines_and_reactions(hub: Stage, pull: PullRequest) -> None:
    hostile = "<script>alert(1)</script>"
    told = await hub.github.review(
        pull, f"Please explain {hostile}", "ada", event="REQUEST_CHANGES",
        comments=[{"path": "src/train.py", "line": 1, "body": "Why **twice**?"}],
    )  # fmt: skip
    hub.github.react(hub.github.review_comments(pull)[0], "eyes", "guest")
    hub.github.react(told, "rocket", "guest")
    async with hub.session.get(f"{hub.github.url}/ada/walker/pull/1") as response:
        page = await response.text()

    assert "requested changes" in page
    assert "<code>src/train.py</code>" in page
    assert "+rate = 0.2</pre>" in page
    assert "<strong>twice</strong>" in page
    assert "👀 1" in page
    assert "🚀 1" in page
    assert hostile not in page
