"""``/gamma stop``: end what runs."""

from __future__ import annotations

from dataclasses import dataclass

from gamma_bot.commands.arguments import choice, word
from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.job_words import listed
from gamma_bot.commands.roles import Role
from gamma_bot.reporting.markdown import Markdown


@dataclass(frozen=True)
class StopArgs:
    """Whether every job is meant, or the newest one."""

    everything: bool = word("all", "Every job of this pull request, not just the newest.", choice({"all": True}), False)


@command(
    "stop",
    usage="stop [all]",
    summary="Stop the newest job, or all jobs of this pull request.",
    examples=["stop", "stop all"],
    needs=Role.WRITE,
    also=("cancel", "abort", "kill", "halt"),
    details="A job gets time to save its work, and the metrics that it logged are kept.",
)
async def stop(context: CommandContext, args: StopArgs) -> Reply:
    """Ask for the end of jobs that have not ended."""
    stopping = await context.desk.stop(
        context.pull, context.author, everything=args.everything, request=context.request
    )
    if not stopping:
        return Reply(Markdown("Nothing runs or waits here, so there is nothing to stop."))
    what = "job" if len(stopping) == 1 else "jobs"
    kept = "its metrics are" if len(stopping) == 1 else "their metrics are"
    return Reply(Markdown(f"Stopping {what} {listed(stopping)}; {kept} kept."))
