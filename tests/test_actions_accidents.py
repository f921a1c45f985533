"""GitHub Actions as training when things go wrong: kill -9, copies that lag, runs that others start or run again."""

from __future__ import annotations

import asyncio
from copy import copy
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from gamma_bot.sandbox.faults import Fault, FaultKind
from gamma_bot.sandbox.model import RequestRecord
from gamma_bot.store.actions_runs import ActionsRun
from gamma_bot.training.actions_own_run import own_and_doubles
from gamma_bot.training.trainer import Attempt
from gamma_bot.training.workflows import WorkflowRun
from tests.harness import LOGGING_SCRIPT, Gamma
from tests.test_actions_story import main_has, push, runs, trainer

pytestmark = pytest.mark.thorough

REFUSAL = "Gamma asks for a run of its own for each attempt: write /gamma retry, or re-run the check."
ROW = ActionsRun("j0123456789ab-1", 7, "ada/walker", "gamma.yml", "main", {}, 60.0, 1.0, tried_at=2.0, tries=1)


def test_which_run_is_an_attempts_own() -> None:
    def run(number: int, name: str = "gamma j0123456789ab-1", status: str = "queued") -> WorkflowRun:
        return WorkflowRun(number, name, status, "", "")

    def found(row: ActionsRun, *listed: WorkflowRun) -> tuple[int | None, list[int]]:
        own, doubles = own_and_doubles(row, listed)
        return own, [one.id for one in doubles]

    known, twice = replace(ROW, run_id=5), replace(ROW, run_id=5, tries=2)
    assert found(ROW) == (None, [])
    assert found(ROW, run(9), run(4, "gamma j0123456789ab-11"), run(5)) == (5, [9])
    assert found(known, run(9)) == (5, [9]), "its own is not in the list yet"
    assert found(known, run(5), run(3)) == (5, [3]), "GitHub said which one it is"
    assert found(twice, run(5), run(3)) == (3, [5]), "asked twice: the first was there after all, and trains"
    assert found(known, run(5), run(9, status="completed")) == (5, [])


async def test_i3_killed_around_every_effect_of_a_dispatch(stage: Gamma, tmp_path: Path) -> None:
    counter = tmp_path / "starts"
    await main_has(stage)
    points = ("before:record", "after:record", "before:dispatch", "after:dispatch", "before:change", "after:change")
    await stage.spawn(points[0], GAMMA_TEST_ACTIONS="1")
    sha = await push(stage, f"open({str(counter)!r}, 'a').write('started\\n')\n{LOGGING_SCRIPT}")
    await stage.killed()
    for point in points[1:]:
        await stage.spawn(point, GAMMA_TEST_ACTIONS="1")
        await stage.killed()
    await stage.spawn(GAMMA_TEST_ACTIONS="1")

    check = await stage.finished(sha)
    assert (check.conclusion, check.output.title) == ("success", "score 0.3, nothing to compare with yet")
    assert counter.read_text() == "started\n"
    assert [run.conclusion for run in runs(stage)] == ["success"], "one push is one run (I3)"
    assert len(stage.check_runs(sha)) == 1


async def test_a_run_that_github_does_not_show_yet_is_not_lost(gamma: Gamma) -> None:
    await main_has(gamma)
    gamma.github.machines.held = True
    sha = await push(gamma, LOGGING_SCRIPT)
    [run] = await gamma.eventually(lambda: runs(gamma) or None, "the run")
    gamma.repository.workflow_runs.clear()  # a copy of GitHub's that lags behind

    def asked() -> bool | None:
        return any(one.route.endswith("/attempts/{attempt_number}") for one in gamma.github.requests) or None

    trainer(gamma)._sweep_seconds = 0.1
    await gamma.eventually(asked, "Gamma to ask for the run")
    gamma.repository.workflow_runs[run.id] = run
    gamma.github.machines.held = False
    gamma.github.state.changed()
    assert (await gamma.finished(sha)).conclusion == "success"
    assert len(runs(gamma)) == 1


async def test_who_runs_it_again_at_github_changes_nothing(gamma: Gamma) -> None:
    await main_has(gamma)
    sha = await push(gamma, LOGGING_SCRIPT)
    check = await gamma.finished(sha)
    [run] = runs(gamma)
    log = await trainer(gamma).log_tail(Attempt(check.external_id), 10)
    trainer(gamma)._evidence._logs.clear()

    path = f"{gamma.github.api_url}/repos/{gamma.repository.full_name}/actions/runs/{run.id}/rerun"
    headers = {"Authorization": f"Bearer {gamma.github.state.accounts['ada'].token}"}
    async with aiohttp.ClientSession() as session, session.post(path, headers=headers) as answer:
        assert answer.status == 201
    async with asyncio.timeout(20):
        await gamma.github.wait_until(lambda: run.attempt == 2 and run.status == "completed")
    await gamma.dispatched()

    assert run.conclusion == "failure"
    told = [line.partition(" ")[2] for line in run.jobs[0].log if "/gamma retry" in line]
    assert told[-1:] == ["##[error]" + REFUSAL]
    assert not [step for step in run.jobs[0].steps if step.name == "Train" and step.conclusion == "success"]
    assert "step 3 score 0.3" in " ".join(log)[:400].replace("0.30000000000000004", "0.3")
    assert await trainer(gamma).log_tail(Attempt(check.external_id), 10) == log, "the job's log is that of its training"
    assert [one.conclusion for one in gamma.check_runs(sha)] == ["success"]


async def test_a_lost_answer_in_a_busy_repository(stage: Gamma) -> None:
    """GitHub's list ends after a hundred runs: that ours is not among them does not say that there is none."""
    await main_has(stage)
    stage.github.machines.held = True
    stage.github.faults.add(Fault("POST", r"/dispatches$", FaultKind.DROP_AFTER))

    async def crowd(now: str, _record: RequestRecord) -> None:
        """A hundred and twenty others come before anybody can look."""
        for number in range(1, 121 if now == "after" and len(runs(stage)) == 1 else 1):
            other = copy(runs(stage)[0])
            other.id, other.name, other.group, other.status = other.id + 10_000 + number, "Release", "", "completed"
            stage.repository.workflow_runs[other.id] = other

    stage.github.on_request("POST", r"/dispatches$", crowd)
    await stage.start()
    trainer(stage)._sweep_seconds, trainer(stage)._settle_seconds = 0.0, 0.3
    sha = await push(stage, LOGGING_SCRIPT)
    await stage.eventually(lambda: runs(stage) or None, "the run")
    [check] = await stage.eventually(lambda: stage.check_runs(sha) or None, "the check run")
    job = check.external_id

    async def is_found() -> bool | None:
        [seen] = await trainer(stage).observe([Attempt(job)])  # at once, and not when the watcher thinks it is time
        return bool(seen.url) or None

    await stage.eventually(is_found, "Gamma to find its run")
    assert [run.name for run in runs(stage) if run.name != "Release"] == [f"gamma {job}-1"]
