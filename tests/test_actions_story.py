"""`executor: actions`: a push trains in the repository's own GitHub Actions, which the sandbox really runs."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gamma_bot.sandbox import actions
from gamma_bot.sandbox.actions_runner import cancel
from gamma_bot.sandbox.faults import Fault, FaultKind
from gamma_bot.sandbox.model_actions import WorkflowRun
from gamma_bot.starter import WORKFLOW_PATH, starter_files
from gamma_bot.training.attempt_folder import AttemptFolder, StoredSpec
from gamma_bot.training.job_environment import job_environment
from gamma_bot.training.trainer import Attempt, TrainingSpec
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma

WORKFLOW = starter_files("actions")[WORKFLOW_PATH].decode()
ON_MAIN = "version: 1\ntrain: {executor: actions}\n"
NAMES = """\
import os, pathlib
out = pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"])
(out / "variables.txt").write_text("\\n".join(sorted(os.environ)))
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.bin").write_bytes(b"12345")
import json
assert json.load(open(os.environ["GAMMA_HYPERPARAMETERS"])) == {"lr": "0.1"}
assert os.environ["SM_HP_LR"] == "0.1" and pathlib.Path.cwd() == pathlib.Path(os.environ["SM_SOURCE_DIR"])
"""
STUBBORN = """\
import os, signal, sys, time
def leave(*_):
    print("saved what there is", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, leave)
print("training", flush=True)
open(os.path.join(os.environ["RUNNER_TEMP"], "ready"), "w").close()
while True:
    time.sleep(0.02)
