"""``/gamma status``: the jobs of the pull request."""

from __future__ import annotations

from dataclasses import dataclass

from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.job_words import NO_JOBS, job_link
from gamma_bot.commands.roles import Role
from gamma_bot.reporting.facts import JobFacts, State
from gamma_bot.reporting.markdown import Markdown, code, table, text
from gamma_bot.reporting.numbers import format_seconds, format_value
from gamma_bot.reporting.sections import commit_link, judged
from gamma_bot.reporting.titles import mark, primary_line, ran_to_its_end, title

_MOST = 10


@dataclass(frozen=True)
class StatusArgs:
    """Nothing can be said after it."""


@command(
    "status",
    usage="status",
    summary="Show the jobs of this pull request: state, duration and primary metric.",
    examples=["status"],
    needs=Role.READ,
    reads=True,
    also=("state", "jobs", "list", "ls", "info"),
)
async def status(context: CommandContext, args: StatusArgs) -> Reply:
    """The newest job in words and the newest ten in a table."""
    jobs = await context.desk.jobs(context.pull, _MOST)
    if not jobs:
        return NO_JOBS
    headline = f"{mark(jobs[0])} {text(title(jobs[0]))}"
    rows = [
        [
            job_link(each),
            commit_link(each),
            f"{mark(each)} {_state(each)}",
            format_seconds(each.wall_seconds) if each.wall_seconds is not None else "",
            _primary(each),
        ]
        for each in jobs[:_MOST]
    ]
    shown = table(["Job", "Commit", "State", "Ran for", "Primary metric"], rows, "lllrl")
    return Reply(Markdown(f"{headline}\n\n{shown}"))


def _state(facts: JobFacts) -> str:
    return "waiting" if facts.waits and facts.state is State.QUEUED else facts.state.value


def _primary(facts: JobFacts) -> str:
    line = primary_line(facts)
    if line is None:
        return ""
    value = f"{code(line.name, 60)} {format_value(line.last)}"
    return f"{value}, {judged(line)}" if ran_to_its_end(facts) else f"{value} so far"
