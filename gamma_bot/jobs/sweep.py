"""Finds what fell between: jobs without a workflow, results that were never shown, runs without a job (I4)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from gamma_bot.jobs.engine import Engine
from gamma_bot.jobs.expenses import charge, with_untold_cost
from gamma_bot.jobs.presenter import Presenter
from gamma_bot.jobs.record import dump_facts, facts_of
from gamma_bot.jobs.watcher import finish_id
from gamma_bot.reporting.facts import State
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.jobs import Jobs
from gamma_bot.store.outlines import Unfinished
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
        self._shown: dict[str, float] = {}

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
        for found in await self._forgotten():
            job = await self._jobs.get(found.id)
            if job is None or job.final or job.launched_at != found.launched_at:
                continue  # it went on in the meantime
            log.warning("sweep.job_without_workflow", job=job.id)
            for trainer in self._trainers.values():
                await trainer.stop(Attempt(job.id, job.attempt))
            told = facts_of(job)
            cost = with_untold_cost(told.cost, job, stopped=job.executor in self._trainers)
            facts = replace(
                told,
                state=State.FAILED,
                why="Gamma lost track of this job.",
                hint="Push again to train this commit.",
                ended_at=time.time(),
                cost=cost,
            )
            ended = await self._jobs.change(job.id, state=State.FAILED, facts=dump_facts(facts), cost_usd=charge(cost))
            await self._presenter.show_check(ended)
            await self._presenter.show_comments(ended)

    async def _forgotten(self) -> Sequence[Unfinished]:
        unfinished = await self._jobs.outlines.unfinished()
        launched = {finish_id(job.id): job for job in unfinished if job.launched_at is not None}
        over = await self._engine.over_among(launched)
        # A trainer has it, and its watcher begins what ends it: nobody does where that is over, or there is no watcher.
        found = [job for end, job in launched.items() if end in over or job.executor not in self._trainers]
        return found + [
            job for job in unfinished if job.launched_at is None and not await self._engine.is_running(job.id)
        ]

    async def show_recent_ends(self) -> None:
        """Tell once more how jobs ended: a crash between the end and its telling leaves a check run open."""
        ended = await self._jobs.outlines.ended_since(time.time() - _RECENT_SECONDS)
        for job_id, changed_at in ended:
            job = await self._jobs.get(job_id) if self._shown.get(job_id) != changed_at else None
            if job is not None:
                await self._presenter.show_check(job)
                await self._presenter.show_comments(job)
        self._shown = dict(ended)

    async def close_orphans(self) -> None:
        """Close the MLflow runs that still look alive although their job is over."""
        open_runs = await self._tracking.open_runs()
        over = await self._jobs.outlines.over_among(open_runs.values())
        for run_id, job_id in open_runs.items():
            if job_id in over:
                log.warning("sweep.orphan_run", run=run_id, job=job_id)
                await self._tracking.close_run(run_id, RunStatus.KILLED)
