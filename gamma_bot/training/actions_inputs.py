"""What a run of the workflow is given, within GitHub's limits."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

from gamma_bot.training.trainer import TrainingSpec

LARGEST_INPUTS = 65_535
"""GitHub's limit for all inputs of a dispatch together, in characters. It takes at most 25 of them; we send 8."""

# Room for the variables that are not known yet when a spec is looked at before its launch.
_VARIABLES = 4_096


def run_inputs(spec: TrainingSpec) -> Mapping[str, str]:
    """The inputs of the workflow that ``gamma init --executor actions`` writes: all text, as GitHub wants it."""
    environment = dict(spec.environment)
    assert spec.origin is not None, "the commit is known"
    return {
        "job": spec.attempt.job,
        "attempt": str(spec.attempt.number),
        "sha": spec.origin.sha,
        "mlflow_run_id": environment.pop("MLFLOW_RUN_ID", ""),
        "command": shlex.join(spec.command),
        "hyperparameters": json.dumps(dict(spec.hyperparameters)),
        "environment": json.dumps(environment),
        "timeout_seconds": f"{max(1.0, spec.timeout_seconds):.0f}",
    }


def too_large(spec: TrainingSpec) -> int:
    """By how many characters the inputs are over GitHub's limit; 0 if they fit."""
    return max(0, len(json.dumps(dict(run_inputs(spec)), ensure_ascii=False)) + _VARIABLES - LARGEST_INPUTS)
