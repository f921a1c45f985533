"""SQLite's write-ahead log is brought into the database while deliveries go on being stored."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from gamma_bot.store.database import Database
from gamma_bot.store.inbox import Delivery, Inbox, Stored

_BODY = b"x" * 8192


async def test_a_burst_does_not_stay_in_the_log(tmp_path: Path) -> None:
    file = tmp_path / "gamma.db"
    database = Database(f"sqlite:///{file}")
    database.create_tables()
    inbox = Inbox(database)

    stored = await asyncio.gather(
        *(inbox.offer(Delivery(f"guid-{number}", "push", _BODY, time.time())) for number in range(2500))
    )
    inbox.close()  # waits for the checkpoint that runs

    assert set(stored) == {Stored.NEW}
    assert file.stat().st_size > 400 * len(_BODY), "nothing was brought from the log into the database"
    database.close()
