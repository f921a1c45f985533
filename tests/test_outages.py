"""A bot that starts twice, dies or loses MLflow does not decide how a job ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gamma_bot.app import Gamma as Service
from gamma_bot.settings import WrongSettings
from gamma_bot.store.inbox import Delivery, Stored
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma, training_processes

REPOSITORY = {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT}


def waiting_for(gate: Path) -> str:
    """A script that goes on when a file appears."""
    return f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)\n" + LOGGING_SCRIPT


async def test_without_mlflow_the_end_of_a_job_is_told_all_the_same(stage: Gamma, tmp_path: Path) -> None:
    gate = tmp_path / "go"
    await stage.start()
    sha = await stage.push("models", {"gamma.yml": CONFIG, "train.py": f"import pathlib, time\nprint('here')\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)\nraise ValueError('mine')\n"})  # fmt: skip
    await stage.running(sha)
    # The server goes away for this bot alone.
    await stage.stop()
    await stage.start(patience_seconds=1, mlflow_tracking_uri="http://127.0.0.1:9")
    gate.touch()

    run = await stage.finished(sha)

    assert run.conclusion == "failure"
    assert [a.path for a in run.annotations] == ["train.py"]
    assert "MLflow" in run.output.title + run.output.summary


async def test_a_job_that_is_given_up_does_not_run_on(stage: Gamma, tmp_path: Path) -> None:
    gate = tmp_path / "never"
    await stage.spawn("after:submit")
    sha = await stage.push("models", {**REPOSITORY, "train.py": waiting_for(gate)})
    await stage.killed()

    await stage.spawn(GAMMA_MLFLOW_TRACKING_URI="http://127.0.0.1:9", GAMMA_TEST_PATIENCE="1")

    run = await stage.finished(sha)
    assert run.conclusion == "failure"

    def ended() -> bool | None:
        return None if training_processes(stage.folder) else True

    await stage.eventually(ended, "the training process to end")


async def test_two_bots_on_one_data_directory_are_refused(gamma: Gamma) -> None:
    second = Service(gamma.settings)

    with pytest.raises(WrongSettings, match="another gamma"):
        await second.start()
    await second.stop()

    assert await asyncio.wait_for(gamma.service.inbox.offer(Delivery("g", "ping", b"{}", 0.0)), 5) is Stored.NEW


async def test_an_executor_that_is_not_here_is_refused(stage: Gamma) -> None:
    service = Service(stage.settings.model_copy(update={"executor": "moon"}))

    with pytest.raises(WrongSettings, match="GAMMA_EXECUTOR=moon"):
        await service.start()
    await service.stop()
