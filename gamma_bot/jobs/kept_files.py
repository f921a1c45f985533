"""Which of the files that are recorded of a job its trainer still has, and where."""

from __future__ import annotations

from collections.abc import Mapping

from gamma_bot.reporting.facts import JobFacts
from gamma_bot.training.trainer import OUTPUT_DATA, Attempt, Trainer


async def kept_files(trainer: Trainer | None, attempt: Attempt, facts: JobFacts) -> Mapping[str, str]:
    """By recorded path, the path at the trainer."""
    if trainer is None or not facts.artifacts:
        return {}
    there = {artifact.path for artifact in await trainer.artifacts(attempt)}
    found = {}
    for path, _ in facts.artifacts:
        # What a job logged to MLflow as `x` it may have left as `output/data/x`; then only `x` is listed.
        source = next((name for name in (path, OUTPUT_DATA + path) if name in there), None)
        if source is not None:
            found[path] = source
    return found
