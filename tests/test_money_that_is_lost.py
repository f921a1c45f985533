"""Money where things go wrong: a job that is lost, a push that is held while another one trains, a bill of nobody."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from gamma_bot.jobs.expenses import charge, spent_at_most, with_untold_cost
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.record import new_job
from gamma_bot.store.database import Database
from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.store.spending import Spending
from gamma_bot.training.trainer import Attempt, Ending, Outcome, TrainingSpec
from tests.conversation import say
from tests.harness import Gamma
from tests.stand_ins import MemoryTracking
from tests.test_budget_story import HEAD, LOGGING_SCRIPT, PaidTrainer, default_branch, held
from tests.test_costs import COST


class SameEverywhere(PaidTrainer):
    """Equal code gives an equal result."""

    async def conditions(self, spec: TrainingSpec) -> Mapping[str, str] | None:
        return {"image": "sha256:1"}

    def attempt(self, sha: str) -> Attempt:
        return next(key for key, spec in self.specs.items() if spec.environment["GAMMA_SHA"] == sha)


@pytest.fixture
async def trainer(stage: Gamma) -> SameEverywhere:
    stage.tracking = MemoryTracking()
    stage.trainer = trainer = SameEverywhere(stage.tracking, waits=True)
    await stage.start(executor="sagemaker", aws_region="us-east-1")
    return trainer


async def test_what_is_held_ends_nothing_and_what_is_lost_stops_counting(stage: Gamma, trainer: SameEverywhere) -> None:
    gamma = stage.elsewhere(ada="admin")
    await gamma.push("main", default_branch("month: 3"))
    first = await gamma.push("models/x", HEAD)
    await gamma.running(first)

    # The older job ends, so what it may still cost does not stand in the newer one's way.
    second = await gamma.push("models/x", {"train.py": f"{LOGGING_SCRIPT}# 2\n"})
    await gamma.running(second)
    assert (await gamma.finished(first)).conclusion == "cancelled"

    await gamma.push("main", default_branch("month: 2"))
    third = await gamma.push("models/x", {"train.py": f"{LOGGING_SCRIPT}# 3\n"})
    await held(gamma, third)
    assert trainer.attempt(second) not in trainer.outcomes, "what trains nothing takes the place of nothing"
    trainer.finish(second)
    assert (await gamma.finished(second)).conclusion == "success"

    # What was trained already costs nothing, so no budget holds it back.
    again = await gamma.push("models/y", {**HEAD, "train.py": f"{LOGGING_SCRIPT}# 2\n"})
    reused = await gamma.finished(again)
    assert (reused.conclusion, "**Nothing was trained**" in str(reused.output.summary)) == ("success", True)
    assert len(trainer.specs) == 2

    await gamma.push("main", default_branch("month: 9"))
    lost = await gamma.push("models/z", {**HEAD, "train.py": f"{LOGGING_SCRIPT}# 4\n"})
    pull = await gamma.open_pull_request("models/z", base="main")
    await gamma.running(lost)
    trainer.outcomes[trainer.attempt(lost)] = Outcome(Ending.LOST, "Nobody knows it any more.", ended_at=time.time())
    ended = await gamma.finished(lost)
    assert "**Cost:** not known, 0.1" in str(ended.output.summary)
    assert "USD at most, which counts against the budgets (estimate" in str(ended.output.summary)
    _, bill = await say(gamma, pull, "/gamma cost", "ada")
    assert "| This pull request | 0.1" in bill
    assert "unknown, at most 0.1" in bill

    # At a price that nobody knows it costs something all the same, and the sums say that it is not in them.
    await gamma.push("main", default_branch("", "sagemaker: {instance: [ml.trn1.2xlarge]}"))
    unpriced = await gamma.push("models/z", {"train.py": f"{LOGGING_SCRIPT}# 5\n"})
    await gamma.running(unpriced)
    _, bill = await say(gamma, pull, "/gamma cost", "ada")
    assert "1 job of this repository had machines whose price is unknown: not in these sums." in bill
    trainer.finish(unpriced)
    assert (await gamma.finished(unpriced)).conclusion == "success"


async def test_a_job_counts_from_the_moment_that_its_trainer_may_have_it(
    tmp_path: Path, database_url: str | None
) -> None:
    database = Database(database_url or f"sqlite:///{tmp_path / 'gamma.db'}")
    database.create_tables()
    jobs, spending = Jobs(database), Spending(database)
    now = time.time()

    async def job(name: str, branch: str, **columns: object) -> JobRecord:
        push = Push(name, 1, 7, "ada/walker", branch, "0" * 40, "a" * 40, "ada", "", 1.0, "")
        await jobs.open(new_job(push, details_url="", now=now))
        return await jobs.change(push.job, estimate_usd=3.0, timeout_seconds=3600.0, **columns)

    async def spent(branch: str) -> float:
        return (await spending.of(7, branch, 0.0)).branch

    try:
        # A script that makes its own MLflow run (`mlflow: adopt`) and died before it did: there is a bill, and no run.
        await job("adopts", "adopts", submitted_at=now, state="failed", cost_usd=0.5)
        assert await spent("adopts") == 0.5

        never = await job("never", "never", state="failed")
        assert await spent("never") == 0.0
        untold = with_untold_cost(COST, never, stopped=True)
        assert charge(untold) == 0.0, "it never came to a machine"

        # Given up a quarter of an hour after its launch: its trainer is told to end it, and has 5 minutes to hear that.
        given_up = await job("given-up", "given-up", submitted_at=now - 900)
        assert spent_at_most(given_up) == pytest.approx(1.0, rel=0.01)
        assert await spent("given-up") == 3.0, "while it is not over, all of it is set aside"
        assert charge(with_untold_cost(COST, given_up, stopped=True)) == pytest.approx(1.0, rel=0.01)
        # Nobody here can end it: it may train on to its limit.
        assert charge(with_untold_cost(COST, given_up, stopped=False)) == COST.most
        await jobs.change(given_up.id, state="failed", cost_usd=1.0)
        assert await spent("given-up") == 1.0
    finally:
        database.close()
