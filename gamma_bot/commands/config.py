"""``/gamma config``: the configuration that counts, and where each value comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.desk import Refused
from gamma_bot.commands.job_words import refused
from gamma_bot.commands.roles import Role
from gamma_bot.config.errors import Problem
from gamma_bot.reporting.markdown import Markdown, code, prose, sentence, table
from gamma_bot.reporting.numbers import count

_MOST_SETTINGS = 200
_MOST_PROBLEMS = 30


@dataclass(frozen=True)
class ConfigArgs:
    """Nothing can be said after it."""


@command(
    "config",
    usage="config",
    summary="Show the configuration of the head commit, with the source of each value.",
    examples=["config"],
    needs=Role.READ,
    reads=True,
    also=("settings", "configuration", "yml"),
)
async def config(context: CommandContext, args: ConfigArgs) -> Reply:
    """What the head commit would train with."""
    effective = await context.desk.effective_config(context.pull)
    if isinstance(effective, Refused):
        return refused(effective)
    parts = [f"Configuration of {code(context.pull.head_sha[:7])} on {code(context.pull.head_branch)}:"]
    if effective.problems:
        parts.append(_problems(effective.problems))
    rows = [[code(each.name), code(each.value), prose(each.source)] for each in effective.settings[:_MOST_SETTINGS]]
    if rows:
        parts.append(table(["Setting", "Value", "From"], rows))
    if len(effective.settings) > _MOST_SETTINGS:
        parts.append(f"And {count(len(effective.settings) - _MOST_SETTINGS, 'more setting')}.")
    return Reply(Markdown("\n\n".join(parts)))


def _problems(problems: Sequence[Problem]) -> Markdown:
    lines = [_problem(each) for each in problems[:_MOST_PROBLEMS]]
    if len(problems) > _MOST_PROBLEMS:
        lines.append(f"- and {count(len(problems) - _MOST_PROBLEMS, 'more mistake')}")
    return Markdown("\n".join(lines))


def _problem(problem: Problem) -> str:
    where = f"Line {problem.line}, column {problem.column}: " if problem.line else ""
    message = problem.message[:1].upper() + problem.message[1:]
    hint = f" {prose(problem.hint)}" if problem.hint else ""
    return f"- {'⚠️' if problem.warning else '❌'} {where}{prose(sentence(message))}{hint}"
