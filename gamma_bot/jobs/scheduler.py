"""Lets waiting jobs start when their turn comes, and tells GitHub what the others wait for.

A turn is recorded before the workflow hears of it: after a crash in between it is sent again, and it arrives once.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from gamma_bot.jobs.engine import Engine
from gamma_bot.jobs.presenter import Presenter
from gamma_bot.jobs.record import dump_facts, facts_of
from gamma_bot.jobs.story import TURN
from gamma_bot.jobs.turns import Wait, contenders_of, explain, may_start, waits
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.jobs import GRANTED, WAITING, JobRecord, Jobs
from gamma_bot.training.trainer import Attempt

# Where one waits among thousands that run, a look takes a while.
_JOBS_PER_SECOND_OF_REST = 2_000

log = structlog.get_logger()


class Scheduler:
    """Looks at the jobs that wait, if there are any."""

    def __init__(self, jobs: Jobs, presenter: Presenter, engine: Engine, *, interval_seconds: float = 0.5) -> None:
        self._jobs = jobs
        self._presenter = presenter
        self._engine = engine
        self._interval = interval_seconds
        self._woken: set[str] = set()

    async def run(self) -> None:
        """Schedule until cancelled."""
        while True:
            looked_at = 0
            try:
                looked_at = await self.look()
            except StoreUnavailable as error:
                log.warning("schedule.store_unavailable", error=str(error))
            except Exception:
                log.exception("schedule.failed")
            await asyncio.sleep(max(self._interval, looked_at / _JOBS_PER_SECOND_OF_REST))

    async def look(self) -> int:
        """Let start whose turn it is, end who was asked to, tell the others what they wait for; how many it saw."""
        if not await self._jobs.is_anybody_in_line():
            self._woken.clear()
            return 0
        jobs = await self._jobs.contenders()
        waiting = waits(contenders_of(jobs))
        if None in waiting.values():
            jobs = await self._jobs.grant_turns(may_start)  # decided once more: what was read may be over
            waiting = waits(contenders_of(jobs))
        for job in jobs:
            try:
                if job.turn == GRANTED or (job.turn == WAITING and job.stop):
                    await self._wake(job)
                elif wait := waiting.get(job.id):
                    await self._tell(job, wait)
            except StoreUnavailable:
                raise
            except Exception:
                log.exception("schedule.failed", job=job.id)  # the others get their turn all the same
        self._woken &= {job.id for job in jobs}
        return len(jobs)

    async def _wake(self, job: JobRecord) -> None:
        if job.id not in self._woken:
            log.info("job.turn", job=job.id, repo=job.repository, stopped=bool(job.stop))
            await self._engine.send(job.id, TURN, {}, once=f"{Attempt(job.id, job.attempt).key}-turn")
            self._woken.add(job.id)

    async def _tell(self, job: JobRecord, wait: Wait) -> None:
        words = explain(wait, str(job.push.get("default_branch", "")))
        if job.facts.get("waits") and job.facts.get("detail") == words:  # as nearly always
            return
        facts = facts_of(job)
        job = await self._jobs.change(job.id, facts=dump_facts(replace(facts, waits=True, detail=words)))
        if not job.final:
            await self._presenter.show_check(job, at_once=not facts.waits)
            await self._presenter.show_comments(job)
