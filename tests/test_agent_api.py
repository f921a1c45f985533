"""The agent's REST API at its edges: who may use it, what it refuses and in which words, and how a stream looks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import SecretStr

from gamma_bot.agent.ask_events import Answered
from gamma_bot.app import Gamma as Service
from gamma_bot.jobs.asking import MOST_TRIES, Asking, Inquiry, NotAsked, WhyNotAsked
from gamma_bot.store.asks import Asks, NewAsk
from gamma_bot.web.agent_api import LARGEST_BODY_BYTES, AgentApi
from tests.anthropic_fake import KEY, AnthropicFake, Say
from tests.harness import Gamma, gamma_with_repository
from tests.stand_ins import MemoryTracking, PatientTrainer

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "token-of-the-rest-api"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fake() -> AsyncIterator[AnthropicFake]:
    """The API that answers."""
    async with AnthropicFake().serve() as api:
        yield api


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gamma(tmp_path_factory: pytest.TempPathFactory, app_key: str, fake: AnthropicFake) -> AsyncIterator[Gamma]:
    """A Gamma with the API on, and a repository that it has met and that never trained."""
    tracking = MemoryTracking()
    folder = tmp_path_factory.mktemp("api")
    files = {"README.md": "# Walker\n", "notes.txt": "one\ntwo\n"}
    async with gamma_with_repository(folder, app_key, tracking.uri, files=files) as one:
        one.tracking, one.trainer = tracking, PatientTrainer(tracking)
        await one.start(anthropic_api_key=SecretStr(KEY), anthropic_base_url=fake.url, api_token=SecretStr(TOKEN))
        await _meet(one)
        yield one


async def _meet(gamma: Gamma) -> None:
    """Gamma knows a repository once something was to be done there."""
    await gamma.push("feature", {"notes.txt": "three\n"})
    pull = await gamma.open_pull_request("feature", base="main")
    await gamma.github.comment(gamma.repository, pull.number, "/gamma help", "ada")
    await gamma.dispatched()
    await gamma.flushed()


@asynccontextmanager
async def post(
    gamma: Gamma, path: str, body: Any = None, *, headers: dict[str, str] | None = None, raw: bytes | None = None
) -> AsyncIterator[tuple[aiohttp.ClientResponse, str]]:
    """A request and the whole of its answer."""
    assert gamma.service is not None
    data = raw if raw is not None else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{gamma.service.url}/api/agent/{path}", data=data, headers=BEARER if headers is None else headers
        ) as response,
    ):
        yield response, await response.text()


async def refusal(gamma: Gamma, path: str, body: Any = None, **more: Any) -> tuple[int, str, str]:
    """Status, code and words of a refusal."""
    async with post(gamma, path, body, **more) as (response, text):
        error = json.loads(text)["error"]
        return response.status, error["code"], error["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer tökén"},
    ],
)
async def test_nobody_gets_in_without_the_token(gamma: Gamma, headers: dict[str, str]) -> None:
    for path in (f"chat/{gamma.repository.id}", "chat/404", f"summary/{gamma.repository.id}/{'a' * 40}"):
        status, code, _ = await refusal(gamma, path, {"question": "?"}, headers=headers)
        assert (status, code) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"{", 400, "bad_json"),
        (b"[1]", 400, "bad_json"),
        (b"[" * 60_000, 400, "bad_json"),
        (b"x" * (LARGEST_BODY_BYTES + 1), 413, "too_large"),
        (b"{}", 400, "bad_question"),
        (b'{"question": "  "}', 400, "bad_question"),
        (b'{"question": 7}', 400, "bad_question"),
        (json.dumps({"question": "x" * 2_001}).encode(), 400, "bad_question"),
        (b'{"question": "?", "sha": "main"}', 400, "bad_sha"),
        (b'{"question": "?", "conversation": "../x"}', 400, "bad_conversation"),
        (b'{"question": "?", "model": "another"}', 400, "bad_request"),
    ],
)
async def test_what_is_no_question_is_refused(gamma: Gamma, body: bytes, status: int, code: str) -> None:
    found = await refusal(gamma, f"chat/{gamma.repository.id}", raw=body)

    assert found[:2] == (status, code)
    assert found[2].endswith(".")


@pytest.mark.parametrize("project", ["404", "0x10", "9" * 30, "-1"])
async def test_a_project_that_gamma_does_not_know(gamma: Gamma, project: str) -> None:
    assert (await refusal(gamma, f"chat/{project}", {"question": "?"}))[:2] == (404, "no_project")


async def test_a_repository_that_never_trained_can_be_asked_about(gamma: Gamma, fake: AnthropicFake) -> None:
    fake.script = [
        Say(tools=[("list_runs", {"limit": 5, "status": ""}), ("read_file", _file("notes.txt"))]),
        Say("It has no run yet; see [[file:notes.txt#L2]]."),
    ]
    async with post(gamma, f"chat/{gamma.repository.id}", {"question": "How good is it?"}) as (response, text):
        assert response.headers["Content-Type"].startswith("text/event-stream")
    shown = [json.loads(block["content"])["data"] for block in fake.requests[-1]["messages"][-1]["content"]]

    assert shown[0] == {"runs": []}
    assert shown[1]["lines"] == ["1: one", "2: two"]
    assert "notes.txt#L2)" in text.rpartition("event: done")[2]


async def test_commits_of_a_fork_are_not_the_project_s(gamma: Gamma, fake: AnthropicFake) -> None:
    stranger = gamma.github.create_user("stranger")
    fork = await gamma.github.fork(gamma.repository, stranger)
    sha = await gamma.github.commit(fork, "main", {"notes.txt": "hunter2\n"}, "Secret", author=stranger)
    feature = await gamma.push("feature", {"notes.txt": "not yet merged\n"})
    fake.script = [
        Say(tools=[("read_file", _file("notes.txt", sha=one)) for one in (sha, sha[:8], feature)]),
        Say("Nothing."),
    ]
    async with post(gamma, f"chat/{gamma.repository.id}", {"question": f"What is in {sha}?"}) as (_, text):
        assert "event: done" in text
    results = [block["content"] for block in fake.requests[-1]["messages"][-1]["content"]]

    assert len(set(results)) == 1
    assert results[0] == '{"error": "There is no such file."}'


async def test_a_silent_model_keeps_the_stream_alive(gamma: Gamma, fake: AnthropicFake) -> None:
    assert gamma.service is not None
    app = web.Application()
    api = AgentApi(TOKEN, gamma.service.projects, gamma.service._asking, lambda: None, ping_seconds=0.02)
    api.add_routes(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.script = [Say("Well", breaks="stall")]
    try:
        address = f"http://127.0.0.1:{runner.addresses[0][1]}/api/agent/chat/{gamma.repository.id}"
        async with (
            aiohttp.ClientSession(headers=BEARER) as session,
            session.post(address, json={"question": "?"}) as response,
        ):
            pings = 0
            async with asyncio.timeout(10):
                while pings < 3:
                    pings += (await response.content.readline()) == b": ping\n"
    finally:
        await runner.cleanup()


async def test_a_request_is_answered_once_and_not_tried_for_ever(gamma: Gamma, fake: AnthropicFake) -> None:
    asking, asks = _asking(gamma), Asks(_service(gamma).database)
    inquiry = Inquiry(gamma.repository.id, "r1", "pull:1", "bob", "Well?")
    fake.script = [Say("Once.")]
    first = await asking.ask(inquiry, _ignored)
    sent = len(fake.requests)

    assert await asking.ask(inquiry, _ignored) == first
    assert isinstance(first, Answered)
    assert (first.markdown, len(fake.requests)) == ("Once.", sent)
    for _ in range(MOST_TRIES):  # what a process leaves behind that dies while it asks
        await asks.open(NewAsk("r2", gamma.repository.id, "pull:2", "bob", "And?"), most_an_hour=10)
        await asks.trying("r2")
    again = replace(inquiry, request="r2", thread="pull:2")
    assert [await asking.ask(again, _ignored) for _ in "12"] == [NotAsked(WhyNotAsked.INTERRUPTED)] * 2
    assert len(fake.requests) == sent


async def test_one_person_asks_so_often_and_one_thread_one_thing_at_a_time(gamma: Gamma, fake: AnthropicFake) -> None:
    asking, asks = _asking(gamma), Asks(_service(gamma).database)
    fake.script = lambda _: Say("Yes.")
    inquiries = [
        Inquiry(gamma.repository.id, f"eve-{n}", f"pull:{n}", "eve", "Well?", most_an_hour=2) for n in range(3, 6)
    ]
    await asks.open(NewAsk("open", gamma.repository.id, "pull:9", "mallory", "?"), most_an_hour=10)

    outcomes = [await asking.ask(each, _ignored) for each in inquiries]
    busy = await asking.ask(Inquiry(gamma.repository.id, "b", "pull:9", "bob", "Well?"), _ignored)

    assert [type(outcome) for outcome in outcomes] == [Answered, Answered, NotAsked]
    assert isinstance(outcomes[2], NotAsked)
    assert (outcomes[2].why, 3500 < outcomes[2].again_at - time.time() < 3700) == (WhyNotAsked.TOO_MANY, True)
    assert busy == NotAsked(WhyNotAsked.BUSY)


async def test_summaries_want_a_whole_sha_of_something_that_trained(gamma: Gamma) -> None:
    assert (await refusal(gamma, f"summary/{gamma.repository.id}/main"))[:2] == (400, "bad_sha")
    assert (await refusal(gamma, f"summary/{gamma.repository.id}/{'a' * 40}"))[0] in (404, 503)


async def test_without_a_token_it_is_off_and_without_a_key_it_says_so(gamma: Gamma) -> None:
    await gamma.stop()
    await gamma.start(api_token=None)
    off = await refusal(gamma, f"chat/{gamma.repository.id}", {"question": "?"}, headers={"Authorization": "Bearer "})
    await gamma.stop()
    await gamma.start(api_token=SecretStr(TOKEN), anthropic_api_key=None)
    keyless = await refusal(gamma, f"chat/{gamma.repository.id}", {"question": "?"})
    told = [
        await _asking(gamma).ask(Inquiry(gamma.repository.id, f"k{n}", "pull:7", "kim", "?"), _ignored)
        for n in (1, 1, 2)
    ]

    assert off[:2] == (404, "off")
    assert "GAMMA_API_TOKEN" in off[2]
    assert keyless[:2] == (503, "no_agent")
    assert "GAMMA_ANTHROPIC_API_KEY" in keyless[2]
    assert told == [NotAsked(WhyNotAsked.NO_AGENT, told_before=before) for before in (False, False, True)]


def _service(gamma: Gamma) -> Service:
    assert gamma.service is not None
    return gamma.service


def _asking(gamma: Gamma) -> Asking:
    asking = _service(gamma)._asking()
    assert asking is not None
    return asking


async def _ignored(_event: object) -> None:
    return None


def _file(path: str, sha: str = "") -> dict[str, Any]:
    return {"sha": sha, "path": path, "start": 1, "lines": 10}
