"""``/gamma approve``: let one commit train that may not by itself, for its origin or for its cost."""

from __future__ import annotations

from dataclasses import dataclass

from gamma_bot.commands.arguments import pattern, word
from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.desk import Refused
from gamma_bot.commands.job_words import refused, started
from gamma_bot.commands.roles import Role


@dataclass(frozen=True)
class ApproveArgs:
    """Which commit was looked at; empty for the one that was the head when the comment was written."""

    sha: str = word(
        "SHA",
        "The commit that you looked at; it must still be the head. After a push that came later than the page you read,"
        " only the whole SHA will do.",
        pattern("[0-9a-fA-F]{7,64}", "a commit's SHA of 7 digits or more, like `1a2b3c4`"),
        "",
    )


@command(
    "approve",
    usage="approve [SHA]",
    summary="Let the head commit train though it comes from a fork or costs more than the budget allows.",
    examples=["approve", "approve 1a2b3c4"],
    needs=Role.MAINTAIN,
    also=("allow", "authorize", "authorise", "lgtm", "ok"),
    details="It holds for one job of this one commit: a later push needs a new approval, and so does money for another"
    " attempt. A fork's code will run with what a job may reach, so read it first.",
)
async def approve(context: CommandContext, args: ApproveArgs) -> Reply:
    """Approve exactly the commit that the author of the comment saw."""
    head = context.pull.head_sha
    if args.sha and not head.startswith(args.sha.lower()):
        return _not_the_head(args.sha, head)
    if not context.pull.from_fork:
        if context.comment_sha not in (None, head) and not args.sha:
            return _not_the_head(context.comment_sha or "", head)
        return started(await context.desk.approve(context.pull, context.author, head, context.request))
    # Whoever writes a fork can make two commits that begin alike, so that only the whole SHA tells what was looked at.
    if len(args.sha) == len(head) or context.comment_sha == head:
        return started(await context.desk.approve(context.pull, context.author, head, context.request))
    if context.comment_sha:
        return _not_the_head(context.comment_sha, head)
    return refused(
        Refused(
            "It is not known which commit you looked at when you wrote this.",
            f"If it was the present head, write `/gamma approve {head}`.",
        )
    )


def _not_the_head(seen: str, head: str) -> Reply:
    return refused(
        Refused(
            f"The head is `{head[:7]}` now, not `{seen[:7]}`: nothing was approved.",
            f"Look at what was pushed, then write `/gamma approve {head}`.",
        )
    )
