"""The connection to the database: SQLite tuned for durability, Postgres as it is, both off the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, func, insert, make_url, select
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from gamma_bot.store import tables

Result = TypeVar("Result")

IDLE_IN_TRANSACTION_SECONDS = 5
_CREATING = 0x67616D6D61  # any number that nobody else locks
_READING = "gamma_reading"  # an option of connections that only read: on SQLite they never wait for the writer


class StoreUnavailable(Exception):
    """The database can't be reached or refuses to write."""


class Database:
    """Runs short transactions in a few threads of its own.

    Args:
        url: SQLAlchemy URL; ``sqlite:///path`` or ``postgresql://…``.

    Raises:
        StoreUnavailable: it is no such URL.
    """

    def __init__(self, url: str) -> None:
        try:
            self.engine = open_engine(url)
        except (ArgumentError, ImportError, ValueError) as error:
            raise StoreUnavailable(
                f"GAMMA_DATABASE_URL can't be used ({_reason(error)}); write postgresql://user:password@host/database"
            ) from None
        reading = {_READING: True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reading = self.engine.execution_options(**reading)
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="store")

    @property
    def is_sqlite(self) -> bool:
        """The embedded default, good for one process."""
        return self.engine.dialect.name == "sqlite"

    def create_tables(self) -> None:
        """Make what is missing; refuse a database that a newer Gamma has changed.

        Raises:
            StoreUnavailable: the database can't be used, with the reason.
        """
        try:
            with self.engine.begin() as connection:
                if not self.is_sqlite:  # replicas that start together would make the same tables at the same time
                    connection.execute(select(func.pg_advisory_xact_lock(_CREATING)))
                tables.metadata.create_all(connection)
                found = connection.execute(select(tables.schema_version.c.version)).scalar()
                if found is None:
                    connection.execute(
                        insert(tables.schema_version).values(version=tables.SCHEMA_VERSION, created_at=time.time())
                    )
                elif found > tables.SCHEMA_VERSION:
                    raise StoreUnavailable(
                        f"the database was written by a newer Gamma (schema {found}, this one knows "
                        f"{tables.SCHEMA_VERSION}); start that version, or give this one another database"
                    )
        except SQLAlchemyError as error:
            raise StoreUnavailable(f"the database can't be used: {_reason(error)}") from error

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run ``work`` in one transaction; it is durable when this returns.

        Raises:
            StoreUnavailable
        """
        return await self._run(self._in_transaction, work)

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run ``work`` without taking the writer's lock.

        Raises:
            StoreUnavailable
        """
        return await self._run(self._outside_transaction, work)

    def close(self) -> None:
        """Finish what runs and close every connection."""
        self._threads.shutdown(wait=True)
        self.engine.dispose()

    def _in_transaction(self, work: Callable[[Connection], Result]) -> Result:
        with self.engine.begin() as connection:
            return work(connection)

    def _outside_transaction(self, work: Callable[[Connection], Result]) -> Result:
        with self._reading.connect() as connection:
            return work(connection)

    async def _run(self, run: Callable[[Callable[[Connection], Result]], Result], work: Any) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, run, work)
        except SQLAlchemyError as error:
            raise StoreUnavailable(_reason(error)) from error


def open_engine(url: str) -> Engine:
    """An engine for either database, with SQLite set to lose nothing that was committed."""
    parsed = make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite":
        # GitHub waits ten seconds for an answer: a database that hangs must be noticed before.
        limits = {
            "connect_timeout": 5,
            "tcp_user_timeout": 8000,
            # Nor may a replica that is frozen within a transaction hold up the others by its locks.
            "options": "-c lock_timeout=5s -c statement_timeout=8s "
            f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_SECONDS}s",
        }
        return create_engine(
            parsed, pool_size=6, max_overflow=2, pool_timeout=8, pool_pre_ping=True, connect_args=limits
        )
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, pool_size=6, max_overflow=2, connect_args={"timeout": 7})

    @event.listens_for(engine, "connect")
    def tune(connection: Any, _record: object) -> None:
        # The driver's own BEGIN is deferred: two writers that read first would then fail instead of waiting.
        connection.isolation_level = None
        cursor = connection.cursor()
        # Deliveries are some 8 kB: on SQLite's usual 4 kB pages each would be three of them, and 20 % more work.
        cursor.execute("PRAGMA page_size=8192")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if _READING not in connection.get_execution_options():
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
