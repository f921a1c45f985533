"""The sandbox speaks GitHub's published contract: every endpoint by the OpenAPI description, every webhook by shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gamma_bot.sandbox.dispatch import all_routes
from gamma_bot.sandbox.model import RequestRecord
from tests import contract
from tests.sandbox_api import Received, Stage, open_stage

pytestmark = pytest.mark.skipif(not contract.available(), reason=contract.WHY_MISSING)

REPO = "/repos/ada/walker"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path / "github") as hub:
        yield hub


async def test_every_endpoint_answers_as_github_describes_it(hub: Stage) -> None:
    await drive_every_endpoint(hub)

    succeeded = {(one.method, one.route) for one in hub.github.requests if 200 <= one.status < 400}
    assert {(route.method, route.path) for route in all_routes()} - succeeded == set(), "endpoints nobody drove"
    contract.assert_contract(hub.github.requests)


async def test_refusals_have_the_shape_of_github_errors(hub: Stage) -> None:
    token, guest = await hub.token(), hub.github.state.accounts["guest"].token
    head = await hub.github.head(hub.repository)
    refusals = [
        await hub.call("GET", f"{REPO}/pulls/99", token=token),
        await hub.call("GET", "/app", token="a.b.c"),
        await hub.call("GET", "/user", token="ghs_nobody"),
        await hub.call("POST", f"{REPO}/check-runs", {"name": "x", "head_sha": head}, token=guest),
        await hub.call("POST", f"{REPO}/check-runs", {"name": "x", "head_sha": "f" * 40}, token=token),
        await hub.call("POST", f"{REPO}/pulls", {"title": "x", "head": "gone", "base": "main"}, token=guest),
        await hub.call("GET", f"{REPO}/branches/gone", token=token),
        await hub.call("GET", f"{REPO}/collaborators/nobody/permission", token=token),
        await hub.call("GET", f"{REPO}/pulls/comments/99", token=token),
    ]

    assert [reply.status for reply in refusals] == [404, 401, 401, 403, 422, 422, 404, 404, 404]
    contract.assert_contract(hub.github.requests)


def test_the_checker_finds_what_is_outside_the_contract() -> None:
    route = "/repos/{owner}/{repo}/check-runs"
    wrong = [
        _record("POST", route, body={"name": "x", "head_sha": "a", "sumary": "x"}, status=201, answer={"id": "seven"}),
        _record("GET", "/repos/{owner}/{repo}/pulls", query={"per_page": "500", "stat": "open"}, status=200, answer=[]),
        _record("GET", "/no/such/thing", status=404),
        _record("POST", "/graphql", status=200, answer={"errors": [{"message": "Cannot query field 'x'"}]}),
        _record("POST", "/graphql", status=200, answer={"errors": [{"type": "NOT_FOUND", "message": "no such node"}]}),
    ]

    problems = "\n".join(contract.contract_problems(wrong))

    assert "unknown key 'sumary'" in problems
    assert "'seven' is not of type 'integer'" in problems
    assert "unknown query parameter 'stat'" in problems
    assert "per_page is above 100" in problems
    assert "no such endpoint" in problems
    assert "query: Cannot query field 'x'" in problems
    assert "no such node" not in problems


async def test_every_webhook_has_the_shape_of_githubs_example(hub: Stage) -> None:
    await drive_every_endpoint(hub)
    github = hub.github
    spare = github.create_repository("ada", "spare", {"a": "b"})
    github.change_repositories(hub.installation, add=[spare])
    github.change_repositories(hub.installation, remove=[spare])
    github.ping(hub.app)
    github.change_app(hub.app, permissions={**hub.app.permissions, "actions": "read"})
    github.accept_new_permissions(hub.installation)
    await github.rename_repository(hub.repository, "runner")
    github.archive_repository(hub.repository)
    github.unarchive_repository(hub.repository)
    everything = github.install(github.create_app("All", {}, ["repository"], hub.app.hook.url), spare, selection="all")
    await github.transfer_repository(github.create_repository("grace", "gift", {"a": "b"}), "ada")
    github.uninstall(everything)
    await github.delete_repository(hub.repository)
    github.suspend(hub.installation)
    github.unsuspend(hub.installation)
    github.uninstall(hub.installation)
    await github.wait_for_deliveries()

    compared = {delivery.name for delivery in hub.received if examples_of(delivery)}
    assert compared == {
        *(f"check_run.{action}" for action in ("created", "completed", "rerequested", "requested_action")),
        *(f"check_suite.{action}" for action in ("requested", "completed", "rerequested")),
        *(
            f"installation.{action}"
            for action in ("created", "deleted", "new_permissions_accepted", "suspend", "unsuspend")
        ),
        *(f"installation_repositories.{action}" for action in ("added", "removed")),
        *(f"issue_comment.{action}" for action in ("created", "edited", "deleted")),
        *(f"pull_request.{action}" for action in ("opened", "synchronize", "closed", "reopened")),
        *(f"pull_request_review_comment.{action}" for action in ("created", "edited", "deleted")),
        *(f"repository.{action}" for action in ("renamed", "transferred")),
        *(f"workflow_run.{action}" for action in ("requested", "completed")),  # GitHub has no example of in_progress
        *(f"workflow_job.{action}" for action in ("queued", "in_progress", "completed")),
        "pull_request_review.submitted",
        "push",
    }
    assert {"repository.deleted", "repository.archived"} <= set(hub.names())  # GitHub's examples have neither
    assert "ping" in hub.names()
    problems = {problem for delivery in hub.received for problem in shape_problems(delivery)}
    assert not problems, "\n".join(sorted(problems))


async def drive_every_endpoint(hub: Stage) -> None:
    """Call each endpoint at least once with success, and let every kind of webhook go out."""
    github, repository, token, app = hub.github, hub.repository, await hub.token(), hub.jwt()
    ada = github.state.accounts["ada"].token
    first = await github.commit(repository, "models/wider", {"src/train.py": "rate = 0.2\n", "data.bin": b"\0\1"})

    async def get(path: str, *, by: str = token, **headers: str) -> Any:
        return (await hub.call("GET", path, token=by, headers=headers)).body

    async def send(method: str, path: str, body: Any = None, *, by: str = token) -> Any:
        reply = await hub.call(method, path, body, token=by)
        assert reply.status < 300, (method, path, reply.body)
        return reply.body

    for path in ("/app", "/app/installations", f"/app/installations/{hub.installation.id}", f"{REPO}/installation"):
        await get(path, by=app)
    await send("PATCH", "/app/hook/config", {"content_type": "json"}, by=app)
    await get("/app/hook/config", by=app)
    await get("/installation/repositories")
    await hub.token(repositories=["walker"], permissions={"contents": "read"})
    code = github.create_app_from_manifest({"name": "Second", "url": "http://example.org"}, "ada")
    await send("POST", f"/app-manifests/{code}/conversions", by="")

    for path in (
        "", "/contents/", "/contents/src", "/contents/src/train.py?ref=models/wider", "/branches", "/commits",
        "/branches/models/wider", "/git/ref/heads/models/wider", "/commits/models/wider", "/commits?sha=main&path=src",
        "/compare/main...models/wider", "/collaborators/grace/permission", "/tarball/main", "/pulls",
    ):  # fmt: skip
        await get(f"{REPO}{path}")
    await hub.call(
        "GET", f"{REPO}/contents/README.md", token=token, headers={"Accept": "application/vnd.github.raw+json"}
    )

    made = await send("POST", f"{REPO}/pulls", {"title": "Wider", "head": "models/wider", "base": "main"}, by=ada)
    pull = f"{REPO}/pulls/{made['number']}"
    await send("PATCH", pull, {"title": "Wider network"}, by=ada)
    await send("PATCH", pull, {"state": "closed"}, by=ada)
    await send("PATCH", pull, {"state": "open"}, by=ada)
    for path in (pull, f"{pull}/files", f"{pull}/commits", f"{REPO}/issues/1", f"{REPO}/commits/{first}/pulls"):
        await get(path)

    note = {"path": "src/train.py", "start_line": 1, "end_line": 1, "annotation_level": "warning", "message": "m"}
    button = {"label": "Stop", "description": "Stop it", "identifier": "stop"}
    output = {"title": "Running", "summary": "…", "annotations": [note]}
    run = await send("POST", f"{REPO}/check-runs", {"name": "gamma / train", "head_sha": first, "actions": [button]})
    await send("PATCH", f"{REPO}/check-runs/{run['id']}", {"status": "in_progress", "output": output})
    await send("PATCH", f"{REPO}/check-runs/{run['id']}", {"conclusion": "success"})
    for path in (f"check-runs/{run['id']}", f"check-runs/{run['id']}/annotations", f"commits/{first}/check-suites"):
        await get(f"{REPO}/{path}")
    for path in (f"commits/{first}/check-runs?filter=all", "commits/models/wider/check-runs?check_name=gamma+/+train"):
        await get(f"{REPO}/{path}")
    suite = run["check_suite"]["id"]
    await get(f"{REPO}/check-suites/{suite}")
    await get(f"{REPO}/check-suites/{suite}/check-runs")
    await github.click(repository.check_runs[0], "stop", "ada")
    await send("POST", f"{REPO}/check-runs/{run['id']}/rerequest")
    await send("POST", f"{REPO}/check-suites/{suite}/rerequest")

    comment = await send("POST", f"{REPO}/issues/1/comments", {"body": "Hello"})
    path = f"{REPO}/issues/comments/{comment['id']}"
    await get(path)
    await get(f"{REPO}/issues/1/comments")
    await send("PATCH", path, {"body": "Hello again"})
    reaction = await send("POST", f"{path}/reactions", {"content": "eyes"})
    await send("POST", f"{path}/reactions", {"content": "eyes"})
    await get(f"{path}/reactions")
    await send("DELETE", f"{path}/reactions/{reaction['id']}")
    await send("DELETE", path)

    workflow = {"name": "W", "on": ["workflow_dispatch"], "jobs": {"a": {"runs-on": "x", "steps": [{"run": "date"}]}}}
    upload = {"uses": "actions/upload-artifact@v5", "with": {"name": "r", "path": "README.md"}}
    workflow["jobs"]["a"]["steps"] += [{"uses": "actions/checkout@v5"}, upload]
    await github.commit(repository, "main", {".github/workflows/w.yml": json.dumps(workflow)})
    actions = f"{REPO}/actions"
    for _ in range(3):
        await send("POST", f"{actions}/workflows/w.yml/dispatches", {"ref": "main", "return_run_details": True})
        github.machines.held = True
    ended, *waiting = repository.workflow_runs.values()
    for how, one in zip(("cancel", "force-cancel"), waiting, strict=True):
        await send("POST", f"{actions}/runs/{one.id}/{how}")
    async with asyncio.timeout(20):
        await github.wait_until(lambda: all(one.status == "completed" for one in (ended, *waiting)))
    for path in ("workflows", "workflows/w.yml", "workflows/w.yml/runs", "runs?per_page=1", f"runs/{ended.id}"):
        await get(f"{actions}/{path}")
    job, artifact = ended.jobs[0].id, ended.artifacts[0].id
    for path in (f"runs/{ended.id}/jobs", f"runs/{ended.id}/logs", f"runs/{ended.id}/artifacts", f"jobs/{job}"):
        await get(f"{actions}/{path}")
    for path in (f"jobs/{job}/logs", f"artifacts/{artifact}/zip"):
        await get(f"{actions}/{path}")
    await send("POST", f"{actions}/runs/{ended.id}/rerun")
    for path in (f"runs/{ended.id}/attempts/1", f"runs/{ended.id}/attempts/1/jobs"):
        await get(f"{actions}/{path}")

    lines = [{"path": "src/train.py", "line": 1, "body": "Why?"}]
    review = await send("POST", f"{pull}/reviews", {"event": "COMMENT", "body": "Hm", "comments": lines}, by=ada)
    for path in ("reviews", f"reviews/{review['id']}", f"reviews/{review['id']}/comments", "comments"):
        await get(f"{pull}/{path}")
    note = {"commit_id": first, "path": "src/train.py", "line": 1, "side": "RIGHT", "body": "Too high"}
    remark = await send("POST", f"{pull}/comments", note)
    await send("POST", f"{pull}/comments", {**note, "subject_type": "file"})
    await send("POST", f"{pull}/comments/{remark['id']}/replies", {"body": "Is it?"}, by=ada)
    path = f"{REPO}/pulls/comments/{remark['id']}"
    await get(path)
    await send("PATCH", path, {"body": "Far too high"})
    reaction = await send("POST", f"{path}/reactions", {"content": "rocket"})
    await send("POST", f"{path}/reactions", {"content": "rocket"})
    await get(f"{path}/reactions")
    await send("DELETE", f"{path}/reactions/{reaction['id']}")
    await send("DELETE", path)

    await github.commit(repository, "models/wider", {"src/train.py": "rate = 0.3\n"})
    await github.push_tag(repository, "v1", "main")
    await send("PUT", f"{pull}/merge", {"merge_method": "squash"}, by=ada)
    await github.move_branch(repository, "models/wider", None)
    await github.wait_for_deliveries()
    deliveries = await get("/app/hook/deliveries?per_page=2&status=success", by=app)
    await get(f"/app/hook/deliveries/{deliveries[0]['id']}", by=app)
    await send("POST", f"/app/hook/deliveries/{deliveries[0]['id']}/attempts", by=app)
    for path in ("/rate_limit", "/meta", "/users/ada"):
        await get(path)
    await get("/user", by=ada)
    await github.wait_for_deliveries()


# What differs from one delivery to the next on GitHub too: an organization stands there for repositories that belong to
# one, and the permissions are those of the App.
NOT_ALWAYS = {"organization", "permissions"}


def shape_problems(delivery: Received) -> Iterator[str]:
    """What all of GitHub's examples of this webhook have and ours has not, or has with another JSON type."""
    examples = examples_of(delivery)
    if examples:
        yield from _differences(delivery.name, examples, delivery.payload)


