"""The one way to GitHub: App credentials, a token per installation, an ETag cache, paced writes, typed errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

import aiohttp
import gidgethub
from cachetools import LRUCache
from gidgethub.aiohttp import GitHubAPI

from gamma_bot.github.errors import Forbidden, GitHubError, NotFound, Rejected
from gamma_bot.github.keys import SigningKey

Result = TypeVar("Result")

# 2026-03-10 exists; this one is supported for at least two years after it, also by Enterprise Server.
API_VERSION = "2022-11-28"
_HEADERS = {"X-GitHub-Api-Version": API_VERSION}
_TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10)
_ANSWER_SECONDS = 30.0
_READ_TRIES = 3
_TOKEN_MARGIN_SECONDS = 5 * 60


class GitHubApp:
    """Gamma as GitHub's App: everything that needs the App's key, and a gateway per installation.

    Args:
        api_url: ``https://api.github.com``, or Enterprise Server's ``https://HOST/api/v3``.
        app_id: the App's id or client id.
        keys: what signs for the App; two keys while one is being rotated out.
        write_interval_seconds: least time between two writes of an installation (GitHub asks for a second).
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        api_url: str,
        app_id: str,
        keys: tuple[SigningKey, ...],
        write_interval_seconds: float = 1.0,
    ) -> None:
        self.session = session
        self.api_url = api_url
        self.app_id = app_id
        self.write_interval_seconds = write_interval_seconds
        self._keys = keys
        self._installations: dict[int, Installation] = {}

    def installation(self, installation_id: int) -> Installation:
        """The gateway of an installation; always the same object, since ETags belong to its token."""
        return self._installations.setdefault(installation_id, Installation(self, installation_id))

    async def app(self) -> Mapping[str, Any]:
        """Who we are at GitHub: proves that the address, the id and the key fit together.

        Raises:
            GitHubError
        """
        return dict(await self._as_app("GET", "/app"))

    async def mint_token(self, installation_id: int) -> tuple[str, float]:
        """A new installation token and the Unix time at which it ends (an hour from now).

        Raises:
            GitHubError
        """
        answer = await self._as_app("POST", f"/app/installations/{installation_id}/access_tokens")
        ends = unix_time(answer["expires_at"])
        return str(answer["token"]), ends

    def api(self, cache: LRUCache[str, Any] | None = None) -> GitHubAPI:
        """A plain gidgethub client on our session."""
        return GitHubAPI(self.session, "gamma-bot", base_url=self.api_url, cache=cache)

    async def _as_app(self, method: str, path: str) -> Any:
        refused: Forbidden | None = None
        for key in self._keys:
            try:
                answer = await self._signed(method, path, key)
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

    async def _signed(self, method: str, path: str, key: SigningKey) -> Any:
        async with translated(f"{method} {path}"), asyncio.timeout(_ANSWER_SECONDS):
            token = key.jwt(self.app_id)
            api = self.api()
            if method == "GET":
                return await api.getitem(path, jwt=token, extra_headers=_HEADERS)
            return await api.post(path, data={}, jwt=token, extra_headers=_HEADERS)


