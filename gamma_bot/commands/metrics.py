"""``/gamma metrics``: the newest job's metrics beside the baseline's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from gamma_bot.commands.arguments import text, word
from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.job_words import NO_JOBS, job_and_commit, newest_that
from gamma_bot.commands.roles import Role
from gamma_bot.reporting.facts import JobFacts
from gamma_bot.reporting.markdown import Markdown, code
from gamma_bot.reporting.sections import compared_with, metrics_table
from gamma_bot.reporting.titles import shown_metrics

_MOST = 100
_NAMES_TOLD = 20


@dataclass(frozen=True)
class MetricsArgs:
    """Which metrics; empty for all."""

    pattern: str = word(
        "PATTERN",
        "Part of a name, or a pattern for all of it: `*` is any text, `?` any sign. Capitals make no difference.",
        text(250),
        "",
    )


@command(
    "metrics",
    usage="metrics [PATTERN]",
    summary="Show the newest metrics against the baseline.",
    examples=["metrics", "metrics loss", "metrics eval/*"],
    needs=Role.READ,
    reads=True,
    also=("metric", "results", "scores"),
)
async def metrics(context: CommandContext, args: MetricsArgs) -> Reply:
    """The metrics of the newest job that has logged some."""
    jobs = await context.desk.jobs(context.pull)
    if not jobs:
        return NO_JOBS
    facts = newest_that(jobs, lambda each: bool(shown_metrics(each)))
    if facts is None:
        return Reply(Markdown(f"Job {job_and_commit(jobs[0])} has logged no metrics yet."))
    found = [line for line in shown_metrics(facts) if _matches(line.name, args.pattern)]
    if not found:
        return Reply(_no_match(facts, args.pattern), ok=False)
    shown = metrics_table(replace(facts, metrics=tuple(found)), _MOST)
    return Reply(Markdown("\n\n".join(filter(None, [f"Job {job_and_commit(facts)}", shown, compared_with(facts)]))))


def _matches(name: str, pattern: str) -> bool:
    folded = pattern.lower()
    if not any(sign in folded for sign in "*?["):
        return folded in name.lower()
    return fnmatchcase(name.lower(), folded)


def _no_match(facts: JobFacts, pattern: str) -> Markdown:
    names = [code(line.name, 60) for line in shown_metrics(facts)]
    more = f" and {len(names) - _NAMES_TOLD:,} more" if len(names) > _NAMES_TOLD else ""
    return Markdown(
        f"No metric of job {job_and_commit(facts)} is called {code(pattern)}."
        f" It has {', '.join(names[:_NAMES_TOLD])}{more}."
    )