def examples_of(delivery: Received) -> list[dict[str, Any]]:
    event, action = delivery.headers["X-GitHub-Event"], delivery.payload.get("action")
    if event == "ping":
        # The examples are of a repository's own webhook; an App's has no address of its own and no sender.
        return []
    return [one for one in all_examples().get(event, []) if one.get("action") == action]


@cache
def all_examples() -> dict[str, list[dict[str, Any]]]:
    return {event["name"]: event["examples"] for event in json.loads(contract.EXAMPLES.read_text())}


def _differences(where: str, examples: list[Any], ours: Any) -> Iterator[str]:
    kinds = {_kind(example) for example in examples}
    # null stands for "nothing here" on either side; the types of what is there must agree.
    if ours is not None and kinds - {"null"} and _kind(ours) not in kinds:
        yield f"{where} is {_kind(ours)}, GitHub has {sorted(kinds)}"
    if isinstance(ours, dict):
        objects = [example for example in examples if isinstance(example, dict)]
        for key in set.intersection(*(set(one) for one in objects)) if objects else ():
            if key in NOT_ALWAYS:
                continue
            if key not in ours:
                yield f"{where}.{key} is missing"
            else:
                yield from _differences(f"{where}.{key}", [one[key] for one in objects], ours[key])
    elif isinstance(ours, list):
        items = [item for example in examples if isinstance(example, list) for item in example]
        for item in ours if items else ():
            yield from _differences(f"{where}[]", items, item)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "array", str: "string", int: "number", float: "number", type(None): "null"}
    return names[type(value)]


def _record(
    method: str, route: str, *, query: dict[str, str] | None = None, body: Any = None, status: int, answer: Any = None
) -> RequestRecord:
    return RequestRecord(0, method, route, route, query or {}, "test", {}, body, status, answer)
