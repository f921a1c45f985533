"""The gateway to GitHub: GraphQL by the rules of REST, limits that are obeyed before they are hit, calls that count."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from graphql import DefinitionNode, GraphQLSchema, build_schema, parse, print_ast, validate

from gamma_bot.github import graphql, reactions
from gamma_bot.github.calls import OTHER, route_of
from gamma_bot.github.errors import Forbidden, GitHubError, Held, NotFound, Rejected
from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.installation import Installation
from gamma_bot.github.keys import signing_keys
from gamma_bot.github.measures import metrics_of
from gamma_bot.github.pacer import Ticket, Urgency
from gamma_bot.metrics import render
from gamma_bot.sandbox.faults import Fault, FaultKind
from gamma_bot.sandbox.graphql import SCHEMA as SANDBOX_SCHEMA
from gamma_bot.sandbox.model import App, Repository, Review
from gamma_bot.sandbox.server import SandboxGitHub
from gamma_bot.store.database import Database
from gamma_bot.store.pauses import Pauses
from tests.contract import DATA, assert_contract
from tests.harness import PERMISSIONS

PUBLISHED_SCHEMA = DATA / "graphql-schema" / "schema.graphql"
DOCUMENTS = (reactions.ADD, reactions.REMOVE)
RATE_LIMIT = "{ rateLimit { limit remaining } }"


@dataclass
class Hub:
    """A sandbox, Gamma's way into it, and a review to react to."""

    github: SandboxGitHub
    session: aiohttp.ClientSession
    app: App
    repository: Repository
    review: Review
    gamma: GitHubApp
    gateway: Installation

    def gamma_again(self, **given: object) -> GitHubApp:
        """Gamma in a new process."""
        keys = signing_keys(self.app.private_key_pem)
        return GitHubApp(
            self.session,
            api_url=self.github.api_url,
            app_id=str(self.app.id),
            keys=keys,
            write_interval_seconds=0,
            **given,
        )

    def calls(self, route: str = "/graphql") -> list[int]:
        """The statuses of the calls to a route so far."""
        return [record.status for record in self.github.requests if record.route == route]


@pytest.fixture
async def hub(tmp_path: Path, app_key: str) -> AsyncIterator[Hub]:
    async with SandboxGitHub(tmp_path / "github") as github, aiohttp.ClientSession() as session:
        github.create_user("ada")
        repository = github.create_repository("ada", "walker", {"README.md": "# Walker\n"})
        app = github.create_app("Gamma", PERMISSIONS, ["push"], private_key_pem=app_key)
        installation = github.install(app, repository)
        await github.commit(repository, "models/x", {"a": "b"})
        pull = await github.open_pull_request(repository, "models/x", "main")
        review = await github.review(pull, "/gamma help", "ada")
        hub = Hub(github, session, app, repository, review, None, None)  # type: ignore[arg-type]
        hub.gamma = hub.gamma_again()
        hub.gateway = hub.gamma.installation(installation.id)
        yield hub
        assert_contract(github.requests)


# ── GraphQL ──


@pytest.mark.parametrize(
    ("api_url", "address"),
    [
        ("https://api.github.com", "https://api.github.com/graphql"),
        ("https://api.team.ghe.com", "https://api.team.ghe.com/graphql"),
        ("https://github.example.com/api/v3", "https://github.example.com/api/graphql"),
    ],
)
def test_graphql_stands_beside_rest(api_url: str, address: str) -> None:
    assert graphql.endpoint(api_url) == address


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_document_fits_the_schema(document: str) -> None:
    assert validate(_sandbox_schema(), parse(document)) == []


@pytest.mark.skipif(not PUBLISHED_SCHEMA.exists(), reason="GitHub's GraphQL schema has not been fetched")
def test_the_sandbox_has_nothing_that_the_published_schema_has_not() -> None:
    # Building all of GitHub's schema takes ten seconds; the few definitions that the sandbox has take none.
    published = {each.name.value: each for each in _definitions(_excerpt(PUBLISHED_SCHEMA.read_text()))}
    for ours in _definitions(SANDBOX_SCHEMA):
        theirs = published[ours.name.value]
        for part in (*getattr(ours, "fields", ()), *getattr(ours, "values", ())):
            same = [_without_words(each) for each in (*getattr(theirs, "fields", ()), *getattr(theirs, "values", ()))]
            assert _without_words(part) in same, f"{ours.name.value}.{part.name.value}"


