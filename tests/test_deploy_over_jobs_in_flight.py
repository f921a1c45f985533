"""A new version of the workflow is deployed over jobs in flight: they end right, and new jobs run the new steps."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from tests.harness import CODE, CONFIG, LOGGING_SCRIPT, Gamma, training_processes

# The steps of a job as they are recorded, in their order.
OLD_STEPS = ["open", "plan", "launch", "DBOS.recv", "conclude"]

NEW_METHOD = """\
    async def _note(self, values: Values, what: Values) -> Values:
        import os

        with open(os.environ["GAMMA_TEST_NOTES"], "a") as notes:
            notes.write(f"{what['step']} {values['branch']}\\n")
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
    story = folder / "gamma_bot" / "jobs" / "story.py"
    lines = story.read_text().splitlines(keepends=True)

    def line_with(text: str) -> int:
        (found,) = (number for number, line in enumerate(lines) if text in line)
        return found

    receive = line_with("await steps.receive(OUTCOME")
    lines[receive + 1 : receive + 1] = new_step("look-back", like=lines[receive])
    launch = line_with('await steps.step("launch"')
    lines[launch:launch] = new_step("look-ahead", like=lines[launch])
    lines.insert(line_with("    async def _open("), NEW_METHOD)
    story.write_text("".join(lines))


def new_step(name: str, *, like: str) -> list[str]:
    """A step that only jobs run which come to it with the new code."""
    indent = like[: len(like) - len(like.lstrip())]
    return [
        f'{indent}if await steps.changed("{name}"):\n',
        f'{indent}    await steps.step("{name}", self._careful(self._note), push, {{"step": "{name}"}})\n',
    ]


def recorded_steps(gamma: Gamma, branch: str) -> list[str]:
    """What the engine has recorded of the job of a branch."""
    with sqlite3.connect(gamma.settings.data_dir / "gamma.db", timeout=10) as store:
        row = store.execute("SELECT id FROM gamma_jobs WHERE branch = ?", (branch,)).fetchone()
    store.close()
    if row is None:
        return []
    query = "SELECT function_name FROM operation_outputs WHERE workflow_uuid = ? ORDER BY function_id"
    with sqlite3.connect(gamma.settings.data_dir / "engine.db", timeout=10) as engine:
        found = [name for (name,) in engine.execute(query, row)]
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
    assert sorted(set(noted)) == [
        "look-ahead models/later",
        "look-ahead models/launching",  # it had not come to the launch yet
        "look-back models/later",
        "look-back models/launching",
        "look-back models/waiting",
    ]
    steps = [name for name in recorded_steps(stage, "models/later") if not name.startswith("DBOS.patch")]
    assert steps == ["open", "plan", "look-ahead", "launch", "DBOS.recv", "look-back", "conclude"]
