"""A new version of the workflow is deployed over jobs in flight: they end right, and new jobs run the new steps."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.harness import CODE, CONFIG, LOGGING_SCRIPT, Gamma, training_processes

pytestmark = pytest.mark.thorough

# The steps of a job as they are recorded, in their order, until its trainer has it.
OLD_STEPS = ["open", "plan", "launch"]

NEW_METHOD = """\
    async def _note(self, what: Values) -> Values:
        import os

        with open(os.environ["GAMMA_TEST_NOTES"], "a") as notes:
            notes.write(f"{what['step']} {what['job']}\\n")
        return {}

"""


def copy_code(folder: Path) -> Path:
    """The code of the bot and what the bot process of the tests needs."""
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CODE / "gamma_bot", folder / "gamma_bot", ignore=without)
    shutil.copytree(CODE / "templates", folder / "templates", ignore=without)
    (folder / "tests").mkdir()
    for name in ("__init__.py", "bot_process.py"):
        shutil.copy(CODE / "tests" / name, folder / "tests")
    return folder


def change_workflow(folder: Path) -> None:
    """A later version: one more step before the launch, and one more when the training has ended."""
    jobs = folder / "gamma_bot" / "jobs"
    add_step(jobs / "story.py", "look-ahead", before='await steps.step("launch"', job="Push.from_json(push).job")
    add_step(jobs / "ending.py", "look-back", before='await steps.step("conclude"', job='end["job"]')


def add_step(module: Path, name: str, *, before: str, job: str) -> None:
    """A step that only those workflows run which come to it with the new code."""
    lines = module.read_text().splitlines(keepends=True)
    (place,) = (number for number, line in enumerate(lines) if before in line)
    indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
    lines[place:place] = [
        f'{indent}if await steps.changed("{name}"):\n',
        f'{indent}    what = {{"step": "{name}", "job": {job}}}\n',
        f'{indent}    await steps.step("{name}", self._parts.careful(self._note), what)\n',
    ]
    (first,) = (number for number, line in enumerate(lines) if line.startswith("    def __init__"))
    lines.insert(first, NEW_METHOD)
    module.write_text("".join(lines))


def job_of(gamma: Gamma, branch: str) -> str:
    """The id of the job of a branch; empty as long as there is none."""
    with sqlite3.connect(gamma.settings.data_dir / "gamma.db", timeout=10) as store:
        row = store.execute("SELECT id FROM gamma_jobs WHERE branch = ?", (branch,)).fetchone()
    store.close()
    return str(row[0]) if row else ""


def recorded_steps(gamma: Gamma, branch: str) -> list[str]:
    """What the engine has recorded of both workflows of the job of a branch."""
    job = job_of(gamma, branch)
    query = (
        "SELECT function_name FROM operation_outputs WHERE workflow_uuid IN (?, ?) ORDER BY workflow_uuid, function_id"
    )
    with sqlite3.connect(gamma.settings.data_dir / "engine.db", timeout=10) as engine:
        found = [name for (name,) in engine.execute(query, (job, f"{job}-finish"))]
    engine.close()
    return [name for name in found if name != "DBOS.sleep"]  # how `receive` remembers its time limit


async def test_jobs_in_flight_end_right_under_a_changed_workflow(stage: Gamma, tmp_path: Path) -> None:
    notes, gate = tmp_path / "notes", tmp_path / "go"
    new = copy_code(tmp_path / "new")
    change_workflow(new)

    def starts(name: str) -> int:
        path = tmp_path / f"starts-{name}"
        return len(path.read_text().splitlines()) if path.exists() else 0

    async def push(name: str) -> str:
        script = (
            f"open({str(tmp_path / f'starts-{name}')!r}, 'a').write('started\\n')\n{LOGGING_SCRIPT}\n"
            f"import pathlib\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.02)\n"
        )
        return await stage.push(f"models/{name}", {"gamma.yml": CONFIG, "train.py": script})

    # The old code: one job waits for its training, one is killed right before its training is asked for.
    await stage.spawn()
    waiting = await push("waiting")
    await stage.running(waiting)
    await stage.eventually(
        lambda: True if recorded_steps(stage, "models/waiting") == OLD_STEPS[:3] else None, "the launch to be recorded"
    )
    await stage.kill()
    await stage.spawn("before:submit")
    launching = await push("launching")
    await stage.killed()
    assert recorded_steps(stage, "models/launching") == OLD_STEPS[:2]
    assert (starts("waiting"), starts("launching")) == (1, 0)

    # The new code takes over both, and gets a job of its own.
    await stage.spawn(code=new, GAMMA_TEST_NOTES=str(notes))
    later = await push("later")
    gate.touch()
    runs = [await stage.finished(sha) for sha in (waiting, launching, later)]
    await stage.eventually(
        lambda: True if "conclude" in recorded_steps(stage, "models/later") else None, "the last step to be recorded"
    )

    assert [run.conclusion for run in runs] == ["success"] * 3
    assert [starts(name) for name in ("waiting", "launching", "later")] == [1, 1, 1]
    assert [len(stage.check_runs(sha)) for sha in (waiting, launching, later)] == [1, 1, 1]
    assert training_processes(stage.folder) == []
    noted = notes.read_text().splitlines()
    jobs = {name: job_of(stage, f"models/{name}") for name in ("waiting", "launching", "later")}
    assert set(noted) == {
        f"look-ahead {jobs['later']}",
        f"look-ahead {jobs['launching']}",  # it had not come to the launch yet
        f"look-back {jobs['later']}",
        f"look-back {jobs['launching']}",
        f"look-back {jobs['waiting']}",
    }
    steps = [name for name in recorded_steps(stage, "models/later") if not name.startswith("DBOS.patch")]
    assert steps == ["open", "plan", "look-ahead", "launch", "look-back", "conclude"]
