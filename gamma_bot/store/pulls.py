"""Which pull requests a branch has, as last seen: webhooks bring it, reads from GitHub correct it (I6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update
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
    updated_at: float
    is_open: bool = True


class Pulls:
    """The table of open pull requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_branch(self, repository_id: int, branch: str, *, closed_too: bool = False) -> Sequence[PullRecord]:
        """The open pull requests of a branch, oldest first."""
        query = (
            select(pulls)
            .where(pulls.c.repository_id == repository_id, pulls.c.branch == branch)
            .order_by(pulls.c.number)
        )
        query = query if closed_too else query.where(pulls.c.open == 1)
        return await self._database.read(lambda c: [_pull(row) for row in c.execute(query).mappings()])

    async def refresh(self, known: Sequence[PullRecord], found: Sequence[PullRecord]) -> None:
        """What GitHub says about a branch corrects what we knew.

        Args:
            known: what ``of_branch`` said before GitHub was asked: what came in since then is newer than its answer.
            found: the open pull requests by GitHub's answer.
        """
        if not known and not found:
            return
        open_now = {pull.number for pull in found}

        def work(connection: Connection) -> None:
            for pull in known:
                if pull.number not in open_now:
                    connection.execute(
                        update(pulls)
                        .where(pulls.c.repository_id == pull.repository_id, pulls.c.number == pull.number)
                        .values(open=0)
                    )
            for pull in found:
                _upsert(connection, pull)

        await self._database.write(work)

    async def seen(self, pull: PullRecord) -> PullRecord:
        """A webhook told of a pull request; what is the newest known of it."""

        def work(connection: Connection) -> PullRecord:
            _upsert(connection, pull)
            query = select(pulls).where(pulls.c.repository_id == pull.repository_id, pulls.c.number == pull.number)
            return _pull(connection.execute(query).mappings().one())

        return await self._database.write(work)


def _upsert(connection: Connection, pull: PullRecord) -> None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    values = {**pull.__dict__, "open": int(pull.is_open)}
    del values["is_open"]
    statement = dialect.insert(pulls).values(**values)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["repository_id", "number"], set_=values, where=pulls.c.updated_at <= pull.updated_at
        )
    )


def _pull(row: Any) -> PullRecord:
    values = dict(row)
    values["is_open"] = bool(values.pop("open"))
    return PullRecord(**values)
