"""One host of a training job: a folder shaped like /opt/ml and the container's command as a real process."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from gamma_bot.sandbox.aws.logs import LogWriter

_FLUSH_SECONDS = 0.2
_LOOK_SECONDS = 0.5
_FAILURE_CHARACTERS = 1024


class Container:
    """A host's folder and, between ``start`` and its end, its process group.

    There is no mount namespace here, so that ``/opt/ml`` is elsewhere: the process is told where by ``GAMMA_ML``.
    """

    def __init__(self, folder: Path, host: str, wake: threading.Event) -> None:
        self.folder, self.host = folder, host
        self.ml = folder / "ml"
        self.exit_status: int | None = None
        self._wake = wake
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        for part in ("input/config", "input/data", "model", "output/data", "checkpoints"):
            (self.ml / part).mkdir(parents=True, exist_ok=True)
        for part in ("root", "tmp"):
            (folder / part).mkdir(exist_ok=True)

    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def configure(self, request: dict[str, Any], hosts: list[str], instance: str) -> None:
        """Write the three files that every training container finds."""
        channels = {
            channel["ChannelName"]: {
                "TrainingInputMode": channel.get("InputMode", "File"),
                "S3DistributionType": channel["DataSource"]
                .get("S3DataSource", {})
                .get("S3DataDistributionType", "FullyReplicated"),
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            }
            for channel in request.get("InputDataConfig", [])
        }
        resources = {
            "current_host": self.host,
            "current_instance_type": instance,
            "current_group_name": "homogeneousCluster",
            "hosts": hosts,
            "instance_groups": [
                {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": hosts}
            ],
            "network_interface_name": "eth0",
        }
        files = {
            "hyperparameters": request.get("HyperParameters", {}),
            "inputdataconfig": channels,
            "resourceconfig": resources,
        }
        for name, content in files.items():
            (self.ml / "input" / "config" / f"{name}.json").write_text(json.dumps(content))

    def start(self, request: dict[str, Any], arn: str, log: LogWriter) -> None:
        """Run the command, if the machine can; one it can't start ends at once, as in Docker."""
        algorithm = request["AlgorithmSpecification"]
        command = [*algorithm.get("ContainerEntrypoint", []), *algorithm.get("ContainerArguments", [])]
        environment = self._environment() | {"TRAINING_JOB_NAME": request["TrainingJobName"], "TRAINING_JOB_ARN": arn}
        environment |= request.get("Environment", {}) | {"GAMMA_ML": str(self.ml)}
        (self.ml / "output" / "failure").unlink(missing_ok=True)
        try:
            self._process = subprocess.Popen(
                command or ["train"],
                cwd=self.folder / "root",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            log.write([f'exec: "{(command or ["train"])[0]}": {error.strerror}'])
            self.exit_status = 127
            self._wake.set()
            return
        self.exit_status = None
        self._reader = threading.Thread(target=self._follow, args=(self._process, log), daemon=True)
        self._reader.start()

    def terminate(self) -> None:
        """Ask the first process to end. Like Docker this tells nobody else: a shell has to `exec` or pass it on."""
        if self._process is not None and self.exit_status is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End whatever still runs and wait for the last line of the log."""
        if self._process is not None:
            _kill_group(self._process)
        if self._reader is not None:
            self._reader.join(timeout=5)

    def failure(self) -> str:
        """What the script wrote about its failure, as much as SageMaker shows of it."""
        try:
            return (self.ml / "output" / "failure").read_text(errors="replace")[:_FAILURE_CHARACTERS]
        except OSError:
            return ""

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
        return {"PATH": path, "HOME": str(self.folder / "root"), "TMPDIR": str(self.folder / "tmp")}

    def _follow(self, process: subprocess.Popen[bytes], log: LogWriter) -> None:
        """Bring the output to the log in batches, and notice the end."""
        assert process.stdout is not None
        lines = _Lines()
        with process.stdout as stream, selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while True:
                if selector.select(_FLUSH_SECONDS if lines.waiting else _LOOK_SECONDS):
                    chunk = os.read(stream.fileno(), 65_536)
                    if not chunk:
                        break
                    lines.add(chunk)
                if lines.due:
                    log.write(lines.take())
                if _is_over(process):
                    # The container is over when its first process is; what that one left behind dies with it.
                    _kill_group(process)
        _wait_unreaped(process)
        _kill_group(process)
        process.wait()
        log.write(lines.take_all())
        self.exit_status = process.returncode if process.returncode >= 0 else 128 - process.returncode
        self._wake.set()


class _Lines:
    """Output on its way to the log."""

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self._rest = b""
        self._taken = time.monotonic()

    @property
    def due(self) -> bool:
        return bool(self.waiting) and time.monotonic() - self._taken >= _FLUSH_SECONDS

    def add(self, chunk: bytes) -> None:
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        self.waiting += [line.decode(errors="replace").rstrip("\r") for line in whole]

    def take(self) -> list[str]:
        taken, self.waiting, self._taken = self.waiting, [], time.monotonic()
        return taken

    def take_all(self) -> list[str]:
        return [*self.take(), self._rest.decode(errors="replace")]


def _is_over(process: subprocess.Popen[bytes]) -> bool:
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _wait_unreaped(process: subprocess.Popen[bytes]) -> None:
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Only before the process is reaped: after that its number may be somebody else's."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for_all(containers: list[Container], wake: threading.Event, seconds: float, *, once: bool = False) -> bool:
    """Whether all ended within the time; with ``once`` it comes back at the first thing that wakes it."""
    deadline = time.monotonic() + seconds
    while any(container.exit_status is None for container in containers):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        woken = wake.wait(left)
        wake.clear()
        if woken and once:
            break
    return all(container.exit_status is not None for container in containers)
