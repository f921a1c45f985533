"""The webhooks of GitHub Actions: ``workflow_run`` and ``workflow_job``."""

from __future__ import annotations

from gamma_bot.sandbox.events import emit
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model_actions import WorkflowJob, WorkflowRun
from gamma_bot.sandbox.shapes_actions import workflow_job_json, workflow_json, workflow_run_json


async def emit_run(forge: Forge, run: WorkflowRun, action: str) -> None:
    """``workflow_run``: requested, in_progress, completed."""
    head = await forge.git.commit_info(run.repository.git_dir, run.head_sha)
    body = {
        "workflow_run": workflow_run_json(forge.urls, run, head),
        "workflow": workflow_json(forge.urls, run.workflow),
    }
    emit(forge, "workflow_run", action, run.repository, run.actor, body)


def emit_job(forge: Forge, job: WorkflowJob, action: str) -> None:
    """``workflow_job``: queued, in_progress, completed."""
    run = job.run
    emit(forge, "workflow_job", action, run.repository, run.actor, {"workflow_job": workflow_job_json(forge.urls, job)})
