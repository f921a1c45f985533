"""Whatever GitHub has ever sent as an example is taken, handled, and never in the way of the next delivery."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from gamma_bot.cli import gamma as command
from gamma_bot.commands.buttons import Press
from gamma_bot.commands.conversation import Remark
from gamma_bot.events.dispatch import Dispatcher
from gamma_bot.jobs.installations import News
from gamma_bot.jobs.push import Push
from gamma_bot.store.database import Database
from gamma_bot.store.inbox import Delivery, DeliveryRecord, Inbox
from gamma_bot.store.projects import Place, Project
from gamma_bot.store.pulls import PullRecord
from tests.contract import EXAMPLES, WHY_MISSING
from tests.harness import CONFIG, LOGGING_SCRIPT, SECRET, Gamma

pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason=WHY_MISSING)

BRANCHES = ("models", "models/*")
Payload = dict[str, Any]


def examples() -> list[tuple[str, Payload]]:
    """Event and payload of all examples that GitHub's octokit collects."""
    return [(event["name"], payload) for event in json.loads(EXAMPLES.read_bytes()) for payload in event["examples"]]


async def deliver(session: aiohttp.ClientSession, gamma: Gamma, guid: str, event: str, payload: object) -> int:
    """Send a signed webhook; the status of the answer."""
    body = json.dumps(payload).encode()
    headers = {
        "X-GitHub-Delivery": guid,
        "X-GitHub-Event": event,
        "X-Hub-Signature-256": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
        "Content-Type": "application/json",
    }
    async with session.post(gamma.app.hook.url, data=body, headers=headers) as answer:
        return answer.status


async def deliver_all(gamma: Gamma, payloads: list[tuple[str, Payload]]) -> list[int]:
    """Send them all, under GUIDs of their own, over eight connections."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=8)) as session:
        sent = (
            deliver(session, gamma, f"example-{number}", event, payload)
            for number, (event, payload) in enumerate(payloads)
        )
        return await asyncio.gather(*sent)


async def test_every_example_of_octokit_is_taken_and_handled_and_github_is_not_asked_about_it(gamma: Gamma) -> None:
    payloads = examples()
    asked_before = len(gamma.github.requests)

    with capture_logs() as logged:
        statuses = await deliver_all(gamma, payloads)
        await gamma.dispatched()

    assert len(payloads) >= 329
    assert set(statuses) == {202}
    assert await gamma.service.inbox.counts() == {"done": len(payloads)}
    assert [entry for entry in logged if entry["log_level"] in ("warning", "error", "critical")] == []
    asked = [request.route for request in gamma.github.requests[asked_before:]]
    assert set(asked) <= {"/app/hook/deliveries"}, "none of them is about a branch that trains"
    assert await gamma.service.jobs.recent(10) == []


async def test_a_push_nobody_can_read_is_parked_where_a_person_finds_it_and_the_next_one_trains(
    stage: Gamma, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.start()
    broken = {**training_push(), "repository": None}
    async with aiohttp.ClientSession() as session:
        assert await deliver(session, stage, "broken-1", "push", broken) == 202

        async def parked() -> DeliveryRecord | None:
            row = await stage.service.inbox.find("broken-1")
            return row if row is not None and row.state == "parked" else None

        row = await stage.eventually(parked, "the broken delivery to be parked")
    sha = await stage.push("models", {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT})
    assert (await stage.finished(sha)).conclusion == "success"
    await stage.stop()  # its log would stand among the words of the command

    monkeypatch.chdir(stage.folder)
    arguments = ["deliveries", "list", "--state", "parked"]
    environment = {"GAMMA_DATA_DIR": str(stage.settings.data_dir)}
    listed = await asyncio.to_thread(CliRunner().invoke, command, arguments, env=environment)
    assert listed.exit_code == 0
    (line,) = listed.output.splitlines()
    assert re.search(r"broken-1 +push +parked +\w+", line)
    assert row.result in line
    assert row.tries == 1, "it never changes, so nobody tries again"


# ── payloads with something missing, against the dispatcher alone ──


class Desk:
    """A dispatcher on a real inbox; what it hands on is written down instead of done."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.trained: list[Push] = []
        self.seen: list[PullRecord] = []
        self.heard: list[Remark] = []
        self.pressed: list[Press] = []
        self.hinted: list[str] = []
        self.broken: set[str] = set()
        self.dispatcher = Dispatcher(
            inbox,
            BRANCHES,
            train=self._train,
            show_pull_request=self._see,
            converse=self._listen,
            press=self._press,
            meet=self._meet,
            heard=self._hear,
            hint=self._hint,
            own_login=self._nobody,
            app_id="7",
        )

    async def _train(self, push: Push) -> str:
        if push.guid in self.broken:
            raise ConnectionError("the engine is away")
        self.trained.append(push)
        return push.job

    async def _hint(self, attempt: str) -> bool:
        self.hinted.append(attempt)
        return True

    async def _see(self, pull: PullRecord) -> None:
        self.seen.append(pull)

    async def _listen(self, remark: Remark) -> None:
        self.heard.append(remark)

    async def _press(self, press: Press) -> None:
        self.pressed.append(press)

    async def _meet(self, place: Place) -> Project:
        return Project(place.repository_id, place.full_name, place.installation_id)

    async def _hear(self, news: News) -> str:
        return f"heard {type(news).__name__}"

    async def _nobody(self) -> str | None:
        return "gamma[bot]"

    async def handle(self, deliveries: list[Delivery]) -> dict[str, DeliveryRecord]:
        """What became of each of them."""
        await asyncio.gather(*(self.inbox.offer(delivery) for delivery in deliveries))
        return await self.drain()

    async def drain(self) -> dict[str, DeliveryRecord]:
        with capture_logs():  # hundreds of tracebacks, all of them meant
            await self.dispatcher.drain()
        return {row.guid: row for row in await self.inbox.newest(10_000)}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    database = Database(f"sqlite:///{tmp_path / 'gamma.db'}")
    database.create_tables()
    inbox = Inbox(database)
    yield Desk(inbox)
    inbox.close()
    database.close()


