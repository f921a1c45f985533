"""Jobs that may not start yet: queues and limits, what people see of them meanwhile, and a crash in the middle."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gamma_bot.config.schema import GammaConfig, Limits
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.record import new_job
from gamma_bot.jobs.turns import may_start
from gamma_bot.sandbox.model import CheckRun
from gamma_bot.store.database import Database
from gamma_bot.store.jobs import Jobs
from tests.conversation import say
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma
from tests.stand_ins import MemoryTracking, PatientTrainer

QUEUE, PARALLEL = CONFIG + "concurrency: queue\n", CONFIG + "concurrency: parallel\n"
ONE_AT_A_TIME = "limits: {repository: 1}\n"


@pytest.fixture
async def trainer(stage: Gamma) -> PatientTrainer:
    """What trains, until the story says that it is done; ``stage`` runs with it."""
    stage.tracking = MemoryTracking()
    stage.trainer = trainer = PatientTrainer(stage.tracking, waits=True)
    await stage.start()
    return trainer


async def waiting(gamma: Gamma, sha: str) -> CheckRun:
    """Wait until GitHub shows that the job of a commit has to wait."""

    def shown() -> CheckRun | None:
        runs = gamma.check_runs(sha)
        return runs[-1] if runs and (runs[-1].output.title or "").startswith("Waiting") else None

    return await gamma.eventually(shown, f"the job of {sha[:7]} to wait")


async def ends(gamma: Gamma, trainer: PatientTrainer, *shas: str) -> list[str | None]:
    """Let each job train to its end, one after the other, as soon as its turn has come; their conclusions."""
    found = []
    for sha in shas:
        await gamma.running(sha)
        trainer.finish(sha)
        found.append((await gamma.finished(sha)).conclusion)
    return found


def trained(trainer: PatientTrainer) -> list[str]:
    """The commits that ever began to train, in their order."""
    return [spec.environment["GAMMA_SHA"] for spec in trainer.specs.values()]


async def test_quick_pushes_to_a_queue_train_one_after_another(stage: Gamma, trainer: PatientTrainer) -> None:
    pushes = [await stage.push("models/x", {"gamma.yml": QUEUE, "train.py": LOGGING_SCRIPT})]
    pushes += [await stage.push("models/x") for _ in range(2)]
    first, second, third = pushes
    pull = await stage.open_pull_request("models/x", base="main")
    job = (await stage.running(first)).external_id

    runs = [await waiting(stage, sha) for sha in (second, third)]
    _, status = await say(stage, pull, "/gamma status")
    _, preview = await say(stage, pull, "/gamma simulate")

    assert [run.status for run in runs] == ["queued", "queued"]
    assert [run.output.title for run in runs] == [
        f"Waiting: job {job} of this branch runs first",
        f"Waiting: job {job} of this branch runs first, then 1 more",
    ]
    assert f"Waiting: job {job} of this branch runs first, then 1 more" in status
    assert status.count("⏳ waiting") == 2
    assert f"| Waits first | job `{job}` of this branch runs first, then 2 more |" in preview
    await stage.comment_says(pull, third[:7], f"Waiting: job {job} of this branch runs first, then 1 more")

    assert await ends(stage, trainer, *pushes) == ["success"] * 3
    assert trained(trainer) == pushes
    assert [len(stage.check_runs(sha)) for sha in pushes] == [1, 1, 1]
    await stage.comment_says(pull, third[:7], "0.3")


async def test_a_full_repository_lets_jobs_wait_which_can_be_stopped_and_superseded(
    stage: Gamma, trainer: PatientTrainer
) -> None:
    await stage.push("main", {"gamma.yml": ONE_AT_A_TIME, "train.py": LOGGING_SCRIPT})
    # What a branch says of limits counts for nothing.
    running = await stage.push("models/a", {"gamma.yml": PARALLEL + "limits: {repository: 5}\n"})
    await stage.running(running)

    parallel = await stage.push("models/b", {"gamma.yml": PARALLEL})
    full = "Waiting: this repository runs 1 of 1 jobs (limit in gamma.yml on main)"
    assert (await waiting(stage, parallel)).output.title == full
    stopped = await stage.push("models/a", {"gamma.yml": PARALLEL})
    run = await waiting(stage, stopped)
    assert run.output.title == f"{full}; 1 waits before it"
    superseded = await stage.push("models/c", {"gamma.yml": CONFIG})
    await waiting(stage, superseded)

    await stage.github.click(run, "stop", "ada")
    newer = await stage.push("models/c")
    old, run = await stage.finished(superseded), await stage.finished(stopped)
    (successor,) = stage.check_runs(newer)

    assert (old.conclusion, run.conclusion) == ("cancelled", "cancelled")
    assert old.output.title == f"Cancelled: Superseded by {newer[:7]}, job {successor.external_id}"
    assert run.output.title == "Cancelled: Stopped by ada"
    assert "It had not begun to train." in run.output.summary
    await waiting(stage, newer)
    assert await ends(stage, trainer, running, parallel, newer) == ["success"] * 3
    assert trained(trainer) == [running, parallel, newer]


async def test_of_many_that_ask_at_once_no_more_start_than_may(database_url: str | None, tmp_path: Path) -> None:
    database = Database(database_url or f"sqlite:///{tmp_path / 'gamma.db'}")
    database.create_tables()
    jobs = Jobs(database)
    for number in range(6):
        push = Push(
            f"guid-{number}", 1, 1, "ada/walker", f"models/{number}", "", f"{number}" * 40, "ada", "", number, ""
        )
        job = await jobs.open(new_job(push, details_url="", now=number))
        config = GammaConfig(limits=Limits(repository=2)).model_dump(mode="json")
        await jobs.change(job.id, plan={"config": config})
    line = await jobs.unfinished()

    must_wait = await asyncio.gather(*(jobs.ask_for_turn(job.id, may_start) for job in line))
    asked_again = await asyncio.gather(*(jobs.ask_for_turn(job.id, may_start) for job in line))
    before = [job for job in await jobs.grant_turns(may_start) if job.turn == "taken"]
    await jobs.change(before[0].id, state="succeeded")
    await jobs.grant_turns(may_start)
    after = [job.turn for job in await jobs.grant_turns(may_start)]
    database.close()

    assert must_wait.count(False) == len(before) == 2
    assert asked_again == must_wait
    assert sorted(after) == ["granted", "taken", *["waiting"] * 3], "a turn that was granted counts as running"


async def test_waiting_survives_a_crash_even_between_the_grant_and_its_news(stage: Gamma, tmp_path: Path) -> None:
    def script(name: str) -> str:
        """Note the start, and go on when a file appears."""
        note = f"open({str(tmp_path / 'starts')!r}, 'a').write('{name}\\n')\n"
        gate = f"import pathlib\nwhile not pathlib.Path({str(tmp_path / name)!r}).exists(): time.sleep(0.05)\n"
        return note + LOGGING_SCRIPT + gate

    await stage.push("main", {"gamma.yml": ONE_AT_A_TIME})
    await stage.spawn()
    pushes = []
    for name in ("a", "b", "c"):
        pushes.append(await stage.push(f"models/{name}", {"gamma.yml": CONFIG, "train.py": script(name)}))
        await (waiting(stage, pushes[-1]) if name != "a" else stage.running(pushes[-1]))
    first, second, third = pushes
    await stage.kill()

    # As if it had died after it let the second one start, and before the workflow heard of it.
    job = stage.check_runs(second)[0].external_id
    database = Database(stage.settings.store_url)
    await Jobs(database).grant_turns(lambda _: [job])
    database.close()
    await stage.spawn()
    await stage.running(second)
    (tmp_path / "a").touch()
    await stage.finished(first)
    held_back = stage.check_runs(third)[0].status
    for name in ("b", "c"):
        (tmp_path / name).touch()
    runs = [await stage.finished(sha) for sha in pushes]

    assert held_back == "queued"
    assert [run.conclusion for run in runs] == ["success"] * 3
    assert (tmp_path / "starts").read_text().split() == ["a", "b", "c"]
    assert [len(stage.check_runs(sha)) for sha in pushes] == [1, 1, 1]