"""


async def main_has(gamma: Gamma, workflow: str = WORKFLOW) -> None:
    await gamma.github.commit(gamma.repository, "main", {WORKFLOW_PATH: workflow, "gamma.yml": ON_MAIN})
    gamma.github.machines.interrupt_seconds = gamma.github.machines.terminate_seconds = 2.0


async def push(gamma: Gamma, script: str, **files: str) -> str:
    return await gamma.push("models/main", {"gamma.yml": CONFIG, "train.py": script, **files})


def runs(gamma: Gamma) -> list[WorkflowRun]:
    return list(gamma.repository.workflow_runs.values())


def trainer(gamma: Gamma) -> Any:
    assert gamma.service is not None
    return gamma.service.trainers["actions"]


async def training(gamma: Gamma) -> WorkflowRun:
    """Wait until the script of the newest run says that it trains."""

    def ready() -> WorkflowRun | None:
        for run in runs(gamma):
            if (gamma.github.forge.root / "actions" / str(run.id) / "_temp" / "ready").exists():
                return run
        return None

    return await gamma.eventually(ready, "the script to train")


async def test_a_push_trains_in_github_actions(gamma: Gamma, tmp_path: Path) -> None:
    await main_has(gamma)
    sha = await push(gamma, NAMES + LOGGING_SCRIPT)
    check = await gamma.finished(sha)
    assert (check.conclusion, check.output.title) == ("success", "score 0.3, nothing to compare with yet")
    assert "step 3 score" in (check.output.text or "")
    [run] = runs(gamma)
    job = check.external_id
    assert (run.name, run.conclusion, run.head_branch) == (f"gamma {job}-1", "success", "main")
    assert (run.inputs["sha"], run.inputs["command"]) == (sha, "python train.py")
    assert run.jobs[0].log[0].endswith("Current runner version: '2.330.0'")

    found = await trainer(gamma).artifacts(Attempt(job))
    assert [one.path for one in found] == ["results.zip"]
    with await trainer(gamma).open_artifact(Attempt(job), "results.zip") as file:
        archive = zipfile.ZipFile(file)
        assert sorted(archive.namelist()) == ["model/model.bin", "output/data/variables.txt"]
        there = set(archive.read("output/data/variables.txt").decode().split())
    with pytest.raises(OSError):  # noqa: PT011
        await trainer(gamma).open_artifact(Attempt(job), "other.zip")

    # One script runs everywhere because it finds the same variables everywhere.
    spec = TrainingSpec(Attempt(job), tmp_path, ["python"], {"lr": 0.1})
    local = job_environment(AttemptFolder(tmp_path), StoredSpec(spec, "marker", 0.0), Path("/bin/python"), {})
    assert {name for name in local if name not in there} == {"TMPDIR", "GAMMA_MARKER"}

    # What says nothing about a run of ours costs no look at GitHub; a run that does is looked at once for each event.
    listed = [r for r in gamma.github.requests if r.route.endswith("/workflows/{workflow_id}/runs")]
    assert 1 <= len(listed) <= 6
    assert sum(r.route.endswith("/jobs") for r in gamma.github.requests) <= 3


async def test_a_traceback_in_the_log_of_actions_is_an_annotation(gamma: Gamma) -> None:
    await main_has(gamma)
    sha = await push(
        gamma, "import model\nmodel.build()\n", **{"model.py": "def build():\n    raise ValueError('odd')\n"}
    )
    check = await gamma.finished(sha)
    assert check.conclusion == "failure"
    assert check.output.title == "ValueError: odd in model.py, line 2" or "model.py" in (check.output.title or "")
    [note] = check.annotations
    assert (note.path, note.start_line) == ("model.py", 2)
    assert "##[" not in (check.output.text or "")


async def test_a_stop_cancels_the_run_and_lets_the_script_save(gamma: Gamma) -> None:
    await main_has(gamma)
    sha = await push(gamma, STUBBORN)
    run = await training(gamma)
    await gamma.running(sha)
    await gamma.github.click(gamma.check_runs(sha)[0], "stop", "ada")
    check = await gamma.finished(sha)
    assert check.conclusion == "cancelled"
    assert run.conclusion == "cancelled"
    assert "saved what there is" in (check.output.text or "")
    assert sum(r.route.endswith("/cancel") for r in gamma.github.requests) == 1


async def test_what_github_refuses_is_told_with_its_fix(gamma: Gamma) -> None:
    missing, forbidden, other, pushed, disabled = (gamma.elsewhere() for _ in range(5))
    await gamma.github.commit(missing.repository, "main", {"gamma.yml": ON_MAIN})
    await main_has(forbidden)
    await main_has(other, WORKFLOW.replace("sha: {", "commit: {"))
    await main_has(pushed, "on: push\njobs: {}\n")
    await main_has(disabled)
    await actions.workflows_of(gamma.github.forge, disabled.repository)
    disabled.repository.workflows[WORKFLOW_PATH].state = "disabled_manually"
    for installation in gamma.github.state.installations_on(forbidden.repository):
        installation.permissions["actions"] = "read"

    async def told(one: Gamma) -> tuple[str | None, str]:
        check = await one.finished(await push(one, "print(1)\n"))
        assert (check.conclusion, runs(one)) == ("failure", [])
        following = (check.output.summary or "").partition("**Next:** ")[2].partition("\n")[0]
        return check.output.title, following

    assert await told(missing) == (
        "GitHub has no workflow .github/workflows/gamma.yml on main",
        "Run `gamma init --executor actions` in the repository and merge the workflow into `main`, "
        "then `/gamma retry`.",
    )
    assert await told(forbidden) == (
        "The Gamma App may not start workflows in this repository",
        "Give the App `actions: write` in its settings, let an owner accept that at GitHub, then `/gamma retry`.",
    )
    assert await told(other) == (
        "The workflow .github/workflows/gamma.yml on main does not take what Gamma gives it: "
        'Unexpected inputs provided: ["sha"]',
        "`gamma init --executor actions --force` writes a workflow that does: merge it, then `/gamma retry`.",
    )
    assert (await told(pushed))[0] == (
        "GitHub can't start .github/workflows/gamma.yml on main: it does not run on workflow_dispatch"
    )
    assert await told(disabled) == (
        "The workflow .github/workflows/gamma.yml on main is disabled",
        "Enable it on the repository's Actions page, then `/gamma retry`.",
    )


async def test_a_run_that_somebody_deletes(gamma: Gamma) -> None:
    await main_has(gamma)
    gamma.github.machines.held = True
    sha = await push(gamma, LOGGING_SCRIPT)
    await gamma.eventually(lambda: runs(gamma) or None, "the run")
    gone = gamma.repository.workflow_runs.copy()
    gamma.repository.workflow_runs.clear()
    trainer(gamma)._sweep_seconds = trainer(gamma)._settle_seconds = 0.1
    check = await gamma.finished(sha)
    assert (check.conclusion, check.output.title) == ("failure", "The run was deleted at GitHub")
    gamma.repository.workflow_runs.update(gone)


async def test_a_lost_answer_is_one_run(stage: Gamma) -> None:
    """GitHub did it, and nobody heard: the run is found by its name, also by a Gamma that was restarted meanwhile."""
    await main_has(stage)
    stage.github.machines.held = True
    stage.github.faults.add(Fault("POST", r"/dispatches$", FaultKind.DROP_AFTER))
    await stage.start()
    sha = await push(stage, LOGGING_SCRIPT)
    await stage.eventually(lambda: runs(stage) or None, "the run")
    await stage.restart()
    stage.github.machines.held = False
    stage.github.state.changed()
    check = await stage.finished(sha)
    assert check.conclusion == "success"
    assert len(runs(stage)) == 1
    assert sum(r.route.endswith("/dispatches") for r in stage.github.requests) == 1


async def test_an_answer_that_never_came_of_a_run_that_never_was(stage: Gamma, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub is asked again, once its list has shown no run for long enough."""
    await main_has(stage)
    stage.github.faults.add(Fault("POST", r"/dispatches$", FaultKind.DROP_BEFORE))
    await stage.start()
    own = trainer(stage)
    own._settle_seconds, own._sweep_seconds = 0.3, 0.1
    check = await stage.finished(await push(stage, LOGGING_SCRIPT))
    assert check.conclusion == "success"
    assert len(runs(stage)) == 1


