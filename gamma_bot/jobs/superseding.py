"""Of the pushes to a branch only the newest is trained, in whatever order they come (I2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gamma_bot.jobs.parts import Parts
from gamma_bot.jobs.push import Push
from gamma_bot.store.jobs import JobRecord

_HINT = "The newer job tells the result of this branch."


@dataclass(frozen=True)
class Rivals:
    """Unfinished jobs of the same branch, of which only one shall go on.

    Attributes:
        newer: one that takes the place of the job itself.
        older: those whose place it takes.
    """

    newer: JobRecord | None = None
    older: Sequence[JobRecord] = ()


async def rivals_of(parts: Parts, push: Push) -> Rivals:
    """Who else of the branch is under way.

    Raises:
        GitHubError
    """
    own = await parts.job(push.job)
    newer: JobRecord | None = None
    older = []
    for other in await parts.jobs.of_branch(push.repository_id, push.branch):
        if other.final or other.id == own.id:
            continue
        elsewhere = other.head_sha != own.head_sha
        # Somebody who asks for an old commit wants just that one: it neither ends a newer job nor is ended by it.
        if elsewhere and push.asked_by and not push.approved_by:
            continue
        if not await _is_older(parts, own, other):
            older.append(other)
        elif not (elsewhere and push.approved_by):  # who approves a job that was held wants it, whatever came since
            newer = other
    return Rivals(newer, older)


async def end_the_older(parts: Parts, push: Push, rivals: Rivals) -> None:
    """Let the newest job alone go on. Twice: the first request stays."""
    own = await parts.job(push.job)
    if rivals.newer is not None:
        await parts.jobs.ask_to_stop(own.id, why=_why(rivals.newer), hint=_HINT)
    for each in rivals.older:
        await parts.jobs.ask_to_stop(each.id, why=_why(own), hint=_HINT)


def _why(newer: JobRecord) -> str:
    return f"Superseded by `{newer.head_sha[:7]}`, job `{newer.id}`."


async def _is_older(parts: Parts, own: JobRecord, other: JobRecord) -> bool:
    """Whether another job of the branch is of a later push.

    GitHub tells the time of a push in whole seconds, and deliveries come in any order. So within a second it is
    the chain of commits that tells, and if there are more in between, the branch's head (I6).
    """
    if own.pushed_at != other.pushed_at:
        return own.pushed_at < other.pushed_at
    if own.head_sha == other.head_sha:
        return (own.attempt, own.created_at) < (other.attempt, other.created_at)
    if own.head_sha == other.before_sha or other.head_sha == own.before_sha:
        return own.head_sha == other.before_sha
    repository = await parts.reach.repository(own.repository_id)
    return await repository.head_of(own.branch) != own.head_sha
