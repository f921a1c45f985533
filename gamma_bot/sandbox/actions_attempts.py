"""Runs of GitHub Actions that somebody runs again: the same run with a further attempt, and those before it."""

from __future__ import annotations

from copy import copy

from gamma_bot.sandbox.actions import run_of, workflow_file
from gamma_bot.sandbox.actions_runner import begin
from gamma_bot.sandbox.call import Answer, ApiError, Call, Route, not_found
from gamma_bot.sandbox.model_actions import WorkflowRun
from gamma_bot.sandbox.shapes_actions import workflow_job_json, workflow_run_json


async def rerun(call: Call) -> Answer:
    """Run all of it again: what it came to is kept as an earlier attempt."""
    run = run_of(call)
    if run.status != "completed":
        raise ApiError(403, "This workflow is already running")
    file = await workflow_file(call.forge, run.repository, run.workflow.path, run.head_sha)
    assert file is not None, "it ran before"
    run.earlier.append(copy(run))
    run.attempt += 1
    run.status, run.conclusion, run.cancel, run.jobs = "queued", None, "", []
    await begin(call.forge, run, file)
    return Answer(201, {})


async def get_attempt(call: Call) -> Answer:
    run = _attempt(call)
    head = await call.forge.git.commit_info(run.repository.git_dir, run.head_sha)
    return Answer(200, workflow_run_json(call.forge.urls, run, head))


async def list_jobs_of_attempt(call: Call) -> Answer:
    jobs = _attempt(call).jobs
    shown = [workflow_job_json(call.forge.urls, job) for job in call.page(jobs)]
    return Answer(200, {"total_count": len(jobs), "jobs": shown})


def _attempt(call: Call) -> WorkflowRun:
    run, wanted = run_of(call), call.number("attempt_number")
    found = next((one for one in (run, *run.earlier) if one.attempt == wanted), None)
    if found is None:
        raise not_found()
    return found


_RUN = "/repos/{owner}/{repo}/actions/runs/{run_id}"

ROUTES = (
    Route("POST", f"{_RUN}/rerun", rerun, needs=("actions:write",), role="write"),
    Route("GET", f"{_RUN}/attempts/{{attempt_number}}", get_attempt, needs=("actions:read",)),
    Route("GET", f"{_RUN}/attempts/{{attempt_number}}/jobs", list_jobs_of_attempt, needs=("actions:read",)),
)
