"""What GitHub is told when there is more news than it takes: the newest of each thing, what matters most first."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.installation import Installation
from gamma_bot.github.keys import signing_keys
from gamma_bot.github.pacer import Urgency
from gamma_bot.jobs.flusher import Flusher
from gamma_bot.sandbox.faults import Moment
from gamma_bot.sandbox.model import RequestRecord
from gamma_bot.sandbox.server import SandboxGitHub
from gamma_bot.store.database import Database
from gamma_bot.store.projects import Project, Projects
from gamma_bot.store.surfaces import Surfaces
from tests.contract import assert_contract
from tests.harness import PERMISSIONS

FINAL, CHANGE, PROGRESS = Urgency.FINAL, Urgency.CHANGE, Urgency.PROGRESS
JOBS = ("a", "b", "c", "e")


class Newsroom:
    """A store, a flusher and GitHub, which is slow to answer when it is told to."""

    def __init__(
        self,
        github: SandboxGitHub,
        installation: Installation,
        surfaces: Surfaces,
        flusher: Flusher,
        repository: int,
        sha: str,
    ) -> None:
        self.github = github
        self.installation = installation
        self.surfaces = surfaces
        self._flusher = flusher
        self._repository = repository
        self._sha = sha
        self._moments = itertools.count(1)

    async def news(self, job: str, title: str, urgency: Urgency, *, conclusion: str | None = None) -> None:
        """Something happened to a job."""
        done = {"status": "completed", "conclusion": conclusion} if conclusion else {"status": "in_progress"}
        output = {"title": title, "summary": title}
        await self.surfaces.want(
            f"check:{job}",
            kind="check",
            job=job,
            repository_id=self._repository,
            subject="gamma / train",
            body={"name": "gamma / train", "head_sha": self._sha, "external_id": job, **done, "output": output},
            as_of=float(next(self._moments)),
            urgency=urgency,
        )
        self._flusher.wake()

    async def shown(self) -> None:
        """Wait until GitHub shows everything."""

        async def all_shown() -> bool:
            return await self.surfaces.count_dirty() == 0

        await _until(all_shown)

    async def in_line(self, *jobs: str) -> None:
        """Wait until the newest news of these jobs waits for its turn."""

        async def waits() -> bool:
            under_way = self._flusher._under_way
            newest = {f"check:{job}": await self.surfaces.get(f"check:{job}") for job in jobs}
            told = [key in under_way and under_way[key].version == each.desired for key, each in newest.items() if each]
            return all(told) and self.installation.pacer.waiting == len(jobs)

        await _until(waits)

    def told(self) -> list[str]:
        """The titles that GitHub was sent, in order."""
        return [record.request_json["output"]["title"] for record in self.github.requests if record.request_json]


async def _until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await look():
            await asyncio.sleep(0.005)


@pytest.fixture
async def newsroom(tmp_path: Path, app_key: str) -> AsyncIterator[Newsroom]:
    database = Database(f"sqlite:///{tmp_path / 'gamma.db'}")
    database.create_tables()
    async with SandboxGitHub(tmp_path / "github") as github, aiohttp.ClientSession() as session:
        github.create_user("ada")
        repository = github.create_repository("ada", "walker", {"README.md": "# Walker\n"})
        app = github.create_app("Gamma", PERMISSIONS, [], private_key_pem=app_key)
        installation = github.install(app, repository)
        sha = await github.commit(repository, "models", {"a": "b"}, "Change")
        keys = signing_keys(app_key)
        gamma = GitHubApp(session, api_url=github.api_url, app_id=str(app.id), keys=keys, write_interval_seconds=0.0)
        surfaces = Surfaces(database)
        await Projects(database).keep([Project(repository.id, "ada/walker", installation.id)])
        flusher = Flusher(gamma, surfaces)
        running = asyncio.create_task(flusher.run())
        newsroom = Newsroom(github, gamma.installation(installation.id), surfaces, flusher, repository.id, sha)
        for job in JOBS:
            await newsroom.news(job, f"{job} queued", CHANGE)
        await newsroom.shown()
        github.requests.clear()
        yield newsroom
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert_contract(github.requests)
    database.close()


async def test_results_pass_progress_and_old_progress_is_never_sent(newsroom: Newsroom) -> None:
    arrived, answer = asyncio.Event(), asyncio.Event()

    async def hold(moment: Moment, _: RequestRecord) -> None:
        if moment == "before" and not arrived.is_set():
            arrived.set()
            await answer.wait()

    newsroom.github.faults.watch("PATCH", "/check-runs/", hold)
    await newsroom.news("a", "a epoch 1", PROGRESS)
    await arrived.wait()
    # GitHub is slow; meanwhile:
    await newsroom.news("b", "b epoch 1", PROGRESS)
    await newsroom.in_line("b")
    await newsroom.news("c", "c epoch 1", PROGRESS)
    await newsroom.news("e", "e epoch 1", PROGRESS)
    await newsroom.in_line("b", "c", "e")
    await newsroom.news("b", "b epoch 2", PROGRESS)
    await newsroom.in_line("b", "c", "e")
    await newsroom.news("d", "d queued", CHANGE)
    await newsroom.news("c", "c passed", FINAL, conclusion="success")
    await newsroom.in_line("b", "c", "d", "e")
    await newsroom.news("d", "d began, and is at epoch 1", PROGRESS)
    await newsroom.in_line("b", "c", "d", "e")
    answer.set()
    await newsroom.shown()

    assert newsroom.told() == ["a epoch 1", "c passed", "d began, and is at epoch 1", "b epoch 2", "e epoch 1"]
    assert not [r for r in newsroom.github.requests if r.method == "GET"], "what was not sent need not be looked up"


async def test_when_few_calls_are_left_progress_waits_and_results_do_not(newsroom: Newsroom) -> None:
    reset = int(time.time()) + 1800
    few = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "200", "X-RateLimit-Reset": str(reset)}
    newsroom.installation.limits.note(few)
    await newsroom.news("a", "a epoch 1", PROGRESS)

    async def held() -> bool:
        surface = await newsroom.surfaces.get("check:a")
        return surface is not None and "few calls are left" in surface.error and surface.due_at > reset - 60

    await _until(held)
    await newsroom.news("c", "c passed", FINAL, conclusion="success")
    await newsroom.news("a", "a passed", FINAL, conclusion="success")
    await newsroom.shown()

    assert sorted(newsroom.told()) == ["a passed", "c passed"]
    assert not [r for r in newsroom.github.requests if r.method == "GET"], "what was held back need not be looked up"


async def test_a_failure_with_old_news_does_not_put_off_the_newer(newsroom: Newsroom) -> None:
    newsroom.installation.limits.pause(600, "core")
    await newsroom.news("a", "a epoch 1", PROGRESS)
    old = await newsroom.surfaces.get("check:a")
    await newsroom.news("a", "a passed", FINAL, conclusion="success")
    newest = await newsroom.surfaces.get("check:a")
    assert old is not None
    assert newest is not None
    await newsroom.surfaces.failed(old, "no answer in time", time.time() + 10**6)
    after = await newsroom.surfaces.get("check:a")

    assert after is not None
    assert after.due_at < time.time() + 10**5
    assert after.urgency == FINAL, "as it would be if nobody had seen the progress"
