"""What every part of the sandbox works on: its memory, its repositories, its webhooks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from gamma_bot.sandbox.faults import Faults
from gamma_bot.sandbox.git import Git
from gamma_bot.sandbox.limits import Limits
from gamma_bot.sandbox.model import Account, RequestRecord, State
from gamma_bot.sandbox.model_actions import Machines
from gamma_bot.sandbox.urls import Urls
from gamma_bot.sandbox.webhooks import Webhooks

KEPT_REQUESTS = 10_000

_NOREPLY = re.compile(r"(?:\d+\+)?(?P<login>[^@]+)@users\.noreply\.github\.example")


class Forge:
    """The sandbox without its servers."""

    def __init__(self, root: Path, urls: Urls, codeload_url: str, clock: Callable[[], float]) -> None:
        self.root = root
        self.repositories_dir = root / "repositories"
        self.urls = urls
        self.codeload_url = codeload_url
        self.clock = clock
        self.state = State(clock)
        self.git = Git(root / "home", clock)
        self.webhooks = Webhooks(self.state)
        self.limits = Limits(clock)
        self.faults = Faults()
        self.requests: list[RequestRecord] = []
        self.violations: list[str] = []
        """What a caller did that GitHub would punish, such as sending its token along to another host."""
        self.stateless_tokens = False
        """Whether new installation tokens have the long form, about 520 characters."""
        self.downloads: dict[str, tuple[Path, str, str]] = {}
        """One-time token of a tarball → repository folder, commit, name of the top folder."""
        self.files: dict[str, tuple[bytes, str]] = {}
        """Token of another download → its content and media type."""
        self.machines = Machines()
        self._locks: dict[Path, asyncio.Lock] = {}

    def record(self, request: RequestRecord) -> None:
        """Remember a request; a demo that runs for days keeps the newest ones."""
        self.requests.append(request)
        if len(self.requests) > 2 * KEPT_REQUESTS:
            del self.requests[:-KEPT_REQUESTS]

    def pushing(self, git_dir: Path) -> asyncio.Lock:
        """Held while branches of a repository move, so that each push sees the refs before and after itself."""
        return self._locks.setdefault(git_dir, asyncio.Lock())

    def account_by_email(self, email: str) -> Account | None:
        match = _NOREPLY.fullmatch(email)
        if match:
            return self.state.account(match["login"])
        return next((account for account in self.state.accounts.values() if account.email == email), None)
