"""Talking to Gamma in a pull request, as the command stories do it."""

from __future__ import annotations

import re

from gamma_bot.sandbox.model import CheckRun, IssueComment, PullRequest
from tests.harness import Gamma

ENDINGS = {"rocket", "-1", "confused"}


async def say(gamma: Gamma, pull: PullRequest, body: str, author: str = "ada") -> tuple[str, str]:
    """Write a comment and wait until it is answered; the reaction that stays, and the answer's text."""
    comment = await gamma.github.comment(gamma.repository, pull.number, body, author)
    return await answered(gamma, comment)


async def answered(gamma: Gamma, comment: IssueComment) -> tuple[str, str]:
    """Wait for the answer to a comment: the reaction that stays, and the answer's text."""

    def answer() -> tuple[str, str] | None:
        replies, shown = replies_to(gamma, comment), reactions(comment)
        assert len(replies) <= 1, "a comment is answered once"
        return (shown[0], replies[0]) if replies and len(shown) == 1 and shown[0] in ENDINGS else None

    return await gamma.eventually(answer, f"an answer to {comment.body!r}")


def replies_to(gamma: Gamma, comment: IssueComment) -> list[str]:
    """The answers to a comment, without the marker that makes them ours."""
    marker = f"<!-- gamma:reply:{comment.id} -->"
    bodies = [other.body for other in gamma.repository.comments_on(comment.issue.number) if other.app is gamma.app]
    return [body.removeprefix(marker).strip() for body in bodies if body.startswith(marker)]


def reactions(comment: IssueComment) -> list[str]:
    """What a comment shows."""
    return [reaction.content for reaction in comment.reactions]


def newest(gamma: Gamma, sha: str, count: int) -> CheckRun | None:
    """The newest check run of a commit once there are so many and it is over."""
    runs = gamma.check_runs(sha)
    return runs[-1] if len(runs) == count and runs[-1].status == "completed" else None


def refusals(answer: str) -> list[tuple[str, str, str]]:
    """The commands that were refused: name, the role that it takes, the role that the person has."""
    found = re.findall(
        r"`/gamma (\w+)` needs the role \*\*(\w+)\*\* in this repository,"
        r" and you have (?:the role \*\*(\w+)\*\*|no role here)\.",
        answer,
    )
    return [(name, needed, actual or "none") for name, needed, actual in found]
