"""What a run is compared with: the champion of its repository, where that makes sense, or the baseline branch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gamma_bot.config.schema import GammaConfig
from gamma_bot.jobs.baseline import Baseline, Baselines
from gamma_bot.jobs.promotion import Promoted, Promotion, Unfit
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.record import new_job
from gamma_bot.store.database import Database
from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.tracking.registry import Champion
from gamma_bot.tracking.runs import Point, Run, RunStatus, TrackingError
from tests.stand_ins import MemoryTracking


@dataclass
class Repository:
    """Jobs that ended well, and what they logged."""

    jobs: Jobs
    tracking: MemoryTracking
    shown: list[str]

    async def trained(self, name: str, branch: str, *metrics: str, state: str = "succeeded") -> JobRecord:
        push = Push(name, 1, 2, "ada/walker", branch, "0" * 40, f"{name:0>40}", "ada", "", 1.0, "")
        job = await self.jobs.open(new_job(push, details_url="", now=1.0))
        self.tracking.values[f"run-{name}"] = {metric: Point(1, 1.0, 1.0) for metric in metrics}
        self.tracking.status[f"run-{name}"] = RunStatus.FINISHED
        return await self.jobs.change(job.id, state=state, run_id=f"run-{name}")

    def promotion(self) -> Promotion:
        async def show(job: JobRecord) -> None:
            self.shown.append(job.id)

        return Promotion(self.jobs, self.tracking, show)

    async def baseline(self, job: JobRecord, **config: object) -> Baseline | None:
        run = await self.tracking.read_run(job.run_id or "")
        return await Baselines(self.tracking, self.jobs).of(job, run, GammaConfig(**config), "models/main")


@pytest.fixture
async def repository(tmp_path: Path) -> AsyncIterator[Repository]:
    database = Database(f"sqlite:///{tmp_path / 'gamma.db'}")
    database.create_tables()
    yield Repository(Jobs(database), MemoryTracking(), [])
    database.close()


async def test_the_champion_comes_first_unless_another_branch_is_meant_or_nothing_could_be_compared(
    repository: Repository,
) -> None:
    main = await repository.trained("main", "models/main", "score", "energy")
    energy = await repository.trained("energy", "models/energy", "energy")
    walks = await repository.trained("walks", "models/walks", "score")
    saves = await repository.trained("saves", "models/saves", "energy", "score")
    before = await repository.baseline(saves)
    assert before is not None
    assert (before.job.id, before.facts(None).champion) == (main.id, False)

    await repository.promotion().promote(energy, "ada")

    async def chosen(job: JobRecord, **config: object) -> tuple[str, bool] | None:
        found = await repository.baseline(job, **config)
        return (found.job.branch, found.facts(None).champion) if found is not None else None

    assert await chosen(saves) == ("models/energy", True)
    assert await chosen(main) == ("models/energy", True), "the main branch is measured against it, too"
    assert await chosen(energy) == ("models/main", False), "nothing is measured against itself"
    assert await chosen(walks) == ("models/main", False), "the champion never logged its only metric"
    assert await chosen(saves, metrics={"score": {"primary": True}}) == ("models/main", False), "nor its primary one"
    assert await chosen(saves, baseline="models/main") == ("models/main", False), "gamma.yml means that branch"
    assert await chosen(saves, baseline="models/energy") == ("models/energy", True)


async def test_what_mlflow_says_counts_as_long_as_it_is_a_run_of_this_repository(repository: Repository) -> None:
    main = await repository.trained("main", "models/main", "score")
    other = await repository.trained("other", "models/other", "score")
    own = await repository.trained("own", "models/own", "score")

    repository.tracking.champions["ada/walker"] = Champion("run-other", {})  # by hand, in MLflow
    found = await repository.baseline(own)
    assert found is not None
    assert (found.job.id, found.facts(None).champion, found.facts(None).promoted_by) == (other.id, True, "")

    repository.tracking.champions["ada/walker"] = Champion("run-of-somebody-else", {})
    found = await repository.baseline(own)
    assert found is not None
    assert found.job.id == main.id


class NoRegistry(MemoryTracking):
    """A store that keeps runs and nothing else."""

    async def champion(self, repository: str) -> Champion | None:
        raise TrackingError("this store has no model registry")


async def test_a_store_without_a_registry_costs_no_job_its_verdict(repository: Repository) -> None:
    main = await repository.trained("main", "models/main", "score")
    own = await repository.trained("own", "models/own", "score")
    without = NoRegistry(values=repository.tracking.values, status=repository.tracking.status)

    found = await Baselines(without, repository.jobs).of(own, Run("", "", ""), GammaConfig(), "models/main")
    assert found is not None
    assert found.job.id == main.id

    await repository.promotion().promote(main, "ada")  # from now on, its silence is no "there is none"
    with pytest.raises(TrackingError):
        await Baselines(without, repository.jobs).of(own, Run("", "", ""), GammaConfig(), "models/main")


async def test_a_promotion_that_was_cut_off_half_way_is_finished_by_the_next_try(repository: Repository) -> None:
    job = await repository.trained("one", "models/one", "score")
    tags = {"gamma.promoted_by": "ada", "gamma.promoted_at": "1764252300.0"}
    await repository.tracking.promote("ada/walker", "run-one", tags)  # and then the bot died

    outcome = await repository.promotion().promote(job, "ada")

    assert isinstance(outcome, Promoted)
    assert outcome.champion.champion is not None
    assert (outcome.champion.champion.by, outcome.champion.champion.since) == ("ada", 1764252300.0)
    assert repository.shown == [job.id]


@pytest.mark.parametrize(
    ("branch", "state", "words"),
    [
        ("models/x", "failed", "failed, and only a run that succeeded can be promoted"),
        ("models/x", "cancelled", "was cancelled, and only"),
        ("models/x", "running", "has not ended yet"),
        ("refs/pull/7/head", "succeeded", "trained the code of a fork"),
    ],
)
async def test_what_is_no_example_to_others_is_not_promoted(
    repository: Repository, branch: str, state: str, words: str
) -> None:
    job = await repository.trained("x", branch, "score", state=state)

    outcome = await repository.promotion().promote(job, "ada")

    assert isinstance(outcome, Unfit)
    assert words in outcome.why
    assert outcome.hint
    assert (repository.tracking.champions, repository.shown) == ({}, [])
