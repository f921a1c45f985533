"""Where a push becomes a job: by its delivery, or, where that never came, by the head of its branch.

Both ways lead to one job (I3). A job that was begun by the head has an id of its own, made from the commit and the
branch; a delivery that comes late looks for it. The other way round, a head is only followed while no push waits in
the inbox: then every push that arrived has its row among the jobs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import replace

import structlog

from gamma_bot.config.branches import matches_branch
from gamma_bot.github.errors import GitHubError
from gamma_bot.jobs.engine import Engine
from gamma_bot.jobs.push import SKIP_MARKER, Push
from gamma_bot.jobs.reach import Reach
from gamma_bot.jobs.record import new_job
from gamma_bot.store.inbox import Inbox
from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.store.outlines import OnBranch

_MOST_BRANCHES = 200
# GitHub's times of one push, in its payload and in its API, can lie a little apart.
_SAME_PUSH_SECONDS = 60.0

log = structlog.get_logger()


class Heads:
    """Starts the jobs of pushes, and follows branches that moved on while a job of theirs runs.

    Args:
        own_login: the bot's own account at GitHub, whose commits are no wish to train.
        page_url: the address of a job's page, by job id.
    """

    def __init__(
        self,
        jobs: Jobs,
        inbox: Inbox,
        reach: Reach,
        engine: Engine,
        branches: Sequence[str],
        *,
        own_login: Callable[[], Awaitable[str | None]],
        page_url: Callable[[str], str],
    ) -> None:
        self._jobs = jobs
        self._inbox = inbox
        self._reach = reach
        self._engine = engine
        self._branches = branches
        self._own_login = own_login
        self._page_url = page_url
        self._starting = asyncio.Lock()

    async def delivered(self, push: Push) -> str:
        """Start the job of a push whose delivery arrived; the id of the job that trains it."""
        async with self._starting:
            by_head = _by_head(push)
            known = await self._jobs.get(by_head.job)
            # A push of the same commit much later is another one: the branch had moved away in between.
            covered = known is not None and push.pushed_at <= known.pushed_at + _SAME_PUSH_SECONDS
            if covered or (known is None and await self._engine.is_running(by_head.job)):
                log.info("heads.delivery_came_late", delivery=push.guid, job=by_head.job)
                return by_head.job
            await self.begin(push)
            return push.job

    async def reconcile(self, awaited: Set[int]) -> None:
        """Look at the head of every branch with an unfinished job, and begin the job of a push that nobody told of.

        Args:
            awaited: repositories with deliveries that may still come: theirs are left for the next time.

        Raises:
            StoreUnavailable
        """
        newest: dict[tuple[int, str], OnBranch] = {}
        for job in await self._jobs.outlines.on_branches():
            # (Not for a fork's commit, which trains by an approval of that one commit.)
            if matches_branch(self._branches, job.branch) and job.repository_id not in awaited:
                key = (job.repository_id, job.branch)
                newest[key] = max(newest.get(key, job), job, key=lambda one: one.pushed_at)
        for each in list(newest.values())[:_MOST_BRANCHES]:
            followed = await self._jobs.get(each.id)
            if followed is None or followed.final:
                continue
            try:
                await self._follow(followed)
            except GitHubError as error:
                log.warning("heads.unreadable", job=followed.id, repo=followed.repository, error=str(error))

    async def _follow(self, job: JobRecord) -> None:
        repository = await self._reach.repository(job.repository_id)
        head = await repository.head_of(job.branch)
        if head is None:
            # To delete a branch is no wish to stop: it is what happens to each branch that was merged.
            log.info("heads.branch_gone", job=job.id, repo=job.repository, branch=job.branch)
            return
        if await self._has_job(job, head):
            return
        commit, about = await asyncio.gather(repository.commit(head), repository.about())
        if commit.author == await self._own_login():
            return
        push = replace(
            Push.from_json(job.push).moved(repository.full_name, repository.installation.installation_id),
            before=job.head_sha,
            after=head,
            pusher=commit.author,
            message=commit.message,
            pushed_at=max(about.pushed_at, job.pushed_at),
            default_branch=about.default_branch,
            changed_paths=None,
            skip=SKIP_MARKER in commit.message.lower(),
            attempt=1,
            hyperparameters={},
            asked_by="",
        )
        async with self._starting:
            if await self._inbox.waits("push") or await self._has_job(job, head):
                return
            await self.begin(_by_head(push))
            log.warning("heads.begun", job=_by_head(push).job, repo=job.repository, branch=job.branch, sha=head)

    async def _has_job(self, job: JobRecord, sha: str) -> bool:
        of_commit = await self._jobs.of_commit(job.repository_id, sha)
        return any(other.branch == job.branch for other in of_commit)

    async def begin(self, push: Push) -> None:
        """Begin the job of a push; beginning it twice begins one."""
        await self._engine.begin("train", push.job, push.to_json())
        # The workflow opens it, too. Here it is open before the delivery is marked as done, and before the next
        # command of a comment counts attempts: whoever looks for the jobs of a commit misses none.
        await self._jobs.open(new_job(push, details_url=self._page_url(push.job), now=time.time()))


def _by_head(push: Push) -> Push:
    """The same push as the head of its branch tells of it, without a delivery."""
    return replace(push, guid=f"head:{push.repository_id}:{push.branch}:{push.after}")
