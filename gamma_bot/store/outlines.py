"""As little of jobs as is read of all of them at once: of ten thousand jobs the whole rows fill 200 MB of memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, bindparam, literal_column, select

from gamma_bot.store.database import Database
from gamma_bot.store.tables import jobs

UNFINISHED_STATES = ("queued", "preparing", "running")
_MOST_IN_A_QUERY = 500
# As its index says it: with a parameter, or with a condition on another index's column, SQLite would not use that.
_STOPPING: ColumnElement[bool] = literal_column("stop <> '{}'")
_UNDER_WAY = select(jobs.c.id, jobs.c.attempt, jobs.c.state).where(
    jobs.c.state.in_(UNFINISHED_STATES), jobs.c.executor == bindparam("wanted"), jobs.c.launched_at.is_not(None)
)


class UnderWay(NamedTuple):
    """A job that a trainer has taken."""

    id: str
    attempt: int
    state: str


class Unfinished(NamedTuple):
    """A job that is not over.

    Attributes:
        launched_at: when a trainer had taken it (Unix seconds), if one has.
    """

    id: str
    executor: str
    launched_at: float | None


class OnBranch(NamedTuple):
    """A job that is not over, and the push that it came from."""

    id: str
    repository_id: int
    branch: str
    pushed_at: float


class Outlines:
    """Reads a few columns of many jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def under_way(self, executor: str) -> Sequence[UnderWay]:
        """The jobs that an executor's trainer has taken and that are not over; from an index alone."""
        values = {"wanted": executor}
        return await self._database.read(lambda c: list(map(UnderWay._make, c.execute(_UNDER_WAY, values).all())))

    async def stopping(self) -> set[str]:
        """The unfinished jobs that somebody asked to end."""
        query = select(jobs.c.id).where(_STOPPING, (jobs.c.state + "").in_(UNFINISHED_STATES))
        return await self._database.read(lambda c: set(c.execute(query).scalars()))

    async def unfinished(self) -> Sequence[Unfinished]:
        """The jobs that are not over, the oldest launches first."""
        query = (
            select(jobs.c.id, jobs.c.executor, jobs.c.launched_at)
            .where(jobs.c.state.in_(UNFINISHED_STATES))
            .order_by(jobs.c.launched_at)
        )
        return await self._database.read(lambda c: [Unfinished(*row) for row in c.execute(query)])

    async def unfinished_in(self, repositories: Collection[int]) -> Sequence[OnBranch]:
        """The jobs of these repositories that are not over."""
        found = await self.on_branches()
        return [job for job in found if job.repository_id in repositories]

    async def on_branches(self) -> Sequence[OnBranch]:
        """The jobs that are not over, with their branches."""
        query = select(jobs.c.id, jobs.c.repository_id, jobs.c.branch, jobs.c.pushed_at).where(
            jobs.c.state.in_(UNFINISHED_STATES)
        )
        return await self._database.read(lambda c: [OnBranch(*row) for row in c.execute(query)])

    async def over_among(self, ids: Collection[str]) -> set[str]:
        """Those of these jobs that are known and over."""
        wanted, found = list(ids), set[str]()
        for start in range(0, len(wanted), _MOST_IN_A_QUERY):
            query = select(jobs.c.id).where(
                jobs.c.id.in_(wanted[start : start + _MOST_IN_A_QUERY]), jobs.c.state.not_in(UNFINISHED_STATES)
            )
            found |= await self._database.read(lambda c, query=query: set(c.execute(query).scalars()))  # type: ignore[misc]
        return found

    async def ended_since(self, moment: float) -> Sequence[tuple[str, float]]:
        """The jobs that came to their end after a moment, the oldest first, each with when it last changed."""
        query = (
            select(jobs.c.id, jobs.c.updated_at)
            .where(jobs.c.updated_at > moment, jobs.c.state.not_in(UNFINISHED_STATES))
            .order_by(jobs.c.updated_at)
        )
        return await self._database.read(lambda c: [(row[0], row[1]) for row in c.execute(query)])
