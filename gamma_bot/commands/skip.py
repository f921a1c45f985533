"""``/gamma skip``: leave the head commit untrained."""

from __future__ import annotations

from dataclasses import dataclass

from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.job_words import listed
from gamma_bot.commands.roles import Role
from gamma_bot.reporting.markdown import Markdown, code


@dataclass(frozen=True)
class SkipArgs:
    """Nothing can be said after it."""


@command(
    "skip",
    usage="skip",
    summary="Leave the head commit untrained; its check becomes neutral.",
    examples=["skip"],
    needs=Role.WRITE,
    also=("ignore", "pass"),
    details="It is about this commit only: the next push trains again.",
)
async def skip(context: CommandContext, args: SkipArgs) -> Reply:
    """Make the head commit's check neutral."""
    ended = await context.desk.skip(context.pull, context.author, context.request)
    stopped = f" It ends job {listed(ended)}." if ended else ""
    return Reply(
        Markdown(
            f"{code(context.pull.head_sha[:7])} is skipped and its check is neutral.{stopped} The next push trains"
            " again; so does `/gamma train`."
        )
    )
