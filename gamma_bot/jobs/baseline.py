"""What a run is measured against: the champion of its repository, or the newest run of the baseline branch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from cachetools import TTLCache

from gamma_bot.config.schema import GammaConfig, Metric
from gamma_bot.jobs.promotion import PROMOTED_BY
from gamma_bot.jobs.verdict import primary_metric
from gamma_bot.reporting.facts import BaselineFacts
from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.tracking.refusals import NotFound
from gamma_bot.tracking.registry import Champion
from gamma_bot.tracking.runs import Run, Tracking, TrackingError

# Jobs that end together are mostly compared with the same run, and to read it is half of what a verdict costs.
_KEPT_SECONDS, _KEPT_POINTS = 60.0, 100_000

log = structlog.get_logger()


@dataclass(frozen=True)
class Baseline:
    """A finished run and its job; ``champion`` tells of its promotion if it was promoted."""

    job: JobRecord
    run: Run
    champion: Champion | None = None

    def facts(self, url: str | None) -> BaselineFacts:
        """What a report says of it."""
        tags = self.champion.tags if self.champion is not None else {}
        return BaselineFacts(
            branch=self.job.branch,
            sha=self.job.head_sha,
            job=self.job.id,
            run_id=self.run.run_id,
            url=url,
            champion=self.champion is not None,
            promoted_by=tags.get(PROMOTED_BY, ""),
        )


class Baselines:
    """Finds baselines. Which run is the champion is MLflow's to say: its alias may be set there, too."""

    def __init__(self, tracking: Tracking, jobs: Jobs) -> None:
        self._tracking = tracking
        self._jobs = jobs
        self._read_lately: TTLCache[str, Run] = TTLCache(_KEPT_POINTS, _KEPT_SECONDS, getsizeof=_points)

    async def of(self, job: JobRecord, run: Run, config: GammaConfig, branch: str) -> Baseline | None:
        """The baseline of a job's run.

        The champion stands for the whole repository, with two exceptions: a ``baseline`` that gamma.yml names is
        meant, so that only a champion of that branch counts; and with a champion that logged none of the metrics there
        would be nothing to compare.

        Args:
            branch: the baseline branch of the job.

        Raises:
            TrackingError
        """
        champion = await self._champion(job)
        if champion is not None:
            meant = config.baseline in (None, champion.job.branch)
            if meant and _comparable(run, champion.run, config.metrics):
                return champion
        found = await self._jobs.finished_before(job, branch)
        read = await self._read(job, found) if found is not None else None
        return Baseline(found, read) if found is not None and read is not None else None

    async def _champion(self, job: JobRecord) -> Baseline | None:
        last = await self._jobs.champion(job.repository_id)
        try:
            # A repository that was renamed keeps its champion, which MLflow knows by the old name.
            found = await self._tracking.champion(last.champion["model"] if last is not None else job.repository)
        except TrackingError as error:
            if last is not None:
                raise
            # Not every store has a model registry: where nobody ever promoted a run, none is missed.
            log.warning("champion.unreadable", job=job.id, error=str(error))
            return None
        if found is None or found.run_id == job.run_id:
            return None
        # The alias can be set by hand, to any run: only one of this repository's own jobs counts.
        its = await self._jobs.of_run(job.repository_id, found.run_id)
        if its is None:
            log.warning("champion.unknown", job=job.id, run=found.run_id)
            return None
        read = await self._read(job, its)
        return Baseline(its, read, found) if read is not None else None

    async def _read(self, job: JobRecord, baseline: JobRecord) -> Run | None:
        if baseline.run_id is None:
            return None
        known = self._read_lately.get(baseline.run_id)
        if known is not None:
            return known
        try:
            run = await self._tracking.read_run(baseline.run_id)
        except NotFound as error:
            # Deleted in MLflow by somebody: without its numbers it is no baseline.
            log.warning("baseline.unreadable", job=job.id, baseline=baseline.id, error=str(error))
            return None
        if _points(run) <= _KEPT_POINTS // 4:
            self._read_lately[baseline.run_id] = run
        return run


def _points(run: Run) -> int:
    return 1 + sum(len(points) for points in run.metrics.values())


def _comparable(run: Run, other: Run, rules: Mapping[str, Metric]) -> bool:
    """Whether the other run logged what this one is judged by: the primary metric, or any if there is none."""
    primary = primary_metric(run, rules)
    wanted = {primary} if primary else {name for name in run.metrics if not name.startswith("system/")}
    return any(run.metrics.get(name) and other.metrics.get(name) for name in wanted)
