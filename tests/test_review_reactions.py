"""Commands in a review: REST has no reactions for it, and people get their sign of life all the same."""

from __future__ import annotations

from gamma_bot.sandbox.faults import Fault, FaultKind
from gamma_bot.sandbox.model import PullRequest, Review
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma, get


async def test_a_review_is_seen_and_answered_with_one_reaction_at_a_time(gamma: Gamma) -> None:
    sha = await gamma.push("models/x", {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT})
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.finished(sha)
    gamma.github.create_user("guest")
    asked = len(gamma.github.requests)

    review = await say(gamma, pull, "Looks good.\n\n/gamma status", "ada")
    refused = await say(gamma, pull, "/gamma train", "guest")
    puzzled = await say(gamma, pull, "/gamma statsu", "ada")

    assert [shown(one) for one in (review, refused, puzzled)] == [["rocket"], ["-1"], ["confused"]]
    steps = [
        (record.request_json["query"].split("{")[1].split("(")[0].strip(), record.request_json["variables"]["content"])
        for record in gamma.github.requests[asked:]
        if record.route == "/graphql" and record.request_json["variables"]["subject"] == review.node_id
    ]
    answer = ("addReaction", "ROCKET")
    # An answer that is there before the sign of life was sent needs none.
    assert steps in ([("addReaction", "EYES"), answer, ("removeReaction", "EYES")], [answer])

    # What nobody knows to have happened leaves nothing behind: neither on a review nor on a comment.
    gamma.github.faults.add(Fault("POST", r"^/graphql$", FaultKind.DROP_AFTER, times=2))
    gamma.github.faults.add(Fault("POST", r"/comments/\d+/reactions$", FaultKind.DROP_AFTER))
    comment = await gamma.github.comment(gamma.repository, pull.number, "/gamma status", "ada")
    again = await say(gamma, pull, "/gamma status", "ada")
    await gamma.flushed()

    assert shown(again) == ["rocket"]
    assert [reaction.content for reaction in comment.reactions] == ["rocket"]
    assert gamma.github.faults.pending == []
    _, numbers = await get(f"{gamma.service.url}/metrics")
    assert 'route="/graphql",status="none"} 2\n' in numbers
    assert 'route="other"' not in numbers, "a call that has no name in gamma_bot/github/calls.py"


async def say(gamma: Gamma, pull: PullRequest, body: str, author: str) -> Review:
    """Submit a review and wait for the answer to it and for the reaction that stays."""
    review = await gamma.github.review(pull, body, author)
    marker = f"<!-- gamma:reply:{review.id} -->"

    def answered() -> bool | None:
        replies = [c.body for c in gamma.repository.comments_on(pull.number) if c.body.startswith(marker)]
        return True if replies and shown(review) not in ([], ["eyes"]) and len(shown(review)) == 1 else None

    await gamma.eventually(answered, f"an answer to {body!r}")
    return review


def shown(review: Review) -> list[str]:
    """The reactions to a review."""
    return [reaction.content for reaction in review.reactions]
