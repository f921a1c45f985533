"""The sandbox's GraphQL: comments are minimized, reviews get reactions, and what is wrong is told as GitHub does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gamma_bot.sandbox.faults import Fault, FaultKind
from tests import contract
from tests.sandbox_api import Stage, open_stage, signing_key

MINIMIZE = """
mutation ($id: ID!) {
  minimizeComment(input: {subjectId: $id, classifier: OUTDATED}) {
    minimizedComment { isMinimized minimizedReason ... on IssueComment { id } }
  }
}
"""
REACT = """
mutation ($id: ID!, $content: ReactionContent!) {
  addReaction(input: {subjectId: $id, content: $content}) { reaction { databaseId content } subject { id } }
}
"""
UNREACT = """
mutation ($id: ID!) { removeReaction(input: {subjectId: $id, content: EYES}) { reaction { content } } }
"""


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path / "github") as stage:
        stage.github.open_issue(stage.repository, "A question")
        yield stage


async def test_a_comment_is_minimized_and_the_page_folds_it(hub: Stage) -> None:
    await hub.github.commit(hub.repository, "models/x", {"a": "b"})
    pull = await hub.github.open_pull_request(hub.repository, "models/x")
    comment = await hub.github.comment(hub.repository, pull.number, "Stale", "ada")
    reply = await hub.query(MINIMIZE, token=await hub.token(), id=comment.node_id)

    minimized = {"isMinimized": True, "minimizedReason": "outdated", "id": comment.node_id}
    assert reply.body == {"data": {"minimizeComment": {"minimizedComment": minimized}}}
    async with hub.session.get(f"{hub.github.url}/ada/walker/pull/{pull.number}") as response:
        assert "This comment was marked as outdated." in await response.text()
    contract.assert_contract(hub.github.requests)


async def test_a_review_gets_a_reaction_and_loses_it(hub: Stage) -> None:
    await hub.github.commit(hub.repository, "models/x", {"a": "b"})
    pull = await hub.github.open_pull_request(hub.repository, "models/x")
    review, token = await hub.github.review(pull, "/gamma train", "ada"), await hub.token()
    given = [await hub.query(REACT, token=token, id=review.node_id, content="EYES") for _ in range(2)]
    assert [(one.user.login, one.content) for one in review.reactions] == [("gamma-test[bot]", "eyes")]
    taken = await hub.query(UNREACT, token=token, id=review.node_id)
    missing = await hub.query(UNREACT, token=token, id=review.node_id)

    reactions = [one.body["data"]["addReaction"]["reaction"] for one in given]
    assert reactions[0] == reactions[1]
    assert taken.body["data"]["removeReaction"]["reaction"] == {"content": "EYES"}
    assert (review.reactions, missing.body["errors"][0]["message"]) == ([], "Reaction does not exist")


async def test_what_is_not_there_or_not_allowed_has_a_type_and_a_path(hub: Stage) -> None:
    comment = await hub.github.comment(hub.repository, 1, "Hi", "ada")
    hidden = hub.github.create_repository("grace", "secret", {"a": "b"}, private=True)
    hub.github.open_issue(hidden, "Secret")
    unseen = await hub.github.comment(hidden, 1, "Hi", "grace")
    token = await hub.token()
    nobody = await hub.query(MINIMIZE, token=token, id="IC_nothing")
    elsewhere = await hub.query(MINIMIZE, token=token, id=unseen.node_id)
    guest = await hub.query(MINIMIZE, token=hub.github.state.accounts["guest"].token, id=comment.node_id)

    assert nobody.status == 200
    assert nobody.body["data"] == {"minimizeComment": None}
    (error,) = nobody.body["errors"]
    assert (error["type"], error["path"]) == ("NOT_FOUND", ["minimizeComment"])
    assert error["message"] == "Could not resolve to a node with the global id of 'IC_nothing'"
    assert elsewhere.body["errors"][0]["type"] == "NOT_FOUND"
    assert guest.body["errors"][0]["type"] == "FORBIDDEN"
    assert comment.minimized_reason is None
    contract.assert_contract(hub.github.requests)


async def test_a_reaction_to_a_comment_of_the_conversation_needs_the_permission_for_issues(hub: Stage) -> None:
    await hub.github.commit(hub.repository, "models/x", {"a": "b"})
    pull = await hub.github.open_pull_request(hub.repository, "models/x")
    comment = await hub.github.comment(hub.repository, pull.number, "Hi", "ada")
    hub.app = hub.github.create_app("Pulls", {"pull_requests": "write"}, [], private_key_pem=signing_key())
    hub.installation = hub.github.install(hub.app, hub.repository)
    token = await hub.token()
    reacted = await hub.query(REACT, token=token, id=comment.node_id, content="EYES")
    minimized = await hub.query(MINIMIZE, token=token, id=comment.node_id)

    assert reacted.body["errors"][0]["type"] == "FORBIDDEN"
    assert "errors" not in minimized.body


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("{ rateLimit { remaning } }", "Cannot query field 'remaning' on type 'RateLimit'"),
        ("mutation { closeIssue { id } }", "Cannot query field 'closeIssue'"),
        ("mutation { minimizeComment(input: {subjectId: 1, classifier: STALE}) { clientMutationId } }", "STALE"),
        ("mutation { minimizeComment(input: {subjectId: 1}) { clientMutationId } }", "classifier"),
        ("{ rateLimit { limit }", "Syntax Error"),
    ],
)
async def test_a_query_outside_the_schema_is_not_run(hub: Stage, query: str, said: str) -> None:
    reply = await hub.query(query, token=await hub.token())

    assert reply.status == 200
    assert "data" not in reply.body
    assert said in reply.body["errors"][0]["message"]
    assert reply.body["errors"][0]["locations"]


async def test_a_body_without_a_query_or_a_caller_without_a_name_is_refused(hub: Stage) -> None:
    url, token = f"{hub.github.url}/api/graphql", await hub.token()
    empty = await hub.call("POST", url, {"variables": {}}, token=token)
    nobody = await hub.query("{ rateLimit { limit } }", token="")
    wrong = await hub.query("{ rateLimit { limit } }", token="ghs_wrong")

    assert (empty.status, nobody.status, wrong.status) == (400, 401, 401)


async def test_graphql_has_an_hour_of_its_own(hub: Stage) -> None:
    token = await hub.token()
    first = await hub.query("{ rateLimit { limit remaining used cost resetAt } }", token=token)
    hub.github.limits.requests_per_hour = 1
    spent = await hub.query("{ rateLimit { limit } }", token=token)
    rest = await hub.call("GET", "/repos/ada/walker", token=token)

    assert first.body["data"]["rateLimit"]["used"] == 1
    assert first.headers["X-RateLimit-Resource"] == "graphql"
    assert (spent.status, spent.body["errors"][0]["type"]) == (200, "RATE_LIMITED")
    assert spent.headers["X-RateLimit-Remaining"] == "0"
    assert rest.status == 200


async def test_faults_hit_graphql_too(hub: Stage) -> None:
    hub.github.faults.add(Fault("POST", r"^/graphql$", FaultKind.STATUS, status=502))
    token = await hub.token()
    replies = [await hub.query("{ rateLimit { limit } }", token=token) for _ in range(2)]

    assert [reply.status for reply in replies] == [502, 200]
    assert [one.route for one in hub.github.requests[-2:]] == ["/graphql", "/graphql"]
