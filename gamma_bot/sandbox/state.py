"""All that one sandbox knows, found by the keys that requests use, and a record of those requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gamma_bot.sandbox.ids import iso_time

if TYPE_CHECKING:
    from gamma_bot.sandbox.model import Account, App, Installation, InstallationToken, Repository


@dataclass
class RequestRecord:
    """One request to the API and its answer, for tests that count calls or hold them against the contract."""

    time: float
    method: str
    route: str
    """The path with GitHub's names for its parts, such as ``/repos/{owner}/{repo}/check-runs``."""
    path: str
    query: dict[str, str]
    actor: str
    """``anonymous``, ``user:ada``, ``app:gamma`` or ``installation:17``."""
    request_headers: dict[str, str]
    request_json: Any = None
    status: int = 0
    """0 when the connection was dropped before an answer."""
    response_json: Any = None
    response_headers: dict[str, str] = field(default_factory=dict)
    had_etag: bool = False
    """Whether the request was conditional (``If-None-Match``)."""
    fault: str | None = None
    """The planned fault that hit it, so that nobody holds its answer against the contract."""


class State:
    """Everything the sandbox knows, found by the keys that requests use.

    Whatever changes it calls ``changed()``, so that pages and tests can wait for a change instead of polling.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.accounts: dict[str, Account] = {}
        """By lower-case login."""
        self.repositories: dict[str, Repository] = {}
        """By lower-case ``owner/name``."""
        self.old_names: dict[str, Repository] = {}
        """Lower-case ``owner/name`` of old → the repository that was renamed or transferred since."""
        self.apps: dict[int, App] = {}
        self.installations: dict[int, Installation] = {}
        self.tokens: dict[str, InstallationToken] = {}
        self.manifest_codes: dict[str, tuple[App, float]] = {}
        """One-time code of the manifest flow → the App and the time the code ends."""
        self.revision = 0
        self._next_id = 1000
        self._waiters: set[asyncio.Future[None]] = set()

    def now(self) -> str:
        return iso_time(self.clock())

    def next_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def account(self, login: str) -> Account | None:
        return self.accounts.get(login.lower())

    def repository(self, full_name: str) -> Repository | None:
        return self.repositories.get(full_name.lower())

    def repository_by_id(self, number: int) -> Repository | None:
        return next((repository for repository in self.repositories.values() if repository.id == number), None)

    def moved(self, full_name: str) -> Repository | None:
        """The repository that had this name once, if nobody has it now."""
        return None if self.repository(full_name) else self.old_names.get(full_name.lower())

    def app_by_slug(self, slug: str) -> App | None:
        return next((app for app in self.apps.values() if app.slug == slug), None)

    def installations_on(self, repository: Repository) -> list[Installation]:
        """The installations that cover this repository, suspended ones too."""
        return [installation for installation in self.installations.values() if installation.covers(repository)]

    def changed(self) -> None:
        """Tell everyone who waits that something is different now."""
        self.revision += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def next_change(self, since: int | None = None) -> int:
        """Wait until the revision is higher than ``since`` (the present one by default); answers the new revision."""
        seen = self.revision if since is None else since
        while self.revision <= seen:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        return self.revision
