"""Webhooks that come through a channel: as good as posted ones, and no better."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gamma_bot.ingress.relayed import NotADelivery, read_relayed
from gamma_bot.ingress.server_sent_events import Event, EventReader
from gamma_bot.ingress.tunnel import Tunnel
from gamma_bot.ingress.webhook import LARGEST_BODY_BYTES, Webhook
from gamma_bot.sandbox.channel import SandboxChannel
from gamma_bot.store.database import Database, StoreUnavailable
from gamma_bot.store.inbox import Delivery, Inbox, Stored
from tests.harness import Gamma

SECRET = b"channel-secret"
NAME = "a1b2c3"


class Listener:
    """A tunnel that listens to a sandbox channel and stores into a real database."""

    def __init__(self, channels: SandboxChannel, inbox: Inbox, session: aiohttp.ClientSession, log: list[Any]) -> None:
        self.channels, self.inbox, self.session, self.log = channels, inbox, session, log

    async def post(self, guid: str, body: bytes, *, secret: bytes = SECRET, event: str = "ping") -> None:
        """Post a webhook to the channel, as GitHub does."""
        headers = {
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": guid,
            "X-Hub-Signature-256": _signature(body, secret),
            "Content-Type": "application/json",
        }
        async with self.session.post(self.channels.address(NAME), data=body, headers=headers) as answer:
            assert answer.status == 200

    async def stored(self, guid: str) -> bytes:
        """Wait until a delivery is stored; its body."""
        row = None

        async def there() -> bool:
            nonlocal row
            row = await self.inbox.find(guid)
            return row is not None

        await self.until(there, f"delivery {guid}")
        assert row is not None
        return row.body

    async def refused(self, words: str) -> dict[str, Any]:
        """Wait until the log says why something was refused."""

        async def told() -> bool:
            return any(words in str(line.get("reason")) for line in self.log)

        await self.until(told, f"a reason with {words!r}")
        return next(line for line in self.log if words in str(line.get("reason")))

    async def opened(self, times: int) -> None:
        """Wait until somebody has listened to the channel so often, and does now."""
        channel = self.channels.channel(NAME)

        async def listening() -> bool:
            return channel.opened >= times and bool(channel.listeners)

        await self.until(listening, f"the channel to be opened {times} times")

    async def until(self, look: Callable[[], Any], what: str) -> None:
        async def waiting() -> None:
            while not await look():
                await asyncio.sleep(0.01)

        try:
            await asyncio.wait_for(waiting(), 20)
        except TimeoutError:
            raise AssertionError(f"waited for {what}; the log says {self.log}") from None


class LameInbox(Inbox):
    """A store that is away for the first offers."""

    def __init__(self, database: Database, times: int) -> None:
        super().__init__(database)
        self.times = times

    async def offer(self, delivery: Delivery) -> Stored:
        if self.times > 0:
            self.times -= 1
            raise StoreUnavailable("the disk is full")
        return await super().offer(delivery)


@asynccontextmanager
async def _listening(
    folder: Path, *, keep_alive_seconds: float = 15.0, silence_seconds: float = 10.0, lame: int = 0
) -> AsyncIterator[Listener]:
    database = Database(f"sqlite:///{folder / 'gamma.db'}")
    database.create_tables()
    inbox = LameInbox(database, lame)
    with capture_logs() as log:
        async with (
            SandboxChannel(keep_alive_seconds=keep_alive_seconds) as channels,
            aiohttp.ClientSession() as session,
        ):
            tunnel = Tunnel(
                session,
                channels.address(NAME),
                Webhook(inbox, [SECRET]),
                first_wait_seconds=0.02,
                longest_wait_seconds=0.2,
                silence_seconds=silence_seconds,
                store_waits_seconds=(0.01, 0.01),
            )
            task = asyncio.create_task(tunnel.run())
            listener = Listener(channels, inbox, session, log)
            await listener.opened(1)
            try:
                yield listener
            finally:
                assert not task.done(), "a tunnel never ends by itself"
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
    inbox.close()
    database.close()
    assert NAME not in json.dumps(log, default=str), "whoever reads the log must not learn the channel's address"


@pytest.fixture(autouse=True)
def _uncached_logs() -> None:
    structlog.configure(cache_logger_on_first_use=False)


@pytest.fixture
async def listener(tmp_path: Path) -> AsyncIterator[Listener]:
    async with _listening(tmp_path) as listener:
        yield listener


# ── through the whole of Gamma ──


async def test_a_push_that_comes_through_a_channel_trains(stage: Gamma) -> None:
    async with SandboxChannel() as channels:
        channel = channels.channel(NAME)
        await stage.start(tunnel_url=channels.address(NAME))
        await stage.eventually(lambda: True if channel.listeners else None, "the bot to listen to the channel")
        stage.app.hook.url = channels.address(NAME)

        sha = await stage.push("models", {"train.py": "print('trained – naïvely, 🚀')"}, "Größer & <b>besser</b> 🚀")

        assert (await stage.finished(sha)).conclusion == "success"
        pushes = [delivery for delivery in stage.app.deliveries if delivery.event == "push"]
        assert [delivery.url for delivery in pushes] == [channels.address(NAME)]
        await stage.stop()


# ── what comes in ──


@pytest.mark.parametrize("style", ["json", "text", "base64"])
async def test_a_delivery_is_stored_as_github_sent_it(listener: Listener, style: Any) -> None:
    listener.channels.style = style
    body = '{"zen":"Größe 🚀 \\"quoted\\"","amount":1.0,"big":12345678901234567890,"nested":[{"a":[]}]}'.encode()
    await listener.post("guid-1", body)
    assert await listener.stored("guid-1") == body


async def test_a_repeated_delivery_is_stored_once(listener: Listener) -> None:
    for _ in range(3):
        await listener.post("guid-1", b'{"a":1}')
    await listener.post("guid-2", b'{"a":2}')
    await listener.stored("guid-2")
    assert len(await listener.inbox.newest(10)) == 2
    assert [line for line in listener.log if line["event"] == "tunnel.refused"] == []


async def test_a_delivery_that_github_did_not_sign_is_refused_and_the_log_says_so(listener: Listener) -> None:
    await listener.post("forged", b'{"a":1}', secret=b"guessed")
    line = await listener.refused("X-Hub-Signature-256 is missing or does not match")
    assert (line["delivery"], line["event_name"]) == ("forged", "ping")
    await listener.post("genuine", b'{"a":1}')
    await listener.stored("genuine")
    assert await listener.inbox.find("forged") is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no json", "no JSON object"),
        (b"[1]", "no JSON object"),
        (b'{"a":1} x', "no x-github-event"),
        (b'{"a":1', "no JSON object"),
        (b"\xff\xfe", "no JSON object"),
        (b'{"body":{}}', "no x-github-event header"),
        (b'{"x-github-event":"push"}', "no body"),
        (b'{"x-github-event":"push","bodyB":"*"}', "no body"),
        (b'{"x-github-event":"push","body":' + b"[" * 100_000, "no JSON object"),
    ],
)
async def test_what_is_no_delivery_is_named_and_passed_over(listener: Listener, data: bytes, words: str) -> None:
    listener.channels.channel(NAME).add(b"data: " + data + b"\n\n")
    await listener.refused(words)
    await listener.post("after", b'{"a":1}')
    await listener.stored("after")


async def test_a_body_of_25_mib_comes_through_and_a_larger_one_does_not(listener: Listener) -> None:
    listener.channels.style = "base64"
    frame = len(b'{"a":""}')
    largest = b'{"a":"' + b"x" * (LARGEST_BODY_BYTES - frame) + b'"}'
    await listener.post("largest", largest)
    assert len(await listener.stored("largest")) == LARGEST_BODY_BYTES
    await listener.post("too-large", largest + b" ")
    assert (await listener.refused("larger than 26214400 bytes"))["delivery"] == "too-large"


async def test_an_event_beyond_all_limits_is_dropped_without_being_kept(listener: Listener) -> None:
    listener.channels.channel(NAME).add(b"data: " + b"x" * (2 * LARGEST_BODY_BYTES + 2 * 1024 * 1024) + b"\n\n")
    await listener.refused("an event of more than")
    await listener.post("after", b'{"a":1}')
    await listener.stored("after")
    assert listener.channels.channel(NAME).opened == 1, "the stream goes on behind it"


# ── a connection that breaks ──


async def test_a_broken_connection_is_opened_again_and_what_was_missed_is_asked_for(listener: Listener) -> None:
    await listener.post("before", b'{"a":1}')
    await listener.stored("before")
    listener.channels.refuse(503)
    listener.channels.hang_up(NAME)
    await listener.refused("the channel answered 503")
    await listener.post("meanwhile", b'{"a":2}')
    listener.channels.refuse(None)
    assert await listener.stored("meanwhile") == b'{"a":2}'
    assert listener.channels.channel(NAME).last_event_ids == ["", "1"]


async def test_comments_keep_a_quiet_channel_open(tmp_path: Path) -> None:
    async with _listening(tmp_path, keep_alive_seconds=0.05, silence_seconds=1.0) as listener:
        channel = listener.channels.channel(NAME)

        async def much_longer_than_the_silence() -> bool:
            return channel.comments >= 30

        await listener.until(much_longer_than_the_silence, "30 comments")
        assert listener.channels.channel(NAME).opened == 1
        await listener.post("guid-1", b'{"a":1}')
        await listener.stored("guid-1")


async def test_a_channel_that_falls_silent_is_opened_again(tmp_path: Path) -> None:
    async with _listening(tmp_path, silence_seconds=0.1) as listener:
        await listener.refused("silent for too long")
        await listener.opened(3)
        await listener.post("guid-1", b'{"a":1}')
        await listener.stored("guid-1")


async def test_a_store_that_is_away_for_a_moment_loses_nothing(tmp_path: Path) -> None:
    async with _listening(tmp_path, lame=2) as listener:
        await listener.post("guid-1", b'{"a":1}')
        await listener.stored("guid-1")
        assert listener.channels.channel(NAME).opened == 1


async def test_a_store_that_stays_away_gets_the_delivery_again_from_a_channel_that_kept_it(tmp_path: Path) -> None:
    async with _listening(tmp_path) as listener:
        await listener.post("guid-1", b'{"a":1}')
        await listener.stored("guid-1")
        assert isinstance(listener.inbox, LameInbox)
        listener.inbox.times = 7
        await listener.post("guid-2", b'{"a":2}')
        await listener.stored("guid-2")
        assert listener.channels.channel(NAME).last_event_ids[1:] == ["1", "1"], "it was not passed over"


async def test_waits_grow_and_are_bounded_and_the_channel_may_ask_for_longer_ones() -> None:
    async with aiohttp.ClientSession() as session:
        tunnel = Tunnel(session, "https://smee.example.com/x", Webhook(None, ()), longest_wait_seconds=60)  # type: ignore[arg-type]
        waits = [tunnel._wait_seconds(failures) for failures in range(10)]
        assert all(0.75 * 2**n <= wait <= 2**n for n, wait in enumerate(waits[:6]))
        assert all(45 <= wait <= 60 for wait in waits[6:])
        list(tunnel._reader.feed(b"retry: 10000\n"))
        assert 7.5 <= tunnel._wait_seconds(0) <= 10
        list(tunnel._reader.feed(b"retry: 99999999\n"))
        assert tunnel._wait_seconds(0) <= 60


# ── the format of the stream ──


def test_events_are_read_as_the_standard_frames_them() -> None:
    stream = (
        b"\xef\xbb\xbf: a comment\n\ndata: one\nid: 7\n\nevent: ping\r\ndata:{}\r\n\r\n"
        b"data\ndata: two\rdata:  lines\r\rid: 8\n\nunknown: field\nretry: 1500\nretry: soon\n\ndata: unfinished\n"
    )
    reader = EventReader(1000)
    events = list(reader.feed(stream))
    assert events == [Event("message", b"one"), Event("ping", b"{}"), Event("message", b"\ntwo\n lines")]
    assert (reader.last_event_id, reader.retry_seconds) == ("8", 1.5)
    reader.open("8")
    assert list(reader.feed(b"data: x\n\n")) == [Event("message", b"x")], "what was unfinished is gone"


@given(st.lists(st.binary(max_size=30)), st.lists(st.integers(1, 9)))
def test_it_does_not_matter_how_the_stream_is_cut(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(b"id: %d\r\ndata: %s\r\n\r\n" % pair for pair in enumerate(parts)) + b"data: end\n\n"
    whole, cut = EventReader(200), EventReader(200)
    expected = list(whole.feed(stream))
    found: list[Event] = []
    position, steps = 0, iter([*cuts, *[3] * len(stream)])
    while position < len(stream):
        step = next(steps)
        found += cut.feed(stream[position : position + step])
        position += step
    assert found == expected
    assert expected[-1] == Event("message", b"end")
    assert cut.last_event_id == whole.last_event_id


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_an_event_above_the_limit_is_dropped_and_the_next_one_is_whole(chunk: int) -> None:
    reader = EventReader(50)
    many = b"data: 0123456789\n" * 10
    stream = b"data: " + b"x" * 400 + b"\n\n" + many + b"\n" + b"data: fine\n\n"
    found = [event for start in range(0, len(stream), chunk) for event in reader.feed(stream[start : start + chunk])]
    assert [(event.data, event.too_large) for event in found] == [(b"", True), (b"", True), (b"fine", False)]


# ── the body that GitHub signed ──


def test_the_text_of_the_body_is_kept_as_it_stood() -> None:
    body = r'{"a":1.0,"e":1e5,"u":"\u003cb\u003e","é":"\ud83d","a":2}'
    data = '{ "x-github-event" : "push", "body" : ' + body + ' , "query":{}, "timestamp":1 }'
    assert read_relayed(data.encode()).bodies[0] == body.encode()


def test_a_body_that_was_written_loosely_is_tried_compactly_too() -> None:
    data = b'{"headers":{"X-GitHub-Event":["push"],"X-Github-Delivery":"g"},"payload":{"a": [1, 2], "b": "\\u00e9"}}'
    relayed = read_relayed(data)
    assert relayed.bodies[1:] == ('{"a":[1,2],"b":"é"}'.encode(), rb'{"a":[1,2],"b":"\u00e9"}')
    assert (relayed.event, relayed.guid) == ("push", "g")


def test_raw_forms_come_first() -> None:
    event = {"x-github-event": "push", "body": {"a": 1}, "rawBody": "raw", "bodyB": base64.b64encode(b"bytes").decode()}
    assert read_relayed(json.dumps(event).encode()).bodies[:2] == (b"raw", b"bytes")


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_nothing_that_a_channel_says_is_more_than_refused(data: bytes) -> None:
    with pytest.raises(NotADelivery):
        read_relayed(data)


def _signature(body: bytes, secret: bytes) -> str:
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
