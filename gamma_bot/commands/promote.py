"""``/gamma promote``: make a run the champion that later ones are compared with."""

from __future__ import annotations

from dataclasses import dataclass

from gamma_bot.commands.arguments import pattern, word
from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.desk import Refused
from gamma_bot.commands.job_words import job_and_commit, refused
from gamma_bot.commands.roles import Role
from gamma_bot.reporting.markdown import Markdown, code
from gamma_bot.reporting.numbers import format_moment


@dataclass(frozen=True)
class PromoteArgs:
    """Which job; empty for the newest one."""

    job: str = word(
        "JOB",
        "A job of this repository, as `/gamma status` names it; the newest one of this pull request if left out.",
        pattern("[A-Za-z0-9-]{1,40}", "a job's name, as `/gamma status` shows it"),
        "",
    )


@command(
    "promote",
    usage="promote [JOB]",
    summary="Make a run the champion of this repository: later runs are compared with it.",
    examples=["promote", "promote j3f1c9aa0b2d1"],
    needs=Role.MAINTAIN,
    also=("champion", "crown", "bless"),
    details="Only a run that succeeded can be promoted. It becomes a version of the repository's model in MLflow, with"
    " the alias `champion`, and stays it until another one is promoted. A `baseline` in gamma.yml comes first.",
)
async def promote(context: CommandContext, args: PromoteArgs) -> Reply:
    """Promote one job. A second time changes nothing."""
    outcome = await context.desk.promote(context.pull, context.author, args.job)
    if isinstance(outcome, Refused):
        return refused(outcome)
    facts = outcome.champion
    job = job_and_commit(facts)
    if outcome.already and facts.champion is not None:
        since, by = format_moment(facts.champion.since), code(facts.champion.by)
        return Reply(Markdown(f"Job {job} is the champion already, promoted by {by} on {since}."))
    replaced = f" It takes the place of job {job_and_commit(outcome.replaced)}." if outcome.replaced else ""
    return Reply(Markdown(f"Job {job} is the champion now: later runs are compared with it.{replaced}"))
