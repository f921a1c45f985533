"""``/gamma artifacts``: the files that the newest job left."""

from __future__ import annotations

from dataclasses import dataclass

from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.job_words import NO_JOBS, job_and_commit, newest_that
from gamma_bot.commands.roles import Role
from gamma_bot.reporting.markdown import Markdown, link
from gamma_bot.reporting.sections import artifacts_heading, artifacts_table

_MOST = 100


@dataclass(frozen=True)
class ArtifactsArgs:
    """Nothing can be said after it."""


@command(
    "artifacts",
    usage="artifacts",
    summary="List the files that the newest job left, with their sizes.",
    examples=["artifacts"],
    needs=Role.READ,
    reads=True,
    also=("artifact", "files", "outputs", "download"),
)
async def artifacts(context: CommandContext, args: ArtifactsArgs) -> Reply:
    """The artifacts of the newest job that has some."""
    jobs = await context.desk.jobs(context.pull)
    if not jobs:
        return NO_JOBS
    facts = newest_that(jobs, lambda each: bool(each.artifacts))
    if facts is None:
        return Reply(
            Markdown(
                f"Job {job_and_commit(jobs[0])} has left no files. What a script writes to `SM_MODEL_DIR` or"
                " `SM_OUTPUT_DATA_DIR` is kept when it ends."
            )
        )
    page = f"The job's page has them to download: {link('open it', facts.details_url)}."
    heading = f"Job {job_and_commit(facts)}: {artifacts_heading(facts)}"
    return Reply(Markdown(f"{heading}\n\n{artifacts_table(facts, _MOST)}\n\n{page}"))
