"""One task per executor watches its jobs under way: it sees to their ends, and tells GitHub how they get on.

No workflow waits while a job trains. The watcher asks its trainer for all jobs in one batch and reads more of a job
only when there is news of it, so that ten thousand jobs that just run cost next to nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import replace

import structlog

from gamma_bot.jobs.adoption import with_its_run
from gamma_bot.jobs.ending import end_message
from gamma_bot.jobs.engine import Engine
from gamma_bot.jobs.expenses import with_running_cost
from gamma_bot.jobs.presenter import PROGRESS_SECONDS, Presenter
from gamma_bot.jobs.record import dump_facts, facts_of, stored_config
from gamma_bot.jobs.verdict import judge_metrics
from gamma_bot.reporting.facts import MetricLine, State
from gamma_bot.reporting.log_lines import shorten_paths
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.store.outlines import UnderWay
from gamma_bot.tracking.runs import Run, Tracking, TrackingError
from gamma_bot.training.trainer import Attempt, Ending, Observation, Outcome, Phase, Trainer

_MISSING_SECONDS = 60.0
# What a look costs grows with the jobs, and so does the rest after it: ten thousand jobs are looked at every five
# seconds. It follows from their number alone; a measured time would count whatever else ran meanwhile.
_JOBS_PER_SECOND_OF_REST = 2_000
# To read a job's metrics and tell of them takes some 20 ms of a core: the more jobs there are, the less often comes the
# turn of each one, and from a thousand on all of them together cost less.
_PROGRESS_PER_SECOND, _PROGRESS_OF_MANY_PER_SECOND, _MANY = 2.0, 0.5, 1_000
_ENDS_PER_LOOK = 100

log = structlog.get_logger()


class Watcher:
    """Observes the jobs of one executor until they end.

    Args:
        look_seconds: how often, if not as often as the trainer says is worth it.
    """

    def __init__(
        self,
        jobs: Jobs,
        presenter: Presenter,
        engine: Engine,
        trainer: Trainer,
        tracking: Tracking,
        *,
        look_seconds: float | None = None,
    ) -> None:
        self._jobs = jobs
        self._presenter = presenter
        self._engine = engine
        self._trainer = trainer
        self._tracking = tracking
        self._look_seconds = trainer.look_seconds if look_seconds is None else look_seconds
        self._rows: Sequence[UnderWay] = ()
        self._own: dict[Attempt, UnderWay] = {}
        self._seen: dict[Attempt, Observation] = {}
        self._told: set[Attempt] = set()
        self._missing_since: dict[Attempt, float] = {}
        self._progress_due: dict[Attempt, float] = {}  # the one that is due first stands first
        self._progress_at = time.monotonic()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            rest = self._look_seconds
            try:
                rest = await self.look()
            except StoreUnavailable as error:
                log.warning("watch.store_unavailable", executor=self._trainer.name, error=str(error))
            except Exception:
                log.exception("watch.failed", executor=self._trainer.name)
            await asyncio.sleep(rest)

    async def look(self) -> float:
        """Observe all jobs under way once; how many seconds to rest afterwards."""
        rows = await self._jobs.outlines.under_way(self._trainer.name)
        stopping = await self._jobs.outlines.stopping() if rows else ()
        own = self._known(rows)
        observed = await self._trainer.observe(list(own)) if own else ()
        found = self._what_calls_for_something(own, stopping, observed)
        ends = [(attempt, seen) for attempt, seen in found if seen.phase is Phase.ENDED]
        await asyncio.gather(
            *(self._alone(attempt, self._end(attempt, seen)) for attempt, seen in ends[:_ENDS_PER_LOOK])
        )
        for attempt, seen in found:
            if seen.phase is not Phase.ENDED:
                if attempt.job in stopping:  # as often as we look: it does nothing twice
                    await self._alone(attempt, self._trainer.stop(attempt))
                if seen is not self._seen.get(attempt):
                    await self._alone(attempt, self._news(own[attempt], seen))
        for attempt in self._whose_progress_is_due():
            await self._alone(attempt, self._progress(attempt))
        if ends:  # there may be more of them
            return self._look_seconds if len(ends) <= _ENDS_PER_LOOK else 0.0
        return max(self._look_seconds, len(own) / _JOBS_PER_SECOND_OF_REST)

    def _known(self, rows: Sequence[UnderWay]) -> dict[Attempt, UnderWay]:
        if rows != self._rows:  # mostly there is no news
            self._rows, self._own = rows, {Attempt(job.id, job.attempt): job for job in rows}
            self._forget_all_but(self._own)
        return self._own

    def _what_calls_for_something(
        self, own: Mapping[Attempt, UnderWay], stopping: Collection[str], observed: Sequence[Observation]
    ) -> Sequence[tuple[Attempt, Observation]]:
        """The jobs that came to an end, those of which there is news, and those that somebody asked to end."""
        found = []
        for seen in observed:
            known = self._seen.get(seen.attempt)
            if seen.phase is Phase.ENDED:
                if seen.attempt not in self._told:
                    found.append((seen.attempt, seen))
            elif seen is not known and seen != known:
                found.append((seen.attempt, seen))
            else:
                self._seen[seen.attempt] = seen  # the same object the next time is seen to be the same at once
                if stopping and seen.attempt.job in stopping:
                    found.append((seen.attempt, seen))
        if len(observed) == len(own):
            self._missing_since.clear()
            return found
        there = {seen.attempt for seen in observed}
        missing = [self._missing(attempt) for attempt in own.keys() - there - self._told]
        self._missing_since = {each: at for each, at in self._missing_since.items() if each not in there}
        return found + [(seen.attempt, seen) for seen in missing if seen is not None]

    async def _alone(self, attempt: Attempt, work: Awaitable[None]) -> None:
        """Whatever is wrong with one job, the others are looked at all the same."""
        try:
            await work
        except StoreUnavailable:
            raise
        except Exception:
            log.exception("watch.failed", job=attempt.job)

    def _missing(self, attempt: Attempt) -> Observation | None:
        """A job that its trainer took and does not know any more."""
        since = self._missing_since.setdefault(attempt, time.monotonic())
        if time.monotonic() - since < _MISSING_SECONDS:
            return None
        words = "The trainer no longer knows this job: its folder is gone."
        return Observation(attempt, Phase.ENDED, outcome=Outcome(Ending.LOST, words, ended_at=time.time()))

    async def _end(self, attempt: Attempt, seen: Observation) -> None:
        assert seen.outcome is not None, "what has ended has an outcome"
        # After a crash it is begun again; the id makes that do nothing.
        await self._engine.begin("finish", finish_id(attempt.job), end_message(attempt, seen.outcome))
        self._told.add(attempt)
        self._progress_due.pop(attempt, None)

    async def _news(self, row: UnderWay, seen: Observation) -> None:
        """Tell what the trainer says now, if it is not what is told already."""
        state = _state(seen.phase)
        known = self._seen.get(seen.attempt)
        self._seen[seen.attempt] = seen
        if state is State.RUNNING:
            self._progress_due.setdefault(seen.attempt, time.monotonic() + PROGRESS_SECONDS)
            if known is None and row.state == State.RUNNING:
                return  # after a restart: the next progress tells the rest
        job = await self._jobs.get(row.id)
        if job is None or job.final:
            return
        facts = facts_of(job)
        if state is State.RUNNING:
            await self._show_running(job, seen)
        elif (facts.state, facts.detail) != (state, seen.detail):
            changed = replace(facts, state=state, detail=seen.detail)
            await self._show(await self._jobs.change(job.id, state=state, facts=dump_facts(changed)))

    def _whose_progress_is_due(self) -> Sequence[Attempt]:
        now = time.monotonic()
        per_second = _PROGRESS_PER_SECOND if len(self._own) < _MANY else _PROGRESS_OF_MANY_PER_SECOND
        most = max(1, int(per_second * (now - self._progress_at)))
        self._progress_at = now
        first = itertools.islice(self._progress_due.items(), most)
        return [attempt for attempt, due in first if due <= now]

    async def _progress(self, attempt: Attempt) -> None:
        del self._progress_due[attempt]
        self._progress_due[attempt] = time.monotonic() + PROGRESS_SECONDS
        job = await self._jobs.get(attempt.job)
        if job is not None and not job.final:
            await self._show_running(job, self._seen[attempt])

    async def _show_running(self, job: JobRecord, seen: Observation) -> None:
        facts, now = facts_of(job), time.time()
        changed = replace(
            facts,
            state=State.RUNNING,
            detail=seen.detail,
            started_at=facts.started_at or now,
            wall_seconds=now - facts.started_at if facts.started_at else 0.0,
            metrics=await self._metrics(job),
            log_tail=await self._log_tail(seen.attempt),
            cost=with_running_cost(facts.cost, seen.usage, now - (facts.started_at or now)),
        )
        await self._show(await self._jobs.change(job.id, state=State.RUNNING, facts=dump_facts(changed)))

    async def _show(self, job: JobRecord) -> None:
        if not job.final:
            await self._presenter.show_check(job)

    async def _log_tail(self, attempt: Attempt) -> Sequence[str]:
        if not self._trainer.tells_cheaply:
            return ()
        return shorten_paths(await self._trainer.log_tail(attempt, 20), await self._trainer.source_roots(attempt))

    async def _metrics(self, job: JobRecord) -> Sequence[MetricLine]:
        try:
            job = await with_its_run(job, self._jobs, self._tracking)
            if job.run_id is None:
                return ()
            values = await self._tracking.last_values(job.run_id)
        except TrackingError as error:
            log.warning("progress.unreadable", job=job.id, error=str(error))
            return ()
        run = Run(job.run_id, "", "", metrics={name: (point,) for name, point in values.items()})
        return judge_metrics(run, None, stored_config(job.plan).metrics)

    def _forget_all_but(self, own: Mapping[Attempt, UnderWay]) -> None:
        self._told &= own.keys()
        for memory in (self._seen, self._missing_since, self._progress_due):
            for gone in memory.keys() - own.keys():
                del memory[gone]


def finish_id(job: str) -> str:
    """The id of the workflow that ends a job."""
    return f"{job}-finish"


def _state(phase: Phase) -> State:
    return {Phase.QUEUED: State.QUEUED, Phase.PREPARING: State.PREPARING}.get(phase, State.RUNNING)
