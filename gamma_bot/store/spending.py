"""What jobs have cost and may still cost, by pull request, repository and month.

A job that is let start reserves the most that it may cost; its end puts what it did cost in the place of that. Nobody
can start on money that is reserved, so that two jobs at once don't both slip under a budget.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, case, func, or_, select, update

from gamma_bot.store.database import Database
from gamma_bot.store.jobs import FINAL_STATES
from gamma_bot.store.tables import jobs, projects

Refusal = TypeVar("Refusal")

# How long a job that was asked to end may still train: SageMaker gives it two minutes, and may take some to hear of it.
_STOPPING_SECONDS = 300.0


@dataclass(frozen=True)
class Spent:
    """US dollars: what finished jobs have cost, and what those that are not over may cost at most.

    Attributes:
        branch: all jobs of one branch, which are those of its pull request.
        month: all jobs of the repository since a month began.
    """

    branch: float = 0.0
    repository: float = 0.0
    month: float = 0.0


@dataclass(frozen=True)
class Cost:
    """What one finished job has cost, and its facts, which tell on which machines."""

    usd: float
    facts: str


class Spending:
    """Queries over the cost of jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, repository_id: int, branch: str, month_began: float) -> Spent:
        """What the jobs of a repository have cost."""
        return await self._database.read(lambda c: _spent(c, repository_id, branch, month_began))

    async def reserve(
        self,
        job: str,
        repository_id: int,
        branch: str,
        month_began: float,
        most: float,
        refuses: Callable[[Spent], Refusal | None],
        *,
        replaces: Collection[str] = (),
    ) -> Refusal | None:
        """Reserve the most that a job may cost, unless that is refused; why it is.

        Asking again changes nothing but what others have spent meanwhile: a job's own reservation never counts
        against it.

        Args:
            refuses: decides by what all other jobs have cost.
            replaces: jobs that will be asked to end if this one may start.
        """

        def work(connection: Connection) -> Refusal | None:
            # One after the other in each repository. On SQLite there is one writer anyway.
            lock = select(projects.c.repository_id).where(projects.c.repository_id == repository_id)
            connection.execute(lock.with_for_update()).all()
            refusal = refuses(_spent(connection, repository_id, branch, month_began, apart_from=job, ending=replaces))
            if refusal is None:
                connection.execute(
                    update(jobs).where(jobs.c.id == job, jobs.c.state.not_in(FINAL_STATES)).values(estimate_usd=most)
                )
            return refusal

        return await self._database.write(work)

    async def unpriced(self, repository_id: int, executor: str) -> int:
        """How many jobs of a repository this executor has trained at a price that nobody knows."""
        query = select(func.count()).where(
            jobs.c.repository_id == repository_id,
            jobs.c.executor == executor,
            jobs.c.submitted_at.is_not(None),
            jobs.c.estimate_usd.is_(None),
            jobs.c.cost_usd.is_(None),
        )
        return int(await self._database.read(lambda c: c.execute(query).scalar_one()))

    async def of_succeeded(self, repository_id: int, branch: str, limit: int = 20) -> Sequence[Cost]:
        """What the newest jobs of a branch that went well have cost."""
        query = select(jobs.c.cost_usd, jobs.c.facts).where(
            jobs.c.repository_id == repository_id,
            jobs.c.branch == branch,
            jobs.c.estimate_usd.is_not(None),
            jobs.c.cost_usd.is_not(None),
            jobs.c.state == "succeeded",
        )
        query = query.order_by(jobs.c.created_at.desc()).limit(limit)
        return await self._database.read(lambda c: [Cost(*row) for row in c.execute(query)])


def _spent(
    connection: Connection,
    repository_id: int,
    branch: str,
    month_began: float,
    *,
    apart_from: str = "",
    ending: Collection[str] = (),
) -> Spent:
    paid = (
        jobs.c.repository_id == repository_id,
        jobs.c.estimate_usd.is_not(None),
        jobs.c.id != apart_from,
        # What ended before a trainer was asked to take it has cost nothing.
        or_(jobs.c.submitted_at.is_not(None), jobs.c.state.not_in(FINAL_STATES)),
    )
    cost = func.coalesce(jobs.c.cost_usd, jobs.c.estimate_usd)
    sums: list[Any] = [
        func.coalesce(func.sum(case((jobs.c.branch == branch, cost), else_=0.0)), 0.0),
        func.coalesce(func.sum(cost), 0.0),
        func.coalesce(func.sum(case((jobs.c.created_at >= month_began, cost), else_=0.0)), 0.0),
    ]
    of_branch, of_repository, of_month = connection.execute(select(*sums).where(*paid)).one()
    # A job that a newer push takes the place of reserves no more than it can have used until it is gone.
    query = select(jobs.c.branch, jobs.c.created_at, jobs.c.estimate_usd, jobs.c.timeout_seconds, jobs.c.submitted_at)
    query = query.where(*paid, jobs.c.cost_usd.is_(None), jobs.c.state.not_in(FINAL_STATES))
    for name, created_at, estimate, timeout, submitted_at in connection.execute(
        query.where(or_(jobs.c.stop != "{}", jobs.c.id.in_(ending)))
    ):
        released = estimate - most_when_stopped(estimate, timeout, submitted_at)
        of_repository -= released
        of_branch -= released if name == branch else 0.0
        of_month -= released if created_at >= month_began else 0.0
    return Spent(of_branch, of_repository, of_month)


def most_when_stopped(estimate: float, timeout_seconds: float | None, submitted_at: float | None) -> float:
    """What a job that is asked to end now costs at most: it trains until somebody has heard of it."""
    if submitted_at is None:
        return 0.0
    if not timeout_seconds:
        return estimate
    return min(estimate, estimate * (time.time() - submitted_at + _STOPPING_SECONDS) / timeout_seconds)
