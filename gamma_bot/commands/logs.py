"""``/gamma logs``: the end of the newest job's log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gamma_bot.commands.arguments import whole_number, word
from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.job_words import NO_JOBS, job_and_commit, newest_that
from gamma_bot.commands.roles import Role
from gamma_bot.reporting.facts import State
from gamma_bot.reporting.markdown import Markdown, clip, fence, log_line
from gamma_bot.reporting.numbers import count

_MOST_LINES = 500
# A comment takes 65,536 characters; the rest is for what stands around the log.
_ROOM = 60_000
_LONGEST_LINE = 1_000


@dataclass(frozen=True)
class LogsArgs:
    """How much of the log."""

    lines: int = word(
        "N", f"How many of the newest lines, at most {_MOST_LINES}; 50 if left out.", whole_number(1, _MOST_LINES), 50
    )


@command(
    "logs",
    usage="logs [N]",
    summary="Show the newest lines of the log.",
    examples=["logs", "logs 200"],
    needs=Role.READ,
    reads=True,
    also=("log", "tail", "output", "stdout"),
)
async def logs(context: CommandContext, args: LogsArgs) -> Reply:
    """The log of the newest job that ever began; what waits in a queue has none."""
    jobs = await context.desk.jobs(context.pull)
    if not jobs:
        return NO_JOBS
    facts = newest_that(jobs, lambda each: each.state not in (State.QUEUED, State.SKIPPED)) or jobs[0]
    lines = list(await context.desk.log_tail(facts.job, args.lines))[-args.lines :]
    if not lines:
        return Reply(Markdown(f"Job {job_and_commit(facts)} has printed nothing yet."))
    fitting = _newest_that_fit(lines)
    told = f"The newest {count(len(fitting), 'line')} of job {job_and_commit(facts)}:"
    cut = ""
    if len(fitting) < len(lines):
        cut = f"\n\n*{count(len(lines) - len(fitting), 'older line')} left out: GitHub allows no longer comment.*"
    return Reply(Markdown(f"{told}\n\n{fence(fitting, line_limit=_LONGEST_LINE)}{cut}"))


def _newest_that_fit(lines: Sequence[str]) -> Sequence[str]:
    """As many of the newest lines as a comment takes: the end of a log says how it went."""
    room = _ROOM
    for number, line in enumerate(reversed(lines)):
        room -= len(clip(log_line(line), _LONGEST_LINE)) + 1
        if room < 0:
            return lines[len(lines) - number :]
    return lines
