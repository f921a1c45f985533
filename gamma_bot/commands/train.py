"""``/gamma train``: train the head commit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gamma_bot.commands.arguments import option, yes_or_no
from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.job_words import changes, started
from gamma_bot.commands.roles import Role
from gamma_bot.commands.training_options import TrainingOptions


@dataclass(frozen=True)
class TrainArgs(TrainingOptions):
    """What to change of gamma.yml for this one job."""

    force: bool = option(
        "force", "true", "Train it even if an earlier job had the same code and configuration.", yes_or_no, False
    )


@command(
    "train",
    usage="train [instance=TYPE] [name=value …] [force=true]",
    summary="Train the head commit, with changes if you name some.",
    examples=[
        "train",
        "train force=true",
        "train lr=0.01 epochs=50",
        'train note="wider policy" instance=ml.g5.2xlarge',
    ],
    needs=Role.WRITE,
    also=("run", "start", "build", "go"),
)
async def train(context: CommandContext, args: TrainArgs) -> Reply:
    """Start a job for the head commit."""
    outcome = await context.desk.train(
        context.pull, replace(args.asked(context.author, context.request), force=args.force)
    )
    return started(outcome, changes=changes(args.hyperparameters, args.instance))
