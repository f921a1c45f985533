"""What goes wrong around a job does not decide how it ends, and nothing is repeated without a pause."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gamma_bot.app import Gamma as Service
from gamma_bot.app import WrongSettings
from gamma_bot.sandbox.faults import Fault, FaultKind
from gamma_bot.store.inbox import Delivery, Stored
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma, training_processes

REPOSITORY = {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT}


def waiting_for(gate: Path) -> str:
    """A script that goes on when a file appears."""
    return f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)\n" + LOGGING_SCRIPT


async def test_a_refused_look_at_pull_requests_does_not_cost_the_result(gamma: Gamma, tmp_path: Path) -> None:
    gate = tmp_path / "go"
    sha = await gamma.push("models", {**REPOSITORY, "train.py": waiting_for(gate)})
    await gamma.running(sha)
    gamma.github.faults.add(Fault("GET", r"/pulls", FaultKind.STATUS, times=20, status=403))
    gate.touch()

    run = await gamma.finished(sha)

    assert run.conclusion == "success"
    assert "0.3" in run.output.title


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


async def test_a_stale_404_makes_no_second_check_run(gamma: Gamma, tmp_path: Path) -> None:
    gate = tmp_path / "go"
    sha = await gamma.push("models", {**REPOSITORY, "train.py": waiting_for(gate)})
    await gamma.running(sha)
    gamma.github.faults.add(Fault("PATCH", r"/check-runs/", FaultKind.STALE_NOT_FOUND))
    gate.touch()

    run = await gamma.finished(sha)
    await gamma.flushed()

    assert run.conclusion == "success"
    assert len(gamma.check_runs(sha)) == 1


async def test_a_comment_that_somebody_deleted_is_written_again_with_the_next_news(gamma: Gamma) -> None:
    await gamma.finished(await gamma.push("models/x", REPOSITORY))
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.comment_says(pull, "0.3")
    await gamma.flushed()
    await gamma.github.delete_comment(gamma.comments(pull)[0])

    sha = await gamma.push("models/x", {"gamma.yml": CONFIG.replace("0.1", "0.2")})

    await gamma.comment_says(pull, sha[:7], "0.6")
    assert len(gamma.comments(pull)) == 1


async def test_a_rate_limit_is_obeyed_by_the_whole_installation(gamma: Gamma) -> None:
    sha = await gamma.push("models", REPOSITORY)
    await gamma.finished(sha)
    await gamma.flushed()
    gamma.github.faults.add(Fault("POST", r"/check-runs$", FaultKind.SECONDARY_LIMIT, times=1, retry_after_seconds=3))
    began = len(gamma.github.requests)

    second = await gamma.push("models", {"gamma.yml": CONFIG.replace("0.1", "0.2")})
    run = await gamma.finished(second)

    limited = next(r for r in gamma.github.requests[began:] if r.status == 403)
    later = [r for r in gamma.github.requests[began:] if limited.time < r.time < limited.time + 2.9]
    under_way = [r for r in later if r.time < limited.time + 0.5]
    assert run.conclusion == "success"
    assert len(later) == len(under_way) <= 3, "only the reads that were under way already"
    assert len(gamma.check_runs(second)) == 1


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


async def test_a_clock_that_is_set_back_hides_no_end(
    gamma: Gamma, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "go"
    sha = await gamma.push("models", {**REPOSITORY, "train.py": waiting_for(gate)})
    await gamma.running(sha)
    real = time.time
    monkeypatch.setattr("gamma_bot.store.jobs.time.time", lambda: real() - 60)
    gate.touch()

    assert (await gamma.finished(sha)).conclusion == "success"


async def test_a_payload_that_no_code_expects_is_parked_and_holds_up_nothing(gamma: Gamma) -> None:
    inbox = gamma.service.inbox
    hostile = {"ref": "refs/heads/models", "after": "1" * 40, "installation": {"id": 1}, "repository": None}
    odd = '{"ref": "refs/heads/\\ud800"}'
    await inbox.offer(Delivery("bad", "push", json.dumps(hostile).encode(), 0.0))
    await inbox.offer(Delivery("odd", "push", odd.encode(), 0.0))

    sha = await gamma.push("models", REPOSITORY)
    assert (await gamma.finished(sha)).conclusion == "success"

    async def parked() -> str | None:
        record = await inbox.find("bad")
        return record.result if record is not None and record.state == "parked" else None

    assert "repository" in await gamma.eventually(parked, "the delivery to be parked")
    with capture_logs() as logged:
        assert await inbox.offer(Delivery("bad", "push", b"{}", 0.0)) is Stored.DUPLICATE

        def tried() -> bool | None:
            return True if any(line.get("delivery") == "bad" for line in logged) else None

        await gamma.eventually(tried, "what was parked to be tried once more, since it was delivered again")


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
