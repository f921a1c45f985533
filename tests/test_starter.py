"""The starter repository can be written anywhere, trains as it is, and leaves what Gamma shows."""

from __future__ import annotations

import ast
import asyncio
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gamma_bot.config.loader import command_of, load
from gamma_bot.starter import FilesExist, StarterError, WrittenFile, starter_files, story_edits, write_starter
from gamma_bot.tracking.rest import RestTracking
from gamma_bot.validate import validate_tree
from tests.harness import get
from tests.mlflow_forks import start_script

TINY = {"generations": "2", "population": 4, "elite_fraction": 0.5, "sigma": "1e0", "horizon": 40, "seed": 7}


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    write_starter(tmp_path / "starter")
    return tmp_path / "starter"


def run_python(folder: Path, code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# ── Writing it ──


def test_the_starter_holds_what_a_newcomer_needs_and_nothing_that_a_run_left() -> None:
    names = set(starter_files())

    assert {"train.py", "gamma.yml", "README.md", ".gitignore", "cartpole.xml"} <= names
    assert not [
        name for name in names if name.startswith(("output", "model/", "mlruns")) or name.endswith((".pyc", ".db"))
    ]


def test_gamma_init_writes_every_file_and_says_so(tmp_path: Path) -> None:
    target = tmp_path / "new" / "repository"

    written = write_starter(target)

    assert {file.path: (target / file.path).read_bytes() for file in written} == starter_files()
    assert WrittenFile("train.py", len(starter_files()["train.py"])) in written
    assert sorted(path.name for path in target.iterdir()) == sorted({path.split("/")[0] for path in starter_files()})


def test_gamma_init_overwrites_nothing_unasked(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine too")

    with pytest.raises(FilesExist, match=r"already has train\.py\. Nothing was written") as caught:
        write_starter(tmp_path)

    assert caught.value.paths == ("train.py",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "train.py"]
    written = write_starter(tmp_path, force=True)
    assert [file.path for file in written if file.replaced] == ["train.py"]
    assert (tmp_path / "train.py").read_bytes() == starter_files()["train.py"]
    assert (tmp_path / "notes.txt").read_text() == "mine too"


def test_a_repository_keeps_its_own_readme_and_gitignore(tmp_path: Path) -> None:
    for name in ("README.md", ".gitignore"):
        (tmp_path / name).write_text("mine")

    written = write_starter(tmp_path)

    assert {file.path for file in written if file.kept} == {"README.md", ".gitignore"}
    assert (tmp_path / "README.md").read_text() == (tmp_path / ".gitignore").read_text() == "mine"
    assert (tmp_path / "train.py").read_bytes() == starter_files()["train.py"]
    assert not any(file.kept for file in write_starter(tmp_path, force=True))
    assert (tmp_path / "README.md").read_bytes() == starter_files()["README.md"]


def test_a_repository_with_a_script_gets_a_gamma_yml_alone(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('mine')")

    assert [file.path for file in write_starter(tmp_path, config_only=True)] == ["gamma.yml"]
    assert validate_tree(tmp_path).problems == ()
    with pytest.raises(FilesExist):
        write_starter(tmp_path, config_only=True)


def test_the_commented_lines_of_that_gamma_yml_are_right_too(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('mine')")
    write_starter(tmp_path, config_only=True)
    text = (tmp_path / "gamma.yml").read_text()

    for line in ("  # hyperparameters:", "# metrics:", "#   loss:"):
        assert text.count(line) == 1
        text = text.replace(line, line.replace("# ", "", 1).replace("#", "", 1))
    loaded = load(text.encode())

    assert loaded.config is not None
    assert loaded.config.train.hyperparameters == {"learning_rate": 0.1}
    assert loaded.config.metrics["loss"].primary


def test_a_target_that_is_a_file_is_refused_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StarterError, match="can't be written to"):
        write_starter(tmp_path / "file")


def test_its_gamma_yml_is_without_mistakes(starter: Path) -> None:
    loaded = load(starter_files()["gamma.yml"])

    assert validate_tree(starter).problems == ()
    assert loaded.config is not None
    assert command_of(loaded.config.train) == ("python", "train.py")


def test_its_gamma_yml_says_the_defaults_of_the_script(starter: Path) -> None:
    config = load(starter_files()["gamma.yml"]).config
    assert config is not None

    defaults = run_python(starter, "import hyperparameters as h; print(vars(h.read_hyperparameters([])))")

    assert ast.literal_eval(defaults.stdout) == config.train.hyperparameters


# ── Its hyperparameters ──


@pytest.mark.parametrize(
    ("given", "arguments", "sigma"),
    [
        ({"sigma": "1e-3"}, [], 0.001),
        ({"sigma": 2}, [], 2.0),
        ({"sigma": 2}, ["--sigma", "5"], 5.0),
        ({}, ["--sigma=4"], 4.0),
    ],
)
def test_hyperparameters_come_typed_and_the_command_line_wins(
    starter: Path, given: dict[str, object], arguments: list[str], sigma: float
) -> None:
    code = "import sys, hyperparameters as h; print(repr(h.read_hyperparameters(sys.argv[1:]).sigma))"

    from_variable = run_python(starter, code, *arguments, SM_HPS=json.dumps(given))
    (starter / "hyperparameters.json").write_text(json.dumps(given))
    from_file = run_python(starter, code, *arguments, SM_INPUT_CONFIG_DIR=str(starter))

    assert from_variable.stdout == from_file.stdout == f"{sigma}\n"


def test_a_wrong_hyperparameter_ends_the_run_with_its_name(starter: Path) -> None:
    code = "import hyperparameters as h; h.read_hyperparameters([])"

    unknown = run_python(starter, code, SM_HPS='{"sigm": 1}')
    wrong = run_python(starter, code, SM_HPS='{"generations": "many"}')

    assert (unknown.returncode, wrong.returncode) == (2, 2)
    assert "--sigm=1" in unknown.stderr
    assert "--generations: invalid int value: 'many'" in wrong.stderr


# ── Running it ──


@dataclass
class Job:
    """The starter in SageMaker's layout, with a run that somebody opened for it."""

    code: Path
    ml: Path
    tracking: RestTracking
    run_id: str

    @property
    def environment(self) -> dict[str, str]:
        """What the trainer would give it."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.ml),
            "MLFLOW_TRACKING_URI": self.tracking.uri,
            "MLFLOW_RUN_ID": self.run_id,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "SM_MODEL_DIR": str(self.ml / "model"),
            "SM_OUTPUT_DATA_DIR": str(self.ml / "output/data"),
        }


@pytest.fixture
async def job(mlflow_uri: str, starter: Path, tmp_path: Path) -> AsyncIterator[Job]:
    tracking = RestTracking(mlflow_uri)
    tags = {"gamma.job": tmp_path.name, "gamma.attempt": "1"}
    yield Job(starter, tmp_path / "ml", tracking, await tracking.open_run("starter", "job-1", tags))
    await tracking.close()


async def test_a_run_leaves_metrics_a_policy_and_a_rollout(job: Job) -> None:
    import numpy as np

    train = [sys.executable, "-B", "train.py"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *train, cwd=job.code, env=job.environment | {"SM_HPS": json.dumps(TINY)}, stdout=pipe, stderr=pipe
    )
    log, complaints = await process.communicate()

    assert process.returncode == 0, complaints.decode()
    assert log.count(b"generation ") == 2
    run = await job.tracking.read_run(job.run_id)
    _, about = await get(f"{job.tracking.uri}/api/2.0/mlflow/runs/get?run_id={job.run_id}")
    assert (run.status, json.loads(about)["run"]["info"]["run_name"]) == ("FINISHED", "job-1")
    assert run.params == {
        "generations": "2", "population": "4", "elite_fraction": "0.5", "sigma": "1.0", "horizon": "40", "seed": "7"
    }  # fmt: skip
    for metric in ("episode_return", "episode_length", "sigma"):
        history = run.metrics[metric]
        assert [point.step for point in history] == [1, 2]
        assert all(math.isfinite(point.value) for point in history)

    policy = json.loads((job.ml / "model/policy.json").read_text())
    assert all(math.isfinite(weight) for weight in policy["weights"].values())
    rollout = json.loads((job.ml / "output/data/rollouts/best/rollout.json").read_text())
    assert (rollout["format"], rollout["nq"], rollout["fps"], rollout["frame_skip"]) == ("gamma-rollout/1", 2, 50, 2)
    assert rollout["frames"] == len(rollout["time"]) == len(rollout["qpos"]) == 40
    assert all(len(frame) == 2 and all(map(math.isfinite, frame)) for frame in rollout["qpos"])
    with np.load(job.ml / "output/data/rollouts/best/rollout.npz") as arrays:
        shapes = {name: (arrays[name].shape, arrays[name].dtype.str) for name in arrays}
        assert np.allclose(arrays["qpos"], rollout["qpos"], atol=1e-5)
    assert shapes == {
        "time": ((40,), "<f8"), "qpos": ((40, 2), "<f4"), "qvel": ((40, 2), "<f4"),
        "ctrl": ((40, 1), "<f4"), "reward": ((40,), "<f4"),
    }  # fmt: skip
    assert {path for path, _ in run.artifacts} == {
        "model/policy.json", "rollouts/best/model.xml", "rollouts/best/rollout.json", "rollouts/best/rollout.npz"
    }  # fmt: skip


async def test_a_stop_saves_the_best_policy_and_ends_the_run(job: Job, mlflow_folder: Path) -> None:
    hyperparameters = json.dumps({**TINY, "generations": 1_000_000})
    process = start_script(
        mlflow_folder,
        "import runpy, sys; sys.path.insert(0, ''); runpy.run_path('train.py', run_name='__main__')",
        [],
        job.environment | {"SM_HPS": hyperparameters},
        job.code,
    )
    while not (line := await process.read_line()).startswith(b"generation"):
        assert line, "it ended before"
    process.send_signal(signal.SIGTERM)
    rest, complaints = await process.communicate()

    assert process.returncode == 128 + signal.SIGTERM, complaints.decode()
    assert b"stopped after generation" in rest
    assert (job.ml / "model/policy.json").is_file()
    assert (await job.tracking.read_run(job.run_id)).status == "KILLED"


# ── The demo's story ──


def change(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        assert (folder / path).read_text() != text
        (folder / path).write_text(text)


LEARN = """
import traceback
import numpy as np
from policy import FEATURES, LinearPolicy
from search import CrossEntropySearch
search = CrossEntropySearch(len(FEATURES), 1.0, 0.5, np.random.default_rng(0))
candidates = search.propose(8)
returns = [LinearPolicy(weights).act(0.1, 0.2, 3.0, 0.4) for weights in candidates]
try:
    search.learn(candidates, np.array(returns))
except ValueError as error:
    for frame in traceback.extract_tb(error.__traceback__):
        print(frame.filename.rpartition("/")[2], frame.name)
else:
    print("learned", np.isfinite(search.mean).all() and (search.spread > 0).all())
"""


def test_the_story_improves_breaks_and_fixes_the_code(starter: Path) -> None:
    story = story_edits()

    change(starter, story.improve())
    improved = run_python(starter, LEARN)
    change(starter, story.break_())
    broken = run_python(starter, LEARN)
    change(starter, story.fix())
    fixed = run_python(starter, LEARN)

    assert improved.stdout == fixed.stdout == "learned True\n"
    frames = broken.stdout.splitlines()
    # The last frames are numpy's; the last of the user's own is what an annotation must point at.
    assert frames[-1].startswith("_function_base_impl.py")
    assert [frame for frame in frames if not frame.startswith("_")][-2:] == ["search.py learn", "search.py blend"]


def test_the_story_tells_when_the_starter_no_longer_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_starter(tmp_path / "templates" / "starter")
    policy = tmp_path / "templates" / "starter" / "policy.py"
    policy.write_text(policy.read_text().replace('"lean"', '"tilt"'))
    monkeypatch.setattr("gamma_bot.starter._PACKAGE", tmp_path)

    with pytest.raises(StarterError, match=r"can't edit policy\.py.*holds it 0 times"):
        story_edits()


@pytest.mark.parametrize("executor", ["sagemaker", "actions"])
def test_a_starter_for_elsewhere_names_its_executor_and_what_to_install(tmp_path: Path, executor: str) -> None:
    write_starter(tmp_path, executor=executor)

    found = load((tmp_path / "gamma.yml").read_bytes())
    assert found.problems == ()
    assert found.config is not None
    assert found.config.train.executor == executor
    assert {"mlflow", "mujoco", "numpy"} <= set(
        re.findall(r"^[a-z]+", (tmp_path / "requirements.txt").read_text(), re.M)
    )
