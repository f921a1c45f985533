"""The pull requests of a job's branch: which there are now, and what they say to compare with."""

from __future__ import annotations

import structlog

from gamma_bot.config.branches import matches_branch
from gamma_bot.github.errors import GitHubError
from gamma_bot.jobs.parts import Parts
from gamma_bot.jobs.push import Push, is_of_fork
from gamma_bot.store.pulls import PullRecord

log = structlog.get_logger()


async def refresh_pulls(parts: Parts, push: Push, *, only_if_unknown: bool = False) -> None:
    """A webhook about a pull request can be missing or late; what GitHub says now is right (I6).

    Args:
        only_if_unknown: a pull request that is known is asked about when the job is over, and not twice.
    """
    if is_of_fork(push.branch):
        return
    known = await parts.pulls.of_branch(push.repository_id, push.branch)
    if known and only_if_unknown:
        return
    try:
        repository = await parts.repository(push)
        found = await repository.pull_requests_of(push.branch)
    except GitHubError as error:
        # The comment then follows the webhooks alone; the job does not depend on it.
        log.warning("pulls.unreadable", job=push.job, error=str(error))
        return
    own = [pull for pull in found if pull.head_repository_id == push.repository_id]
    await parts.pulls.refresh(
        known,
        [PullRecord(push.repository_id, p.number, p.head_branch, p.head_sha, p.base_branch, p.updated_at) for p in own],
    )


async def base_branch(parts: Parts, push: Push) -> str:
    """What a branch is measured against: its pull request's base, else the main training branch."""
    for pull in await parts.pulls.of_branch(push.repository_id, push.branch):
        if matches_branch(parts.branches, pull.base_branch):  # nothing trains on the others
            return pull.base_branch
    main = parts.branches[0].removesuffix("/*")
    # Git can't hold `models` beside `models/x`: where there are such branches, `models/main` is the main one.
    return f"{main}/main" if push.branch.startswith(f"{main}/") else main
