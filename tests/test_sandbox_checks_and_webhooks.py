"""Check runs keep GitHub's limits and one-way streets; webhooks are signed, sent once, and can be asked for again."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gamma_bot.sandbox.call import ApiError
from gamma_bot.sandbox.webhooks import MAXIMUM_PAYLOAD_BYTES
from tests.sandbox_api import PERMISSIONS, Reply, Stage, open_stage, signing_key

REPO = "/repos/ada/walker"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path / "github") as stage:
        yield stage


async def create(hub: Stage, **fields: Any) -> Reply:
    body = {"name": "gamma / train", "head_sha": await hub.github.head(hub.repository), **fields}
    return await hub.call("POST", f"{REPO}/check-runs", body, token=await hub.token())


def note(line: int) -> dict[str, Any]:
    return {"path": "a", "start_line": line, "end_line": line, "annotation_level": "notice", "message": "m"}


@pytest.mark.parametrize(
    "fields",
    [
        {"output": {"title": "t", "summary": "x" * 65_536}},
        {"output": {"title": "t", "summary": "s", "text": "x" * 65_536}},
        {"output": {"title": "t", "summary": "s", "annotations": [note(line) for line in range(1, 52)]}},
        {"output": {"title": "t"}},
        {"status": "completed"},
        {"status": "waiting"},
        {"conclusion": "stale"},
        {"actions": [{"label": "l" * 21, "description": "d", "identifier": "i"}]},
        {"actions": [{"label": "l", "description": "d" * 41, "identifier": "i"}]},
        {"actions": [{"label": "l", "description": "d", "identifier": "i"}] * 4},
        {"head_sha": "0123456789" * 4},
        {"started_at": "yesterday"},
        {"started_at": 1700000000},
        {"started_at": "2026-02-31T10:00:00Z"},
        {"started_at": "2026-02-03 10:00:00"},
        {"completed_at": "2026-02-03", "conclusion": "success"},
        {"output": {"title": "t", "summary": "s", "annotations": [{**note(1), "start_line": "1"}]}},
        {"output": {"title": "t", "summary": "s", "annotations": [{**note(1), "end_line": 1.5}]}},
        {"output": {"title": "t", "summary": "s", "annotations": [{**note(1), "end_line": None}]}},
        {"output": {"title": "t", "summary": "s", "annotations": [{**note(1), "start_column": True}]}},
        {"output": {"title": "t", "summary": "s", "annotations": [{**note(1), "annotation_level": "error"}]}},
        {"output": {"title": "t", "summary": "s", "annotations": [{**note(1), "title": "x" * 256}]}},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_what_github_refuses_is_refused(hub: Stage, fields: dict[str, Any]) -> None:
    assert (await create(hub, **fields)).status == 422
    assert hub.repository.check_runs == []


async def test_times_are_told_in_utc(hub: Stage) -> None:
    started = "2026-02-03T10:00:00.75+02:00"
    run = (await create(hub, started_at=started, completed_at="2026-02-03T08:00:05Z", conclusion="success")).body

    assert (run["started_at"], run["completed_at"]) == ("2026-02-03T08:00:00Z", "2026-02-03T08:00:05Z")


async def test_annotations_add_up_over_updates(hub: Stage) -> None:
    run = (await create(hub)).body
    for start in (1, 51):
        output = {"title": "t", "summary": "s", "annotations": [note(line) for line in range(start, start + 50)]}
        path = f"{REPO}/check-runs/{run['id']}"
        reply = await hub.call("PATCH", path, {"output": output}, token=await hub.token())

    assert reply.body["output"]["annotations_count"] == 100


async def test_a_completed_run_never_goes_back(hub: Stage) -> None:
    run = (await create(hub, conclusion="failure")).body
    path = f"{REPO}/check-runs/{run['id']}"
    late = await hub.call("PATCH", path, {"status": "in_progress"}, token=await hub.token())

    assert (late.status, late.body["status"], late.body["conclusion"]) == (200, "completed", "failure")


async def test_only_its_own_app_changes_a_run(hub: Stage) -> None:
    run = (await create(hub)).body
    hub.app = hub.github.create_app("Other", PERMISSIONS, [], private_key_pem=signing_key())
    hub.installation = hub.github.install(hub.app, hub.repository)

    foreign = await hub.call(
        "PATCH", f"{REPO}/check-runs/{run['id']}", {"conclusion": "success"}, token=await hub.token()
    )

    assert foreign.status == 403
    assert foreign.body["message"].startswith(f"Invalid app_id `{hub.app.id}`")


async def test_the_newest_run_of_a_name_counts(hub: Stage) -> None:
    await create(hub, conclusion="failure", external_id="first")
    await create(hub, conclusion="success", external_id="second")
    token = await hub.token()
    latest = (await hub.call("GET", f"{REPO}/commits/main/check-runs", token=token)).body
    every = (await hub.call("GET", f"{REPO}/commits/main/check-runs?filter=all", token=token)).body
    suites = (await hub.call("GET", f"{REPO}/commits/main/check-suites", token=token)).body

    assert [run["external_id"] for run in latest["check_runs"]] == ["second"]
    assert every["total_count"] == 2
    assert [(suite["conclusion"], suite["latest_check_runs_count"]) for suite in suites["check_suites"]] == [
        ("success", 1)
    ]


async def test_rerun_asks_the_app_and_changes_only_the_suite(hub: Stage) -> None:
    await create(hub, conclusion="failure")
    run = hub.repository.check_runs[0]
    await hub.github.rerequest(run, "grace")
    await hub.github.rerequest(run.suite, "grace")
    await hub.github.wait_for_deliveries()

    assert (run.status, run.conclusion, run.suite.status, run.suite.conclusion) == (
        "completed", "failure", "queued", None,
    )  # fmt: skip
    assert hub.names()[-2:] == ["check_run.rerequested", "check_suite.rerequested"]


async def test_a_rerun_of_one_run_and_of_all_are_told_apart_and_only_to_their_own_app(hub: Stage) -> None:
    """One run: ``check_run.rerequested``. All of them: one ``check_suite.rerequested`` and nothing for its runs."""
    other = hub.github.create_app(
        "Other", {"checks": "write"}, [], hub.app.hook.url, private_key_pem=signing_key(), owner="ada"
    )
    hub.github.install(other, hub.repository)
    for name in ("gamma / train", "gamma / config"):
        await create(hub, name=name, conclusion="failure")
    run = hub.repository.check_runs[0]
    await hub.github.wait_for_deliveries()
    hub.received.clear()
    await hub.github.rerequest(run, "grace")
    await hub.github.rerequest(run.suite, "ada")
    await hub.github.wait_for_deliveries()

    assert hub.names() == ["check_run.rerequested", "check_suite.rerequested"]
    one, every = (delivery.payload for delivery in hub.received)
    assert (one["check_run"]["id"], one["check_run"]["app"]["id"], one["sender"]["login"]) == (
        run.id, hub.app.id, "grace",
    )  # fmt: skip
    assert (every["check_suite"]["id"], every["check_suite"]["latest_check_runs_count"]) == (run.suite.id, 2)


async def test_a_rerun_needs_write_access_and_a_completed_run(hub: Stage) -> None:
    await create(hub, status="in_progress")
    run = hub.repository.check_runs[0]
    with pytest.raises(ApiError, match="not completed"):
        await hub.github.rerequest(run, "grace")
    for subject in (run, run.suite):
        with pytest.raises(ApiError, match="push access"):
            await hub.github.rerequest(subject, "guest")


async def test_a_button_needs_write_access(hub: Stage) -> None:
    await create(hub, actions=[{"label": "Stop", "description": "d", "identifier": "stop"}])
    run = hub.repository.check_runs[0]
    with pytest.raises(ApiError, match="push access"):
        await hub.github.click(run, "stop", "guest")
    await hub.github.click(run, "stop", "grace")
    await hub.github.wait_for_deliveries()

    clicked = hub.received[-1].payload
    assert (clicked["requested_action"], clicked["sender"]["login"]) == ({"identifier": "stop"}, "grace")


async def test_people_can_not_write_check_runs(hub: Stage) -> None:
    body = {"name": "x", "head_sha": await hub.github.head(hub.repository)}
    reply = await hub.call("POST", f"{REPO}/check-runs", body, token=hub.github.state.accounts["ada"].token)

    assert (reply.status, reply.body["message"]) == (403, "You must authenticate via a GitHub App.")


async def test_a_comment_has_at_most_65536_characters(hub: Stage) -> None:
    issue, token = hub.github.open_issue(hub.repository, "Long"), await hub.token()
    path = f"{REPO}/issues/{issue.number}/comments"
    fits = await hub.call("POST", path, {"body": "ü" * 65_536}, token=token)
    too_long = await hub.call("POST", path, {"body": "x" * 65_537}, token=token)

    assert (fits.status, too_long.status) == (201, 422)
    assert fits.body["user"]["login"] == "gamma-test[bot]"
    assert fits.body["user"]["type"] == "Bot"
    assert fits.body["performed_via_github_app"]["slug"] == "gamma-test"


async def test_a_reaction_given_twice_is_one(hub: Stage) -> None:
    hub.github.open_issue(hub.repository, "Hi")
    comment, token = await hub.github.comment(hub.repository, 1, "/gamma train", "grace"), await hub.token()
    path = f"{REPO}/issues/comments/{comment.id}/reactions"
    replies = [await hub.call("POST", path, {"content": "eyes"}, token=token) for _ in range(2)]

    assert [reply.status for reply in replies] == [201, 200]
    assert replies[0].body["id"] == replies[1].body["id"]


async def test_webhooks_are_signed_with_the_app_s_secret(hub: Stage) -> None:
    await hub.github.commit(hub.repository, "models/x", {"a": "1"})
    await hub.github.wait_for_deliveries()
    delivery = next(one for one in hub.received if one.name == "push")

    expected = hmac.new(b"s3cret", delivery.body, hashlib.sha256).hexdigest()
    assert delivery.headers["X-Hub-Signature-256"] == f"sha256={expected}"
    assert delivery.headers["X-GitHub-Hook-Installation-Target-ID"] == str(hub.app.id)
    assert delivery.headers["X-GitHub-Hook-Installation-Target-Type"] == "integration"


async def test_a_failed_delivery_is_listed_and_comes_again_only_when_asked(hub: Stage) -> None:
    hub.answer_status = 503
    await hub.github.commit(hub.repository, "models/x", {"a": "1"})
    await hub.github.wait_for_deliveries()
    hub.answer_status = 202
    failed = (await hub.call("GET", "/app/hook/deliveries?status=failure", token=hub.jwt())).body
    push = next(one for one in failed if one["event"] == "push")
    count = len(hub.received)

    asked = await hub.call("POST", f"/app/hook/deliveries/{push['id']}/attempts", token=hub.jwt())
    await hub.github.wait_for_deliveries()

    assert (push["status"], push["status_code"], push["redelivery"]) == ("Invalid HTTP Response: 503", 503, False)
    assert asked.status == 202
    assert len(hub.received) == count + 1
    assert hub.received[-1].headers["X-GitHub-Delivery"] == push["guid"]
    newest = (await hub.call("GET", "/app/hook/deliveries?per_page=1", token=hub.jwt())).body[0]
    assert (newest["guid"], newest["redelivery"], newest["status"]) == (push["guid"], True, "OK")


async def test_the_list_of_deliveries_is_walked_by_cursor(hub: Stage) -> None:
    for number in range(3):
        await hub.github.commit(hub.repository, "models/x", {"a": str(number)})
    await hub.github.wait_for_deliveries()
    page, guids = await hub.call("GET", "/app/hook/deliveries?per_page=2", token=hub.jwt()), []
    while True:
        guids += [one["guid"] for one in page.body]
        if "Link" not in page.headers:
            break
        page = await hub.call("GET", page.headers["Link"].split(">")[0][1:], token=hub.jwt())

    assert guids == [one.guid for one in reversed(hub.app.deliveries)]


async def test_a_receiver_that_is_too_slow_or_gone_counts_as_failed(hub: Stage) -> None:
    gone = asyncio.Event()

    async def sleepy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(sleepy, "127.0.0.1", 0)
    hub.app.hook.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    hub.github.webhooks.timeout_seconds = 0.05
    hub.github.suspend(hub.installation)
    await hub.github.wait_for_deliveries()
    gone.set()
    server.close()
    await server.wait_closed()
    hub.github.unsuspend(hub.installation)
    await hub.github.wait_for_deliveries()

    assert [(one.status, one.status_code) for one in hub.app.deliveries[-2:]] == [
        ("timed out", 504),
        ("failed to connect to host", 502),
    ]


async def test_held_webhooks_arrive_in_the_order_a_test_wants(hub: Stage) -> None:
    await create(hub)
    await hub.github.wait_for_deliveries()
    hub.received.clear()
    hub.github.webhooks.hold()
    await hub.github.commit(hub.repository, "models/x", {"a": "1"})
    await hub.github.commit(hub.repository, "models/x", {"a": "2"})
    assert hub.received == []
    hub.github.webhooks.release(lambda held: [one for one in reversed(held) if one.event == "push"])
    await hub.github.wait_for_deliveries()

    assert [one.payload["created"] for one in hub.received] == [False, True]


async def test_a_payload_over_25_mb_is_never_sent(hub: Stage) -> None:
    before = len(hub.app.deliveries)
    sent = hub.github.webhooks.send(hub.app, "push", None, {"x": "x" * MAXIMUM_PAYLOAD_BYTES})

    assert sent is None
    assert len(hub.app.deliveries) == before


async def test_every_app_with_checks_write_gets_its_own_suite(hub: Stage) -> None:
    other = hub.github.create_app("Other", {"checks": "write"}, [], private_key_pem=signing_key())
    reader = hub.github.create_app("Reader", {"checks": "read"}, [], private_key_pem=signing_key())
    for app in (other, reader):
        hub.github.install(app, hub.repository)
    sha = await hub.github.commit(hub.repository, "models/x", {"a": "1"})

    suites = [suite for suite in hub.repository.suites.values() if suite.head_sha == sha]
    assert [suite.app.slug for suite in suites] == ["gamma-test", "other"]
    await hub.github.wait_for_deliveries()
    assert [one.payload["check_suite"]["app"]["id"] for one in hub.received if one.name == "check_suite.requested"] == [
        hub.app.id
    ]
