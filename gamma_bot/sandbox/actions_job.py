"""One job of a workflow on its machine: steps as real processes, and the files by which they speak to the runner."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gamma_bot.sandbox.actions_builtin import ActionFailed, use
from gamma_bot.sandbox.actions_expressions import WrongExpression, as_text, evaluate, filled, is_true
from gamma_bot.sandbox.actions_file import JobFile
from gamma_bot.sandbox.actions_log import JobLog
from gamma_bot.sandbox.actions_process import Interrupted, run_process
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model_actions import Step, WorkflowJob

_JOB_MINUTES = 360.0
_SHELLS = {
    "": ("bash", "-e", "{0}"),
    "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail", "{0}"),
    "sh": ("sh", "-e", "{0}"),
    "python": ("python", "{0}"),
}


class JobWork:
    """One job on its machine."""

    def __init__(self, forge: Forge, job: WorkflowJob, file: JobFile, folder: Path, contexts: Any) -> None:
        self._forge, self._job, self._file, self._contexts_with = forge, job, file, contexts
        self._log = JobLog(job, forge.machines.secrets.values())
        self._state = "success"
        self._environment: dict[str, str] = {}
        self._paths: list[str] = []
        self._outputs: dict[str, dict[str, dict[str, str]]] = {}
        repository = job.run.repository
        self._workspace, self._temp = folder / repository.name / repository.name, folder / "_temp"
        self._deadline = 0.0

    async def work(self, body: Mapping[str, Any]) -> str:
        """Run all steps; the conclusion."""
        for path in (self._workspace, self._temp):
            path.mkdir(parents=True, exist_ok=True)
        minutes = filled(self._file.body.get("timeout-minutes", _JOB_MINUTES), self._contexts())
        self._deadline = time.monotonic() + float(as_text(minutes)) * 60
        for environment in (body.get("env"), self._file.body.get("env")):
            self._environment.update(self._texts(environment))
        first = self._begin_step("Set up job")
        self._log.write("Current runner version: '2.330.0'")
        self._end_step(first, "success")
        for one in self._file.steps:
            await self._step(one)
        self._end_step(self._begin_step("Complete job"), "success")
        return self._state

    async def _step(self, step: Mapping[str, Any]) -> None:
        environment = self._environment | self._texts(step.get("env"))
        contexts = self._contexts(environment)
        record = self._begin_step(self._name(step, contexts))
        conclusion = "skipped"
        try:
            if self._applies(step, contexts):
                await self._do(step, environment, contexts)
                conclusion = "success"
        except Interrupted:
            conclusion = "cancelled"
            # A job that takes too long is cancelled, and that is its conclusion: GitHub knows no other for it.
            if not self._job.run.cancel:
                self._log.write("##[error]The job has exceeded the maximum execution time.")
            self._log.write("##[error]The operation was canceled.")
        except (ActionFailed, WrongExpression) as error:
            conclusion = "failure"
            self._log.write(f"##[error]{error}")
        if conclusion in ("failure", "cancelled") and self._state == "success" and not step.get("continue-on-error"):
            self._state = conclusion
        self._end_step(record, conclusion)

    async def _do(self, step: Mapping[str, Any], environment: dict[str, str], contexts: Mapping[str, Any]) -> None:
        if "uses" in step:
            given = {key: as_text(value) for key, value in filled(dict(step.get("with") or {}), contexts).items()}
            run, workspace, paths = self._job.run, self._workspace, self._paths
            await use(
                str(step["uses"]), given, forge=self._forge, run=run, workspace=workspace, paths=paths, log=self._log
            )
            return
        script = as_text(filled(step["run"], contexts))
        shell = _SHELLS[str(step.get("shell") or "")]
        extension = "py" if shell[0] == "python" else "sh"
        file = self._temp / f"{len(self._job.steps)}.{extension}"
        file.write_text(script, encoding="utf-8")
        files = {name: self._temp / f"{name}-{len(self._job.steps)}" for name in ("ENV", "PATH", "OUTPUT")}
        for path in files.values():
            path.touch()
        variables = self._machine() | {f"GITHUB_{name}": str(path) for name, path in files.items()} | environment
        command = [part.replace("{0}", str(file)) for part in shell]
        shown = [*script.rstrip().splitlines(), f"shell: {' '.join(shell)}"]
        if environment:
            shown += ["env:", *(f"  {name}: {value}" for name, value in environment.items())]
        self._log.group(f"Run {script.strip().splitlines()[0] if script.strip() else ''}", shown)
        try:
            status = await run_process(
                command, self._workspace / as_text(filled(step.get("working-directory", "."), contexts)), variables,
                self._log.printed, run=self._job.run, state=self._forge.state, machines=self._forge.machines,
                deadline=min(self._deadline, time.monotonic() + float(step.get("timeout-minutes", 1e6)) * 60),
                heeds_cancel=self._state != "cancelled",
            )  # fmt: skip
        except OSError as error:
            raise ActionFailed(f"An error occurred trying to start process '{command[0]}': {error}") from None
        self._environment |= _read_pairs(files["ENV"])
        self._paths[:0] = files["PATH"].read_text(encoding="utf-8").split()
        if step.get("id"):
            self._outputs[str(step["id"])] = {"outputs": _read_pairs(files["OUTPUT"])}
        if status != 0:
            # A shell tells a signal as 128 + its number; so does the runner for a process that died of one.
            raise ActionFailed(f"Process completed with exit code {status if status > 0 else 128 - status}.")

    def _applies(self, step: Mapping[str, Any], contexts: Mapping[str, Any]) -> bool:
        if self._state == "success" and self._job.run.cancel:
            self._state = "cancelled"
        if self._job.run.cancel == "forced":
            return False
        text = as_text(step.get("if", "")).strip()
        text = text.removeprefix("${{").removesuffix("}}") if text.startswith("${{") and text.endswith("}}") else text
        asks_for_state = any(f"{word}(" in text for word in ("always", "failure", "cancelled", "success"))
        if not asks_for_state and self._state != "success":
            return False
        return not text or is_true(evaluate(text, contexts))

    def _contexts(self, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
        state = {
            "always": lambda: True,
            "success": lambda: self._state == "success",
            "failure": lambda: self._state == "failure",
            "cancelled": lambda: self._state == "cancelled",
            "job": {"status": self._state},
            "steps": self._outputs,
        }
        found: dict[str, Any] = self._contexts_with(environment or self._environment, state)
        return found

    def _texts(self, values: Any) -> dict[str, str]:
        return {str(key): as_text(value) for key, value in filled(dict(values or {}), self._contexts()).items()}

    def _machine(self) -> dict[str, str]:
        """What every process on this machine finds, and nothing of the sandbox's own."""
        github = self._contexts()["github"]
        run = {f"GITHUB_{name.upper()}": value for name, value in github.items() if isinstance(value, str)}
        path = os.pathsep.join([*self._paths, os.environ.get("PATH", os.defpath)])
        home = self._temp / "home"
        home.mkdir(exist_ok=True)
        own = {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "CI": "true", "GITHUB_ACTIONS": "true"}
        return own | run | {"RUNNER_TEMP": str(self._temp), "RUNNER_OS": "Linux", "RUNNER_ENVIRONMENT": "github-hosted"}

    def _name(self, step: Mapping[str, Any], contexts: Mapping[str, Any]) -> str:
        if step.get("name"):
            try:
                return as_text(filled(step["name"], contexts))
            except WrongExpression:
                return str(step["name"])
        return f"Run {step.get('uses') or str(step.get('run', '')).strip().partition(chr(10))[0]}"

    def _begin_step(self, name: str) -> Step:
        step = Step(name, len(self._job.steps) + 1, "in_progress", started_at=self._forge.state.now())
        self._job.steps.append(step)
        self._forge.state.changed()
        return step

    def _end_step(self, step: Step, conclusion: str) -> None:
        step.status, step.conclusion, step.completed_at = "completed", conclusion, self._forge.state.now()
        self._forge.state.changed()


def _read_pairs(file: Path) -> dict[str, str]:
    """``NAME=value`` and ``NAME<<DELIMITER`` blocks of the files that steps write to."""
    found: dict[str, str] = {}
    lines = iter(file.read_text(encoding="utf-8").splitlines())
    for line in lines:
        name, sign, rest = line.partition("<<") if "<<" in line.partition("=")[0] else line.partition("=")
        if sign == "<<":
            block = []
            for inner in lines:
                if inner == rest:
                    break
                block.append(inner)
            found[name] = "\n".join(block)
        elif sign:
            found[name] = rest
    return found