def training_push() -> Payload:
    """An example of a push, as if it had gone to a branch that trains."""
    push = next(p for event, p in examples() if event == "push" and p.get("installation") and p.get("head_commit"))
    return {**copy.deepcopy(push), "ref": "refs/heads/models", "after": "a" * 40, "deleted": False}


def training_pull_request() -> Payload:
    """An example of a pull request that was opened, as if it came from a branch that trains."""
    found = next(p for event, p in examples() if event == "pull_request" and p["action"] == "opened")
    payload = copy.deepcopy(found)
    payload["pull_request"]["head"] |= {"ref": "models/x", "repo": payload["repository"]}
    return payload


def damaged(payload: Any, place: tuple[str, ...] = (), depth: int = 3) -> Iterator[tuple[str, Payload]]:
    """The payload with each key, down to a depth, left out, null, or of a type that nobody expects."""
    whole = payload
    inner = payload
    for name in place:
        inner = inner[name]
    if not isinstance(inner, dict) or depth == 0:
        return
    for key in inner:
        for how, value in (("left out", None), ("null", None), ("a list", [1]), ("a number", 7), ("a text", "x")):
            changed = copy.deepcopy(whole)
            at = changed
            for name in place:
                at = at[name]
            if how == "left out":
                del at[key]
            else:
                at[key] = value
            yield f"{'.'.join((*place, key))} {how}", changed
        yield from damaged(whole, (*place, key), depth - 1)


def in_use(place: str) -> bool:
    """Whether anything reads this part of a payload; the hundred URLs of a repository are spared."""
    top, _, rest = place.split(" ")[0].partition(".")
    return not rest or (top in ("repository", "pull_request", "head_commit", "sender", "pusher", "installation")
                        and re.fullmatch(r"id|full_name|html_url|pushed_at|message|timestamp|login|name|type|number"
                                         r"|state|(head|base)(\.(ref|sha|repo))?", rest) is not None)  # fmt: skip


