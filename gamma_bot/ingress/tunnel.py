"""``gamma serve --tunnel``: takes webhooks from a channel of server-sent events, for a laptop without an address.

A channel (smee's, or one of the same kind) receives GitHub's POST and hands it on as an event whose data is a JSON
object: the headers in small letters, and the body. What arrives goes the way of ``/webhook``: the signature is checked
on the bytes that GitHub signed, so the channel can read deliveries and lose them, but not make them up.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import aiohttp
import structlog
from aiohttp import web

from gamma_bot.ingress.relayed import NotADelivery, Relayed, read_relayed
from gamma_bot.ingress.server_sent_events import Event, EventReader
from gamma_bot.ingress.webhook import LARGEST_BODY_BYTES, Webhook

log = structlog.get_logger()

# A body inside a JSON string grows by its escapes, and in base64 by a third.
_LARGEST_EVENT_BYTES = 2 * LARGEST_BODY_BYTES + 1024 * 1024
_LARGE_BYTES = 1024 * 1024


class Tunnel:
    """Listens to one channel for as long as it runs, and opens it again whenever it closes.

    Args:
        url: the channel's address, the one that GitHub posts to. Whoever knows it can read the deliveries.
        first_wait_seconds: how long to wait before the channel is opened again; doubles with each failure.
        silence_seconds: a channel that says nothing for so long, not even a comment, is taken for dead.
        store_waits_seconds: how long to wait between the tries to store a delivery while the store is away.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        webhook: Webhook,
        *,
        first_wait_seconds: float = 1.0,
        longest_wait_seconds: float = 60.0,
        silence_seconds: float = 90.0,
        store_waits_seconds: Sequence[float] = (0.5, 1.0, 2.0, 4.0),
    ) -> None:
        self._session = session
        self._url = url
        self._webhook = webhook
        self._first_wait = first_wait_seconds
        self._longest_wait = longest_wait_seconds
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence_seconds)
        self._store_waits = tuple(store_waits_seconds)
        self._reader = EventReader(_LARGEST_EVENT_BYTES)
        self._handled_id = ""
        self._heard = False

    async def run(self) -> None:
        """Listen until cancelled."""
        failures = 0
        while True:
            self._heard = False
            try:
                await self._listen()
                reason = "the channel ended the connection"
            except TimeoutError:
                reason = "the channel was silent for too long"
            except (aiohttp.ClientError, _Again) as error:
                reason = str(error) or type(error).__name__
            failures = 0 if self._heard else failures + 1
            wait = self._wait_seconds(failures)
            # Neither the address nor aiohttp's words about it: whoever reads the log must not learn the channel.
            log.warning("tunnel.closed", reason=reason.replace(self._url, "the channel"), again_in_seconds=wait)
            await asyncio.sleep(wait)

    async def _listen(self) -> None:
        self._reader.open(self._handled_id)
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store", "User-Agent": "gamma-bot"}
        if self._handled_id:
            headers["Last-Event-ID"] = self._handled_id
        async with self._session.get(self._url, headers=headers, timeout=self._timeout) as response:
            if response.status != 200 or response.content_type != "text/event-stream":
                raise _Again(
                    f"the channel answered {response.status} {response.content_type} instead of an event stream"
                )
            log.info("tunnel.open", host=response.url.host)
            async for chunk in response.content.iter_any():
                self._heard = True
                for event in self._reader.feed(chunk):
                    await self._handle(event)
                    self._handled_id = self._reader.last_event_id

    async def _handle(self, event: Event) -> None:
        if event.name != "message":
            return  # smee's "ready" and "ping"
        if event.too_large:
            log.warning("tunnel.refused", reason=f"an event of more than {_LARGEST_EVENT_BYTES} bytes")
            return
        try:
            if len(event.data) > _LARGE_BYTES:
                relayed = await asyncio.to_thread(read_relayed, event.data)
            else:
                relayed = read_relayed(event.data)
        except NotADelivery as error:
            log.warning("tunnel.refused", reason=str(error))
            return
        answer = await self._offer(relayed)
        if answer.status >= 300:
            reason = (answer.text or "").strip()
            log.warning("tunnel.refused", delivery=relayed.guid, event_name=relayed.event, reason=reason)

    async def _offer(self, relayed: Relayed) -> web.Response:
        """Hand a delivery to the webhook. Nobody would deliver it again for us, so a lame store is waited for."""
        for wait in (*self._store_waits, None):
            answer = await self._take(relayed)
            if answer.status != 503:
                return answer
            if wait is not None:
                await asyncio.sleep(wait)
        # A channel that keeps its events gives this one again, since our Last-Event-ID has not moved past it.
        raise _Again(f"delivery {relayed.guid} could not be stored: {(answer.text or '').strip()}")

    async def _take(self, relayed: Relayed) -> web.Response:
        """The answer for the form of the body that GitHub signed; each of the others is refused without effect."""
        answer = web.Response(status=413, text=f"the payload is larger than {LARGEST_BODY_BYTES} bytes")
        for body in relayed.bodies:
            if len(body) <= LARGEST_BODY_BYTES:
                answer = await self._webhook.take(body, relayed.headers)
                if answer.status != 401:
                    break
        return answer

    def _wait_seconds(self, failures: int) -> float:
        asked = min(self._reader.retry_seconds or 0.0, self._longest_wait)
        wait: float = min(max(self._first_wait, asked) * 2.0 ** min(failures, 16), self._longest_wait)
        # Many bots behind one channel host must not all come back at the same moment.
        return round(wait * random.uniform(0.75, 1.0), 3)  # noqa: S311 - no secret


class _Again(Exception):
    """The channel must be opened again."""
