"""Elections on a real Postgres: a part runs in one replica at a time, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, update

from gamma_bot.data_directory import DataDirectory
from gamma_bot.membership import Membership
from gamma_bot.settings import Settings, WrongSettings
from gamma_bot.store.database import Database, StoreUnavailable
from gamma_bot.store.leadership import DeclaredDead, Leadership, Part
from gamma_bot.store.replicas import Replica, Replicas
from gamma_bot.store.tables import schema_version

pytestmark = pytest.mark.thorough

DEAD_SECONDS = 3.0


class Candidates:
    """Replicas of one process; each event of their part is noted in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url)
        self.events: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.candidates: dict[str, Leadership] = {}

    async def add(self, name: str, *, crashes: Callable[[], bool] = lambda: False) -> Leadership:
        """One more that runs for the part ``work``."""
        await Replicas(self.database).join(Replica(name, "host", "/data", "place", ""))
        candidate = Leadership(self.url, self.database, name, dead_seconds=DEAD_SECONDS)

        async def work() -> None:
            self.events.append(f"{name} begins")
            try:
                while not crashes():
                    await asyncio.sleep(0.02)
            finally:
                self.events.append(f"{name} ends")

        part = Part(work, lambda: self.events.append(f"{name} woken"))
        self.tasks[name] = asyncio.create_task(candidate.run({"work": part}))
        self.candidates[name] = candidate
        return candidate

    async def leader(self, *not_these: str) -> str:
        """Wait until somebody else leads; who."""
        deadline = time.monotonic() + 15
        while True:
            names = [name for name, candidate in self.candidates.items() if candidate.led and name not in not_these]
            if names:
                return names[0]
            assert time.monotonic() < deadline, self.events
            await asyncio.sleep(0.02)

    async def happens(self, event: str) -> None:
        """Wait for an event."""
        deadline = time.monotonic() + 15
        while event not in self.events:
            assert time.monotonic() < deadline, self.events
            await asyncio.sleep(0.02)

    def execute(self, statement: str, *values: object) -> None:
        """As an operator would."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement, values)


@pytest.fixture
async def election(postgres_database: str) -> AsyncIterator[Candidates]:
    candidates = Candidates(postgres_database)
    candidates.database.create_tables()
    yield candidates
    for task in candidates.tasks.values():
        task.cancel()
    await asyncio.gather(*candidates.tasks.values(), return_exceptions=True)
    candidates.database.close()


async def test_a_part_ends_in_one_replica_before_it_begins_in_another(election: Candidates) -> None:
    first = await election.add("first")
    assert await election.leader() == "first"
    second = await election.add("second")

    second.wake("work")
    await election.happens("first woken")
    assert (first.term("work"), second.term("work")) == (1, 0)

    # The connection is lost; both try again, and one of them wins.
    sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    began = time.monotonic()
    election.execute(sessions, "gamma first")
    await election.happens("first ends")
    leader = await election.leader()
    events = [event for event in election.events if "woken" not in event]
    assert events == ["first begins", "first ends", f"{leader} begins"]
    assert time.monotonic() - began < DEAD_SECONDS

    # The one that leads is taken for dead: it says so, and the other one goes on.
    other = "second" if leader == "first" else "first"
    await Replicas(election.database).forget({leader})
    with pytest.raises(DeclaredDead, match=f"replica {leader} was silent for too long"):
        await asyncio.wait_for(election.tasks[leader], 10)
    assert await election.leader(leader) == other
    assert [event for event in election.events if "woken" not in event][-2:] == [f"{leader} ends", f"{other} begins"]


async def test_a_part_that_crashes_in_one_replica_goes_on_in_another(election: Candidates) -> None:
    first = await election.add("first", crashes=lambda: len(election.candidates) == 2)
    await election.leader()
    await election.add("second")

    assert await election.leader("first") == "second"
    assert first.crashed == {"work"}


async def test_a_replica_that_is_frozen_within_a_transaction_holds_nobody_up_for_long(postgres_database: str) -> None:
    frozen, other = Database(postgres_database), Database(postgres_database)
    frozen.create_tables()
    holds, thawed = threading.Event(), threading.Event()
    change = update(schema_version).values(created_at=1.0)

    def hold(connection: Connection) -> None:
        connection.execute(change)
        holds.set()
        thawed.wait(20)

    late = asyncio.create_task(frozen.write(hold))
    await asyncio.to_thread(holds.wait)
    began = time.monotonic()
    while True:
        with contextlib.suppress(StoreUnavailable):  # as long as it waits for the lock at most
            await other.write(lambda c: c.execute(change))
            break
    waited_seconds = time.monotonic() - began
    thawed.set()

    assert 1 < waited_seconds < 10
    with pytest.raises(StoreUnavailable):  # what it did is undone, and it is told
        await late
    frozen.close()
    other.close()


async def test_replicas_that_share_too_little_refuse_to_work_together(postgres_database: str, tmp_path: Path) -> None:
    database = Database(postgres_database)
    database.create_tables()
    memberships: list[Membership] = []

    def member(name: str, folder: str) -> Membership:
        settings = Settings(_env_file=None, data_dir=tmp_path / folder, database_url=postgres_database)
        directory = DataDirectory(settings.data_dir, name)
        directory.hold()
        memberships.append(Membership(settings, database, directory, name, dead_seconds=1.0))
        return memberships[-1]

    first = member("first", "a")
    await first.join({"local"})
    beating = asyncio.create_task(first.leadership.run({}))
    await member("beside it", "a").join({"local"})
    with pytest.raises(WrongSettings) as refused:
        await member("elsewhere", "b").join({"mlflow"})
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    await memberships[-1].leave()
    await member("later", "c").join({"local"})  # nobody is alive any more

    words = str(refused.value)
    assert f"in {tmp_path / 'a'}" in words
    assert "jobs run on this machine and MLflow is a file in the data directory" in words
    assert "Set GAMMA_EXECUTOR=sagemaker or GAMMA_EXECUTOR=actions and GAMMA_MLFLOW_TRACKING_URI" in words
    for one in memberships:
        one.data_directory.release()
    database.close()


def test_a_data_directory_knows_who_works_on_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first, second, alone = DataDirectory(folder, "first"), DataDirectory(folder, "second"), DataDirectory(folder, None)
    first.hold()
    second.hold()
    with pytest.raises(WrongSettings, match="another gamma works on the data directory"):
        alone.hold()
    assert (second.has_died("first"), first.place()) == (False, second.place())

    first.release()
    assert (second.has_died("first"), second.has_died("second")) == (True, False)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "directory.id").write_text((folder / "directory.id").read_text())
    assert DataDirectory(copy, "third").place() != second.place(), "a copy of it is another one"

    second.release()
    alone.hold()
    with pytest.raises(WrongSettings):
        first.hold()
    alone.release()
