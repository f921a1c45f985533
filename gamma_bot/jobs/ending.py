"""The durable workflow that ends a job: from its trainer's last word to the verdict.

It begins when the watcher hears that an attempt is over. While a job trains no workflow waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import structlog

from gamma_bot.jobs.adoption import with_its_run
from gamma_bot.jobs.conclusion import Conclusion, evidence_of
from gamma_bot.jobs.engine import Steps, Values
from gamma_bot.jobs.expenses import charge, spent_at_most, with_final_cost
from gamma_bot.jobs.giving_up import give_up
from gamma_bot.jobs.parts import Parts
from gamma_bot.jobs.pull_requests import refresh_pulls
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.record import dump_facts, stored_config
from gamma_bot.store.jobs import JobRecord
from gamma_bot.tracking.runs import RunStatus
from gamma_bot.training.trainer import Attempt, Ending, Outcome, Usage

# When a thousand jobs end together, their logs and metrics must not be in memory all at once.
_AT_ONCE = 16

log = structlog.get_logger()


class EndOfStory:
    """Tells how a job ended.

    Args:
        told: called once GitHub is to show the verdict; a second call for the same job does nothing.
    """

    def __init__(self, parts: Parts, told: Callable[[JobRecord], Awaitable[None]]) -> None:
        self._parts = parts
        self._told = told
        self._conclusion = Conclusion(parts.tracking, parts.jobs, parts.reach)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def finish(self, steps: Steps, end: Values) -> Values:
        """The workflow. ``end`` is what ``end_message`` gave; the result is the job's final state, in a word."""
        ended = await steps.step("conclude", self._parts.careful(self._conclude), end)
        if "failed" in ended:
            # MLflow or GitHub stayed out of reach: the verdict is told without what they know.
            ended = await steps.step("conclude alone", self._parts.careful(self._conclude_alone), end)
        if "failed" in ended:
            ended = await steps.step("give up", self._parts.careful(self._give_up), end, ended)
        return ended

    async def _give_up(self, end: Values, reason: Values) -> Values:
        return await give_up(self._parts, end["job"], reason)

    async def _conclude_alone(self, end: Values) -> Values:
        """As ``_conclude``, by what the trainer left and nothing else."""
        return await self._conclude(end, alone=True)

    async def _conclude(self, end: Values, *, alone: bool = False) -> Values:
        """Twice: the first recorded end stays, and is shown again."""
        async with self._turns:
            return await self._concluded(end, alone=alone)

    async def _concluded(self, end: Values, *, alone: bool) -> Values:
        job = await self._parts.job(end["job"])
        outcome = outcome_from(end["outcome"])
        attempt = Attempt(job.id, job.attempt)
        trainer = self._parts.trainers[job.executor]
        if not job.final:
            evidence = await evidence_of(trainer, attempt)
            baseline = job.plan["baseline"]
            if alone:
                facts = self._conclusion.facts_alone(job, outcome, baseline, evidence)
            else:
                job = await with_its_run(job, self._parts.jobs, self._parts.tracking)
                await self._close_run(job, outcome)
                facts = await self._conclusion.facts(job, outcome, stored_config(job.plan), baseline, evidence)
                if outcome.ending is Ending.STOPPED and job.stop:
                    facts = replace(facts, why=job.stop["why"], hint=job.stop["hint"])
                await refresh_pulls(self._parts, Push.from_json(job.push))
            facts = replace(facts, cost=with_final_cost(facts.cost, outcome, spent_at_most(job)))
            job = await self._parts.jobs.change(
                job.id,
                state=facts.state,
                facts=dump_facts(facts),
                cost_usd=charge(facts.cost),
            )
        await self._parts.presenter.show_check(job)
        await self._parts.presenter.show_comments(job)
        await self._told(job)
        await trainer.forget(attempt)
        await asyncio.to_thread(self._parts.archive(attempt).unlink, missing_ok=True)
        log.info("job.ended", job=job.id, repo=job.repository, state=job.state, ending=outcome.ending.value)
        return {"state": job.state}

    async def _close_run(self, job: JobRecord, outcome: Outcome) -> None:
        if job.run_id is None:
            return
        match outcome.ending:
            case Ending.COMPLETED:
                status = RunStatus.FINISHED
            case Ending.STOPPED | Ending.LOST | Ending.CAPACITY | Ending.PLATFORM | Ending.NEVER_STARTED:
                status = RunStatus.KILLED
            case _:
                status = RunStatus.FAILED
        await self._parts.tracking.close_run(job.run_id, status)


def end_message(attempt: Attempt, outcome: Outcome) -> Values:
    """What begins the workflow, as plain values."""
    return {"job": attempt.job, "outcome": asdict(outcome)}


def outcome_from(values: Mapping[str, Any]) -> Outcome:
    """The outcome that ``end_message`` wrote; what a newer Gamma added is left out."""
    known = {name: values[name] for name in Outcome.__dataclass_fields__ if name in values}
    known["ended_at"] = known.get("ended_at") or time.time()
    usage = values.get("usage")
    if usage is not None:
        known["usage"] = Usage(**{name: usage[name] for name in Usage.__dataclass_fields__ if name in usage})
    return Outcome(**{**known, "ending": Ending(values["ending"])})
