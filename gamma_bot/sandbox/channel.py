"""A webhook channel as smee's: what is posted to it comes out as server-sent events, to whoever listens.

It forgets nothing within its bounds, so a listener that comes back with ``Last-Event-ID`` gets what it missed.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

from aiohttp import web

KEPT_EVENTS = 1000
_LARGEST_POST_BYTES = 64 * 1024 * 1024
_FORWARDED = ("content-type", "user-agent")


@dataclass(eq=False)
class Channel:
    """One channel: what came in, and who listens."""

    events: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=KEPT_EVENTS))
    newest: int = 0
    opened: int = 0
    """How often somebody began to listen."""
    last_event_ids: list[str] = field(default_factory=list)
    """What each listener said it knew already."""
    comments: int = 0
    """How often a listener was told nothing, to keep its connection open."""
    listeners: set[asyncio.Transport] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, frame: bytes) -> None:
        """Send a frame to everyone who listens or comes back later."""
        self.newest += 1
        self.events.append((self.newest, b"id: %d\n" % self.newest + frame))
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class SandboxChannel:
    """A server of channels: ``POST /channel/{id}`` takes a webhook, ``GET /channel/{id}`` is the event stream.

    Attributes:
        style: how the body is handed on: as JSON (smee), as its text, or in base64.
        keep_alive_seconds: how often a comment is sent when there is nothing to say.
    """

    def __init__(self, *, keep_alive_seconds: float = 15.0) -> None:
        self.style: Literal["json", "text", "base64"] = "json"
        self.keep_alive_seconds = keep_alive_seconds
        self.url = ""
        self._channels: dict[str, Channel] = {}
        self._runner: web.AppRunner | None = None
        self._refused: int | None = None

    def channel(self, name: str) -> Channel:
        """The channel of this name; it begins to exist when somebody asks for it."""
        return self._channels.setdefault(name, Channel())

    def address(self, name: str) -> str:
        """What GitHub posts to, and what a bot listens to."""
        return f"{self.url}/channel/{name}"

    def refuse(self, status: int | None) -> None:
        """Answer listeners with this status from now on; ``None`` lets them in again."""
        self._refused = status

    def hang_up(self, name: str) -> None:
        """Break every listener's connection, as a proxy does that has had enough."""
        for transport in list(self.channel(name).listeners):
            transport.abort()

    async def start(self) -> None:
        application = web.Application(client_max_size=_LARGEST_POST_BYTES)
        application.router.add_post("/channel/{name}", self._receive)
        application.router.add_get("/channel/{name}", self._stream)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        for name in self._channels:
            self.hang_up(name)
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        event: dict[str, Any] = {
            name.lower(): value
            for name, value in request.headers.items()
            if name.lower().startswith("x-") or name.lower() in _FORWARDED
        }
        match self.style:
            case "json":
                event["body"] = json.loads(body)
            case "text":
                event["rawBody"] = body.decode()
            case "base64":
                event["bodyB"] = base64.b64encode(body).decode()
        data = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
        self.channel(request.match_info["name"]).add(b"data: " + data + b"\n\n")
        return web.Response(status=200)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self._refused is not None:
            return web.Response(status=self._refused, text="not now")
        channel = self.channel(request.match_info["name"])
        known = request.headers.get("Last-Event-ID", "")
        channel.opened += 1
        channel.last_event_ids.append(known)
        # Like smee, a newcomer hears only what comes from now on; whoever says what it knew gets the rest.
        sent = int(known) if known.isdecimal() else channel.newest
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            return response
        channel.listeners.add(transport)
        try:
            await response.write(b"event: ready\ndata: {}\n\n")
            while True:
                changed = channel.changed
                for number, frame in list(channel.events):
                    if number > sent:
                        await response.write(frame)
                        sent = number
                try:
                    await asyncio.wait_for(changed.wait(), self.keep_alive_seconds)
                except TimeoutError:
                    await response.write(b": still here\n\n")
                    channel.comments += 1
        except ConnectionError:
            return response
        finally:
            channel.listeners.discard(transport)
