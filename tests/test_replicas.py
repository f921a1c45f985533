"""Several replicas on one Postgres: one dies, freezes or leaves, and nobody at GitHub notices."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psycopg
import pytest

from gamma_bot.sandbox.model import RequestRecord
from gamma_bot.store.database import Database
from gamma_bot.store.surfaces import Surfaces
from tests.bot_forks import BotForks
from tests.harness import CONFIG, Gamma, gamma_with_repository
from tests.replicas import Line, Replica, start_replica
from tests.shared_stand_ins import SharedTracking, launches

pytestmark = pytest.mark.thorough

# What a replica may be silent; in service it is 15 seconds. GAMMA_TEST_DEAD=15 measures that.
DEAD_SECONDS = os.environ.get("GAMMA_TEST_DEAD", "4")
JOBS = 50
BRANCHES = 5
FILES = {"gamma.yml": CONFIG, "train.py": ""}

Start = Callable[[str], Awaitable[Replica]]


@pytest.fixture
async def stage(tmp_path: Path, app_key: str, bot_forks: BotForks, postgres_database: str) -> AsyncIterator[Gamma]:
    """A repository whose replicas share a Postgres, and a cloud that trains."""
    async with gamma_with_repository(tmp_path, app_key, SharedTracking.uri) as gamma:
        gamma.forks = bot_forks
        gamma.settings = gamma.settings.model_copy(update={"database_url": postgres_database, "executor": "sagemaker"})
        yield gamma


@pytest.fixture
async def start(stage: Gamma) -> AsyncIterator[Start]:
    """Starts replicas; none outlives its test."""
    started: list[Replica] = []

    async def start(name: str) -> Replica:
        cloud = str(stage.folder / "cloud")
        replica = await start_replica(
            stage, name, GAMMA_EXECUTOR="sagemaker", GAMMA_TEST_SHARED=cloud, GAMMA_TEST_DEAD=DEAD_SECONDS
        )
        started.append(replica)
        return replica

    yield start
    for replica in started:
        replica.send(signal.SIGKILL)
        await replica.ended()


async def test_fifty_jobs_end_right_once_although_their_replica_is_killed(
    stage: Gamma, start: Start, postgres_database: str
) -> None:
    first = await start("first")
    second = await start("second")
    await leads_all(stage, first)
    assert await second.leads() == set(), "one replica at a time"
    stage.app.hook.url = f"{second.url}/webhook"
    cloud = stage.folder / "cloud"

    sha = await stage.push("models/alone", FILES)
    began = time.monotonic()
    await stage.eventually(lambda: stage.check_runs(sha) or None, "the check run")
    shown_seconds = time.monotonic() - began
    print(f"\nwebhook at the replica that leads nothing: check run after {shown_seconds:.2f} s")
    assert shown_seconds < 1.5, "the leader is told at once"

    teams = [stage.elsewhere(ada="write") for _ in range((JOBS - 1) // BRANCHES + 1)]
    pushing = asyncio.create_task(push_all(teams))
    await stage.eventually(lambda: len(launches(cloud)) > JOBS // 3 or None, "a third to be launched")
    first.send(signal.SIGKILL)
    killed_at = time.monotonic()
    await first.ended()
    in_flight = under_way(postgres_database)
    pushed = [(stage, sha), *await pushing]

    await leads_all(stage, second)
    print(f"all parts lead by the other one after {time.monotonic() - killed_at:.1f} s")
    await stage.eventually(lambda: True if replicas(postgres_database) == 1 else None, "a take-over")
    print(f"{len(in_flight)} workflows of the dead one taken over after {time.monotonic() - killed_at:.1f} s")
    await stage.eventually(lambda: len(launches(cloud)) == len(pushed) or None, "all to be launched")
    print(f"all {len(pushed)} jobs launched after {time.monotonic() - killed_at:.1f} s")
    (cloud / "go").touch()

    ended = [(await team.finished(sha)).conclusion for team, sha in pushed]
    assert ended == ["success"] * len(pushed)
    assert all(len(team.check_runs(sha)) == 1 for team, sha in pushed), "one check run each"
    assert len(set(launches(cloud))) == len(launches(cloud)) == len(pushed), "one launch each"
    assert in_flight, "workflows were under way in the one that was killed"


async def test_a_frozen_replica_does_no_harm_and_one_that_is_told_to_end_leaves_in_order(
    stage: Gamma, start: Start
) -> None:
    first, second = await start("first"), await start("second")
    await leads_all(stage, first)
    stage.app.hook.url = f"{second.url}/webhook"
    cloud, frozen = stage.folder / "cloud", asyncio.Event()

    async def freeze(moment: str, _: RequestRecord) -> None:
        if moment == "after" and not frozen.is_set():
            frozen.set()
            first.send(signal.SIGSTOP)  # the check run exists, and the answer that says so is not read

    stage.github.on_request("POST", r"/check-runs$", freeze)
    shas = [await stage.push(f"models/frozen-{number}", {**FILES, "note.txt": str(number)}) for number in range(3)]
    await asyncio.wait_for(frozen.wait(), 20)
    frozen_at = time.monotonic()
    await leads_all(stage, second)
    print(f"\na frozen replica has lost its parts after {time.monotonic() - frozen_at:.1f} s")
    (cloud / "go").touch()
    ended = [(await stage.finished(sha)).conclusion for sha in shas]
    print(f"its jobs have ended after {time.monotonic() - frozen_at:.1f} s")

    first.send(signal.SIGCONT)
    await first.ended()
    await all_shown(stage)

    assert (ended, first.exit_code) == (["success"] * 3, 1)
    assert "Other replicas heard nothing of this one for too long" in first.log.read_text()
    for sha in shas:
        assert [run.conclusion for run in stage.check_runs(sha)] == ["success"], "what it did late changed nothing"
    assert len(launches(cloud)) == 3

    # The one that is left gets company, and is told to end while a step is under way.
    (cloud / "go").unlink()
    third = await start("third")
    held, release = asyncio.Event(), asyncio.Event()

    async def hold(moment: str, _: RequestRecord) -> None:
        if moment == "before" and not held.is_set():
            held.set()
            await release.wait()

    stage.github.on_request("GET", r"/contents/gamma.yml", hold)
    under_way = await stage.push("models/under-way", FILES)
    await asyncio.wait_for(held.wait(), 20)
    second.send(signal.SIGTERM)

    async def not_ready() -> bool | None:
        status, text = await second.get("/readyz")
        return True if status == 503 and '"process": "leaving"' in text else None

    await stage.eventually(not_ready, "/readyz to say that it leaves")
    told_at = time.monotonic()
    late = await stage.push("models/late", {**FILES, "note.txt": "late"})  # its webhook comes to the one that leaves
    await stage.eventually(lambda: stage.check_runs(late) or None, "the other one to take the webhook")
    print(f"a webhook at the one that leaves has its check run after {time.monotonic() - told_at:.1f} s")
    release.set()
    await second.ended()
    left_at = time.monotonic()
    await stage.eventually(lambda: True if len(launches(cloud)) == 5 else None, "both jobs to be launched")
    print(f"what was under way went on {time.monotonic() - left_at:.1f} s after the end of the one that left")
    (cloud / "go").touch()

    assert [(await stage.finished(sha)).conclusion for sha in (under_way, late)] == ["success"] * 2
    assert second.exit_code == 0
    assert "steps_cut_short" not in second.log.read_text()
    assert len(set(launches(cloud))) == len(launches(cloud)) == 5
    await leads_all(stage, third)


async def test_postgres_goes_away_and_comes_back_and_who_is_told_to_end_meanwhile_ends(
    stage: Gamma, start: Start, postgres_database: str
) -> None:
    line = Line(postgres_database)
    await line.mend()
    stage.settings = stage.settings.model_copy(update={"database_url": line.url})
    replica = await start("only")
    await leads_all(stage, replica)
    stage.app.hook.url = f"{replica.url}/webhook"

    await line.cut()

    async def unreachable() -> bool | None:
        return True if '"store": "unreachable"' in (await replica.get("/readyz"))[1] else None

    await stage.eventually(unreachable, "/readyz to tell of the database")
    await line.mend()
    await leads_all(stage, replica)
    sha = await stage.push("models/after", FILES)
    await stage.eventually(lambda: True if launches(stage.folder / "cloud") else None, "a job to be launched")
    assert len(stage.check_runs(sha)) == 1

    await line.cut()
    told_at = time.monotonic()
    replica.send(signal.SIGTERM)
    await replica.ended()
    seconds = time.monotonic() - told_at
    print(f"\nwithout its database a replica ends after {seconds:.1f} s")
    assert (replica.exit_code, seconds < 25) == (0, True)


async def all_shown(gamma: Gamma) -> None:
    """Wait until GitHub shows all that is wanted."""
    database = Database(gamma.settings.store_url)
    surfaces = Surfaces(database)

    async def clean() -> bool | None:
        return True if await surfaces.count_dirty() == 0 else None

    await gamma.eventually(clean, "GitHub to show what the store says")
    database.close()


async def push_all(teams: list[Gamma]) -> list[tuple[Gamma, str]]:
    """Fifty pushes, each to a branch of its own."""
    return [
        (team, await team.push(f"models/{number}", {**FILES, "note.txt": str(number)}))
        for number in range(BRANCHES)
        for team in teams
    ]


async def leads_all(gamma: Gamma, replica: Replica) -> None:
    """Wait until every part runs in one replica."""
    every = {"Dispatcher", "Flusher", "Watcher sagemaker", "Scheduler", "Sweep", "TakeOver"}

    async def all_here() -> bool | None:
        return True if await replica.leads() == every else None

    await gamma.eventually(all_here, f"{replica.name} to lead everything")


def under_way(url: str) -> list[str]:
    """The workflows that some replica has in hand."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT workflow_uuid FROM dbos.workflow_status WHERE status = 'PENDING'").fetchall()
    return [row[0] for row in rows]


def replicas(url: str) -> int:
    """How many replicas are known: the dead ones until their work is taken over."""
    with psycopg.connect(url) as connection:
        return len(connection.execute("SELECT id FROM gamma_replicas").fetchall())
