"""What runs in a training container: the layout, the exit status, the signal, the reason of a failure."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from gamma_bot.starter import starter_files
from gamma_bot.training.sagemaker.request import training_job
from gamma_bot.training.sagemaker.source import repack
from gamma_bot.training.trainer import Attempt, TrainingSpec
from tests.sagemaker_stage import ORIGIN, tarball
from tests.test_sagemaker_pure import PLACE

SHELL_TOOLS = ("sh", "tar", "gzip", "mkdir", "cat", "basename", "tr", "env", "kill")


class Container:
    """A folder shaped like /opt/ml, and the command of a real request started in it."""

    def __init__(self, folder: Path, files: Mapping[str, str], command: tuple[str, ...], **hyperparameters: object):
        self.ml = folder / "ml"
        config = self.ml / "input/config"
        folder.mkdir(exist_ok=True)
        for part in (config, self.ml / "input/data/code", self.ml / "input/data/train"):
            part.mkdir(parents=True)
        source = folder / "github.tar.gz"
        source.write_bytes(tarball(files))
        packed = repack(source, folder)
        name = f"{packed.digest}.tar.gz"
        shutil.copy(packed.path, self.ml / "input/data/code" / name)
        spec = TrainingSpec(
            Attempt("j1"),
            source,
            command,
            hyperparameters=hyperparameters,  # type: ignore[arg-type]
            origin=ORIGIN,
        )
        request = training_job(spec, PLACE, "image", f"sources/7/{name}")
        channels = {"code": {"TrainingInputMode": "File"}, "train": {"TrainingInputMode": "File"}}
        resources = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"], "network_interface_name": "eth0"}
        (config / "hyperparameters.json").write_text(json.dumps(request.get("HyperParameters", {})))
        (config / "inputdataconfig.json").write_text(json.dumps(channels))
        (config / "resourceconfig.json").write_text(json.dumps(resources))
        algorithm = request["AlgorithmSpecification"]
        self.command = [*algorithm["ContainerEntrypoint"], *algorithm["ContainerArguments"]]
        self.environment = {**request["Environment"], "GAMMA_ML": str(self.ml)}

    def start(self, path: str) -> subprocess.Popen[str]:
        environment = {**self.environment, "PATH": path, "HOME": str(self.ml)}
        return subprocess.Popen(
            self.command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.ml
        )

    def run(self, path: str | None = None) -> tuple[int, str, str]:
        process = self.start(path or f"{Path(sys.executable).parent}:{os.defpath}")
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    @property
    def failure(self) -> str:
        return (self.ml / "output/failure").read_text()


@pytest.fixture
def shell_only(tmp_path: Path) -> str:
    """A PATH with a shell and tar, as the smallest images have them, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in SHELL_TOOLS:
        found = shutil.which(tool)
        if found is not None:
            (folder / tool).symlink_to(found)
    return str(folder)


SHOW = """\
import json, os
found = {k: v for k, v in os.environ.items() if k.startswith(("SM_", "GAMMA_")) and k != "GAMMA_ML"}
found["plain"] = json.load(open(os.environ["GAMMA_HYPERPARAMETERS"]))
found["cwd"] = os.getcwd()
print(json.dumps(found))
"""


def test_a_job_finds_what_it_finds_locally(tmp_path: Path) -> None:
    from gamma_bot.training import job_environment  # the names of the local layout are the promise

    values = {"lr": 0.5, "name": "0.5", "flag": True, "none": None}
    container = Container(tmp_path, {"train.py": SHOW}, ("python", "train.py"), **values)
    status, out, err = container.run()
    assert (status, err) == (0, "")
    found, ml = json.loads(out), str(container.ml)
    assert json.loads(found["SM_HPS"]) == values
    assert found["plain"] == {"lr": "0.5", "name": "0.5", "flag": "true", "none": "null"}
    assert (found["SM_HP_LR"], found["SM_HP_NAME"], found["SM_HP_NONE"]) == ("0.5", "0.5", "null")
    assert found["SM_CHANNEL_TRAIN"] == f"{ml}/input/data/train"
    assert json.loads(found["SM_CHANNELS"]) == ["train"]
    assert (found["SM_CURRENT_HOST"], json.loads(found["SM_HOSTS"])) == ("algo-2", ["algo-1", "algo-2"])
    assert found["cwd"] == found["SM_SOURCE_DIR"] == f"{ml}/code"
    source = Path(job_environment.__file__).read_text()
    promised = {word.strip('"') for word in source.split() if word.startswith(('"SM_', '"GAMMA_'))}
    promised = {word.rstrip('":,') for word in promised} - {"GAMMA_MARKER"}
    assert promised <= found.keys(), "what the local trainer lays out is here, too"


