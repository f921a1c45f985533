"""Finds what fell between: jobs without a workflow, results that were never shown, runs without a job (I4)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace

import structlog

from gamma_bot.jobs.engine import Engine
from gamma_bot.jobs.presenter import Presenter
from gamma_bot.jobs.record import dump_facts, facts_of
from gamma_bot.reporting.facts import State
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.jobs import Jobs
from gamma_bot.tracking.runs import RunStatus, Tracking, TrackingError
from gamma_bot.training.trainer import Attempt, Trainer

_EVERY_SECONDS = 600.0
_RECENT_SECONDS = 3600.0

log = structlog.get_logger()


class Sweep:
    """Looks at start and every ten minutes."""

    def __init__(
        self,
        jobs: Jobs,
        presenter: Presenter,
        engine: Engine,
        trainers: Mapping[str, Trainer],
        tracking: Tracking,
    ) -> None:
        self._jobs = jobs
        self._trainers = trainers
        self._presenter = presenter
        self._engine = engine
        self._tracking = tracking

    async def run(self) -> None:
        """Sweep until cancelled."""
        last = time.time()
        while True:
            try:
                await self.end_forgotten_jobs()
                await self.show_recent_ends()
                # Looking into MLflow loads it, which a bot that trains nothing is spared.
                newest = await self._jobs.last_change()
                if newest is not None and newest > last:
                    await self.close_orphans()
                last = newest or last
            except (StoreUnavailable, TrackingError) as error:
                log.warning("sweep.failed", error=str(error))
            except Exception:
                log.exception("sweep.crashed")
            await asyncio.sleep(_EVERY_SECONDS)

    async def end_forgotten_jobs(self) -> None:
        """End every job that nobody will end any more."""
        unfinished = await self._jobs.unfinished()
        for job in unfinished:
            if await self._engine.is_running(job.id):
                continue
            log.warning("sweep.job_without_workflow", job=job.id)
            for trainer in self._trainers.values():
                await trainer.stop(Attempt(job.id, job.attempt))
            facts = replace(
                facts_of(job),
                state=State.FAILED,
                why="Gamma lost track of this job.",
                hint="Push again to train this commit.",
                ended_at=time.time(),
            )
            ended = await self._jobs.change(job.id, state=State.FAILED, facts=dump_facts(facts))
            await self._presenter.show_check(ended)
            await self._presenter.show_comments(ended)

    async def show_recent_ends(self) -> None:
        """Tell once more how jobs ended: a crash between the end and its telling leaves a check run open."""
        for job in await self._jobs.ended_since(time.time() - _RECENT_SECONDS):
            await self._presenter.show_check(job)
            await self._presenter.show_comments(job)

    async def close_orphans(self) -> None:
        """Close the MLflow runs that still look alive although their job is over."""
        for run_id, job_id in (await self._tracking.open_runs()).items():
            job = await self._jobs.get(job_id)
            if job is not None and job.final:
                log.warning("sweep.orphan_run", run=run_id, job=job_id)
                await self._tracking.close_run(run_id, RunStatus.KILLED)
