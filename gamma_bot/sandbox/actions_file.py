"""Reads a workflow file: its inputs and what a dispatch of them must satisfy, its jobs in their order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from gamma_bot.sandbox.actions_expressions import as_text

MAXIMUM_INPUTS = 25
MAXIMUM_INPUT_CHARACTERS = 65_535
FOLDER = ".github/workflows"


class WrongWorkflow(ValueError):
    """The file can't be used, or the inputs don't fit it; the text is what GitHub says."""


@dataclass(frozen=True)
class JobFile:
    """A job as the file has it; expressions are not filled in yet."""

    id: str
    body: Mapping[str, Any]

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        return list(self.body.get("steps") or ())

    @property
    def needs(self) -> list[str]:
        needs = self.body.get("needs") or []
        return [needs] if isinstance(needs, str) else list(needs)


@dataclass(frozen=True)
class WorkflowFile:
    """A workflow file. ``inputs`` is None if it can't be dispatched."""

    name: str
    body: Mapping[str, Any] = field(repr=False)
    inputs: Mapping[str, Mapping[str, Any]] | None
    jobs: tuple[JobFile, ...]

    @property
    def run_name(self) -> str:
        return str(self.body.get("run-name") or "")

    @property
    def group(self) -> str:
        concurrency = self.body.get("concurrency") or ""
        return str(concurrency.get("group", "")) if isinstance(concurrency, dict) else str(concurrency)


def read_workflow(data: bytes, path: str) -> WorkflowFile:
    """What a file says.

    Raises:
        WrongWorkflow: it is no workflow.
    """
    try:
        body = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WrongWorkflow(f"Failed to parse workflow: {error}") from None
    if not isinstance(body, dict) or not isinstance(body.get("jobs"), dict):
        raise WrongWorkflow("Failed to parse workflow: Required property is missing: jobs")
    # YAML 1.1 reads the key `on` as true.
    triggers = body.get("on", body.get(True))
    jobs = tuple(JobFile(str(name), job) for name, job in body["jobs"].items() if isinstance(job, dict))
    return WorkflowFile(str(body.get("name") or path), body, _inputs(triggers), _in_order(jobs))


def given_inputs(file: WorkflowFile, given: Mapping[str, Any]) -> dict[str, object]:
    """The inputs of a run: what was given, and the defaults of what was not.

    Raises:
        WrongWorkflow: they don't fit what the file declares.
    """
    declared = file.inputs or {}
    if unexpected := [name for name in given if name not in declared]:
        raise WrongWorkflow(f"Unexpected inputs provided: {json.dumps(unexpected)}")
    if len(json.dumps(dict(given), ensure_ascii=False)) > MAXIMUM_INPUT_CHARACTERS:
        raise WrongWorkflow("inputs are too large.")
    found: dict[str, object] = {}
    for name, rule in declared.items():
        if name not in given and rule.get("required") and rule.get("default") is None:
            raise WrongWorkflow(f"Required input '{name}' not provided")
        value = as_text(given.get(name, rule.get("default")))
        if rule.get("type") == "choice" and value not in map(as_text, rule.get("options") or ()):
            raise WrongWorkflow(f"Provided value '{value}' for input '{name}' not in the list of allowed values")
        found[name] = value == "true" if rule.get("type") == "boolean" else value
    return found


def _inputs(triggers: Any) -> Mapping[str, Mapping[str, Any]] | None:
    if isinstance(triggers, str | list):
        return {} if "workflow_dispatch" in ([triggers] if isinstance(triggers, str) else triggers) else None
    if not isinstance(triggers, dict) or "workflow_dispatch" not in triggers:
        return None
    declared = (triggers["workflow_dispatch"] or {}).get("inputs") or {}
    if len(declared) > MAXIMUM_INPUTS:
        raise WrongWorkflow(f"you may only define up to {MAXIMUM_INPUTS} `inputs` for a `workflow_dispatch` event")
    return {str(name): rule or {} for name, rule in declared.items()}


def _in_order(jobs: tuple[JobFile, ...]) -> tuple[JobFile, ...]:
    """Each after those that it needs."""
    placed: dict[str, JobFile] = {}
    waiting = list(jobs)
    while waiting:
        ready = [job for job in waiting if all(need in placed for need in job.needs)]
        if not ready:
            raise WrongWorkflow(f"The workflow must contain at least one job with no dependencies: {waiting[0].id}")
        for job in ready:
            placed[job.id] = job
            waiting.remove(job)
    return tuple(placed.values())
