"""Which pull requests a branch has, as last seen: webhooks bring it, reads from GitHub correct it (I6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from gamma_bot.store.database import Database
from gamma_bot.store.tables import pulls


@dataclass(frozen=True)
class PullRecord:
    """An open pull request from a branch of the repository itself."""

    repository_id: int
    number: int
    branch: str
    head_sha: str
    base_branch: str


class Pulls:
    """The table of open pull requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_branch(self, repository_id: int, branch: str) -> Sequence[PullRecord]:
        """The open pull requests of a branch, oldest first."""
        query = (
            select(pulls)
            .where(pulls.c.repository_id == repository_id, pulls.c.branch == branch, pulls.c.open == 1)
            .order_by(pulls.c.number)
        )
        return await self._database.read(lambda c: [_pull(row) for row in c.execute(query).mappings()])

    async def replace(self, repository_id: int, branch: str, found: Sequence[PullRecord]) -> None:
        """What GitHub says now about a branch takes the place of what we knew."""

        def work(connection: Connection) -> None:
            connection.execute(delete(pulls).where(pulls.c.repository_id == repository_id, pulls.c.branch == branch))
            for pull in found:
                _upsert(connection, pull, is_open=True)

        await self._database.write(work)

    async def seen(self, pull: PullRecord, *, is_open: bool) -> None:
        """A webhook told of a pull request."""
        await self._database.write(lambda connection: _upsert(connection, pull, is_open=is_open))


def _upsert(connection: Connection, pull: PullRecord, *, is_open: bool) -> None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    values = {**pull.__dict__, "open": int(is_open)}
    statement = dialect.insert(pulls).values(**values)
    connection.execute(statement.on_conflict_do_update(index_elements=["repository_id", "number"], set_=values))


def _pull(row: Any) -> PullRecord:
    values = dict(row)
    values.pop("open")
    return PullRecord(**values)
