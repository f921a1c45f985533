"""One task watches all jobs under way: it tells their workflows when they end, and GitHub how they get on.

Workflows never poll. The watcher asks each trainer for all of its jobs in one batch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from gamma_bot.jobs.engine import Engine
from gamma_bot.jobs.presenter import PROGRESS_SECONDS, Presenter
from gamma_bot.jobs.record import dump_facts, facts_of, stored_config
from gamma_bot.jobs.story import OUTCOME, outcome_message
from gamma_bot.jobs.verdict import judge_metrics
from gamma_bot.reporting.facts import MetricLine, State
from gamma_bot.reporting.log_lines import shorten_paths
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.jobs import WAITING, JobRecord, Jobs
from gamma_bot.tracking.runs import Run, Tracking, TrackingError
from gamma_bot.training.trainer import Attempt, Ending, Observation, Outcome, Phase, Trainer

_MISSING_SECONDS = 60.0

log = structlog.get_logger()


class Watcher:
    """Observes jobs until they end."""

    def __init__(
        self,
        jobs: Jobs,
        presenter: Presenter,
        engine: Engine,
        trainers: Mapping[str, Trainer],
        tracking: Tracking,
        *,
        interval_seconds: float = 0.5,
    ) -> None:
        self._jobs = jobs
        self._presenter = presenter
        self._engine = engine
        self._trainers = trainers
        self._tracking = tracking
        self._interval = interval_seconds
        self._told: set[str] = set()
        self._missing_since: dict[str, float] = {}
        self._progress_due: dict[str, float] = {}

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("watch.store_unavailable", error=str(error))
            except Exception:
                log.exception("watch.failed")
            await asyncio.sleep(self._interval)

    async def look(self) -> None:
        """Observe all unfinished jobs once."""
        jobs = {job.id: job for job in await self._jobs.unfinished()}
        for name, trainer in self._trainers.items():
            own = {
                Attempt(job.id, job.attempt): job
                for job in jobs.values()
                if job.executor == name and job.turn != WAITING  # no trainer has heard of one that waits
            }
            observed = {seen.attempt: seen for seen in await trainer.observe(list(own))} if own else {}
            for attempt, job in own.items():
                try:
                    seen = observed.get(attempt) or self._missing(job, attempt)
                    if job.stop and seen is not None and seen.phase is not Phase.ENDED:
                        await trainer.stop(attempt)  # as often as we look: it does nothing twice
                    if seen is not None:
                        await self._news(job, seen)
                except StoreUnavailable:
                    raise
                except Exception:
                    log.exception("watch.failed", job=job.id)  # the others are looked at all the same
        self._told &= set(jobs)
        self._missing_since = {job: since for job, since in self._missing_since.items() if job in jobs}
        self._progress_due = {job: due for job, due in self._progress_due.items() if job in jobs}

    def _missing(self, job: JobRecord, attempt: Attempt) -> Observation | None:
        """A job that its trainer does not know: not handed over yet, or its folder is gone."""
        if job.state != State.RUNNING:
            return None
        since = self._missing_since.setdefault(job.id, time.monotonic())
        if time.monotonic() - since < _MISSING_SECONDS:
            return None
        words = "The trainer no longer knows this job: its folder is gone."
        return Observation(attempt, Phase.ENDED, outcome=Outcome(Ending.LOST, words, ended_at=time.time()))

    async def _news(self, job: JobRecord, seen: Observation) -> None:
        if seen.phase is Phase.ENDED and seen.outcome is not None:
            if job.id not in self._told:
                # After a crash it is sent again; the key makes it arrive once.
                await self._engine.send(job.id, OUTCOME, outcome_message(seen.outcome), once=f"{seen.attempt.key}-end")
                self._told.add(job.id)
                self._progress_due.pop(job.id, None)
            return
        facts = facts_of(job)
        state = {Phase.QUEUED: State.QUEUED, Phase.PREPARING: State.PREPARING}.get(seen.phase, State.RUNNING)
        due = self._progress_due.get(job.id, 0.0) <= time.monotonic()
        if facts.state is state and facts.detail == seen.detail and not (state is State.RUNNING and due):
            return
        changed = replace(facts, state=state, detail=seen.detail)
        if state is State.RUNNING:
            self._progress_due[job.id] = time.monotonic() + PROGRESS_SECONDS
            changed = replace(
                changed,
                started_at=facts.started_at or time.time(),
                wall_seconds=time.time() - facts.started_at if facts.started_at else 0.0,
                metrics=await self._progress(job),
                log_tail=await self._log_tail(job, seen.attempt),
            )
        job = await self._jobs.change(job.id, state=state, facts=dump_facts(changed))
        if not job.final:
            await self._presenter.show_check(job)

    async def _log_tail(self, job: JobRecord, attempt: Attempt) -> Sequence[str]:
        trainer = self._trainers[job.executor]
        return shorten_paths(await trainer.log_tail(attempt, 20), await trainer.source_roots(attempt))

    async def _progress(self, job: JobRecord) -> Sequence[MetricLine]:
        if job.run_id is None:
            return ()
        try:
            values = await self._tracking.last_values(job.run_id)
        except TrackingError as error:
            log.warning("progress.unreadable", job=job.id, error=str(error))
            return ()
        run = Run(job.run_id, "", "", metrics={name: (point,) for name, point in values.items()})
        return judge_metrics(run, None, stored_config(job.plan).metrics)
