"""The sandbox GitHub: a real server on this machine that stands for GitHub in the demo and in the tests.

>>> async with SandboxGitHub(folder) as github:
...     repository = github.create_repository("ada", "walker", {"train.py": "…"})
...     github.install(github.create_app("Gamma", {"checks": "write"}, ["push"], url, secret), repository)
...     await github.commit(repository, "models/wider", {"train.py": "…"}, author="ada")
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from gamma_bot.sandbox.actions_runner import stop_machines
from gamma_bot.sandbox.codeload import download_application
from gamma_bot.sandbox.dispatch import add_api
from gamma_bot.sandbox.faults import Faults, Hook, Watch
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.git_http import add_git
from gamma_bot.sandbox.limits import Limits
from gamma_bot.sandbox.model import RequestRecord, State
from gamma_bot.sandbox.model_actions import Machines
from gamma_bot.sandbox.people import People
from gamma_bot.sandbox.urls import Urls
from gamma_bot.sandbox.webhooks import Webhooks

MAXIMUM_REQUEST_BYTES = 32 * 1024 * 1024


class SandboxGitHub(People):
    """One GitHub. The addresses are known from the start; it answers between ``start`` and ``stop``.

    Attributes:
        url: where the pages and Git are: ``{url}/{owner}/{repo}``, ``{url}/{owner}/{repo}.git``.
        api_url: where the API is: ``{url}/api/v3``, as on an Enterprise Server.
        codeload_url: where tarballs come from: another origin, where API tokens must not be sent.
    """

    def __init__(
        self, root: Path, *, host: str = "127.0.0.1", port: int = 0, clock: Callable[[], float] = time.time
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        # Bound here, so that addresses are known before the first answer; nobody listens before start().
        self._socket, self._codeload_socket = _bound(host, port), _bound(host, 0)
        self.url = f"http://{host}:{self._socket.getsockname()[1]}"
        self.api_url = f"{self.url}/api/v3"
        self.codeload_url = f"http://{host}:{self._codeload_socket.getsockname()[1]}"
        super().__init__(Forge(root.resolve(), Urls(self.url), self.codeload_url, clock))
        self._runners: list[web.AppRunner] = []

    @property
    def state(self) -> State:
        return self.forge.state

    @property
    def faults(self) -> Faults:
        return self.forge.faults

    @property
    def limits(self) -> Limits:
        return self.forge.limits

    @property
    def machines(self) -> Machines:
        """What runs workflows."""
        return self.forge.machines

    @property
    def webhooks(self) -> Webhooks:
        return self.forge.webhooks

    @property
    def requests(self) -> list[RequestRecord]:
        """Every request to the API with its answer, in the order they came."""
        return self.forge.requests

    @property
    def violations(self) -> list[str]:
        """What a caller did that must never happen; a test asserts that it is empty."""
        return self.forge.violations

    def on_request(self, method: str, route: str, hook: Hook) -> Watch:
        """Call ``hook("before" or "after", record)`` around the effect of each matching request."""
        return self.faults.watch(method, route, hook)

    async def start(self) -> None:
        application = web.Application(client_max_size=MAXIMUM_REQUEST_BYTES)
        add_api(application, self.forge)
        add_git(application, self.forge)
        # The pages stand on top of everything in this package, this module too: hence not imported above.
        from gamma_bot.sandbox.pages import add_pages

        add_pages(application, self)
        await self._listen(application, self._socket)
        await self._listen(download_application(self.forge), self._codeload_socket)
        await self.forge.webhooks.start()

    async def stop(self) -> None:
        await stop_machines(self.forge)
        await self.forge.webhooks.stop()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        for bound in (self._socket, self._codeload_socket):
            bound.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _listen(self, application: web.Application, bound: socket.socket) -> None:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        self._runners.append(runner)
        await runner.setup()
        await web.SockSite(runner, bound).start()


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    return bound