async def test_what_graphql_refuses_is_the_error_that_rest_would_be(hub: Hub) -> None:
    readers = hub.github.create_app("Readers", {"pull_requests": "read"}, [], private_key_pem=hub.app.private_key_pem)
    reader = hub.github.install(readers, hub.repository)
    keys = signing_keys(readers.private_key_pem)
    other = GitHubApp(hub.session, api_url=hub.github.api_url, app_id=str(readers.id), keys=keys)
    with pytest.raises(NotFound, match="GitHub answered 404 to POST /graphql: Could not resolve"):
        await hub.gateway.graphql(reactions.ADD, {"subject": "PRR_nothing", "content": "EYES"})
    with pytest.raises(Forbidden, match="403 to POST /graphql: Resource not accessible"):
        await other.installation(reader.id).graphql(reactions.ADD, {"subject": hub.review.node_id, "content": "EYES"})
    with pytest.raises(Rejected, match="422 to POST /graphql: Reaction does not exist"):
        await hub.gateway.graphql(reactions.REMOVE, {"subject": hub.review.node_id, "content": "EYES"})


@pytest.mark.parametrize(
    ("error", "headers", "kind", "wait"),
    [
        ({"message": "Field 'x' doesn't exist", "extensions": {"code": "undefinedField"}}, {}, Rejected, None),
        ({"message": "Something went wrong while executing your query."}, {}, GitHubError, None),
        ({"type": "INSUFFICIENT_SCOPES", "message": "Your token has no scope"}, {}, Forbidden, None),
        ({"type": "RATE_LIMITED", "message": "API rate limit exceeded"}, {}, GitHubError, 60.0),
        ({"message": "You have exceeded a secondary rate limit."}, {"Retry-After": "7"}, GitHubError, 7.0),
    ],
)
def test_errors_with_status_200_tell_whether_waiting_helps(
    error: dict[str, object], headers: dict[str, str], kind: type[GitHubError], wait: float | None
) -> None:
    with pytest.raises(GitHubError) as raised:
        graphql.data_of({"data": {"addReaction": None}, "errors": [error]}, headers)

    assert type(raised.value) is kind
    assert raised.value.retry_after_seconds == wait
    assert raised.value.passes_by_itself == (kind is GitHubError)


async def test_a_query_is_tried_again_a_mutation_is_left_to_who_can_look_it_up(hub: Hub) -> None:
    hub.github.faults.add(Fault("POST", "^/graphql$", FaultKind.STATUS, status=502))
    assert (await hub.gateway.graphql(RATE_LIMIT, {}))["rateLimit"]["limit"] == 5000
    assert hub.calls() == [502, 200]

    hub.github.faults.add(Fault("POST", "^/graphql$", FaultKind.DROP_AFTER))
    with pytest.raises(GitHubError) as raised:
        await hub.gateway.graphql(reactions.ADD, {"subject": hub.review.node_id, "content": "EYES"})
    assert raised.value.unclear
    assert [reaction.content for reaction in hub.review.reactions] == ["eyes"], "it was done, and nobody knew"


async def test_a_token_that_was_revoked_is_replaced_once(hub: Hub) -> None:
    await hub.gateway.graphql(RATE_LIMIT, {})
    hub.github.state.tokens.clear()

    await asyncio.gather(*(hub.gateway.graphql(RATE_LIMIT, {}) for _ in range(3)))

    assert hub.calls().count(401) == 3
    assert hub.calls("/app/installations/{installation_id}/access_tokens") == [201, 201]


# ── limits ──


async def test_the_last_calls_of_an_hour_are_kept_for_results(hub: Hub) -> None:
    hub.github.limits.requests_per_hour = 40
    contents = "/repos/ada/walker/contents/README.md"
    for _ in range(39):
        await hub.gateway.get(contents, again=False)
    comments = f"/repos/ada/walker/issues/{hub.review.pull.number}/comments"
    with pytest.raises(Held, match="was not sent to GitHub: few calls are left in this hour") as held:
        await hub.gateway.writing_with(Ticket(Urgency.PROGRESS)).post(comments, {"body": "epoch 3"})
    await hub.gateway.writing_with(Ticket(Urgency.FINAL)).post(comments, {"body": "passed"})
    with pytest.raises(Held, match="the calls that GitHub allows in an hour are used up"):
        await hub.gateway.get(contents)

    assert [comment.body for comment in hub.repository.comments.values()] == ["passed"]
    assert 3000 < (held.value.retry_after_seconds or 0) <= 3600
    assert 403 not in [record.status for record in hub.github.requests], "GitHub never had to refuse"
    await hub.gateway.graphql(RATE_LIMIT, {})  # it has an hour of its own


