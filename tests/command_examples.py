"""A command as a later one will be written: its arguments use what no present command needs."""

from __future__ import annotations

from dataclasses import dataclass

from gamma_bot.commands.arguments import number, option, text, word
from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.roles import Role
from gamma_bot.reporting.markdown import Markdown, code


@dataclass(frozen=True)
class CompareArgs:
    """Which job to compare with."""

    job: str = word("JOB", "The job to compare with.", text(60))
    by: float = option("by", "SHARE", "The least change that is shown.", number(0, 1), 0.0)


@command(
    "compare",
    usage="compare JOB [by=SHARE]",
    summary="Compare the newest job with another.",
    examples=["compare j1a2b3c by=0.1"],
    needs=Role.READ,
    reads=True,
)
async def compare(context: CommandContext, args: CompareArgs) -> Reply:
    """Answer which job was named."""
    return Reply(Markdown(f"Compared with {code(args.job)}."))
