"""The last step of a job whose workflow could not do its work."""

from __future__ import annotations

import asyncio

import structlog

from gamma_bot.jobs.engine import Values
from gamma_bot.jobs.parts import Parts
from gamma_bot.reporting.facts import State
from gamma_bot.tracking.runs import RunStatus, TrackingError
from gamma_bot.training.trainer import Attempt

log = structlog.get_logger()


async def give_up(parts: Parts, job_id: str, reason: Values) -> Values:
    """Twice: the first recorded end stays. What was opened in MLflow is closed by the sweep if not here.

    Args:
        reason: ``failed``, the words that say why, and perhaps a ``hint``.
    """
    job = await parts.job(job_id)
    attempt = Attempt(job.id, job.attempt)
    for trainer in parts.trainers.values():
        await trainer.stop(attempt)  # nothing may go on that GitHub shows as over; one it does not know is no matter
    if job.stop:  # it was to end anyway, and what failed may be due to the same cause (a suspended installation)
        state, why, hint = State.CANCELLED, job.stop["why"], job.stop["hint"]
    else:
        state, why, hint = State.FAILED, str(reason["failed"]), str(reason.get("hint", ""))
    job = await parts.end(job_id, state, why, hint)
    await asyncio.to_thread(parts.archive(attempt).unlink, missing_ok=True)
    if job.run_id is not None:
        try:
            await parts.tracking.close_run(job.run_id, RunStatus.KILLED if job.stop else RunStatus.FAILED)
        except TrackingError as error:
            log.warning("run.left_open", job=job.id, error=str(error))
    return {"state": state}
