"""What a job finds when it starts: SageMaker's folders, files and variables, and nothing of the bot's own.

One script runs here and on SageMaker because both lay out the same things. Variables are taken over from the bot
by an allowlist, so a secret that nobody thought of stays behind (I8).
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gamma_bot.training.attempt_folder import AttemptFolder, StoredSpec
from gamma_bot.training.trainer import Hyperparameter

_LOCALE = {"PATH", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME"}
_MACHINE = {"TMPDIR", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS"}
_NETWORK = {"NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"}
_ALLOWED = frozenset(_LOCALE | _MACHINE | _NETWORK)
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"})
_PIP = {"INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX", "TRUSTED_HOST", "CONSTRAINT", "CONFIG_FILE"}
_PIP_NETWORK = {"CERT", "CLIENT_CERT", "PROXY", "DEFAULT_TIMEOUT", "RETRIES"}
_INSTALL = frozenset(f"PIP_{name}" for name in _PIP | _PIP_NETWORK)
_HOST = "algo-1"
_SOCKET_PATH_BYTES = 107
_SOCKET_NAME_BYTES = 40  # what multiprocessing adds to TMPDIR for its sockets


def allowed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a job may take over from the bot."""
    return {
        name: value
        for name, value in environment.items()
        if name in _ALLOWED or name.startswith("LC_") or (name in _PROXIES and "@" not in value)
    }


def install_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What pip needs on top of that; it may hold passwords and is not for the job."""
    needed = {name: value for name, value in environment.items() if name in _INSTALL | _PROXIES}
    if "PIP_CONFIG_FILE" not in needed and "HOME" in environment:
        # pip runs with the job's home folder and would miss the operator's own configuration.
        home = Path(environment["HOME"])
        for candidate in (home / ".config/pip/pip.conf", home / ".pip/pip.conf"):
            if candidate.is_file():
                needed["PIP_CONFIG_FILE"] = str(candidate)
    return needed


def make_folders(folder: AttemptFolder, stored: StoredSpec) -> None:
    """Make the job's folders and write its configuration files; the tree is unpacked separately."""
    ml = folder.ml
    for name in ("input/config", "input/data", "model", "output/data", "checkpoints"):
        (ml / name).mkdir(parents=True, exist_ok=True)
    folder.home.mkdir(exist_ok=True)
    scratch_folder(folder, stored).mkdir(mode=0o700, exist_ok=True)
    texts = {name: _text(value) for name, value in stored.spec.hyperparameters.items()}
    for name, content in (
        ("hyperparameters", texts),
        ("inputdataconfig", {}),
        ("resourceconfig", _resources()),
    ):
        (ml / "input/config" / f"{name}.json").write_text(json.dumps(content, indent=2), encoding="utf-8")


def scratch_folder(folder: AttemptFolder, stored: StoredSpec) -> Path:
    """The job's TMPDIR: its own, and short enough for the sockets that data loaders open there."""
    below = folder.path / "tmp"
    if len(os.fsencode(below)) + _SOCKET_NAME_BYTES <= _SOCKET_PATH_BYTES:
        return below
    return Path(tempfile.gettempdir()) / f"gamma-{stored.marker[:16]}"


def job_environment(
    folder: AttemptFolder, stored: StoredSpec, interpreter: Path, environment: Mapping[str, str]
) -> dict[str, str]:
    """All variables of the job.

    Args:
        interpreter: what ``python`` is for the job; its folder comes first on the PATH.
        environment: the variables of the process that asks.
    """
    spec, ml = stored.spec, folder.ml
    hyperparameters = dict(spec.hyperparameters)
    variables = bare_environment(folder, stored, interpreter, environment)
    variables |= {"PYTHONUNBUFFERED": "1"} | dict(spec.environment)
    variables |= {f"SM_HP_{_variable(name)}": _text(value) for name, value in hyperparameters.items()}
    return variables | {
        "TRAINING_JOB_NAME": spec.attempt.key,
        "SM_MODEL_DIR": str(ml / "model"),
        "SM_OUTPUT_DIR": str(ml / "output"),
        "SM_OUTPUT_DATA_DIR": str(ml / "output/data"),
        "SM_INPUT_DIR": str(ml / "input"),
        "SM_INPUT_CONFIG_DIR": str(ml / "input/config"),
        "SM_CHECKPOINT_DIR": str(ml / "checkpoints"),
        "SM_SOURCE_DIR": str(folder.code),
        "SM_HPS": json.dumps(hyperparameters),
        "SM_CHANNELS": "[]",
        "SM_CURRENT_HOST": _HOST,
        "SM_HOSTS": json.dumps([_HOST]),
        "SM_RESOURCE_CONFIG": json.dumps(_resources()),
        "SM_NUM_CPUS": str(_cpus()),
        "SM_NUM_GPUS": str(_gpus(environment)),
        "GAMMA_JOB_ID": spec.attempt.job,
        "GAMMA_ATTEMPT": str(spec.attempt.number),
        "GAMMA_MODEL_DIR": str(ml / "model"),
        "GAMMA_OUTPUT_DIR": str(ml / "output/data"),
        "GAMMA_CHECKPOINT_DIR": str(ml / "checkpoints"),
        "GAMMA_HYPERPARAMETERS": str(ml / "input/config/hyperparameters.json"),
        "GAMMA_MARKER": stored.marker,
    }


def bare_environment(
    folder: AttemptFolder, stored: StoredSpec, interpreter: Path, environment: Mapping[str, str]
) -> dict[str, str]:
    """The variables of any process that works for the job, such as pip."""
    return allowed_environment(environment) | {
        "PATH": f"{interpreter.parent}{os.pathsep}{environment.get('PATH', os.defpath)}",
        "HOME": str(folder.home),
        "TMPDIR": str(scratch_folder(folder, stored)),
        "GAMMA_MARKER": stored.marker,
    }


def _text(value: Hyperparameter) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _resources() -> dict[str, object]:
    return {"current_host": _HOST, "hosts": [_HOST], "current_instance_type": "local", "network_interface_name": "lo"}


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus(environment: Mapping[str, str]) -> int:
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))
