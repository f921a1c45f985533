"""The machines that run workflows: a run waits for its turn, its jobs go one after another, and it is told of."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from typing import Any

from gamma_bot.sandbox.actions_expressions import as_text, filled
from gamma_bot.sandbox.actions_file import JobFile, WorkflowFile
from gamma_bot.sandbox.actions_job import JobWork
from gamma_bot.sandbox.events_actions import emit_job, emit_run
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model_actions import WorkflowJob, WorkflowRun


async def begin(forge: Forge, run: WorkflowRun, file: WorkflowFile) -> None:
    """Put a run in the queue."""
    await emit_run(forge, run, "requested")
    task = asyncio.get_running_loop().create_task(_Runner(forge, run, file).work(), name=f"workflow run {run.id}")
    forge.machines.tasks.add(task)
    task.add_done_callback(forge.machines.tasks.discard)


def cancel(forge: Forge, run: WorkflowRun, *, force: bool = False) -> None:
    """Ask a run to end; what runs ``always()`` goes on, unless it is forced."""
    run.cancel = "forced" if force else run.cancel or "asked"
    forge.state.changed()


async def stop_machines(forge: Forge) -> None:
    """End every run at once, without a word to anybody."""
    tasks = list(forge.machines.tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Runner:
    """One run, from the queue to its end."""

    def __init__(self, forge: Forge, run: WorkflowRun, file: WorkflowFile) -> None:
        self._forge, self._run, self._file = forge, run, file
        self._folder = forge.root / "actions" / str(run.id)

    async def work(self) -> None:
        run, forge = self._run, self._forge
        try:
            for job_file in self._file.jobs:
                run.jobs.append(self._new_job(job_file))
                emit_job(forge, run.jobs[-1], "queued")
            await self._wait_for_turn()
            if not run.cancel:
                async with forge.machines.slots:
                    run.status, run.started_at = "in_progress", forge.state.now()
                    for job, job_file in zip(run.jobs, self._file.jobs, strict=True):
                        await self._job(job, job_file)
            for job in run.jobs:
                if job.status != "completed":
                    self._complete(job, "cancelled")
            conclusions = [job.conclusion for job in run.jobs]
            run.conclusion = next((one for one in ("failure", "cancelled") if one in conclusions), "success")
            run.status, run.updated_at = "completed", forge.state.now()
            await emit_run(forge, run, "completed")
        except Exception as error:
            forge.violations.append(f"the sandbox failed in workflow run {run.id}: {error!r}")
            raise
        finally:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _wait_for_turn(self) -> None:
        run, state = self._run, self._forge.state
        while not run.cancel:
            others = [one for one in run.repository.workflow_runs.values() if one.group and one.group == run.group]
            before = any(one.id < run.id and one.status != "completed" for one in others)
            if not before and not self._forge.machines.held:
                return
            run.status = "pending" if before else "queued"
            await state.next_change()

    def _new_job(self, file: JobFile) -> WorkflowJob:
        state = self._forge.state
        labels = file.body.get("runs-on") or "ubuntu-latest"
        name = as_text(filled(file.body.get("name") or file.id, self._contexts({}, {})))
        now = state.now()
        return WorkflowJob(
            state.next_id(), self._run, name, now, now, [labels] if isinstance(labels, str) else list(labels),
            attempt=self._run.attempt,
        )  # fmt: skip

    async def _job(self, job: WorkflowJob, file: JobFile) -> None:
        needed = [one for one, other in zip(self._run.jobs, self._file.jobs, strict=True) if other.id in file.needs]
        if any(one.conclusion != "success" for one in needed):
            self._complete(job, "skipped")
            return
        job.status, job.started_at = "in_progress", self._forge.state.now()
        emit_job(self._forge, job, "in_progress")
        if job is self._run.jobs[0]:
            await emit_run(self._forge, self._run, "in_progress")
        conclusion = await JobWork(self._forge, job, file, self._folder, self._contexts).work(self._file.body)
        self._complete(job, conclusion)

    def _complete(self, job: WorkflowJob, conclusion: str) -> None:
        job.status, job.conclusion, job.completed_at = "completed", conclusion, self._forge.state.now()
        emit_job(self._forge, job, "completed")

    def _contexts(self, environment: Mapping[str, str], more: Mapping[str, Any]) -> dict[str, Any]:
        run, urls = self._run, self._forge.urls
        workspace = self._folder / run.repository.name / run.repository.name
        github = {
            "repository": run.repository.full_name,
            "repository_owner": run.repository.owner.login,
            "ref": f"refs/heads/{run.head_branch}",
            "ref_name": run.head_branch,
            "sha": run.head_sha,
            "actor": run.actor.login,
            "triggering_actor": run.actor.login,
            "run_id": str(run.id),
            "run_number": str(run.number),
            "run_attempt": str(run.attempt),
            "event_name": run.event,
            "event": {"inputs": run.inputs},
            "workflow": self._file.name,
            "workspace": str(workspace),
            "server_url": urls.web,
            "api_url": urls.api,
        }
        machines = self._forge.machines
        runner = {"temp": str(self._folder / "_temp"), "os": "Linux", "arch": "X64", "name": "GitHub Actions 1"}
        return {
            "github": github,
            "inputs": run.inputs,
            "secrets": machines.secrets,
            "vars": machines.variables,
            "runner": runner,
            "env": dict(environment),
            **more,
        }
