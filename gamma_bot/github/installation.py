"""Speaks to GitHub for one installation: its token, its cache, its limits, and its writes in their order."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from cachetools import LRUCache
from gidgethub import sansio

from gamma_bot.github import graphql
from gamma_bot.github.answers import from_status, translated
from gamma_bot.github.client import ANSWER_SECONDS, HEADERS, USER_AGENT
from gamma_bot.github.errors import Forbidden, GitHubError, Held
from gamma_bot.github.limits import Limits
from gamma_bot.github.pacer import Pacer, Ticket, Urgency
from gamma_bot.github.token import InstallationToken

if TYPE_CHECKING:
    from gamma_bot.github.gateway import GitHubApp

Result = TypeVar("Result")

_READ_TRIES = 3


class Installation:
    """The gateway of one installation: always the same object, since ETags belong to its token."""

    def __init__(self, app: GitHubApp, installation_id: int, *, paused_seconds: float = 0.0) -> None:
        self.app = app
        self.installation_id = installation_id
        self.limits = Limits(paused_seconds=paused_seconds)
        self.pacer = Pacer(app.write_interval_seconds)
        self._api = app.api(limits=self.limits, cache=LRUCache(maxsize=100))
        self._uncached = app.api(limits=self.limits)
        self._token = InstallationToken(lambda: app.mint_token(installation_id))
        self._ticket: Ticket | None = None

    def writing_with(self, ticket: Ticket) -> Installation:
        """The same gateway, whose writes wait with this ticket and may be withdrawn by it (``Withdrawn``)."""
        bound = copy.copy(self)
        bound._ticket = ticket
        return bound

    async def get(self, path: str, *, again: bool = True) -> Any:
        """Read a JSON document; an unchanged one costs nothing (ETag), a passing fault is tried again.

        Args:
            again: it may be read again, so that keeping it is worth the memory.

        Raises:
            GitHubError
        """
        api = self._api if again else self._uncached
        return await self._read(
            f"GET {path}", lambda token: api.getitem(path, oauth_token=token, extra_headers=HEADERS)
        )

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
            lambda token: self._api.post(path, data=dict(data), oauth_token=token, extra_headers=HEADERS),
        )

    async def patch(self, path: str, data: Mapping[str, Any]) -> Any:
        """Change something.

        Raises:
            GitHubError
        """
        return await self._write(
            f"PATCH {path}",
            lambda token: self._api.patch(path, data=dict(data), oauth_token=token, extra_headers=HEADERS),
        )

    async def delete(self, path: str) -> None:
        """Remove something.

        Raises:
            GitHubError
        """
        await self._write(
            f"DELETE {path}", lambda token: self._api.delete(path, oauth_token=token, extra_headers=HEADERS)
        )

    async def graphql(self, document: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """The data that a query or a mutation answers. A mutation waits for its turn like any other write.

        Raises:
            GitHubError
        """

        async def ask(token: str) -> Mapping[str, Any]:
            headers = {**sansio.create_headers(USER_AGENT, oauth_token=token), "content-type": "application/json"}
            body = json.dumps({"query": document, "variables": dict(variables)}).encode()
            url = graphql.endpoint(self.app.api_url)
            status, answered, content = await self._uncached.send("POST", url, headers, body)
            if status != 200:
                raise from_status(status, content[:300].decode(errors="replace"), answered, graphql.ROUTE)
            return graphql.data_of(json.loads(content), answered)

        work = self._write if graphql.is_mutation(document) else self._read
        return await work(graphql.ROUTE, ask, resource="graphql")

    async def redirect_of(self, path: str) -> str:
        """Where GitHub redirects to. The answer's address carries its own short-lived permission.

        Raises:
            GitHubError
        """

        async def ask(token: str) -> str:
            headers = {**sansio.create_headers(USER_AGENT, oauth_token=token), **HEADERS}
            url = self.app.api_url + path
            status, answered, content = await self._uncached.send("GET", url, headers, follow=False)
            if status in (301, 302, 303, 307, 308):
                return answered["Location"]
            raise from_status(status, content[:300].decode(errors="replace"), answered, f"GET {path}")

        return await self._called(f"GET {path}", ask)

    def renew(self) -> None:
        """The next call mints a token: the one at hand knows nothing of what has been granted since."""
        self._token.renew()

    async def _read(self, route: str, call: Callable[[str], Awaitable[Result]], *, resource: str = "core") -> Result:
        for attempt in range(1, _READ_TRIES + 1):
            try:
                return await self._called(route, call, resource=resource)
            except GitHubError as error:
                wait = error.retry_after_seconds or 0.2 * 4**attempt
                if attempt == _READ_TRIES or not error.passes_by_itself or wait > 20:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def _write(self, route: str, call: Callable[[str], Awaitable[Result]], *, resource: str = "core") -> Result:
        ticket = self._ticket or Ticket()
        # Before it waits, too: what can't be sent now is better known to its owner than kept in the line.
        self.limits.check(route, resource)
        if ticket.urgency is Urgency.PROGRESS:
            self.limits.check_progress(route)
        async with self.pacer.turn(ticket):
            if not self.app.may_write():
                # Frozen or cut off, perhaps while this write waited: what it tells may be old by now.
                raise Held(0, "this replica of Gamma is out of touch with the others", route)
            return await self._called(route, call, resource=resource)

    async def _called(self, route: str, call: Callable[[str], Awaitable[Result]], *, resource: str = "core") -> Result:
        self.limits.check(route.partition("?")[0], resource)
        try:
            return await self._authorized(route, call)
        except GitHubError as error:
            wait = error.retry_after_seconds
            if wait is not None and self.limits.pause(wait, resource):
                await self.app.paused(self.installation_id, wait)
            raise

    async def _authorized(self, route: str, call: Callable[[str], Awaitable[Result]]) -> Result:
        token = await self._token.get()
        try:
            return await self._answered(route, call, token)
        except Forbidden as error:
            if error.status != 401:
                raise
            # Revoked before its hour was over: a new one, once.
            self._token.refused(token)
            return await self._answered(route, call, await self._token.get())

    async def _answered(self, route: str, call: Callable[[str], Awaitable[Result]], token: str) -> Result:
        async with translated(route), asyncio.timeout(ANSWER_SECONDS):
            return await call(token)
