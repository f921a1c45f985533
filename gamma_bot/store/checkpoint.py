"""Brings SQLite's write-ahead log into the database beside the writer, so that no answer waits for it.

By default the commit that fills the log copies it: that one commit takes ten times as long as the others, and the
whole burst of deliveries behind it waits. A passive checkpoint on a connection of its own holds up nobody. The restart
after it copies the little that came meanwhile, so that the log begins anew at its beginning: a log that is written over
takes two thirds of the time of one that grows, since the disk has nothing to note but its content.

Source: https://sqlite.org/wal.html ("Performance Considerations")
"""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import structlog
from sqlalchemy import Engine, PoolProxiedConnection

# A row of 8 kB is two to three pages with its place in the indexes; the log stays at about ten megabytes.
_ROWS = 1_000
# Should the checkpoints not keep up, a commit does it at last: the log then takes about 128 MB.
_MOST_PAGES = 16_000

log = structlog.get_logger()


class Checkpoints:
    """Starts a checkpoint after so many rows, one at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rows = 0
        self._running = False
        self._connection: PoolProxiedConnection | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")

    def take_over_from(self, writer: sqlite3.Connection) -> None:
        """From now on this writer's commits leave the log alone."""
        writer.execute(f"PRAGMA wal_autocheckpoint={_MOST_PAGES}")

    def written(self, rows: int) -> None:
        """So many rows were committed; called by the writer's thread."""
        self._rows += rows
        if self._rows >= _ROWS and not self._running:
            self._rows, self._running = 0, True
            self._thread.submit(self._checkpoint)

    def close(self) -> None:
        """Wait for the one that runs."""
        self._thread.shutdown(wait=True)
        if self._connection is not None:
            self._connection.close()

    def _checkpoint(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._engine.raw_connection()
            for kind in ("PASSIVE", "RESTART"):
                self._connection.cursor().execute(f"PRAGMA wal_checkpoint({kind})").fetchone()
        except Exception as error:
            log.warning("store.checkpoint_failed", error=str(error))  # the writer does it at the latest
        finally:
            self._running = False
