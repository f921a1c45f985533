"""``POST /webhook``: read at most 25 MiB, verify, store, answer. No GitHub call, no parsing that can fail late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from aiohttp import web

from gamma_bot.ingress.signature import is_signed_by
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.inbox import Delivery, Inbox, Stored

# GitHub does not deliver payloads over 25 MB; aiohttp's own default limit is 1 MiB.
LARGEST_BODY_BYTES = 25 * 1024 * 1024

_LONGEST_NAME = 200
_SLOWEST_BODY_SECONDS = 15
_UNSIGNED = "X-Hub-Signature-256 is missing or does not match the body and the webhook secret"
_UNCONFIGURED = "no webhook secret is configured: set GAMMA_GITHUB_WEBHOOK_SECRET and start Gamma again"


class Webhook:
    """The endpoint that GitHub delivers to.

    Answers: 202 stored, 200 known already, 400 headers missing, 401 signature missing or wrong, 408 too slow,
    413 too large, 415 compressed, 503 could not be stored (GitHub then shows the delivery as failed, and it can be
    delivered again).
    """

    def __init__(self, inbox: Inbox, secrets: Sequence[bytes]) -> None:
        self._inbox = inbox
        self._secrets = tuple(secrets)

    def add_routes(self, app: web.Application) -> None:
        """Serve both names that the outside relies on."""
        app.router.add_post("/webhook", self.receive)
        app.router.add_post("/api/webhooks/github", self.receive)

    async def receive(self, request: web.Request) -> web.Response:
        """Handle one delivery."""
        if not self._secrets:
            return _answer(503, _UNCONFIGURED)  # before the body is read: nothing could be done with it
        if not request.headers.get("X-Hub-Signature-256", ""):
            return _answer(401, _UNSIGNED)  # likewise: up to 25 MiB are not taken from somebody who can't sign
        if "Content-Encoding" in request.headers:
            return _answer(415, "GitHub sends payloads as they are: take Content-Encoding away")
        try:
            # Most payloads are here already, and a timer for each of thousands a second would cost more than the rest.
            if request.content.is_eof():
                body = await request.read()
            else:
                async with asyncio.timeout(_SLOWEST_BODY_SECONDS):
                    body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _answer(413, f"the payload is larger than {LARGEST_BODY_BYTES} bytes")
        except TimeoutError:
            return _answer(408, f"the payload did not come within {_SLOWEST_BODY_SECONDS} seconds")
        return await self.take(body, request.headers)

    async def take(self, body: bytes, headers: Mapping[str, str]) -> web.Response:
        """Verify and store one delivery, however it came here.

        Args:
            body: the bytes that GitHub signed.
            headers: GitHub's, by their usual names; the mapping must not care about case.
        """
        if not self._secrets:
            return _answer(503, _UNCONFIGURED)
        if not is_signed_by(body, headers.get("X-Hub-Signature-256", ""), self._secrets):
            return _answer(401, _UNSIGNED)
        guid, event = headers.get("X-GitHub-Delivery", ""), headers.get("X-GitHub-Event", "")
        if not (_is_name(guid) and _is_name(event)):
            return _answer(400, "a webhook needs the headers X-GitHub-Delivery and X-GitHub-Event")
        try:
            stored = await self._inbox.offer(Delivery(guid, event, body, time.time()))
        except StoreUnavailable:
            return _answer(503, "the delivery could not be stored; deliver it again later")
        match stored:
            case Stored.NEW:
                return _answer(202, "stored")
            case Stored.DUPLICATE:
                return _answer(200, "known already")


def _is_name(text: str) -> bool:
    """What GitHub sends there is short and plain; anything else could not be stored in every database."""
    return 0 < len(text) <= _LONGEST_NAME and text.isascii() and text.isprintable()


def _answer(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n")
