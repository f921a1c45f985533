"""Warm pools: machines kept after a job, billed until they are used again, let go, or their time is over."""

from __future__ import annotations

import time
from typing import Any

from gamma_bot.sandbox.aws.errors import invalid
from gamma_bot.sandbox.aws.job import TrainingJob


def refresh(jobs: list[TrainingJob]) -> None:
    """Bring each pool's status to the present; it is looked at only when somebody asks."""
    for job in jobs:
        kept = job.keep_alive_seconds
        if not kept or job.ended is None or (job.warm_pool or {}).get("Status") in ("Terminated", "Reused"):
            continue
        if job.training_started is None:
            continue  # It never had machines.
        waited = time.time() - job.ended
        status = "Available" if waited < kept else "Terminated"
        job.warm_pool = _pool(status, min(waited, kept))


def take(job: TrainingJob, others: list[TrainingJob]) -> None:
    """Give a new job the machines of an earlier one, when it wants the same."""
    job.warm_pool = {"Status": "InUse"}
    for other in others:
        if other.warm_pool is not None and other.warm_pool["Status"] == "Available" and _same(job, other):
            other.warm_pool |= {"Status": "Reused", "ReusedByJob": job.name}
            return


def keep(job: TrainingJob, seconds: int) -> None:
    """Change how long the machines are kept; 0 lets them go.

    Raises:
        Refused: there are none to keep.
    """
    if job.warm_pool is None or job.warm_pool["Status"] in ("Terminated", "Reused"):
        status = job.warm_pool["Status"] if job.warm_pool else "absent"
        raise invalid(f"The request was rejected because the warm pool of the training job is {status}.")
    job.keep_alive_seconds = seconds
    job.modified = time.time()
    if job.ended is not None and seconds < time.time() - job.ended:
        job.warm_pool = _pool("Terminated", time.time() - job.ended)
    if job.ended is None and seconds == 0:
        job.warm_pool = None


def _pool(status: str, seconds: float) -> dict[str, Any]:
    return {"Status": status, "ResourceRetainedBillableTimeInSeconds": int(seconds)}


def _same(one: TrainingJob, other: TrainingJob) -> bool:
    return _needs(one) == _needs(other)


def _needs(job: TrainingJob) -> list[Any]:
    resources = {name: value for name, value in job.resources.items() if name != "KeepAlivePeriodInSeconds"}
    alike = ("RoleArn", "VpcConfig", "EnableNetworkIsolation", "EnableInterContainerTrafficEncryption")
    return [resources, *(job.request.get(name) for name in alike)]