class Installation:
    """Speaks to GitHub for one installation."""

    def __init__(self, app: GitHubApp, installation_id: int) -> None:
        self.app = app
        self.installation_id = installation_id
        self._api = app.api(LRUCache(maxsize=100))
        self._uncached = app.api()
        self._token: tuple[str, float] | None = None
        self._minting = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._last_write = float("-inf")
        self._paused_until = float("-inf")

    async def get(self, path: str, *, again: bool = True) -> Any:
        """Read a JSON document; an unchanged one costs nothing (ETag), a passing fault is tried again.

        Args:
            again: it may be read again, so that keeping it is worth the memory.

        Raises:
            GitHubError
        """
        api = self._api if again else self._uncached
        for attempt in range(1, _READ_TRIES + 1):
            try:
                return await self._with_token(
                    f"GET {path}", lambda token: api.getitem(path, oauth_token=token, extra_headers=_HEADERS)
                )
            except GitHubError as error:
                wait = error.retry_after_seconds or 0.2 * 4**attempt
                if attempt == _READ_TRIES or not error.passes_by_itself or wait > 20:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def get_all(self, path: str) -> list[Any]:
        """All pages of a list; ``path`` should ask for ``per_page=100``.

        Raises:
            GitHubError
        """
        pages: list[Any] = []
        separator = "&" if "?" in path else "?"
        for page in range(1, 31):
            items = await self.get(path if page == 1 else f"{path}{separator}page={page}")
            pages += items
            if len(items) < 100:
                break
        return pages

    async def post(self, path: str, data: Mapping[str, Any]) -> Any:
        """Create something. Never repeated here: the caller knows how to look up whether it exists.

        Raises:
            GitHubError
        """
        return await self._write(
            f"POST {path}",
            lambda token: self._api.post(path, data=dict(data), oauth_token=token, extra_headers=_HEADERS),
        )

    async def patch(self, path: str, data: Mapping[str, Any]) -> Any:
        """Change something.

        Raises:
            GitHubError
        """
        return await self._write(
            f"PATCH {path}",
            lambda token: self._api.patch(path, data=dict(data), oauth_token=token, extra_headers=_HEADERS),
        )

    async def delete(self, path: str) -> None:
        """Remove something.

        Raises:
            GitHubError
        """
        await self._write(
            f"DELETE {path}", lambda token: self._api.delete(path, oauth_token=token, extra_headers=_HEADERS)
        )

    async def redirect_of(self, path: str) -> str:
        """Where GitHub redirects to. The answer's address carries its own short-lived permission.

        Raises:
            GitHubError
        """

        async def ask(token: str) -> str:
            async with self.app.session.get(
                self.app.api_url + path,
                headers={**_HEADERS, "Authorization": f"token {token}", "User-Agent": "gamma-bot"},
                allow_redirects=False,
                timeout=_TIMEOUT,
            ) as response:
                if response.status in (301, 302, 303, 307, 308):
                    return response.headers["Location"]
                raise _from_status(
                    response.status, (await response.text())[:300], dict(response.headers), "GET " + path
                )

        return await self._with_token(f"GET {path}", ask)

    async def token(self) -> str:
        """The installation's token, minted once for all who ask at the same time.

        Raises:
            GitHubError
        """
        async with self._minting:
            if self._token is None or self._token[1] - time.time() < _TOKEN_MARGIN_SECONDS:
                self._token = await self.app.mint_token(self.installation_id)
            return self._token[0]

    async def _write(self, route: str, call: Callable[[str], Awaitable[Result]]) -> Result:
        # GitHub asks for writes one after the other, a second apart, or it limits the whole installation.
        async with self._writing:
            wait = self._last_write + self.app.write_interval_seconds - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            try:
                return await self._with_token(route, call)
            finally:
                self._last_write = time.monotonic()

    async def _with_token(self, route: str, call: Callable[[str], Awaitable[Result]]) -> Result:
        # A limit is the whole installation's: whoever calls on is limited for longer.
        left = self._paused_until - time.monotonic()
        if left > 0:
            raise GitHubError(429, "GitHub asked us to wait", route.split("?")[0], left)
        try:
            return await self._authorized(route, call)
        except GitHubError as error:
            if error.retry_after_seconds is not None:
                self._paused_until = max(self._paused_until, time.monotonic() + error.retry_after_seconds)
            raise

    async def _authorized(self, route: str, call: Callable[[str], Awaitable[Result]]) -> Result:
        token = await self.token()
        try:
            async with translated(route):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    return await call(token)
        except Forbidden as error:
            if error.status != 401:
                raise
            # Revoked before its hour was over: a new one, once.
            if self._token is not None and self._token[0] == token:
                self._token = None
            token = await self.token()
            async with translated(route):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    return await call(token)


@asynccontextmanager
async def translated(route: str) -> AsyncIterator[None]:
    """Turn everything that gidgethub and aiohttp raise into ``GitHubError``."""
    route = route.split("?")[0]
    try:
        yield
    except gidgethub.HTTPException as error:
        raise _from_status(error.status_code, str(error), error.headers, route) from None
    except (gidgethub.GitHubException, KeyError, ValueError) as error:
        # gidgethub lets these through for answers that are no GitHub answers (a proxy's error page, say).
        raise GitHubError(0, f"an answer that is not GitHub's ({type(error).__name__})", route) from None
    except TimeoutError:
        raise GitHubError(0, "no answer in time", route) from None
    except aiohttp.ClientError as error:
        raise GitHubError(0, f"the connection failed ({type(error).__name__})", route) from None


def _from_status(status: int | Any, message: str, headers: Mapping[str, str] | None, route: str) -> GitHubError:
    code, route = int(status), route.split("?")[0]
    headers = {name.lower(): value for name, value in (headers or {}).items()}
    wait: float | None = None
    if code in (403, 429):
        if "retry-after" in headers:
            wait = _seconds(headers["retry-after"])
        elif headers.get("x-ratelimit-remaining") == "0":
            wait = max(1.0, _seconds(headers.get("x-ratelimit-reset", "")) - time.time())
        elif code == 429 or "secondary rate limit" in message.lower():
            wait = 60.0  # GitHub: wait at least a minute when it does not say how long
    if wait is not None:
        return GitHubError(code, message, route, wait)
    if code == 404:
        return NotFound(code, message, route)
    if code in (401, 403):
        return Forbidden(code, message, route)
    if code < 500:
        return Rejected(code, message, route)
    return GitHubError(code, message, route)


def _seconds(text: str) -> float:
    """A header's number of seconds; a minute where it is something else (HTTP allows a date)."""
    return float(text) if text.strip().isdigit() else 60.0


def unix_time(text: str) -> float:
    """GitHub's "2026-11-23T10:00:00Z" as Unix seconds."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