async def test_a_pause_outlives_the_process_that_was_asked_for_it(hub: Hub, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'gamma.db'}")
    database.create_tables()
    pauses = Pauses(database)
    hub.github.faults.add(Fault("GET", "/pulls", FaultKind.SECONDARY_LIMIT, retry_after_seconds=300))
    gateway = hub.gamma_again(on_pause=pauses.keep).installation(hub.gateway.installation_id)
    with pytest.raises(GitHubError, match="403"):
        await gateway.get("/repos/ada/walker/pulls")
    kept = await pauses.running()
    after_restart = hub.gamma_again(paused_until=kept).installation(hub.gateway.installation_id)
    made = len(hub.github.requests)
    for call in (after_restart.get("/repos/ada/walker"), after_restart.graphql(RATE_LIMIT, {})):
        with pytest.raises(Held, match="GitHub asked Gamma to wait"):
            await call

    database.close()
    assert kept[gateway.installation_id] == pytest.approx(time.time() + 300, abs=10)
    assert len(hub.github.requests) == made, "nothing was sent"
    await (
        hub.gamma_again(paused_until={1: time.time() + 300})
        .installation(gateway.installation_id)
        .get("/repos/ada/walker")
    )


# ── metrics ──


async def test_calls_are_counted_by_route_and_answer(hub: Hub) -> None:
    for _ in range(2):
        await hub.gateway.get("/repos/ada/walker/contents/README.md?ref=main")
    with pytest.raises(NotFound):
        await hub.gateway.get("/repos/ada/walker/contents/no/such%20file?ref=models/x")
    await hub.gateway.get("/repos/ada/walker/branches")
    hub.github.faults.add(Fault("POST", "/comments$", FaultKind.DROP_BEFORE))
    with pytest.raises(GitHubError):
        await hub.gateway.post(f"/repos/ada/walker/issues/{hub.review.pull.number}/comments", {"body": "Hi"})
    await hub.gateway.graphql(RATE_LIMIT, {})
    shown = render(metrics_of(hub.gamma))

    def calls(method: str, route: str, status: str) -> str:
        return f'gamma_github_calls_total{{method="{method}",route="{route}",status="{status}"}}'

    assert "# TYPE gamma_github_calls_total counter\n" in shown
    contents = "/repos/{owner}/{repo}/contents/{path}"
    assert [calls("GET", contents, status) + " 1\n" in shown for status in ("2xx", "3xx", "4xx")] == [True] * 3
    assert calls("GET", "other", "2xx") + " 1\n" in shown
    assert calls("POST", "/repos/{owner}/{repo}/issues/{issue_number}/comments", "none") + " 1\n" in shown
    assert calls("POST", "/graphql", "2xx") + " 1\n" in shown
    number = hub.gateway.installation_id
    assert re.search(rf'gamma_github_rate_limit_remaining{{installation="{number}",resource="core"}} 499\d\n', shown)
    assert f'gamma_github_paused_seconds{{installation="{number}"}} 0\n' in shown
    assert 'gamma_github_writes_total{urgency="change"} 1\n' in shown
    assert 'gamma_github_write_wait_seconds_total{urgency="final"} 0\n' in shown


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/repos/a/b/commits/main", "/repos/{owner}/{repo}/commits/{ref}"),
        ("/repos/a/b/commits/5e1f/check-runs", "/repos/{owner}/{repo}/commits/{ref}/check-runs"),
        ("/repos/a/b/git/ref/heads/models/x", "/repos/{owner}/{repo}/git/ref/{ref}"),
        ("/repos/a/b/compare/main...models/x", "/repos/{owner}/{repo}/compare/{basehead}"),
        ("/repos/a/b/issues/7/comments", "/repos/{owner}/{repo}/issues/{issue_number}/comments"),
        ("/repos/a/b/issues/comments/7", "/repos/{owner}/{repo}/issues/comments/{comment_id}"),
        ("/repos/a/b/pulls/7", "/repos/{owner}/{repo}/pulls/{pull_number}"),
        ("/repos/a/b/issues/7/events", OTHER),
        ("/repos/a/b/c/d", OTHER),
        ("https://elsewhere.example.com/app", OTHER),
    ],
)
def test_a_path_is_counted_under_githubs_name_of_its_route(path: str, route: str) -> None:
    assert route_of(path) == route


def _sandbox_schema() -> GraphQLSchema:
    return build_schema(SANDBOX_SCHEMA)


def _definitions(text: str) -> list[DefinitionNode]:
    return list(parse(text, no_location=True).definitions)


def _excerpt(text: str) -> str:
    """Of a schema's text, the definitions that the sandbox has, too."""
    names = "|".join(each.name.value for each in _definitions(SANDBOX_SCHEMA))
    block = rf"^(?:type|interface|enum|input|scalar) (?:{names})\b(?:[^{{\n]*\{{.*?^\}}|[^{{\n]*$)"
    return "\n".join(re.findall(block, text, re.MULTILINE | re.DOTALL))


def _without_words(part: DefinitionNode) -> str:
    """A field, an argument or a value without its description and its directives."""
    for each in (part, *getattr(part, "arguments", ())):
        each.description, each.directives = None, ()
    return print_ast(part)
