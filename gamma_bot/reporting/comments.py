"""The pull request's one comment: edited in place, from the first push to the last result."""

from __future__ import annotations

from gamma_bot.reporting.facts import JobFacts, State
from gamma_bot.reporting.markdown import Markdown, prose
from gamma_bot.reporting.templates import render, render_fitting
from gamma_bot.reporting.titles import mark, ran_to_its_end, title
from gamma_bot.reporting.write_up import write_up

LIMIT = 65_536  # characters that GitHub takes
NO_MODEL = "Deterministic write-up (no model)"
NO_KEY = f"{NO_MODEL}: whoever runs Gamma can set GAMMA_ANTHROPIC_API_KEY, and a model writes. This is said once."


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
        written: a checked write-up in place of the deterministic one.
        written_by: who made the one that is shown; empty where that was told elsewhere.
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


def write_up_alone(facts: JobFacts) -> Markdown:
    """The deterministic write-up where nothing else tells how the job ended: of one that broke, also that."""
    if ran_to_its_end(facts):
        return write_up(facts)
    broke = [f"{mark(facts)} {prose(title(facts))}", render("comments/what_broke.md.j2", facts=facts)]
    return Markdown("\n\n".join(filter(None, [*broke, write_up(facts)])))
