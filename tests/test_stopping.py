"""Stopping ends, whatever has gone away meanwhile."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time
from pathlib import Path

# A lock that is never given up is to the engine what a lost PostgreSQL is: it tries again, without end.
STOPS_WITHOUT_ITS_DATABASE = """
import asyncio, sys
from gamma_bot.serving import end_within
from gamma_bot.jobs.engine import Engine

async def nothing(steps, values):
    return {}

async def main():
    engine = Engine(sys.argv[1], {"train": nothing})
    await engine.start()
    print("started", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    begins = asyncio.create_task(engine.begin("train", "job", {}))
    await asyncio.wait({begins}, timeout=1)  # a thread of the engine's waits for the database, and goes on waiting
    begins.cancel()
    await engine.stop(longest_seconds=0.3)
    end_within(0.3)

asyncio.run(main())
"""


async def test_without_its_database_gamma_still_ends_and_says_so(tmp_path: Path) -> None:
    database = tmp_path / "engine.db"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        STOPS_WITHOUT_ITS_DATABASE,
        f"sqlite:///{database}",
        env={"PATH": os.environ["PATH"]},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readuntil(b"started\n")
    lock = sqlite3.connect(database, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()

    _, errors = await asyncio.wait_for(process.communicate(b"\n"), 20)

    lock.close()
    assert process.returncode == 1
    assert time.monotonic() - began < 8, "the lock is held for ever, and waited for by the engine for 20 s at a time"
    assert b"Ended without the database" in errors
