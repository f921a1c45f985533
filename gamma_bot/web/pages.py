"""The page of a job, where the check run's details link leads: state, metrics, charts, log, artifacts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import jinja2
import structlog
from aiohttp import web
from markupsafe import Markup, escape
from pydantic import ValidationError

from gamma_bot.jobs.kept_files import kept_files
from gamma_bot.jobs.record import facts_of
from gamma_bot.reporting.facts import JobFacts
from gamma_bot.reporting.log_lines import shorten_paths
from gamma_bot.reporting.money import cost_line
from gamma_bot.reporting.numbers import format_bytes, format_change, format_seconds, format_value
from gamma_bot.reporting.sections import judged, left_out
from gamma_bot.reporting.templates import template_folder
from gamma_bot.reporting.titles import shown_metrics
from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.training.trainer import Attempt, LinksArtifacts, Trainer, TrainerUnavailable
from gamma_bot.web.charts import chart_parts

_CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_LOG_LINES = 1000
_CHUNK_BYTES = 1 << 18
_CODE = re.compile(r"`([^`]+)`")

log = structlog.get_logger()


@dataclass(frozen=True)
class ArtifactRow:
    """A file on a job's page; ``url`` is empty if only MLflow has it."""

    path: str
    size: int
    url: str


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
            value=format_value,
            change=format_change,
            seconds=format_seconds,
            bytes=format_bytes,
            chart=chart_parts,
            judged=judged,
            metrics=shown_metrics,
            prose=prose,
            cost=cost_line,
            left_out=left_out,
        )

    def add_routes(self, app: web.Application) -> None:
        """Serve the pages."""
        app.router.add_get("/", self.index)
        app.router.add_get("/jobs/{job}", self.job)
        app.router.add_get("/jobs/{job}/artifacts/{path:.+}", self.artifact)
        app.router.add_get("/assets/gamma.css", self.style)

    async def index(self, _request: web.Request) -> web.Response:
        """The newest jobs."""
        jobs = await self._jobs.recent(50) if self._listed else []
        return self._page("jobs.html", rows=[(job, _readable_facts(job)) for job in jobs], listed=self._listed)

    async def job(self, request: web.Request) -> web.Response:
        """One job."""
        job = await self._jobs.get(request.match_info["job"])
        if job is None:
            return self._missing(
                "There is no such job here", "The link may be from another Gamma, or of a job removed."
            )
        facts = _readable_facts(job)
        if facts is None:
            words = f"What is recorded of job {job.id} ({job.state}) was written by another version of Gamma."
            return self._missing("This job can't be shown", words, status=200)
        trained = await self._jobs.that_trained(job)
        trainer = self._trainers.get(trained.executor)
        lines: Sequence[str] = ()
        if trainer is not None:
            attempt = Attempt(trained.id, trained.attempt)
            try:
                lines = await trainer.log_tail(attempt, _LOG_LINES)
                lines = shorten_paths(lines, await trainer.source_roots(attempt))
            except TrainerUnavailable as error:
                lines = (f"[The log can't be read now: {error}]",)
        artifacts = await self._artifact_rows(trained, facts)
        return self._page("job.html", job=facts, log=lines, log_limit=_LOG_LINES, artifacts=artifacts)

    async def artifact(self, request: web.Request) -> web.StreamResponse:
        """A file that a job left, as a download: nothing of it is ever shown in Gamma's own name."""
        job = await self._jobs.get(request.match_info["job"])
        facts = _readable_facts(job) if job is not None else None
        path = request.match_info["path"]
        job = await self._jobs.that_trained(job) if job is not None else None
        source = (await self._sources(job, facts)).get(path) if job is not None and facts is not None else None
        if job is None or source is None:
            return self._missing("There is no such file here", "It was removed, or only MLflow has it.")
        trainer, attempt = self._trainers[job.executor], Attempt(job.id, job.attempt)
        try:
            if isinstance(trainer, LinksArtifacts):
                raise web.HTTPFound(await trainer.artifact_link(attempt, source), headers={"Cache-Control": "no-store"})
            file = await trainer.open_artifact(attempt, source)
        except OSError as error:
            log.warning("artifact.unreadable", job=job.id, path=path, error=str(error))
            return self._missing("There is no such file here", "It was removed from the machine that trained.")
        with file:
            size = await asyncio.to_thread(file.seek, 0, 2)
            await asyncio.to_thread(file.seek, 0)
            name = quote(PurePosixPath(path).name, safe="")
            response = web.StreamResponse(
                headers={
                    "Content-Type": "application/octet-stream",
                    "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
                    "X-Content-Type-Options": "nosniff",
                    "Content-Security-Policy": _CSP,
                }
            )
            response.content_length = size
            await response.prepare(request)
            left = 0 if request.method == "HEAD" else size
            while left and (chunk := await asyncio.to_thread(file.read, min(left, _CHUNK_BYTES))):
                await response.write(chunk)
                left -= len(chunk)
        return response

    async def style(self, _request: web.Request) -> web.FileResponse:
        """The style sheet."""
        return web.FileResponse(Path(template_folder() / "pages" / "gamma.css"))

    async def _artifact_rows(self, job: JobRecord, facts: JobFacts) -> Sequence[ArtifactRow]:
        sources = await self._sources(job, facts)
        root = f"/jobs/{quote(job.id)}/artifacts/"
        return [
            ArtifactRow(path, size, root + quote(path) if path in sources else "") for path, size in facts.artifacts
        ]

    async def _sources(self, job: JobRecord, facts: JobFacts) -> Mapping[str, str]:
        """Of the recorded artifacts those that the trainer still has, each with its path there."""
        return await kept_files(self._trainers.get(job.executor), Attempt(job.id, job.attempt), facts)

    def _missing(self, heading: str, words: str, *, status: int = 404) -> web.Response:
        return self._page("missing.html", status=status, heading=heading, words=words)

    def _page(self, template: str, *, status: int = 200, **values: Any) -> web.Response:
        text = self._templates.get_template(template).render(**values)
        headers = {
            "Content-Security-Policy": _CSP,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return web.Response(text=text, content_type="text/html", status=status, headers=headers)


def prose(text: str) -> Markup:
    """Words of a report as HTML: what stands between backticks becomes code, all else stays as it is."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text.replace("**", "")))))  # noqa: S704 - escaped before


def _readable_facts(job: JobRecord) -> JobFacts | None:
    try:
        return facts_of(job)
    except ValidationError as error:
        log.warning("facts.unreadable", job=job.id, problems=error.error_count())
        return None
