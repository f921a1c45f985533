"""Nothing of what the bot knows reaches a job through variables, open files or the process that looks after it (I8)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gamma_bot.training.job_environment import allowed_environment, install_environment
from gamma_bot.training.trainer import Ending
from tests.local_machine import Machine

_SECRETS = {
    "GAMMA_GITHUB_PRIVATE_KEY": "canary-private-key",
    "GAMMA_GITHUB_WEBHOOK_SECRET": "canary-webhook",
    "GAMMA_GITHUB_CLIENT_SECRET": "canary-client",
    "GAMMA_ANTHROPIC_API_KEY": "canary-anthropic",
    "GAMMA_DATABASE_URL": "postgres://gamma:canary-database@db/gamma",
    "DATABASE_URL": "postgres://canary-database-2",
    "AWS_SECRET_ACCESS_KEY": "canary-aws",
    "AWS_SESSION_TOKEN": "canary-session",
    "MLFLOW_TRACKING_PASSWORD": "canary-mlflow",
    "SOMETHING_NEW_TOKEN": "canary-new",
    "PIP_EXTRA_INDEX_URL": "https://user:canary-index@example.org/simple",
    "UV_INDEX_URL": "https://user:canary-uv@example.org/simple",
    "HTTPS_PROXY": "http://user:canary-proxy@example.org:3128",
}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as machine:
        yield machine


async def test_no_secret_of_the_bot_reaches_a_job(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "plain-value")
    script = """
        import glob, json, os
        parent = os.getppid()
        seen = {"own": repr(dict(os.environ)), "open": sorted(os.listdir("/proc/self/fd"))}
        for name in ("environ", "cmdline"):
            try:
                seen["parent " + name] = open(f"/proc/{parent}/{name}", "rb").read().decode("utf-8", "replace")
            except PermissionError:
                seen["parent " + name] = "refused"
        files = [p for p in glob.glob(os.environ["SM_MODEL_DIR"] + "/../../**", recursive=True) if os.path.isfile(p)]
        seen["files"] = "".join(open(p, errors="replace").read() for p in files if not p.endswith("train.py"))
        open(os.environ["SM_MODEL_DIR"] + "/seen.json", "w").write(json.dumps(seen))
    """
    outcome, _ = await machine.run(machine.spec(script))

    assert outcome.ending is Ending.COMPLETED
    text = (machine.root / "job-1/ml/model/seen.json").read_text()
    seen = json.loads(text)
    assert "plain-value" in seen["own"]
    assert "NO_PROXY" in seen["parent environ"] or seen["parent environ"] == "refused"
    assert "supervisor" in seen["parent cmdline"]
    assert "canary" not in text
    assert set(seen["open"]) <= {"0", "1", "2", "3"}  # the third is the listing itself


async def test_the_jobs_home_is_its_own_and_python_is_the_bots(machine: Machine) -> None:
    script = """
        import os, shutil, sys
        print(os.path.expanduser("~")); print(sys.executable); print(shutil.which("python"))
    """
    _, log = await machine.run(machine.spec(script))

    assert log[:2] == [str(machine.root / "job-1/home"), sys.executable]
    assert Path(log[2]).parent == Path(sys.executable).parent


async def test_a_job_can_not_be_given_the_bots_marker_or_folders_by_its_specs_environment(machine: Machine) -> None:
    spec = machine.spec(
        "import os; print(os.environ['SM_MODEL_DIR'], os.environ['EXTRA'])",
        environment={"SM_MODEL_DIR": "/elsewhere", "EXTRA": "yes"},
    )
    _, log = await machine.run(spec)

    assert log == [f"{machine.root}/job-1/ml/model yes"]


def test_only_named_variables_are_handed_on() -> None:
    given = {"PATH": "/bin", "LC_ALL": "C", "TZ": "UTC", "HTTP_PROXY": "http://proxy:1", "HOME": "/home/bot"}

    assert allowed_environment(given | _SECRETS) == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "TZ": "UTC",
        "HTTP_PROXY": "http://proxy:1",
    }


def test_pip_gets_its_index_and_the_operators_configuration(tmp_path: Path) -> None:
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\n")

    assert install_environment(_SECRETS | {"HOME": str(tmp_path)}) == {
        "PIP_EXTRA_INDEX_URL": _SECRETS["PIP_EXTRA_INDEX_URL"],
        "HTTPS_PROXY": _SECRETS["HTTPS_PROXY"],
        "PIP_CONFIG_FILE": str(tmp_path / ".config/pip/pip.conf"),
    }