def test_the_exit_status_stays_and_the_reason_is_told(tmp_path: Path) -> None:
    script = "import sys\nprint('before')\nsys.exit(int('x'))\n"
    container = Container(tmp_path, {"train.py": script}, ("python", "train.py"))
    status, out, err = container.run()
    assert (status, out) == (1, "before\n")
    assert "Traceback" in err
    assert container.failure.startswith("ValueError: invalid literal for int() with base 10: 'x'\nFile ")


def test_a_reason_that_the_script_wrote_itself_stays(tmp_path: Path) -> None:
    script = "import os, sys\nopen(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write('mine')\nsys.exit(7)\n"
    container = Container(tmp_path, {"train.py": script}, ("python", "train.py"))
    assert container.run()[0] == 7
    assert container.failure == "mine"


@pytest.mark.parametrize("has_python", [True, False])
def test_a_stop_reaches_the_command(tmp_path: Path, shell_only: str, has_python: bool) -> None:
    script = "trap 'echo saved; exit 143' TERM\necho ready\nwhile :; do :; done\n"
    container = Container(tmp_path, {"run.sh": script}, ("sh", "run.sh"))
    process = container.start(f"{Path(sys.executable).parent}:{os.defpath}" if has_python else shell_only)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (143, "saved\n")


def test_an_image_without_python_runs_what_needs_none(tmp_path: Path, shell_only: str) -> None:
    script = 'echo "$SM_MODEL_DIR|$SM_CHANNEL_TRAIN|$SM_HPS|$GAMMA_JOB_ID"\nexit 3\n'
    container = Container(tmp_path, {"run.sh": script}, ("sh", "run.sh"), lr=0.5)
    status, out, err = container.run(shell_only)
    ml = container.ml
    assert (status, out) == (3, f'{ml}/model|{ml}/input/data/train|{{"lr": "0.5"}}|j1\n')
    assert "has no Python: SM_HP_... are not set" in err
    assert container.failure == "exit status 3\n"


def test_an_image_without_python_says_so_where_one_is_needed(tmp_path: Path, shell_only: str) -> None:
    missing = Container(tmp_path / "a", {"train.py": ""}, ("python", "train.py"))
    assert missing.run(shell_only)[0] == 127
    assert missing.failure == "gamma-command: the image has no program python (and no Python)\n"
    wanted = Container(tmp_path / "b", {"requirements.txt": "numpy\n", "run.sh": ""}, ("sh", "run.sh"))
    assert wanted.run(shell_only)[0] == 1
    assert wanted.failure.startswith("gamma-requirements: there is a requirements.txt, but the image has no Python")


def test_requirements_that_can_not_be_installed_end_it(tmp_path: Path) -> None:
    container = Container(tmp_path, {"requirements.txt": "./not-there\n", "train.py": ""}, ("python", "train.py"))
    status, _, err = container.run()
    assert status == 1
    assert container.failure.startswith("gamma-requirements: ERROR: ")
    assert "not-there" in err


def test_hyperparameters_are_no_shell_words(tmp_path: Path) -> None:
    value = "it's; touch PWNED; echo '$(touch PWNED)`touch PWNED`"
    container = Container(
        tmp_path, {"train.py": "import os; print(os.environ['SM_HP_X'])"}, ("python", "train.py"), x=value
    )
    assert container.run()[1] == value + "\n"
    assert not list(container.ml.rglob("PWNED"))


def test_links_and_modes_of_the_tree_come_along(tmp_path: Path) -> None:
    source = tmp_path / "github.tar.gz"
    with tarfile.open(source, "w:gz") as archive:
        for name, mode, link in (("top/run", 0o755, ""), ("top/plain", 0o644, ""), ("top/link", 0o777, "plain")):
            member = tarfile.TarInfo(name)
            member.mode, member.linkname = mode, link
            member.type = tarfile.SYMTYPE if link else tarfile.REGTYPE
            archive.addfile(member)
    with tarfile.open(repack(source, tmp_path).path) as archive:
        found = {each.name: (each.mode, each.linkname) for each in archive if each.name.startswith("code/")}
    assert found == {"code/link": (0o777, "plain"), "code/plain": (0o644, ""), "code/run": (0o755, "")}


def test_the_starter_trains_unchanged(tmp_path: Path, mlflow_uri: str) -> None:
    files = {name: content.decode() for name, content in starter_files().items()}
    hyperparameters = {"generations": 1, "population": 4, "elite_fraction": 0.5, "horizon": 20, "seed": 7}
    container = Container(tmp_path, files, ("python", "train.py"), **hyperparameters)
    container.environment |= {"MLFLOW_TRACKING_URI": mlflow_uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    status, out, err = container.run()
    assert status == 0, err
    assert "generation   1" in out
    assert (container.ml / "model/policy.json").is_file()
    assert (container.ml / "output/data/rollouts/best/rollout.npz").is_file()
