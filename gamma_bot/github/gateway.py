"""The one way to GitHub: the App, which signs with its key, and a gateway per installation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
from cachetools import LRUCache
from gidgethub import sansio

from gamma_bot.github.answers import translated, unix_time
from gamma_bot.github.calls import Calls
from gamma_bot.github.client import ANSWER_SECONDS, HEADERS, USER_AGENT, Client
from gamma_bot.github.errors import Forbidden
from gamma_bot.github.installation import Installation
from gamma_bot.github.keys import SigningKey
from gamma_bot.github.limits import Limits


class GitHubApp:
    """Gamma as GitHub's App: everything that needs the App's key, and a gateway per installation.

    Args:
        api_url: ``https://api.github.com``, or Enterprise Server's ``https://HOST/api/v3``.
        app_id: the App's id or client id.
        keys: what signs for the App; two keys while one is being rotated out.
        write_interval_seconds: least time between two writes of an installation (GitHub asks for a second).
        paused_until: by installation, until when (Unix seconds) GitHub asked an earlier process not to call.
        on_pause: told when GitHub asks such a thing; it must not raise.
        may_write: asked right before each write: whether this process still speaks for Gamma.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        api_url: str,
        app_id: str,
        keys: tuple[SigningKey, ...],
        write_interval_seconds: float = 1.0,
        paused_until: Mapping[int, float] | None = None,
        on_pause: Callable[[int, float], Awaitable[None]] | None = None,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self.session = session
        self.api_url = api_url
        self.app_id = app_id
        self.write_interval_seconds = write_interval_seconds
        self.may_write = may_write
        self.calls = Calls()
        self._keys = keys
        self._paused_until = dict(paused_until or {})
        self._on_pause = on_pause
        self._installations: dict[int, Installation] = {}

    def installation(self, installation_id: int) -> Installation:
        """The gateway of an installation; always the same object, since ETags belong to its token."""
        found = self._installations.get(installation_id)
        if found is None:
            paused_seconds = self._paused_until.get(installation_id, 0.0) - time.time()
            found = Installation(self, installation_id, paused_seconds=max(0.0, paused_seconds))
            self._installations[installation_id] = found
        return found

    @property
    def installations(self) -> Collection[Installation]:
        """Those that were called for since the start."""
        return self._installations.values()

    async def paused(self, installation_id: int, seconds: float) -> None:
        """GitHub asked not to be called for an installation."""
        if self._on_pause is not None:
            await self._on_pause(installation_id, time.time() + seconds)

    async def app(self) -> Mapping[str, Any]:
        """Who we are at GitHub: proves that the address, the id and the key fit together.

        Raises:
            GitHubError
        """
        return await self.get("/app")

    async def get(self, path: str) -> Mapping[str, Any]:
        """Read something as the App itself, which needs no installation.

        Raises:
            GitHubError
        """
        return dict(
            await self._as_app(f"GET {path}", lambda token: self.api().getitem(path, jwt=token, extra_headers=HEADERS))
        )

    async def mint_token(self, installation_id: int) -> tuple[str, float]:
        """A new installation token and the Unix time at which it ends (an hour from now).

        Raises:
            GitHubError
        """
        answer = await self.post(f"/app/installations/{installation_id}/access_tokens")
        ends = unix_time(answer["expires_at"])
        return str(answer["token"]), ends

    async def get_page(self, path: str) -> tuple[list[Any], str | None]:
        """A page of a list that only the App may read, and the cursor of the page after it.

        Raises:
            GitHubError
        """

        async def ask(token: str) -> tuple[list[Any], str | None]:  # gidgethub gives no page's link to the next one
            headers = {**sansio.create_headers(USER_AGENT, jwt=token), **HEADERS}
            answer = await self.api().send("GET", self.api_url + path, headers)
            items, _, following = sansio.decipher_response(*answer)
            return items, following

        items, following = await self._as_app(f"GET {path}", ask)
        # Only the cursor: our key's signature goes to the address that is configured, not to one from an answer.
        cursor = parse_qs(urlsplit(following or "").query).get("cursor", [None])[0]
        return list(items), cursor

    async def post(self, path: str) -> Any:
        """Ask for something that only the App may ask for.

        Raises:
            GitHubError
        """
        return await self._as_app(
            f"POST {path}", lambda token: self.api().post(path, data={}, jwt=token, extra_headers=HEADERS)
        )

    def api(self, *, limits: Limits | None = None, cache: LRUCache[str, Any] | None = None) -> Client:
        """A client on our session, without credentials."""
        return Client(self.session, self.api_url, self.calls, limits=limits, cache=cache)

    async def _as_app(self, route: str, call: Callable[[str], Awaitable[Any]]) -> Any:
        refused: Forbidden | None = None
        for key in self._keys:
            try:
                async with translated(route), asyncio.timeout(ANSWER_SECONDS):
                    answer = await call(key.jwt(self.app_id))
            except Forbidden as error:
                if error.status != 401:
                    raise
                refused = refused or error
                continue
            # The key that GitHub knows goes first from now on; the tuple is replaced, so that a loop beside us ends.
            self._keys = (key, *(other for other in self._keys if other != key))
            return answer
        assert refused is not None, "there is at least one key"
        raise refused