async def test_a_restart_while_it_runs_and_webhooks_that_never_come(stage: Gamma) -> None:
    await main_has(stage)
    wait = "import os, time, pathlib\npathlib.Path(os.environ['RUNNER_TEMP'], 'ready').touch()\n" + (
        "while not pathlib.Path('go').exists(): time.sleep(0.02)\n"
    )
    await stage.start()
    sha = await push(stage, wait + LOGGING_SCRIPT)
    run = await training(stage)
    await stage.stop()
    stage.app.events = [event for event in stage.app.events if event != "workflow_run"]
    stage.github.accept_new_permissions(next(iter(stage.github.state.installations.values())))
    folder = stage.github.forge.root / "actions" / str(run.id) / stage.repository.name / stage.repository.name
    (folder / "go").touch()
    async with asyncio.timeout(20):
        await stage.github.wait_until(lambda: run.status == "completed")
    await stage.start()  # the sweep finds out
    check = await stage.finished(sha)
    assert (check.conclusion, check.output.title) == ("success", "score 0.3, nothing to compare with yet")
    assert len(runs(stage)) == 1


async def test_eight_submits_at_once_are_one_run_and_a_double_is_cancelled(stage: Gamma) -> None:
    await main_has(stage)
    stage.github.machines.held = True
    await stage.start()
    sha = await push(stage, LOGGING_SCRIPT)
    [first] = await stage.eventually(lambda: runs(stage) or None, "the run")
    assert stage.service is not None
    known = (await stage.service.jobs.recent(1))[0]
    row = (await trainer(stage)._runs.of([f"{known.id}-1"]))[f"{known.id}-1"]
    await asyncio.gather(*(trainer(stage)._dispatch(row) for _ in range(8)))
    assert len(runs(stage)) == 1

    # Somebody starts it once more by hand: it waits for the first by its concurrency group, and is cancelled.
    ada = stage.github.state.accounts["ada"].token
    path = f"{stage.github.api_url}/repos/{stage.repository.full_name}/actions/workflows/gamma.yml/dispatches"
    body = {"ref": "main", "inputs": dict(first.inputs)}
    async with aiohttp.ClientSession() as session:
        answer = await session.post(path, json=body, headers={"Authorization": f"Bearer {ada}"})
        assert answer.status == 204
    second = await stage.eventually(lambda: runs(stage)[1:] or None, "the double")
    async with asyncio.timeout(20):
        await stage.github.wait_until(lambda: second[0].status == "completed")
    stage.github.machines.held = False
    stage.github.state.changed()
    assert (await stage.finished(sha)).conclusion == "success"
    assert [run.conclusion for run in runs(stage)] == ["success", "cancelled"]


async def test_its_time_limit_and_a_cancel_by_hand(stage: Gamma) -> None:
    await main_has(stage)
    await stage.start()
    limited = await stage.push(
        "models/slow", {"gamma.yml": CONFIG.replace("train:", "train:\n  timeout: 1s"), "train.py": STUBBORN}
    )
    check = await stage.finished(limited)
    assert check.conclusion == "failure"
    assert "longer than its time limit of 1 s" in f"{check.output.title}{check.output.summary}"
    sha = await push(stage, STUBBORN)
    await stage.eventually(lambda: runs(stage)[1:] or None, "the second run")
    run = await training(stage)
    cancel(stage.github.forge, run)
    check = await stage.finished(sha)
    assert (check.conclusion, "cancelled at GitHub" in f"{check.output.title}{check.output.summary}") == (
        "cancelled",
        True,
    )
