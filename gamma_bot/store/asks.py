"""Questions to the agent: who asked what where, whether somebody is being answered, and what was answered.

A question is recorded before it is answered, and its answer with it: after a crash the same request finds out that it
was answered, or how often that was tried.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from gamma_bot.store.database import Database
from gamma_bot.store.tables import asks

OPEN, ANSWERED, UNANSWERED = "open", "answered", "unanswered"

_LOCK = 0x61736B << 32  # a space of its own among Postgres' advisory locks
_HOUR_SECONDS = 3600.0
# Longer than any answer takes: whoever was answering by then has died.
_STALE_SECONDS = 900.0


@dataclass(frozen=True)
class NewAsk:
    """A question before it is answered.

    Attributes:
        request: makes a second try at the same question harmless.
        thread: what a conversation is held in: ``pull:7``, ``chat:a-name``.
    """

    request: str
    repository_id: int
    thread: str
    author: str
    question: str


@dataclass(frozen=True)
class AskRow:
    """A question as it is recorded."""

    request: str
    repository_id: int
    thread: str
    author: str
    question: str
    asked_at: float
    tries: int
    tried_at: float
    state: str
    why_not: str
    answer: str
    outcome: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Busy:
    """Another question of this thread is being answered."""


@dataclass(frozen=True)
class TooMany:
    """This person asked as much as one may in an hour; again at ``again_at`` (Unix seconds)."""

    again_at: float


class Asks:
    """The table of questions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, ask: NewAsk, *, most_an_hour: int) -> AskRow | Busy | TooMany:
        """Record a question, once. A row that is not open was answered before."""

        def work(connection: Connection) -> AskRow | Busy | TooMany:
            _one_at_a_time(connection, ask.repository_id)
            now = time.time()
            known = _get(connection, ask.request)
            if known is not None and known.state != OPEN:
                return known
            others = select(asks.c.request).where(
                asks.c.repository_id == ask.repository_id,
                asks.c.thread == ask.thread,
                asks.c.state == OPEN,
                asks.c.request != ask.request,
                asks.c.tried_at > now - _STALE_SECONDS,
            )
            if connection.execute(others.limit(1)).first() is not None:
                return Busy()
            if known is not None:
                return known
            count, oldest = connection.execute(
                select(func.count(), func.min(asks.c.asked_at)).where(
                    asks.c.author == ask.author, asks.c.asked_at > now - _HOUR_SECONDS
                )
            ).one()
            if count >= most_an_hour:
                return TooMany(float(oldest) + _HOUR_SECONDS)
            connection.execute(insert(asks).values(**vars(ask), asked_at=now, tries=0, tried_at=now, state=OPEN))
            return _known(connection, ask.request)

        return await self._database.write(work)

    async def trying(self, request: str) -> int:
        """Record that a model is about to be asked; how often that is by now."""

        def work(connection: Connection) -> int:
            again = update(asks).where(asks.c.request == request)
            connection.execute(again.values(tries=asks.c.tries + 1, tried_at=time.time()))
            return _known(connection, request).tries

        return await self._database.write(work)

    async def close(self, request: str, *, answer: str, why_not: str, outcome: Mapping[str, Any]) -> None:
        """Record how a question was answered, or why it was not; the first end stays."""
        change = (
            update(asks)
            .where(asks.c.request == request, asks.c.state == OPEN)
            .values(
                state=UNANSWERED if why_not else ANSWERED,
                answer=answer,
                why_not=why_not,
                outcome=json.dumps(dict(outcome)),
            )
        )
        await self._database.write(lambda c: c.execute(change))

    async def thread(self, repository_id: int, thread: str, before: float, limit: int) -> Sequence[AskRow]:
        """The newest answered questions of a thread that were asked before a moment, oldest first."""
        query = select(asks).where(
            asks.c.repository_id == repository_id,
            asks.c.thread == thread,
            asks.c.state == ANSWERED,
            asks.c.asked_at < before,
        )
        query = query.order_by(asks.c.asked_at.desc()).limit(limit)
        return await self._database.read(lambda c: [_row(row) for row in c.execute(query).mappings()][::-1])

    async def was_told(self, row: AskRow, why_not: str) -> bool:
        """Whether an earlier question of the same thread was left unanswered for the same reason."""
        query = select(asks.c.request).where(
            asks.c.repository_id == row.repository_id,
            asks.c.thread == row.thread,
            asks.c.why_not == why_not,
            asks.c.asked_at < row.asked_at,
        )
        return await self._database.read(lambda c: c.execute(query.limit(1)).first() is not None)


def _one_at_a_time(connection: Connection, repository_id: int) -> None:
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK ^ repository_id)))


def _get(connection: Connection, request: str) -> AskRow | None:
    return next(map(_row, connection.execute(select(asks).where(asks.c.request == request)).mappings()), None)


def _known(connection: Connection, request: str) -> AskRow:
    row = _get(connection, request)
    assert row is not None, "it was written in this transaction"
    return row


def _row(row: Any) -> AskRow:
    values = dict(row)
    return AskRow(**{**values, "outcome": json.loads(values["outcome"])})
