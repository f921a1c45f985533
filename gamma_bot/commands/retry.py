"""``/gamma retry``: try the newest job again."""

from __future__ import annotations

from dataclasses import dataclass

from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.job_words import changes, started
from gamma_bot.commands.roles import Role
from gamma_bot.commands.training_options import TrainingOptions


@dataclass(frozen=True)
class RetryArgs(TrainingOptions):
    """What to change for the new attempt."""


@command(
    "retry",
    usage="retry [instance=TYPE] [name=value …]",
    summary="Try the newest job again, with changes if you name some.",
    examples=["retry", "retry instance=ml.g5.2xlarge lr=0.01"],
    needs=Role.WRITE,
    also=("rerun", "again", "restart", "redo"),
)
async def retry(context: CommandContext, args: RetryArgs) -> Reply:
    """Start a new attempt of the newest job of this pull request."""
    outcome = await context.desk.retry(context.pull, args.asked(context.author, context.request))
    return started(outcome, changes=changes(args.hyperparameters, args.instance))
