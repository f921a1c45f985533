"""What calling models has cost, attempt by attempt.

Each attempt reserves the most it can cost before it is made, in the transaction that asks whether there is that much
left: two at once can't both slip under a cap. An attempt that a crash cut off keeps its reservation in the month, since
nobody knows what it came to; once it can't be under way any more, what it was for may be tried again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection, case, func, insert, select, update

from gamma_bot.store.database import Database
from gamma_bot.store.tables import agent_ledger as ledger

log = structlog.get_logger()

_LOCK = 0x6C6564676572 << 16  # a space of its own among Postgres' advisory locks

REFUSED = "refused"
INTERRUPTED = "interrupted"
# Longer than any call takes: whoever made it has died.
_STALE_SECONDS = 900.0


@dataclass(frozen=True)
class AgentSpent:
    """US dollars, with what is reserved: of one task, and of a repository since a month began."""

    task: float
    month: float


@dataclass(frozen=True)
class NewAttempt:
    """An attempt before it is made. ``usd`` is the most that it can cost."""

    repository_id: int
    job: str
    kind: str
    task: str
    model: str
    usd: float


@dataclass(frozen=True)
class AttemptRow:
    """An attempt as it is recorded."""

    id: str
    at: float
    repository_id: int
    job: str
    kind: str
    task: str
    model: str
    request_id: str
    cache_write_5m: int
    cache_write_1h: int
    cache_read: int
    fresh: int
    output: int
    thinking: int
    stop_reason: str
    usd: float
    estimated: bool


@dataclass(frozen=True)
class Refused:
    """An attempt that may not be made. ``first`` of its kind in this repository since the month began."""

    why: Any
    first: bool


class AgentLedger:
    """The table of attempts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(
        self, attempt: NewAttempt, month_began: float, refuses: Callable[[AgentSpent], Any | None]
    ) -> str | Refused:
        """Open an attempt unless that is refused; its id.

        Args:
            refuses: decides by what was spent so far; why not, if so.

        Raises:
            StoreUnavailable
        """

        def work(connection: Connection) -> str | Refused:
            if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK ^ attempt.repository_id)))
            _give_up_the_dead(connection, attempt.repository_id)
            why = refuses(_spent(connection, attempt.repository_id, attempt.task, month_began))
            first = why is not None and not _was_refused(connection, attempt.repository_id, month_began)
            row = {
                **vars(attempt),
                "id": uuid.uuid4().hex,
                "at": time.time(),
                "estimated": 1,
                **({} if why is None else {"usd": 0.0, "estimated": 0, "stop_reason": REFUSED}),
            }
            connection.execute(insert(ledger).values(row))
            return str(row["id"]) if why is None else Refused(why, first)

        return await self._database.write(work)

    async def settle(self, attempt_id: str, **columns: Any) -> None:
        """Put what an attempt came to in the place of what was reserved for it.

        Raises:
            StoreUnavailable
        """
        query = update(ledger).where(ledger.c.id == attempt_id).values(**columns)
        await self._database.write(lambda c: c.execute(query))

    async def spent(self, repository_id: int, task: str, month_began: float) -> AgentSpent:
        """What was spent and is reserved now."""
        return await self._database.read(lambda c: _spent(c, repository_id, task, month_began))

    async def of_task(self, task: str) -> Sequence[AttemptRow]:
        """All attempts for one write-up or answer, in order."""
        query = select(ledger).where(ledger.c.task == task).order_by(ledger.c.at)
        return await self._database.read(
            lambda c: [
                AttemptRow(**{**row, "estimated": bool(row["estimated"])}) for row in c.execute(query).mappings()
            ]
        )

    async def by_kind(self, repository_id: int, since: float) -> dict[str, float]:
        """What each kind of task has cost a repository."""
        query = select(ledger.c.kind, func.sum(ledger.c.usd))
        query = query.where(ledger.c.repository_id == repository_id, ledger.c.at >= since).group_by(ledger.c.kind)
        return await self._database.read(lambda c: {kind: float(usd) for kind, usd in c.execute(query)})


def _give_up_the_dead(connection: Connection, repository_id: int) -> None:
    dead = (ledger.c.repository_id == repository_id) & (ledger.c.stop_reason == "")
    dead &= ledger.c.at < time.time() - _STALE_SECONDS
    found = connection.execute(update(ledger).where(dead).values(stop_reason=INTERRUPTED)).rowcount
    if found:
        log.warning("agent.attempts_interrupted", repository=repository_id, count=found)


def _spent(connection: Connection, repository_id: int, task: str, month_began: float) -> AgentSpent:
    of_task = (ledger.c.task == task) & (ledger.c.stop_reason != INTERRUPTED)
    sums = (
        func.coalesce(func.sum(case((of_task, ledger.c.usd), else_=0.0)), 0.0),
        func.coalesce(func.sum(case((ledger.c.at >= month_began, ledger.c.usd), else_=0.0)), 0.0),
    )
    mine = (ledger.c.repository_id == repository_id) & ((ledger.c.at >= month_began) | (ledger.c.task == task))
    for_task, in_month = connection.execute(select(*sums).where(mine)).one()
    return AgentSpent(float(for_task), float(in_month))


def _was_refused(connection: Connection, repository_id: int, month_began: float) -> bool:
    query = select(ledger.c.id).where(
        ledger.c.repository_id == repository_id, ledger.c.at >= month_began, ledger.c.stop_reason == REFUSED
    )
    return connection.execute(query.limit(1)).first() is not None
