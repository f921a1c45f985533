"""``/healthz``, ``/readyz`` and ``/metrics``: for probes, not for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiohttp import web

from gamma_bot.metrics import Metric, render

Check = Callable[[], Awaitable[str | None]]
Metrics = Callable[[], Awaitable[Sequence[Metric]]]


class Health:
    """Tells whether Gamma lives, whether it can take deliveries, and a few numbers.

    Args:
        checks: by name; each returns what is wrong, or ``None``.
        metrics: all that is counted and measured, now.
    """

    def __init__(self, checks: Mapping[str, Check], metrics: Metrics) -> None:
        self._checks = checks
        self._metrics = metrics

    def add_routes(self, app: web.Application) -> None:
        """Serve the three endpoints."""
        app.router.add_get("/healthz", self.alive)
        app.router.add_get("/readyz", self.ready)
        app.router.add_get("/metrics", self.metrics)

    async def alive(self, _request: web.Request) -> web.Response:
        """The event loop turns."""
        return web.json_response({"status": "ok"})

    async def ready(self, _request: web.Request) -> web.Response:
        """200 if a webhook would be stored and dispatched now, else 503 with what is missing."""
        found = {name: await check() for name, check in self._checks.items()}
        ready = all(problem is None for problem in found.values())
        report = {name: problem or "ok" for name, problem in found.items()}
        return web.json_response({"status": "ok" if ready else "not ready", **report}, status=200 if ready else 503)

    async def metrics(self, _request: web.Request) -> web.Response:
        """Prometheus' text format."""
        return web.Response(
            text=render(await self._metrics()), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )
