"""The inbox of deliveries: stored raw under their GUID, many in one commit, kept for replay.

A commit that reaches the disk costs milliseconds, however many rows it holds. So one writer takes everything that
has queued up while it was busy, writes it in one transaction, and tells all of them at once.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Connection, PoolProxiedConnection, and_, bindparam, func, or_, select, update
from sqlalchemy.dialects import postgresql

from gamma_bot.redaction import redacted
from gamma_bot.store.checkpoint import Checkpoints
from gamma_bot.store.database import Database, StoreUnavailable
from gamma_bot.store.tables import deliveries, schema_version

_LARGEST_BATCH = 64
_INSERT = "INSERT INTO gamma_deliveries (guid, event, body, received_at, state) VALUES "
_ROW = "(?, ?, ?, ?, 'stored')"
# GitHub delivers again what a person asked for: then a delivery that was given up gets new tries.
_REVIVE = "UPDATE gamma_deliveries SET state = 'stored', tries = 0 WHERE guid = ? AND state = 'parked'"


class Stored(Enum):
    """What became of an offered delivery."""

    NEW = "new"
    DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Delivery:
    """A webhook as it came."""

    guid: str
    event: str
    body: bytes
    received_at: float


@dataclass(frozen=True)
class DeliveryRecord:
    """A stored delivery with what became of it; ``body`` only where it was asked for.

    Attributes:
        tries: how often handling it has failed.
        due_at: a delivery whose handling failed is not tried again before (Unix seconds).
    """

    seq: int
    guid: str
    event: str
    received_at: float
    state: str
    tries: int
    result: str
    size: int
    due_at: float = 0.0
    body: bytes = b""


class Inbox:
    """Stores deliveries durably and hands out the ones that wait.

    Args:
        on_stored: called on the event loop after a commit that held something new.
        redact: takes secrets out of errors before they are kept.
    """

    def __init__(
        self,
        database: Database,
        on_stored: Callable[[], None] = lambda: None,
        *,
        redact: Callable[[str], str] = redacted,
    ) -> None:
        self._database = database
        self._redact = redact
        self._on_stored = on_stored
        self._waiting: list[tuple[Delivery, asyncio.Future[Stored]]] = []
        self._writing = False
        self._sqlite: PoolProxiedConnection | None = None
        self._checkpoints = Checkpoints(database.engine)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inbox")

    def offer(self, delivery: Delivery) -> asyncio.Future[Stored]:
        """Store a delivery; the future is done when it is on the disk (I1).

        The future raises ``StoreUnavailable`` if it could not be stored.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Stored] = loop.create_future()
        self._waiting.append((delivery, future))
        if not self._writing:
            self._writing = True
            # One turn of the loop later, whatever else arrived in this turn is in the same commit.
            loop.call_soon(self._write_next, loop)
        return future

    def _write_next(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._waiting = self._waiting[:_LARGEST_BATCH], self._waiting[_LARGEST_BATCH:]
        self._thread.submit(self._commit, loop, batch)

    def _commit(self, loop: asyncio.AbstractEventLoop, batch: list[tuple[Delivery, asyncio.Future[Stored]]]) -> None:
        try:
            outcome: list[bool] | StoreUnavailable = self._insert([delivery for delivery, _ in batch])
        except Exception as error:
            # Whatever it is: an answer that is never given would hold up every delivery after it.
            outcome = StoreUnavailable(str(getattr(error, "orig", error)))
        loop.call_soon_threadsafe(self._answer, loop, batch, outcome)

    def _insert(self, batch: Sequence[Delivery]) -> list[bool]:
        if not self._database.is_sqlite:
            with self._database.engine.begin() as connection:
                return _insert_postgres(connection, batch)
        if self._sqlite is None:
            # Kept for the life of this thread: taking it from the pool each time costs as much as a small batch.
            self._sqlite = self._database.engine.raw_connection()
            self._checkpoints.take_over_from(_driver(self._sqlite))
        fresh = _insert_sqlite(_driver(self._sqlite), batch)
        self._checkpoints.written(len(batch))
        return fresh

    def _answer(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[tuple[Delivery, asyncio.Future[Stored]]],
        outcome: list[bool] | StoreUnavailable,
    ) -> None:
        # The next batch goes to the disk while this one's answers are written.
        self._writing = bool(self._waiting)
        if self._writing:
            self._write_next(loop)
        for position, (_, future) in enumerate(batch):
            if future.done():  # its client has gone
                continue
            if isinstance(outcome, StoreUnavailable):
                future.set_exception(outcome)
            else:
                future.set_result(Stored.NEW if outcome[position] else Stored.DUPLICATE)
        if not isinstance(outcome, StoreUnavailable):
            self._on_stored()

    async def probe(self) -> None:
        """Ask the database for nothing.

        Raises:
            StoreUnavailable
        """
        await self._database.read(lambda c: c.execute(select(1)))

    async def waiting(self, limit: int = 20, *, after: int = 0) -> Sequence[DeliveryRecord]:
        """Deliveries that are to be handled now, oldest first: new ones, and failed ones whose time has come."""
        query = (
            select(deliveries)
            .where(and_(deliveries.c.state == "stored", deliveries.c.seq > after, deliveries.c.due_at <= time.time()))
            .order_by(deliveries.c.seq)
            .limit(limit)
        )
        return await self._database.read(lambda c: [_record(row) for row in c.execute(query).mappings()])

    async def done(self, results: Mapping[int, str]) -> None:
        """These deliveries have had their effect; by ``seq``, in a few words which."""
        if not results:
            return
        change = (
            update(deliveries)
            .where(deliveries.c.seq == bindparam("key"))
            .values(state="done", result=bindparam("text"), handled_at=time.time())
        )
        rows = [{"key": seq, "text": _storable(result)} for seq, result in results.items()]
        await self._database.write(lambda c: c.execute(change, rows))

    async def failed(self, seq: int, error: str, *, again_in_seconds: float | None) -> None:
        """Handling raised. What is not tried again is parked: it waits for a person (``gamma deliveries replay``)."""
        change = (
            update(deliveries)
            .where(deliveries.c.seq == seq)
            .values(
                state="parked" if again_in_seconds is None else "stored",
                result=_storable(self._redact(error)),
                tries=deliveries.c.tries + 1,
                due_at=0.0 if again_in_seconds is None else time.time() + again_in_seconds,
                handled_at=time.time(),
            )
        )
        await self._database.write(lambda c: c.execute(change))

    async def replay(self, guid: str) -> bool:
        """Let a delivery be handled once more. False if there is none of this GUID."""
        fresh = {"state": "stored", "tries": 0, "due_at": 0.0, "result": ""}
        change = update(deliveries).where(deliveries.c.guid == guid).values(**fresh)
        changed = await self._database.write(lambda c: c.execute(change).rowcount)
        if changed:
            self._on_stored()
        return bool(changed)

    async def newest(self, limit: int, *, state: str | None = None) -> Sequence[DeliveryRecord]:
        """The newest deliveries first, without bodies."""
        columns = [column for column in deliveries.c if column.name != "body"]
        query = select(*columns, func.length(deliveries.c.body).label("size")).order_by(deliveries.c.seq.desc())
        query = query.where(deliveries.c.state == state) if state else query
        return await self._database.read(lambda c: [_record(row) for row in c.execute(query.limit(limit)).mappings()])

    async def find(self, guid: str) -> DeliveryRecord | None:
        """The delivery of this GUID, or the only one that begins so."""
        query = select(deliveries).where(
            or_(deliveries.c.guid == guid, deliveries.c.guid.startswith(guid, autoescape=True))
        )
        rows = await self._database.read(lambda c: [_record(row) for row in c.execute(query.limit(2)).mappings()])
        exact = [row for row in rows if row.guid == guid]
        return exact[0] if exact else rows[0] if len(rows) == 1 else None

    async def known(self, guids: Sequence[str]) -> set[str]:
        """Those of the GUIDs that are here, in whatever state."""
        query = select(deliveries.c.guid).where(deliveries.c.guid.in_(guids))
        return await self._database.read(lambda c: set(c.execute(query).scalars()))

    async def began_at(self) -> float:
        """Since when (Unix seconds) there is this store: what was answered before, it can't know."""
        return await self._database.read(
            lambda c: c.execute(select(func.min(schema_version.c.created_at))).scalar_one()
        )

    async def waits(self, event: str) -> bool:
        """Whether a delivery of this event is still to be handled, now or later."""
        query = select(deliveries.c.seq).where(deliveries.c.state == "stored", deliveries.c.event == event).limit(1)
        return await self._database.read(lambda c: c.execute(query).first() is not None)

    async def counts(self) -> dict[str, int]:
        """How many deliveries are in which state."""
        query = select(deliveries.c.state, func.count()).group_by(deliveries.c.state)
        return await self._database.read(lambda c: {row[0]: row[1] for row in c.execute(query)})

    def close(self) -> None:
        """Wait for the commit that runs."""
        self._thread.shutdown(wait=True)
        self._checkpoints.close()
        if self._sqlite is not None:
            self._sqlite.close()


def _driver(connection: PoolProxiedConnection) -> sqlite3.Connection:
    driver = connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _insert_sqlite(connection: sqlite3.Connection, batch: Sequence[Delivery]) -> list[bool]:
    """Insert what is not there yet; which of them were new, in order.

    Every call into SQLite gives up Python's lock and has to win it back from the busy event loop. So a batch is one
    statement that is its own transaction; only where that meets a known GUID, the rows go one by one.
    """
    rows = [(item.guid, item.event, item.body, item.received_at) for item in batch]
    try:
        connection.execute(_INSERT + ", ".join([_ROW] * len(rows)), [value for row in rows for value in row])
        return [True] * len(rows)
    except sqlite3.IntegrityError:
        pass  # the statement left nothing behind
    connection.execute("BEGIN IMMEDIATE")
    try:
        fresh = [
            connection.execute(_INSERT.replace("INSERT", "INSERT OR IGNORE") + _ROW, row).rowcount == 1 for row in rows
        ]
        for row, is_new in zip(rows, fresh, strict=True):
            if not is_new:
                connection.execute(_REVIVE, (row[0],))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return fresh


def _insert_postgres(connection: Connection, batch: Sequence[Delivery]) -> list[bool]:
    """Insert what is not there yet; which of them were new, in order."""
    rows = {
        item.guid: {
            "guid": item.guid,
            "event": item.event,
            "body": item.body,
            "received_at": item.received_at,
            "state": "stored",
        }
        for item in reversed(batch)
    }
    statement = (
        postgresql.insert(deliveries).on_conflict_do_nothing(index_elements=["guid"]).returning(deliveries.c.guid)
    )
    new = set(connection.execute(statement, list(rows.values())).scalars())
    known = [guid for guid in rows if guid not in new]
    if known:
        connection.execute(
            update(deliveries)
            .where(deliveries.c.guid.in_(known), deliveries.c.state == "parked")
            .values(state="stored", tries=0)
        )
    fresh = []
    for item in batch:
        fresh.append(item.guid in new)
        new.discard(item.guid)  # the same GUID twice in one batch: the first one counts
    return fresh


def _storable(text: str) -> str:
    """Text that both databases take: no lone surrogates, no NUL, not too long."""
    return text[:2000].encode("utf-8", "replace").decode().replace("\0", "")


def _record(row: Any) -> DeliveryRecord:
    body = bytes(row["body"]) if "body" in row else b""
    return DeliveryRecord(
        seq=row["seq"],
        guid=row["guid"],
        event=row["event"],
        received_at=row["received_at"],
        state=row["state"],
        tries=row["tries"],
        result=row["result"],
        size=row["size"] if "size" in row else len(body),
        due_at=row["due_at"],
        body=body,
    )
