"""``/gamma summary``: the write-up of a commit."""

from __future__ import annotations

from dataclasses import dataclass

from gamma_bot.commands.arguments import pattern, word
from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.desk import Refused
from gamma_bot.commands.job_words import job_and_commit, refused
from gamma_bot.commands.roles import Role
from gamma_bot.jobs.writing import Ambiguous
from gamma_bot.reporting.markdown import Markdown, text


@dataclass(frozen=True)
class SummaryArgs:
    """Which commit; empty for the head."""

    sha: str = word(
        "SHA",
        "A commit of this repository that has trained; the head of the pull request without one.",
        pattern("[0-9a-fA-F]{7,64}", "a commit's SHA of 7 digits or more, like `1a2b3c4`"),
        "",
    )


@command(
    "summary",
    usage="summary [SHA]",
    summary="Show what a commit changed, what moved, why probably, and what to try next.",
    examples=["summary", "summary 1a2b3c4"],
    needs=Role.WRITE,
    costs=True,
    also=("summarize", "summarise", "writeup", "write-up", "describe"),
    details="The agent writes it once for each commit: asking again shows the same text. Without an agent it lists the"
    " changed files and how the metrics moved.",
)
async def summary(context: CommandContext, args: SummaryArgs) -> Reply:
    """The kept write-up of the commit, or a new one."""
    sha = args.sha.lower() or context.pull.head_sha
    found = await context.writing.summary(context.pull.repository_id, sha) if context.writing is not None else None
    if isinstance(found, Ambiguous):
        named = ", ".join(f"`{each[:12]}`" for each in found.commits[:5])
        return refused(Refused(f"More than one commit begins with `{sha}`: {named}.", "Write more of its digits."))
    if found is None:
        return refused(
            Refused(
                f"There is no finished run of `{sha[:7]}` in this repository.",
                "`/gamma status` lists the jobs of this pull request; `/gamma train` trains its head.",
            )
        )
    told = found.text or Markdown("Neither the changed files nor any metrics of this commit are known.")
    about = job_and_commit(found.facts)
    if found.facts.job != found.asked.job:
        about = Markdown(f"{job_and_commit(found.asked)} took over the result of {about}, whose write-up this is:")
    return Reply(Markdown(f"{about}\n\n{told}\n\n<sub>{text(found.row.footer)}</sub>"))
