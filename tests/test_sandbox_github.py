"""The sandbox keeps GitHub's rules: credentials, permissions, rate limits, ETags, pages, and faults on demand."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import jwt
import pytest

from gamma_bot.sandbox.faults import Fault, FaultKind
from gamma_bot.sandbox.model import RequestRecord
from tests.sandbox_api import PERMISSIONS, Stage, open_stage, signing_key

REPO = "/repos/ada/walker"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path / "github") as stage:
        yield stage


async def test_an_app_is_known_by_its_id_or_its_client_id(hub: Stage) -> None:
    by_id = await hub.call("GET", "/app", token=hub.jwt(iss=str(hub.app.id)))
    by_client_id = await hub.call("GET", "/app", token=hub.jwt(iss=hub.app.client_id))

    assert [by_id.body["slug"], by_client_id.body["slug"]] == ["gamma-test", "gamma-test"]


@pytest.mark.parametrize(
    ("claims", "status", "message"),
    [
        ({"iss": "99"}, 404, "Integration not found"),
        ({"iat": 300}, 401, "'Issued at' claim"),
        ({"exp": -10}, 401, "must be a numeric value representing the future time"),
        ({"exp": 700}, 401, "too far in the future"),
    ],
)
async def test_a_jwt_with_wrong_claims_is_refused(
    hub: Stage, claims: dict[str, object], status: int, message: str
) -> None:
    now = int(time.time())
    moved = {name: now + value if isinstance(value, int) else value for name, value in claims.items()}
    reply = await hub.call("GET", "/app", token=hub.jwt(**moved))

    assert reply.status == status
    assert message in reply.body["message"]


async def test_a_jwt_signed_with_another_key_is_refused(hub: Stage) -> None:
    other_key = hub.github.create_app("Other", {}, []).private_key_pem
    now = int(time.time())
    forged = jwt.encode({"iss": str(hub.app.id), "iat": now - 60, "exp": now + 500}, other_key, algorithm="RS256")

    reply = await hub.call("GET", "/app", token=forged)

    assert (reply.status, reply.body["message"]) == (401, "A JSON web token could not be decoded")


async def test_an_installation_token_ends_after_an_hour(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as hub:
        token = await hub.token()
        assert (await hub.call("GET", REPO, token=token)).status == 200
        hub.github.state.tokens[token].expires_at = hub.github.state.clock()

        late = await hub.call("GET", REPO, token=token)

    assert (late.status, late.body["message"]) == (401, "Bad credentials")


async def test_a_token_can_be_narrowed_to_a_repository_and_a_permission(hub: Stage) -> None:
    other = hub.github.create_repository("ada", "other", {"a": "b"})
    hub.github.change_repositories(hub.installation, add=[other])
    narrow = await hub.token(repositories=["other"], permissions={"contents": "read"})

    assert (await hub.call("GET", "/repos/ada/other/contents/a", token=narrow)).status == 200
    assert (await hub.call("GET", f"{REPO}/contents/README.md", token=narrow)).status == 404
    refused = await hub.call("GET", "/repos/ada/other/pulls", token=narrow)
    assert (refused.status, refused.body["message"]) == (403, "Resource not accessible by integration")


async def test_a_token_with_more_than_was_granted_is_not_given(hub: Stage) -> None:
    path = f"/app/installations/{hub.installation.id}/access_tokens"

    more = await hub.call("POST", path, {"permissions": {"contents": "write"}}, token=hub.jwt())
    elsewhere = await hub.call("POST", path, {"repositories": ["other"]}, token=hub.jwt())

    assert (more.status, elsewhere.status) == (422, 422)


async def test_the_new_stateless_tokens_work_like_the_old_ones(hub: Stage) -> None:
    hub.github.forge.stateless_tokens = True
    token = await hub.token()

    assert len(token) > 500
    assert token.startswith(f"ghs_{hub.app.id}_")
    assert (await hub.call("GET", REPO, token=token)).status == 200


async def test_a_suspended_installation_gets_no_token_and_no_answer(hub: Stage) -> None:
    token = await hub.token()
    hub.github.suspend(hub.installation)

    asked = await hub.call("POST", f"/app/installations/{hub.installation.id}/access_tokens", token=hub.jwt())
    used = await hub.call("GET", REPO, token=token)
    assert (asked.status, used.status) == (403, 403)

    hub.github.uninstall(hub.installation)
    gone = await hub.call("POST", f"/app/installations/{hub.installation.id}/access_tokens", token=hub.jwt())
    assert (gone.status, (await hub.call("GET", REPO, token=token)).status) == (404, 401)


async def test_each_write_needs_its_permission(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as hub:
        pull_only = hub.github.create_app(
            "Pulls", {"pull_requests": "write"}, [], owner="ada", private_key_pem=signing_key()
        )
        hub.app, hub.installation = pull_only, hub.github.install(pull_only, hub.repository)
        sha = await hub.github.commit(hub.repository, "x", {"a": "b"})
        pull = await hub.github.open_pull_request(hub.repository, "x")
        issue = hub.github.open_issue(hub.repository, "A question")
        token = await hub.token()

        on_pull = await hub.call("POST", f"{REPO}/issues/{pull.number}/comments", {"body": "b"}, token=token)
        on_issue = await hub.call("POST", f"{REPO}/issues/{issue.number}/comments", {"body": "b"}, token=token)
        reactions = f"{REPO}/issues/comments/{on_pull.body['id']}/reactions"
        reaction = await hub.call("POST", reactions, {"content": "eyes"}, token=token)
        check = await hub.call("POST", f"{REPO}/check-runs", {"name": "x", "head_sha": sha}, token=token)

    assert on_pull.status == 201
    # A comment on an issue, and any reaction, needs the permission for issues.
    assert (on_issue.status, reaction.status, check.status) == (403, 403, 403)
    assert check.headers["X-Accepted-GitHub-Permissions"] == "checks=write"


async def test_the_real_role_stands_beside_the_legacy_permission(hub: Stage) -> None:
    hub.repository.custom_roles["release-manager"] = "maintain"
    hub.repository.collaborators.update({"grace": "maintain", "guest": "release-manager"})
    hub.github.create_user("triager")
    hub.repository.collaborators["triager"] = "triage"
    token, found = await hub.token(), {}
    for login in ("ada", "grace", "guest", "triager"):
        body = (await hub.call("GET", f"{REPO}/collaborators/{login}/permission", token=token)).body
        found[login] = (body["permission"], body["role_name"])

    assert found == {
        "ada": ("admin", "admin"),
        "grace": ("write", "maintain"),
        "guest": ("write", "release-manager"),
        "triager": ("read", "triage"),
    }


async def test_a_private_repository_is_not_found_by_strangers(hub: Stage) -> None:
    hub.github.create_repository("ada", "secret", {"a": "b"}, private=True)
    guest = hub.github.state.accounts["guest"].token
    statuses = [(await hub.call("GET", "/repos/ada/secret", token=token)).status for token in ("", guest)]
    owner = hub.github.state.accounts["ada"].token

    assert statuses == [404, 404]
    assert (await hub.call("GET", "/repos/ada/secret", token=owner)).status == 200


async def test_the_hourly_limit_counts_down_and_then_refuses(hub: Stage) -> None:
    token = await hub.token()
    hub.github.limits.requests_per_hour = 2
    replies = [await hub.call("GET", REPO, token=token) for _ in range(3)]

    assert [reply.headers["X-RateLimit-Remaining"] for reply in replies] == ["1", "0", "0"]
    assert (replies[2].status, replies[2].body["message"][:23]) == (403, "API rate limit exceeded")
    looked = await hub.call("GET", "/rate_limit", token=token)
    assert looked.body["rate"]["remaining"] == 0


async def test_too_many_new_comments_in_a_minute_meet_the_secondary_limit(hub: Stage) -> None:
    token, issue = await hub.token(), hub.github.open_issue(hub.repository, "Busy")
    hub.github.limits.content_per_minute = 2
    path = f"{REPO}/issues/{issue.number}/comments"
    replies = [await hub.call("POST", path, {"body": "x"}, token=token) for _ in range(3)]

    assert [reply.status for reply in replies] == [201, 201, 403]
    assert "secondary rate limit" in replies[2].body["message"]
    assert int(replies[2].headers["Retry-After"]) > 0


async def test_an_etag_is_free_and_belongs_to_one_token(hub: Stage) -> None:
    token, other = await hub.token(), await hub.token()
    first = await hub.call("GET", REPO, token=token)
    tag = {"If-None-Match": first.headers["ETag"]}

    again = await hub.call("GET", REPO, token=token, headers=tag)
    elsewhere = await hub.call("GET", REPO, token=other, headers=tag)

    assert (again.status, again.data, elsewhere.status) == (304, b"", 200)
    remaining = (await hub.call("GET", "/rate_limit", token=token)).body["rate"]["remaining"]
    assert remaining == int(first.headers["X-RateLimit-Remaining"]) - 1  # the 200 of the other token, not the 304


async def test_lists_come_in_pages_with_links(hub: Stage) -> None:
    for number in range(5):
        hub.github.open_issue(hub.repository, f"Issue {number}")
        await hub.github.comment(hub.repository, 1, f"Comment {number}", "ada")
    page, seen = await hub.call("GET", f"{REPO}/issues/1/comments?per_page=2", token=await hub.token()), []
    while True:
        seen += [comment["body"] for comment in page.body]
        links = {part.split("; ")[1]: part.split("; ")[0].strip("<> ") for part in page.headers["Link"].split(",")}
        if 'rel="next"' not in links:
            break
        page = await hub.call("GET", links['rel="next"'], token=await hub.token())

    assert seen == [f"Comment {number}" for number in range(5)]


async def test_planned_faults_hit_the_requests_they_were_planned_for(hub: Stage) -> None:
    token = await hub.token()
    add = hub.github.faults.add
    for kind in (FaultKind.STATUS, FaultKind.SECONDARY_LIMIT, FaultKind.TOO_MANY_REQUESTS, FaultKind.STALE_NOT_FOUND):
        add(Fault("GET", r"/branches/main$", kind, status=502, retry_after_seconds=7))

    replies = [await hub.call("GET", f"{REPO}/branches/main", token=token) for _ in range(5)]

    assert [reply.status for reply in replies] == [502, 403, 429, 404, 200]
    assert [reply.headers.get("Retry-After") for reply in replies] == [None, "7", "7", None, None]
    assert hub.github.faults.pending == []


async def test_a_connection_dropped_before_and_after_the_effect(hub: Stage) -> None:
    token, sha = await hub.token(), await hub.github.head(hub.repository)
    for kind in (FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER):
        hub.github.faults.add(Fault("POST", r"/check-runs$", kind))
    names = []
    for name in ("before", "after"):
        with pytest.raises(aiohttp.ClientError):
            await hub.call("POST", f"{REPO}/check-runs", {"name": name, "head_sha": sha}, token=token)
        names.append([run.name for run in hub.repository.check_runs])

    assert names == [[], ["after"]]
    assert [one.status for one in hub.github.requests if one.method == "POST" and one.fault] == [0, 0]


async def test_a_watch_acts_at_the_moment_before_and_after_the_effect(hub: Stage) -> None:
    token, sha = await hub.token(), await hub.github.head(hub.repository)
    seen: list[tuple[str, int]] = []

    async def look(moment: str, record: RequestRecord) -> None:
        seen.append((f"{moment} {record.request_json['name']}", len(hub.repository.check_runs)))

    hub.github.on_request("POST", r"/check-runs$", look)
    await hub.call("POST", f"{REPO}/check-runs", {"name": "x", "head_sha": sha}, token=token)

    assert seen == [("before x", 0), ("after x", 1)]


async def test_a_manifest_code_gives_the_secrets_once(hub: Stage) -> None:
    manifest = {"name": "My Gamma", "url": "http://example.org", "default_permissions": PERMISSIONS}
    code = hub.github.create_app_from_manifest(manifest, "ada")

    first = await hub.call("POST", f"/app-manifests/{code}/conversions")
    second = await hub.call("POST", f"/app-manifests/{code}/conversions")

    assert first.body["slug"] == "my-gamma"
    assert first.body["pem"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert (first.status, second.status) == (201, 404)


async def test_a_bad_version_or_broken_json_is_told_apart(hub: Stage) -> None:
    token = await hub.token()
    version = await hub.call("GET", REPO, token=token, headers={"X-GitHub-Api-Version": "2019-01-01"})
    async with hub.session.post(
        f"{hub.github.api_url}{REPO}/check-runs", data=b"{", headers={"Authorization": f"Bearer {token}"}
    ) as response:
        broken = await response.json()

    assert (version.status, broken["message"]) == (400, "Problems parsing JSON")
