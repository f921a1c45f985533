"""Sends webhooks as GitHub does: signed, once, with ten seconds to answer, and remembered for the list of deliveries.

GitHub never repeats a failed delivery by itself, and neither does the sandbox. By default deliveries to one App go out
one after another; ``in_order = False`` sends them all at once, and ``hold``/``release`` let a test choose any order.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import aiohttp

from gamma_bot.sandbox.model import App, Delivery, State, iso_time

MAXIMUM_PAYLOAD_BYTES = 25 * 1024 * 1024
"""Above this GitHub sends nothing at all."""

KEPT_SECONDS = 3 * 24 * 3600
"""How long a delivery can be listed and asked for again."""


class Webhooks:
    """The queue of outgoing webhooks of one sandbox."""

    def __init__(self, state: State, *, timeout_seconds: float = 10.0) -> None:
        self.timeout_seconds = timeout_seconds
        self.in_order = True
        self._state = state
        self._session: aiohttp.ClientSession | None = None
        self._waiting: deque[Delivery] = deque()
        self._held: list[Delivery] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._pumps: dict[int, tuple[deque[Delivery], asyncio.Task[None]]] = {}

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.timeout_seconds))
        self._dispatch()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def send(
        self, app: App, event: str, action: str | None, payload: dict[str, Any], *,
        installation_id: int | None = None, repository_id: int | None = None,
    ) -> Delivery | None:  # fmt: skip
        """Queue one webhook; None if the App has no active hook or the payload is too large to be delivered."""
        if not app.hook.active or not app.hook.url:
            return None
        body = self._body(app, payload)
        if len(body) > MAXIMUM_PAYLOAD_BYTES:
            return None
        guid = str(uuid.uuid4())
        delivery = Delivery(
            id=self._state.next_id(), guid=guid, app=app, event=event, action=action, installation_id=installation_id,
            repository_id=repository_id, delivered_at=self._state.now(), redelivery=False, url=app.hook.url,
            request_headers=self._headers(app, event, guid, body), request_body=body, payload=payload,
        )  # fmt: skip
        self._queue(delivery)
        return delivery

    def redeliver(self, delivery: Delivery) -> Delivery:
        """Send it again: the same GUID and body, signed with the App's secret of today, to its address of today."""
        app = delivery.app
        again = Delivery(
            id=self._state.next_id(), guid=delivery.guid, app=app, event=delivery.event, action=delivery.action,
            installation_id=delivery.installation_id, repository_id=delivery.repository_id,
            delivered_at=self._state.now(), redelivery=True, url=app.hook.url,
            request_headers=self._headers(app, delivery.event, delivery.guid, delivery.request_body),
            request_body=delivery.request_body, payload=delivery.payload,
        )  # fmt: skip
        self._queue(again)
        return again

    def hold(self) -> None:
        """Keep what is sent from now on until ``release``."""
        if self._held is None:
            self._held = []

    @property
    def held(self) -> Sequence[Delivery]:
        return tuple(self._held or ())

    def release(self, order: Callable[[list[Delivery]], Sequence[Delivery]] = list) -> None:
        """Send what was held, in the order that ``order`` gives it; what it leaves out is never sent."""
        held, self._held = self._held or [], None
        self._waiting.extend(order(held))
        self._dispatch()

    async def idle(self) -> None:
        """Wait until every webhook that is not held has its answer (or has failed)."""
        while self._waiting or self._tasks:
            if self._session is None:
                raise RuntimeError("webhooks are waiting, but the sandbox has not been started")
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def recent(self, app: App) -> list[Delivery]:
        """The deliveries that GitHub still shows, newest first."""
        return [delivery for delivery in reversed(app.deliveries) if self._is_recent(delivery)]

    def _is_recent(self, delivery: Delivery) -> bool:
        return delivery.delivered_at >= iso_time(self._state.clock() - KEPT_SECONDS)

    def _queue(self, delivery: Delivery) -> None:
        delivery.app.deliveries.append(delivery)
        while not self._is_recent(delivery.app.deliveries[0]):
            del delivery.app.deliveries[0]
        if self._held is not None:
            self._held.append(delivery)
            return
        self._waiting.append(delivery)
        self._dispatch()

    def _dispatch(self) -> None:
        if self._session is None:
            return
        while self._waiting:
            delivery = self._waiting.popleft()
            if not self.in_order:
                self._start(self._deliver(delivery))
                continue
            queue, task = self._pumps.get(delivery.app.id, (None, None))
            if queue is None or task is None or task.done():
                queue = deque([delivery])
                self._pumps[delivery.app.id] = (queue, self._start(self._pump(queue)))
            else:
                queue.append(delivery)

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _pump(self, queue: deque[Delivery]) -> None:
        while queue:
            await self._deliver(queue.popleft())

    async def _deliver(self, delivery: Delivery) -> None:
        assert self._session is not None
        started = time.monotonic()
        try:
            async with self._session.post(
                delivery.url, data=delivery.request_body, headers=delivery.request_headers, allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self.timeout_seconds),
            ) as response:  # fmt: skip
                delivery.response_body = (await response.read()).decode(errors="replace")
                delivery.response_headers = dict(response.headers)
                delivery.status_code = response.status
                accepted = 200 <= response.status < 300
                delivery.status = "OK" if accepted else f"Invalid HTTP Response: {response.status}"
        except TimeoutError:
            delivery.status, delivery.status_code = "timed out", 504
        except aiohttp.ClientError:
            delivery.status, delivery.status_code = "failed to connect to host", 502
        delivery.duration_seconds = time.monotonic() - started
        self._state.changed()

    def _body(self, app: App, payload: dict[str, Any]) -> bytes:
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        return urlencode({"payload": text}).encode() if app.hook.content_type == "form" else text.encode()

    def _headers(self, app: App, event: str, guid: str, body: bytes) -> dict[str, str]:
        kind = "application/x-www-form-urlencoded" if app.hook.content_type == "form" else "application/json"
        headers = {
            "Accept": "*/*",
            "Content-Type": kind,
            "User-Agent": "GitHub-Hookshot/5a4d9b1",
            "X-GitHub-Delivery": guid,
            "X-GitHub-Event": event,
            "X-GitHub-Hook-ID": str(app.id),
            "X-GitHub-Hook-Installation-Target-ID": str(app.id),
            "X-GitHub-Hook-Installation-Target-Type": "integration",
        }
        if app.hook.secret:
            key = app.hook.secret.encode()
            headers["X-Hub-Signature"] = f"sha1={hmac.new(key, body, hashlib.sha1).hexdigest()}"
            headers["X-Hub-Signature-256"] = f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}"
        return headers
