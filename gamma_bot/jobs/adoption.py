"""``mlflow: adopt``: the run of a job is one that its script makes itself, found by the tags that Gamma gave it."""

from __future__ import annotations

from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.tracking.runs import Tracking


def attempt_tags(job: str, attempt: int, sha: str) -> dict[str, str]:
    """The tags by which a run of an attempt is known. All together they fit into a variable of SageMaker's."""
    return {"gamma.job": job, "gamma.attempt": str(attempt), "gamma.sha": sha}


async def with_its_run(job: JobRecord, jobs: Jobs, tracking: Tracking) -> JobRecord:
    """The job with its run, if its script has made one by now; jobs whose run Gamma made have one already.

    Raises:
        TrackingError
    """
    if job.run_id is not None or job.plan.get("config", {}).get("train", {}).get("mlflow") != "adopt":
        return job
    run_id = await tracking.find_run(attempt_tags(job.id, job.attempt, job.head_sha))
    return job if run_id is None else await jobs.change(job.id, run_id=run_id)
