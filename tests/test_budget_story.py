"""Money at stake: jobs that cost something, budgets that hold them back, and people who approve, on both databases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gamma_bot.config.schema import Budget
from gamma_bot.jobs.budgets import Hold, hold
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.record import new_job
from gamma_bot.sandbox.model import CheckRun
from gamma_bot.store.database import Database
from gamma_bot.store.jobs import Jobs
from gamma_bot.store.spending import Spending, Spent
from gamma_bot.training.trainer import Attempt, Ending, Observation, Phase, Usage
from tests.conversation import newest, say
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma, get
from tests.stand_ins import MemoryTracking, PatientTrainer

# 2 hours of this are 2.82 USD at most.
SPOT = "sagemaker: {instance: [ml.g5.xlarge], spot: true}"
HEAD = {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT}


def default_branch(budget: str, sagemaker: str = SPOT) -> dict[str, str]:
    """What counts for every job: where it trains and how much may be spent."""
    return {"gamma.yml": f"train: {{{sagemaker}}}\nbudget: {{{budget}}}\n"}


class PaidTrainer(PatientTrainer):
    """Trains on machines that cost something: each attempt is billed half of the hour that it trained."""

    name = "sagemaker"

    async def observe(self, attempts: Sequence[Attempt]) -> Sequence[Observation]:
        seen = await super().observe(attempts)
        return [replace(each, usage=self._usage(3600.0)) if each.phase is Phase.RUNNING else each for each in seen]

    def _end(self, attempt: Attempt, ending: Ending, message: str, exit_code: int | None = None) -> None:
        super()._end(attempt, ending, message, exit_code)
        self.outcomes[attempt] = replace(self.outcomes[attempt], usage=self._usage(3600.0, billed=1800.0))

    @staticmethod
    def _usage(trained: float, billed: float | None = None) -> Usage:
        return Usage("ml.g5.xlarge", spot=True, billable_seconds=billed, training_seconds=trained)


@pytest.fixture
async def trainer(stage: Gamma) -> PaidTrainer:
    """What trains, until the story says that it is done; ``stage`` runs with it."""
    stage.tracking = MemoryTracking()
    stage.trainer = trainer = PaidTrainer(stage.tracking, waits=True)
    await stage.start(executor="sagemaker", aws_region="us-east-1")
    return trainer


async def held(gamma: Gamma, sha: str) -> CheckRun:
    """Wait until GitHub shows that the job of a commit needs an approval."""
    run = await gamma.finished(sha)
    assert run.conclusion == "action_required", gamma.history()
    return run


async def test_a_job_over_budget_waits_until_somebody_approves_and_says_what_it_cost(
    stage: Gamma, trainer: PaidTrainer
) -> None:
    gamma = stage.elsewhere(ada="admin", ben="write")
    await gamma.push("main", default_branch("pull_request: 5, month: 6"))
    first = await gamma.push("models/x", HEAD)
    pull = await gamma.open_pull_request("models/x", base="main")
    running = await gamma.running(first)
    assert "**Cost:** at most 1.41 USD so far, up to 2.82 USD in all (estimate, prices of 2026-09-24)." in str(
        running.output.summary
    )
    trainer.finish(first)
    done = await gamma.finished(first)
    told = "**Cost:** about 0.70 USD on `ml.g5.xlarge` (estimate, prices of 2026-09-24; spot saved 50 %)."
    assert (done.conclusion, told in str(done.output.summary)) == ("success", True)
    await gamma.comment_says(pull, told)
    _, page = await get(done.details_url)
    assert "about 0.70 USD on <code>ml.g5.xlarge</code> (estimate, prices of 2026-09-24; spot saved 50 %)" in page

    # 5 - 0.70 leaves money for one more job, and not for two.
    parallel = {"gamma.yml": CONFIG + "concurrency: parallel\n", "train.py": LOGGING_SCRIPT + "# 2\n"}
    second = await gamma.push("models/x", parallel)
    running = await gamma.running(second)
    assert "up to 2.82 USD in all, usually about 0.70 USD on this branch" in str(running.output.summary)
    third = await gamma.push("models/x", {"train.py": LOGGING_SCRIPT + "# 3\n"})
    waits = await held(gamma, third)
    words = "up to 2.82 USD, and the pull request's budget of 5 USD has 1.48 left"
    assert waits.output.title == f"Waiting for /gamma approve: {words}"
    assert [action.identifier for action in waits.actions] == ["approve"]
    comment = await gamma.comment_says(pull, f"✋ Waiting for /gamma approve: {words}")
    assert "The budgets are in gamma.yml on `main`." in comment

    # Not everybody may spend more than was agreed upon, and asking twice does not help.
    reaction, answer = await say(gamma, pull, "/gamma approve", "ben")
    assert (reaction, "needs the role **maintain**" in answer) == ("-1", True)
    await say(gamma, pull, "/gamma train lr=0.2", "ben")
    again = await gamma.eventually(lambda: newest(gamma, third, 2), "the second attempt to be held")
    assert again.conclusion == "action_required"
    assert len(trainer.specs) == 2, "nothing of it was launched"

    _, bill = await say(gamma, pull, "/gamma cost", "ben")
    assert "| This pull request | 3.52 USD | 5 USD | 1.48 USD |" in bill
    assert "| Repository, ever | 3.52 USD | none |  |" in bill
    assert "Estimates, by prices of 2026-09-24." in bill
    _, preview = await say(gamma, pull, "/gamma simulate", "ben")
    assert (
        "| Estimated cost | up to 2.82 USD, usually about 0.70 USD on this branch (prices of 2026-09-24) |" in preview
    )
    assert "| Waits first | `/gamma approve`: Up to 2.82 USD" in preview

    reaction, answer = await say(gamma, pull, "/gamma approve", "ada")
    assert (reaction, "attempt 3" in answer) == ("rocket", True)
    await gamma.eventually(lambda: True if len(trainer.specs) == 3 else None, "the approved job to be launched")
    approved = list(trainer.specs.values())[-1]
    assert approved.hyperparameters["lr"] == 0.2, "it is the job that was held"
    trainer.finish(second, third)
    await gamma.eventually(lambda: newest(gamma, third, 3), "the approved job to end")
    reaction, answer = await say(gamma, pull, "/gamma approve", "ada")
    assert (reaction, "needs no approval" in answer) == ("confused", True)
    _, bill = await say(gamma, pull, "/gamma cost", "ada")
    assert "| This pull request | 2.11 USD | 5 USD | 2.88 USD |" in bill
    assert "approved by `ada`" in str(gamma.check_runs(third)[-1].output.summary)

    # The approval was for that job alone: another attempt is paid for by what the budgets have left.
    await gamma.github.rerequest(gamma.check_runs(third)[-1], "ada")
    await gamma.eventually(lambda: True if len(trainer.specs) == 4 else None, "another attempt to be launched")
    trainer.finish(third)
    fourth = await gamma.eventually(lambda: newest(gamma, third, 4), "another attempt to end")
    assert "approved" not in str(fourth.output.summary)


async def test_a_price_that_nobody_knows_is_held_and_the_button_approves(stage: Gamma, trainer: PaidTrainer) -> None:
    gamma = stage.elsewhere(ada="admin", ben="write")
    await gamma.push("main", default_branch("month: 6", "sagemaker: {instance: [ml.trn1.2xlarge]}"))
    sha = await gamma.push("models/x", HEAD)
    waits = await held(gamma, sha)
    assert waits.output.title == (
        "Waiting for /gamma approve: the price of ml.trn1.2xlarge in us-east-1 is unknown,"
        " and there is a budget of 6 USD for the month"
    )
    assert "**Cost:** not known, for want of the price of `ml.trn1.2xlarge`" in str(waits.output.summary)

    await gamma.github.click(waits, "approve", "ben")
    await gamma.eventually(
        lambda: True if "`ben` pressed “Approve”. That needs the role maintain" in str(waits.output.summary) else None,
        "the refusal",
    )
    await gamma.github.click(waits, "approve", "ada")
    await gamma.github.click(waits, "approve", "ada")  # impatient
    await gamma.running(sha)
    await gamma.github.click(waits, "approve", "ada")  # once more: it is approved already
    await gamma.eventually(
        lambda: True if "waits for no approval" in str(waits.output.summary) else None, "the second refusal"
    )
    trainer.finish(sha)
    done = await gamma.eventually(lambda: newest(gamma, sha, 2), "the approved job to end")
    assert done.conclusion == "success"
    assert len(trainer.specs) == 1, "approved three times, paid for once"

    # Without a budget there is nothing that an unknown price could break.
    other = stage.elsewhere(ada="admin")
    await other.push("main", default_branch("", "sagemaker: {instance: [ml.trn1.2xlarge]}"))
    free = await other.push("models/y", HEAD)
    await other.running(free)
    trainer.finish(free)
    assert (await other.finished(free)).conclusion == "success"


async def test_two_jobs_at_once_dont_both_slip_under_a_budget(tmp_path: Path, database_url: str | None) -> None:
    database = Database(database_url or f"sqlite:///{tmp_path / 'gamma.db'}")
    database.create_tables()
    jobs, spending = Jobs(database), Spending(database)
    budget = Budget(month=10)

    def refuses(spent: Spent) -> Hold | None:
        return hold(budget, spent, 3.0, of_pull_request=False)

    async def ask(number: int) -> Hold | None:
        push = Push(f"push-{number}", 1, 7, "ada/walker", f"models/{number}", "0" * 40, "a" * 40, "ada", "", 1.0, "")
        await jobs.open(new_job(push, details_url="", now=time.time()))
        return await spending.reserve(push.job, 7, push.branch, 0.0, 3.0, refuses)

    try:
        refused = await asyncio.gather(*map(ask, range(12)))
        assert sum(each is None for each in refused) == 3, "three times 3 USD are within 10"
        assert await spending.of(7, "models/1", 0.0) == Spent(3.0 if refused[1] is None else 0.0, 9.0, 9.0)

        # Asked again after a crash, each gets the same answer, and nothing is set aside twice.
        assert [bool(each) for each in await asyncio.gather(*map(ask, range(12)))] == [bool(each) for each in refused]
        won = [number for number, each in enumerate(refused) if each is None]
        ids = [Push(f"push-{n}", 1, 7, "", "", "", "", "", "", 1.0, "").job for n in won]
        # One has cost less than it might have, one was stopped before it began, one never came to a machine.
        await jobs.change(ids[0], state="succeeded", submitted_at=1.0, cost_usd=0.5)
        await jobs.ask_to_stop(ids[1], why="Superseded.")
        await jobs.change(ids[2], state="failed")
        assert (await spending.of(7, "", 0.0)).repository == pytest.approx(0.5)
        assert (await spending.of(7, "", time.time() + 60)).month == 0.0, "of another month"
        lost = [number for number in range(12) if number not in won]
        assert await ask(lost[0]) is None, "there is money again"

        # A job that was told to wait stays so when its plan is made once more: what it needs is an approval.
        waits = Push(f"push-{lost[1]}", 1, 7, "", "", "", "", "", "", 1.0, "").job
        await jobs.change(waits, state="held")
        await ask(lost[1])
        record = await jobs.get(waits)
        assert record is not None
        assert (record.state, record.estimate_usd) == ("held", None)
    finally:
        database.close()
