"""The page of a job, where the check run's details link leads: state, metrics, charts, log, artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

from gamma_bot.jobs.record import facts_of
from gamma_bot.reporting.facts import MetricLine
from gamma_bot.reporting.numbers import format_bytes, format_change, format_seconds, format_value
from gamma_bot.reporting.templates import template_folder
from gamma_bot.store.jobs import Jobs
from gamma_bot.training.trainer import Attempt, Trainer

_CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_LOG_LINES = 1000
_WIDTH, _HEIGHT, _MARGIN = 640, 200, 8


class JobPages:
    """Server-rendered pages over what is recorded of jobs.

    Args:
        listed: show the list of all jobs. Not on a public address: there is no sign-in yet, and a job's page is
            found only by whoever has its link from GitHub.
    """

    def __init__(self, jobs: Jobs, trainers: Mapping[str, Trainer], *, listed: bool) -> None:
        self._jobs = jobs
        self._listed = listed
        self._trainers = trainers
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(template_folder() / "pages"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._templates.filters.update(
            value=format_value, change=format_change, seconds=format_seconds, bytes=format_bytes, chart=chart_paths
        )

    def add_routes(self, app: web.Application) -> None:
        """Serve the pages."""
        app.router.add_get("/", self.index)
        app.router.add_get("/jobs/{job}", self.job)
        app.router.add_get("/assets/gamma.css", self.style)

    async def index(self, _request: web.Request) -> web.Response:
        """The newest jobs."""
        jobs = [facts_of(job) for job in await self._jobs.recent(50)] if self._listed else []
        return self._page("jobs.html", jobs=jobs, listed=self._listed)

    async def job(self, request: web.Request) -> web.Response:
        """One job."""
        job = await self._jobs.get(request.match_info["job"])
        if job is None:
            return self._page("missing.html", status=404)
        trainer = self._trainers.get(job.executor)
        log: Sequence[str] = ()
        if trainer is not None:
            log = await trainer.log_tail(Attempt(job.id, job.attempt), _LOG_LINES)
        return self._page("job.html", job=facts_of(job), record=job, log=log)

    async def style(self, _request: web.Request) -> web.FileResponse:
        """The style sheet."""
        return web.FileResponse(Path(template_folder() / "pages" / "gamma.css"))

    def _page(self, template: str, *, status: int = 200, **values: Any) -> web.Response:
        text = self._templates.get_template(template).render(**values)
        headers = {
            "Content-Security-Policy": _CSP,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return web.Response(text=text, content_type="text/html", status=status, headers=headers)


def chart_paths(line: MetricLine) -> Mapping[str, Any]:
    """The points of a metric's chart in SVG units, this run's and the baseline's, and the range they span."""
    series = {"run": line.history, "baseline": line.baseline_history}
    points = [point for history in series.values() for point in history]
    if len(line.history) < 2:
        return {}
    steps, values = [step for step, _ in points], [value for _, value in points]
    low, high = min(values), max(values)
    first, last = min(steps), max(steps)

    def place(history: Sequence[tuple[int, float]]) -> str:
        return " ".join(
            f"{_MARGIN + (step - first) / ((last - first) or 1) * (_WIDTH - 2 * _MARGIN):.1f},"
            f"{_HEIGHT - _MARGIN - (value - low) / ((high - low) or 1) * (_HEIGHT - 2 * _MARGIN):.1f}"
            for step, value in history
        )

    placed = {name: place(history) for name, history in series.items()}
    return {**placed, "low": low, "high": high, "first": first, "last": last, "width": _WIDTH, "height": _HEIGHT}
