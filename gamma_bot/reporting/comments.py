"""The pull request's one comment: edited in place, from the first push to the last result."""

from __future__ import annotations

from gamma_bot.reporting.facts import JobFacts, State
from gamma_bot.reporting.markdown import Markdown
from gamma_bot.reporting.templates import render, render_fitting
from gamma_bot.reporting.write_up import write_up

LIMIT = 65_536  # characters that GitHub takes
NO_MODEL = "Deterministic write-up (no model)"


def sticky_comment(
    facts: JobFacts,
    *,
    previous: JobFacts | None,
    marker: str,
    written: Markdown | None = None,
    written_by: str = NO_MODEL,
) -> str:
    """The comment as it shall read now.

    Args:
        previous: the last finished job of the pull request; shown as long as this one has no result.
        marker: the hidden first line by which the comment is found again, as it shall stand there.
        written: a checked write-up in place of the deterministic one, made by ``written_by``.
    """
    has_result = facts.state in (State.SUCCEEDED, State.FAILED)
    another = previous is not None and (previous.job, previous.attempt) != (facts.job, facts.attempt)
    story = bool(written or write_up(facts))
    footer = render("comments/footer.md.j2", facts=facts, story=story, written_by=written_by)
    return render_fitting(
        "comments/sticky.md.j2",
        facts,
        LIMIT,
        head=f"{marker}\n",
        foot=f"\n\n{footer}\n",
        previous=previous if another and not has_result else None,
        story=story,
        written=written,
    )
