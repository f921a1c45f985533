"""``/gamma simulate``: what training the head commit would mean, without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.desk import Preview, Refused
from gamma_bot.commands.job_words import refused, written
from gamma_bot.commands.roles import Role
from gamma_bot.commands.training_options import TrainingOptions
from gamma_bot.reporting.markdown import Markdown, code, prose, sentence, table, text
from gamma_bot.reporting.numbers import format_bytes, format_seconds


@dataclass(frozen=True)
class SimulateArgs(TrainingOptions):
    """As for ``train``."""


@command(
    "simulate",
    usage="simulate [instance=TYPE] [name=value …]",
    summary="Show what training would mean: executor, limits, cost and baseline. Nothing runs.",
    examples=["simulate", "simulate lr=0.01 instance=ml.g5.2xlarge"],
    needs=Role.READ,
    reads=True,
    also=("plan", "dry-run", "preview"),
)
async def simulate(context: CommandContext, args: SimulateArgs) -> Reply:
    """The plan of a job for the head commit."""
    preview = await context.desk.simulate(context.pull, args.asked(context.author, context.request))
    if isinstance(preview, Refused):
        return refused(preview)
    why = f" {prose(sentence(preview.why))}" if preview.why else ""
    return Reply(Markdown(f"{_verdict(preview, context.pull.head_sha)}{why}\n\n{_plan(preview)}"))


def _verdict(preview: Preview, sha: str) -> Markdown:
    commit = code(sha[:7])
    match preview.would:
        case "train":
            return Markdown(f"{commit} would train. Nothing was started.")
        case "skip":
            return Markdown(f"{commit} would be skipped.")
        case "refuse":
            return Markdown(f"{commit} would be refused.")
        case _:
            assert_never(preview.would)


def _plan(preview: Preview) -> Markdown:
    values = ", ".join(code(f"{name}={written(value)}") for name, value in preview.hyperparameters.items())
    job = f", job {code(preview.baseline_job)}" if preview.baseline_job else ", which has no finished job yet"
    job += ", the champion" if preview.is_champion else ""
    rows = [
        ("Waits first", prose(preview.waits_for)),
        ("Executor", code(preview.executor)),
        ("Command", code(preview.command)),
        ("Hyperparameters", values or "none"),
        ("Time limit", format_seconds(preview.timeout_seconds)),
        ("Memory limit", "none" if preview.memory_bytes is None else format_bytes(preview.memory_bytes)),
        ("Instance", code(preview.instance) if preview.instance else ""),
        ("Estimated cost", text(preview.estimated_cost) if preview.estimated_cost else ""),
        ("Baseline", f"{code(preview.baseline)}{job}" if preview.baseline else "none"),
    ]
    return table(["Plan", ""], [row for row in rows if row[1]])
