"""gidgethub's client on our session: every answer is counted, and the limits in its headers are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
from cachetools import LRUCache
from gidgethub.aiohttp import GitHubAPI

from gamma_bot.github.calls import Calls
from gamma_bot.github.limits import Limits

USER_AGENT = "gamma-bot"
# 2026-03-10 exists; this one is supported for at least two years after it, also by Enterprise Server.
API_VERSION = "2022-11-28"
HEADERS = {"X-GitHub-Api-Version": API_VERSION}
ANSWER_SECONDS = 30.0


class Client(GitHubAPI):
    """Sends requests. Who calls it brings the credentials, the time-out and ``translated`` along.

    Args:
        limits: those of the installation that it calls for.
        cache: what was read, by address; it must be one per token, since GitHub's ETags are.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api_url: str,
        calls: Calls,
        *,
        limits: Limits | None = None,
        cache: LRUCache[str, Any] | None = None,
    ) -> None:
        super().__init__(session, USER_AGENT, base_url=api_url, cache=cache)
        self._calls = calls
        self._limits = limits

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, follow: bool = True
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the answer to one request.

        Args:
            follow: go where a redirect leads.
        """
        status = 0
        try:
            async with self._session.request(
                method, url, headers=headers, data=body, allow_redirects=follow
            ) as response:
                content = await response.read()
                status = response.status
        finally:
            # Enterprise Server has GraphQL beside REST, at /api/graphql and /api/v3.
            path = url.removeprefix(self.base_url).removeprefix(self.base_url.removesuffix("/v3"))
            self._calls.count(method, path.partition("?")[0], status)
        if self._limits is not None:
            self._limits.note(response.headers)
        return status, response.headers, content

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        return await self.send(method, url, headers, body)
