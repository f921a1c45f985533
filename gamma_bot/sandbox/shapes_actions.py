"""How workflows, their runs, jobs and artifacts look in an answer."""

from __future__ import annotations

import hashlib
from typing import Any

from gamma_bot.sandbox.git import GitCommit
from gamma_bot.sandbox.ids import node_id
from gamma_bot.sandbox.model_actions import Workflow, WorkflowArtifact, WorkflowJob, WorkflowRun
from gamma_bot.sandbox.shapes import Json, account_json, repository_json
from gamma_bot.sandbox.urls import Urls


def workflow_json(urls: Urls, workflow: Workflow) -> Json:
    page = urls.repository_page(workflow.repository)
    return {
        "id": workflow.id,
        "node_id": workflow.node_id,
        "name": workflow.name,
        "path": workflow.path,
        "state": workflow.state,
        "created_at": workflow.created_at,
        "updated_at": workflow.created_at,
        "url": f"{urls.repository_api(workflow.repository)}/actions/workflows/{workflow.id}",
        "html_url": f"{page}/blob/{workflow.repository.default_branch}/{workflow.path}",
        "badge_url": f"{page}/actions/workflows/{workflow.file_name}/badge.svg",
    }


def run_page(urls: Urls, run: WorkflowRun) -> str:
    return f"{urls.repository_page(run.repository)}/actions/runs/{run.id}"


def workflow_run_json(urls: Urls, run: WorkflowRun, head: GitCommit) -> Json:
    api = urls.repository_api(run.repository)
    itself = f"{api}/actions/runs/{run.id}"
    return {
        "id": run.id,
        "name": run.workflow.name,
        "node_id": run.node_id,
        "check_suite_id": run.id,
        "check_suite_node_id": node_id("CS", run.id),
        "head_branch": run.head_branch,
        "head_sha": run.head_sha,
        "path": run.workflow.path,
        "run_number": run.number,
        "run_attempt": run.attempt,
        "event": run.event,
        "display_title": run.name,
        "status": run.status,
        "conclusion": run.conclusion,
        "workflow_id": run.workflow.id,
        "url": itself,
        "html_url": run_page(urls, run),
        "pull_requests": [],
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "actor": account_json(urls, run.actor),
        "triggering_actor": account_json(urls, run.actor),
        "run_started_at": run.started_at or run.created_at,
        "jobs_url": f"{itself}/jobs",
        "logs_url": f"{itself}/logs",
        "check_suite_url": f"{api}/check-suites/{run.id}",
        "artifacts_url": f"{itself}/artifacts",
        "cancel_url": f"{itself}/cancel",
        "rerun_url": f"{itself}/rerun",
        "previous_attempt_url": None,
        "workflow_url": f"{api}/actions/workflows/{run.workflow.id}",
        "head_commit": _commit(head),
        "repository": repository_json(urls, run.repository),
        "head_repository": repository_json(urls, run.repository),
    }


def workflow_job_json(urls: Urls, job: WorkflowJob) -> Json:
    run = job.run
    api = urls.repository_api(run.repository)
    machine = job.status != "queued"
    return {
        "id": job.id,
        "run_id": run.id,
        "workflow_name": run.workflow.name,
        "head_branch": run.head_branch,
        "run_url": f"{api}/actions/runs/{run.id}",
        "run_attempt": job.attempt,
        "node_id": job.node_id,
        "head_sha": run.head_sha,
        "url": f"{api}/actions/jobs/{job.id}",
        "html_url": f"{run_page(urls, run)}/job/{job.id}",
        "status": job.status,
        "conclusion": job.conclusion,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "name": job.name,
        "steps": [
            {
                "name": step.name,
                "status": step.status,
                "conclusion": step.conclusion,
                "number": step.number,
                "started_at": step.started_at,
                "completed_at": step.completed_at,
            }
            for step in job.steps
        ],
        "check_run_url": f"{api}/check-runs/{job.id}",
        "labels": list(job.labels),
        "runner_id": 1 if machine else None,
        "runner_name": "GitHub Actions 1" if machine else None,
        "runner_group_id": 0 if machine else None,
        "runner_group_name": "GitHub Actions" if machine else None,
    }


def artifact_json(urls: Urls, artifact: WorkflowArtifact) -> Json:
    run = artifact.run
    api = f"{urls.repository_api(run.repository)}/actions/artifacts/{artifact.id}"
    return {
        "id": artifact.id,
        "node_id": artifact.node_id,
        "name": artifact.name,
        "size_in_bytes": len(artifact.content),
        "url": api,
        "archive_download_url": f"{api}/zip",
        "expired": False,
        "digest": f"sha256:{hashlib.sha256(artifact.content).hexdigest()}",
        "created_at": artifact.created_at,
        "updated_at": artifact.created_at,
        "expires_at": f"{int(artifact.created_at[:4]) + 1}{artifact.created_at[4:].replace('02-29', '02-28')}",
        "workflow_run": {
            "id": run.id,
            "repository_id": run.repository.id,
            "head_repository_id": run.repository.id,
            "head_branch": run.head_branch,
            "head_sha": run.head_sha,
        },
    }


def _commit(commit: GitCommit) -> dict[str, Any]:
    return {
        "id": commit.sha,
        "tree_id": commit.tree,
        "message": commit.message,
        "timestamp": commit.committer.date,
        "author": {"name": commit.author.name, "email": commit.author.email},
        "committer": {"name": commit.committer.name, "email": commit.committer.email},
    }
