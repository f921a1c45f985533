"""GitHub Actions as training: how a run ended, what its log says, what a run is given, what `gamma init` writes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from click.testing import CliRunner

from gamma_bot.cli import gamma as command_line
from gamma_bot.config.loader import load
from gamma_bot.events.intents import Ignored, RunMoved
from gamma_bot.events.workflow import understand
from gamma_bot.executors import actions_trainer
from gamma_bot.settings import Settings
from gamma_bot.starter import WORKFLOW_PATH
from gamma_bot.store.actions_runs import ActionsRun, ActionsRuns
from gamma_bot.store.database import Database
from gamma_bot.training.actions_inputs import LARGEST_INPUTS, run_inputs
from gamma_bot.training.actions_log import JobLog, read_log
from gamma_bot.training.actions_outcome import outcome_of_run
from gamma_bot.training.trainer import Attempt, Ending, Origin, TrainingSpec
from gamma_bot.training.workflows import WorkflowJob, WorkflowRun, WorkflowStep

SPEC = TrainingSpec(
    Attempt("j0123456789ab", 2),
    Path("source"),
    ["python", "train.py", "--name", "a b"],
    {"lr": 0.1},
    {"MLFLOW_RUN_ID": "r1", "MLFLOW_TRACKING_URI": "https://mlflow.example.com"},
    600.0,
    origin=Origin(7, "ada/walker", "models/wider", "c" * 40, "main"),
)
LOG = """\
\ufeff2026-11-24T10:00:00.1234567Z ##[group]Run python -m pip install -r requirements.txt
2026-11-24T10:00:01.1234567Z Collecting numpy
2026-11-24T10:00:02.1234567Z ##[endgroup]
2026-11-24T10:00:03.1234567Z gamma: the code is in /home/runner/work/walker/walker
2026-11-24T10:00:03.2234567Z \x1b[36;1mstep 1\x1b[0m
2026-11-24T10:00:03.3234567Z\x20
2026-11-24T10:00:04.1234567Z   File "/home/runner/work/walker/walker/train.py", line 3\x07
2026-11-24T10:00:05.1234567Z gamma: the command ended with status 1
2026-11-24T10:00:05.2234567Z ##[error]Process completed with exit code 1.
2026-11-24T10:00:06.1234567Z No files were found
"""


def test_the_log_is_what_the_command_printed() -> None:
    log = read_log(LOG.encode())
    assert log.lines == ["step 1", "", '  File "/home/runner/work/walker/walker/train.py", line 3']
    assert (log.exit_status, log.source_root) == (1, "/home/runner/work/walker/walker")
    cut = read_log(LOG.replace("gamma: the command ended with status 1", "more").encode())
    assert (cut.lines[-1], cut.exit_status) == ("more", 1)
    foreign = read_log(LOG.replace("gamma: ", "other: ").encode())
    assert foreign.lines[1] == "Collecting numpy", "a workflow of somebody's own: all of it"
    assert read_log(b"") == JobLog([], None, "")


def _ended(
    conclusion: str, *, failed: str = "", seconds: float = 60.0, status: int | None = None, stopped: bool = False,
    steps: bool = True,
) -> tuple[Ending, str]:  # fmt: skip
    names = (
        "Set up job",
        "Check out the commit",
        "Install the requirements",
        "Lay out the job",
        "Train",
        "Keep the results",
    )
    shown = [WorkflowStep(name, "failure" if name == failed else "success", 100.0, 100.0 + seconds) for name in names]
    jobs = [WorkflowJob(1, conclusion, 90.0, 110.0 + seconds, shown if steps else [])]
    run = WorkflowRun(5, "gamma j-1", "completed", conclusion, "https://github.com/x")
    outcome = outcome_of_run(run, jobs, JobLog(exit_status=status), timeout_seconds=600.0, stopped=stopped)
    assert outcome.ended_at >= (outcome.started_at or 0.0)
    return outcome.ending, outcome.signal or str(outcome.exit_code) if not outcome.message else outcome.message


def test_every_end_of_a_run_has_its_ending() -> None:
    assert _ended("success") == (Ending.COMPLETED, "0")
    assert _ended("failure", failed="Train", status=3) == (Ending.USER_CODE, "3")
    assert _ended("failure", failed="Train", status=137) == (Ending.USER_CODE, "SIGKILL")
    assert _ended("failure", failed="Train", status=124, seconds=600)[0] is Ending.TIME_LIMIT
    assert _ended("failure", failed="Train", status=124, seconds=5) == (Ending.USER_CODE, "124"), "its own exit status"
    assert _ended("failure", failed="Train", status=143, stopped=True)[0] is Ending.STOPPED, "never a success (I7)"
    assert _ended("failure", failed="Check out the commit")[0] is Ending.SOURCE
    assert _ended("failure", failed="Install the requirements")[0] is Ending.REQUIREMENTS
    assert _ended("failure", failed="Keep the results") == (
        Ending.PLATFORM, "The step “Keep the results” of the workflow failed.",
    )  # fmt: skip
    assert _ended("failure", steps=False)[0] is Ending.PLATFORM
    assert _ended("cancelled", stopped=True)[0] is Ending.STOPPED
    assert _ended("cancelled") == (Ending.STOPPED, "The run was cancelled at GitHub.")
    assert _ended("cancelled", seconds=600)[0] is Ending.TIME_LIMIT
    assert _ended("cancelled", steps=False)[0] is Ending.NEVER_STARTED
    assert _ended("timed_out")[0] is Ending.TIME_LIMIT
    assert _ended("startup_failure", steps=False)[0] is Ending.CONFIG
    assert _ended("action_required") == (Ending.PLATFORM, "GitHub ended the run as “action_required”.")


def test_the_workflow_takes_just_what_gamma_gives(tmp_path: Path) -> None:
    done = CliRunner().invoke(command_line, ["init", str(tmp_path), "--executor", "actions"])
    assert done.exit_code == 0, done.output
    assert "default branch" in done.output
    workflow = yaml.safe_load((tmp_path / WORKFLOW_PATH).read_text())
    assert workflow[True]["workflow_dispatch"]["inputs"].keys() == run_inputs(SPEC).keys()
    assert run_inputs(SPEC) == {
        "job": "j0123456789ab",
        "attempt": "2",
        "sha": "c" * 40,
        "mlflow_run_id": "r1",
        "command": "python train.py --name 'a b'",
        "hyperparameters": '{"lr": 0.1}',
        "environment": '{"MLFLOW_TRACKING_URI": "https://mlflow.example.com"}',
        "timeout_seconds": "600",
    }
    assert workflow["permissions"] == {"contents": "read"}
    scripts = [step["run"] for step in workflow["jobs"]["train"]["steps"] if "run" in step]
    assert not [script for script in scripts if "${{" in script], "what comes from outside is in no script's text"
    checkout = workflow["jobs"]["train"]["steps"][1]
    assert checkout["with"]["persist-credentials"] is False
    loaded = load((tmp_path / "gamma.yml").read_bytes(), path="gamma.yml")
    assert loaded.config is not None
    assert loaded.config.train.executor == "actions"
    assert (tmp_path / "requirements.txt").exists()

    (tmp_path / "train.py").write_text("mine")
    (tmp_path / WORKFLOW_PATH).unlink()
    again = CliRunner().invoke(command_line, ["init", str(tmp_path), "--executor", "actions"])
    assert again.exit_code == 0, "a repository that trains already gets the workflow and nothing else"
    assert "needs `executor: actions`" in again.output
    assert ((tmp_path / "train.py").read_text(), (tmp_path / WORKFLOW_PATH).exists()) == ("mine", True)
    refused = CliRunner().invoke(command_line, ["init", str(tmp_path), "--executor", "actions"])
    assert (refused.exit_code, WORKFLOW_PATH in refused.output) == (1, True)


async def test_of_many_who_want_to_ask_github_one_does(database_url: str | None, tmp_path: Path) -> None:
    """I3, on both databases: a row is claimed once, and again only by who has seen the last try come to nothing."""
    database = Database(database_url or f"sqlite:///{tmp_path}/runs.db")
    database.create_tables()
    table = ActionsRuns(database)
    for number in range(25):
        new = ActionsRun(f"j0123456789ab-{number}", 7, "ada/walker", "gamma.yml", "main", {"a": "b"}, 60.0, 1.0)
        recorded = await asyncio.gather(*(table.record(new) for _ in range(8)))
        assert recorded == [new] * 8
        claims = [one for one in await asyncio.gather(*(table.claim(new) for _ in range(8))) if one]
        assert [one.tries for one in claims] == [1]
        again = [one for one in await asyncio.gather(*(table.claim(claims[0]) for _ in range(8))) if one]
        assert [one.tries for one in again] == [2]
    stopped = await table.ask_to_stop(new.attempt)
    assert stopped is not None
    assert await table.claim(stopped) is None, "what was asked to end is not started"
    assert (await table.hint(new.attempt, 7), await table.hint("j-9", 7)) == (True, False)
    assert not await table.hint(new.attempt, 8), "another repository can name its runs as it likes"
    await table.change(new.attempt, outcome={"ending": "stopped"})
    await table.change(new.attempt, outcome={"ending": "completed"}, run_id=5)
    after = (await table.of([new.attempt]))[new.attempt]
    assert (after.outcome, after.run_id) == ({"ending": "stopped"}, None), "the first end stays"
    assert new.attempt not in {run.attempt for run in await table.open()}
    database.close()


async def test_what_can_not_work_is_known_before(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/x.db")

    async def problems(api: str, tracking: str | None, spec: TrainingSpec = SPEC) -> list[tuple[str, Any]]:
        settings = Settings(_env_file=None, data_dir=tmp_path, github_api_url=api, mlflow_tracking_uri=tracking)
        trainer = actions_trainer(settings, cast("Any", None), database)
        return [(problem.message, problem.key_path) for problem in await trainer.preflight(spec)]

    github = "https://api.github.com"
    assert await problems(github, "https://mlflow.example.com") == []
    assert await problems("http://127.0.0.1:5000/api/v3", None) == []
    [(message, key)] = await problems(github, None)
    assert ("embedded" in message, key) == (True, ("train", "executor"))
    assert "own machine only" in (await problems(github, "http://localhost:5000"))[0][0]
    large = replace(SPEC, hyperparameters={"text": "x" * LARGEST_INPUTS})
    [(message, key)] = await problems(github, "https://mlflow.example.com", large)
    assert ("too long for GitHub" in message, key) == (True, ("train", "hyperparameters"))
    database.close()


@pytest.mark.parametrize(
    ("run", "means"),
    [
        ({"event": "workflow_dispatch", "display_title": "gamma j0123456789ab-2"}, RunMoved("j0123456789ab-2", 7)),
        ({"event": "workflow_dispatch", "name": "gamma j0123456789ab-2"}, RunMoved("j0123456789ab-2", 7)),
        ({"event": "push", "display_title": "gamma j0123456789ab-2"}, None),
        ({"event": "workflow_dispatch", "display_title": "Release 1.0-2"}, None),
        ({"event": "workflow_dispatch", "display_title": None}, None),
    ],
)
def test_webhooks_of_runs(run: dict[str, Any], means: RunMoved | None) -> None:
    found = understand({"action": "completed", "workflow_run": json.loads(json.dumps(run)), "repository": {"id": 7}})
    assert found == means if means is not None else isinstance(found, Ignored)
