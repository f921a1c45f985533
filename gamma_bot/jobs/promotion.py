"""Promotion: a run becomes the champion that later jobs of its repository are compared with.

MLflow's model registry says which run it is; our store says which job that is and who wanted it, for what is shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from gamma_bot.jobs.push import is_of_fork
from gamma_bot.jobs.record import facts_of
from gamma_bot.reporting.facts import JobFacts, State
from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.tracking.runs import Tracking

PROMOTED_BY, PROMOTED_AT = "gamma.promoted_by", "gamma.promoted_at"

log = structlog.get_logger()


@dataclass(frozen=True)
class Promoted:
    """A job is the champion.

    Attributes:
        replaced: the one that was it before.
        already: it was the champion before anybody asked; nothing was changed.
    """

    champion: JobFacts
    replaced: JobFacts | None = None
    already: bool = False


@dataclass(frozen=True)
class Unfit:
    """A job that can't be the champion: why, and what to do instead."""

    why: str
    hint: str


def unfit(job: JobRecord) -> Unfit | None:
    """``None`` if the job can be the champion. Only a run that succeeded is worth comparing with."""
    if is_of_fork(job.branch):
        return Unfit(
            f"Job `{job.id}` trained the code of a fork, which is no part of this repository.",
            "Once its commits are in a branch of this repository, the run of that branch can be promoted.",
        )
    if job.state == State.SUCCEEDED and job.run_id is not None:
        return None
    if not job.final:
        return Unfit(f"Job `{job.id}` has not ended yet.", "Promote it when it has succeeded.")
    ended = {
        State.FAILED: "failed",
        State.CANCELLED: "was cancelled",
        State.SKIPPED: "was skipped",
        State.HELD: "was held",
    }
    became = ended.get(State(job.state), "logged no run")
    return Unfit(
        f"Job `{job.id}` {became}, and only a run that succeeded can be promoted.",
        "`/gamma promote JOB` promotes an earlier one; `/gamma status` lists them.",
    )


class Promotion:
    """Makes champions, one at a time, so that MLflow and our store agree on the last one.

    Args:
        show: let GitHub show what is recorded of a job.
    """

    def __init__(self, jobs: Jobs, tracking: Tracking, show: Callable[[JobRecord], Awaitable[None]]) -> None:
        self._jobs = jobs
        self._tracking = tracking
        self._show = show
        self._turn = asyncio.Lock()

    async def promote(self, job: JobRecord, by: str) -> Promoted | Unfit:
        """Make a job the champion of its repository. A second time changes nothing.

        Raises:
            TrackingError: MLflow did not do it; asking again is harmless.
        """
        wrong = unfit(job)
        if wrong is not None or job.run_id is None:
            return wrong or Unfit(f"Job `{job.id}` logged no run.", "")
        async with self._turn:
            was = await self._jobs.champion(job.repository_id)
            now = time.time()
            tags = {
                "gamma.job": job.id,
                "gamma.attempt": str(job.attempt),
                "gamma.ref": f"refs/heads/{job.branch}",
                "gamma.sha": job.head_sha,
                PROMOTED_BY: by,
                PROMOTED_AT: f"{now:.3f}",
            }
            made = await self._tracking.promote(job.repository, job.run_id, tags)
            crown = {
                "by": made.tags.get(PROMOTED_BY, by),
                "since": _moment(made.tags.get(PROMOTED_AT), now),
                "model": job.repository,
            }
            job, before = await self._jobs.crown(job.id, crown)
        for each in (job, *before):
            await self._show(each)
        if before or was is None:
            log.info("job.promoted", job=job.id, repo=job.repository, by=by)
        replaced = next((facts_of(each) for each in before), None)
        return Promoted(facts_of(job), replaced, already=was is not None and was.id == job.id)


def _moment(written: str | None, otherwise: float) -> float:
    try:
        return float(written or otherwise)
    except ValueError:
        return otherwise