@pytest.mark.parametrize("event", ["push", "pull_request"])
async def test_no_damage_to_a_payload_stops_the_dispatcher_or_loses_the_reason(desk: Desk, event: str) -> None:
    whole = training_push() if event == "push" else training_pull_request()
    variants = {f"{event}: {what}": each for what, each in damaged(whole) if in_use(what)}
    deliveries = [Delivery(guid, event, json.dumps(each).encode(), 1.0) for guid, each in variants.items()]
    last = Delivery("whole", event, json.dumps(whole).encode(), 2.0)

    rows = await desk.handle([*deliveries, last])

    assert len(rows) == len(variants) + 1 > 60
    assert {row.state for row in rows.values()} <= {"done", "parked"}
    assert all(row.result for row in rows.values()), "each says what it was, or why nobody could handle it"
    assert all(re.match(r"\w+(Error|Exception): .", row.result) for row in rows.values() if row.state == "parked")
    assert rows[f"{event}: repository null"].state == "parked"
    assert rows["whole"].result.startswith("job j" if event == "push" else "pull request ")


async def test_every_example_without_any_one_of_its_keys_is_handled_or_parked_with_a_reason(desk: Desk) -> None:
    deliveries = []
    for number, (event, payload) in enumerate(examples()):
        if event not in ("push", "pull_request"):
            continue
        for what, each in damaged(payload, depth=1):
            deliveries.append(Delivery(f"{number} {event} {what}", event, json.dumps(each).encode(), 1.0))

    rows = await desk.handle(deliveries)

    assert len(rows) == len(deliveries)
    assert {row.state for row in rows.values()} <= {"done", "parked"}
    assert all(row.result for row in rows.values())
    assert desk.trained == []


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"push"', b"7", b"{", b"\xff\xfe", b"payload=%7B%7D", b"{}"])
@pytest.mark.parametrize("event", ["push", "pull_request"])
async def test_a_body_that_is_no_payload_at_all_is_ignored_with_a_reason(desk: Desk, event: str, body: bytes) -> None:
    rows = await desk.handle([Delivery("odd", event, body, 1.0)])

    assert rows["odd"].state == "done"
    assert rows["odd"].result.startswith("ignored: ")


async def test_what_can_not_be_handed_on_waits_ever_longer_holds_up_nothing_and_is_parked_at_last(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.broken.add("first")
    body = json.dumps(training_push()).encode()
    now = time.time()
    monkeypatch.setattr("gamma_bot.store.inbox.time.time", lambda: now)

    rows = await desk.handle([Delivery("first", "push", body, 1.0), Delivery("second", "push", body, 2.0)])
    assert [push.guid for push in desk.trained] == ["second"]
    waits = []
    while rows["first"].state == "stored":
        waits.append(round(rows["first"].due_at - now))
        now = rows["first"].due_at - 0.1
        assert (await desk.drain())["first"].tries == len(waits), "not before its time, whatever else comes in"
        now += 0.2
        rows = await desk.drain()

    assert waits == [2, 10, 60, 300]
    assert (rows["first"].state, rows["first"].tries) == ("parked", 5)
    assert rows["first"].result == "ConnectionError: the engine is away"
    desk.broken.clear()
    await desk.inbox.replay("first")
    assert (await desk.drain())["first"].state == "done"
    assert [push.guid for push in desk.trained] == ["second", "first"]


async def test_what_is_trained_has_a_commit_and_a_repository_whatever_was_damaged(desk: Desk) -> None:
    variants = {what: each for what, each in damaged(training_push()) if in_use(what)}

    await desk.handle([Delivery(what, "push", json.dumps(each).encode(), 1.0) for what, each in variants.items()])

    assert desk.trained
    wrong = [
        push.guid
        for push in desk.trained
        if not (re.fullmatch(r"[0-9a-f]{40}", push.after) and re.fullmatch(r"[^/]+/[^/]+", push.repository))
    ]
    assert wrong == []
