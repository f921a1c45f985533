"""The folder of one local attempt: which file says what. Trainer and supervisor meet here and nowhere else.

``spec.json``      what was asked for; there from the first moment of the folder
``source.tar.gz``  the tree, until it is unpacked
``lock``           held by the supervisor for its whole life, so a free lock means that nobody looks after the job
``started``        created once, before anything of the job runs: whoever creates it is the only one who may run it
``stop``           somebody asked for the end; written before any signal is sent
``phase.json``     what the supervisor is doing now
``processes.json`` the job's processes, for the one who has to end them if the supervisor dies
``outcome.json``   how it ended; the last file written
``log/``, ``ml/``  what the job printed, and its own folders (SageMaker's ``/opt/ml``)

The job runs as the same user and can write to all of this. So nothing that is read here is believed before it was
looked at (``checked.py``), and an outcome counts only when no supervisor is left that could still write its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gamma_bot.training import checked
from gamma_bot.training.durable import create_once, is_locked, read_json, write_file
from gamma_bot.training.processes import Process
from gamma_bot.training.trainer import Attempt, Ending, Outcome, Phase, TrainingSpec

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,199}")
_MARKER = re.compile(r"[0-9a-f]{32}")
_LARGEST_PID = 1 << 31
_MOST_PROCESSES = 100_000


@dataclass(frozen=True)
class StoredSpec:
    """A spec as it was written down.

    Attributes:
        marker: a random word in the environment of every process of this attempt, by which they are found again.
        submitted_at: Unix time; the queue is in this order.
    """

    spec: TrainingSpec
    marker: str
    submitted_at: float

    def to_json(self) -> bytes:
        """The text of ``spec.json``."""
        spec = {
            "attempt": {"job": self.spec.attempt.job, "number": self.spec.attempt.number},
            "source": str(self.spec.source),
            "command": list(self.spec.command),
            "hyperparameters": dict(self.spec.hyperparameters),
            "environment": dict(self.spec.environment),
            "timeout_seconds": self.spec.timeout_seconds,
            "memory_bytes": self.spec.memory_bytes,
        }
        return json.dumps({"spec": spec, "marker": self.marker, "submitted_at": self.submitted_at}).encode()


@dataclass(frozen=True)
class Progress:
    """What a supervisor is doing; ``started_at`` is the Unix time at which the command began."""

    phase: Phase = Phase.PREPARING
    detail: str = "starting"
    started_at: float | None = None


@dataclass(frozen=True)
class AttemptFolder:
    """Reads and writes the files of one attempt."""

    path: Path

    @classmethod
    def below(cls, root: Path, attempt: Attempt) -> AttemptFolder:
        """The folder of an attempt.

        Raises:
            ValueError: the attempt's key holds something else than letters, digits and hyphens.
        """
        if not _KEY.fullmatch(attempt.key):
            raise ValueError(f"attempt key {attempt.key!r} may hold letters, digits and hyphens only")
        return cls(root / attempt.key)

    @property
    def source(self) -> Path:
        """The tarball of the tree."""
        return self.path / "source.tar.gz"

    @property
    def lock(self) -> Path:
        """The supervisor's lock."""
        return self.path / "lock"

    @property
    def log(self) -> Path:
        """The folder of the log."""
        return self.path / "log"

    @property
    def ml(self) -> Path:
        """The job's own folders, as under SageMaker's ``/opt/ml``."""
        return self.path / "ml"

    @property
    def code(self) -> Path:
        """The unpacked tree: the job's working directory."""
        return self.ml / "code"

    @property
    def home(self) -> Path:
        """The job's home folder."""
        return self.path / "home"

    @property
    def virtual_environment(self) -> Path:
        """The virtual environment of requirements that only this tree can fulfil."""
        return self.path / "venv"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor itself had to say; empty if all went well."""
        return self.path / "supervisor.log"

    def exists(self) -> bool:
        """Whether this attempt was ever submitted here."""
        return (self.path / "spec.json").exists()

    def read_spec(self) -> StoredSpec | None:
        """What was asked for; ``None`` if this attempt was never submitted here."""
        stored = read_json(self.path / "spec.json")
        try:
            spec = stored["spec"] if stored else {}
            spec = TrainingSpec(**{**spec, "attempt": Attempt(**spec["attempt"]), "source": Path(spec["source"])})
            if stored is None or not _is_sound(spec):
                return None
            marker, submitted_at = stored["marker"], checked.moment(stored["submitted_at"])
            # Whatever carries the marker is ended with the job, so it must not be a word that others have too.
            if submitted_at is None or not isinstance(marker, str) or not _MARKER.fullmatch(marker):
                return None
            return StoredSpec(spec, marker, submitted_at)
        except (KeyError, TypeError, ValueError):
            return None  # not an attempt's folder, or one of another version of Gamma

    def start(self, supervisor: Process | None) -> bool:
        """Claim the attempt; answer whether it was free. It can be claimed once, ever (I3)."""
        return create_once(self.path / "started", _process_json([supervisor] if supervisor else []))

    def is_started(self) -> bool:
        """Whether somebody claimed the attempt."""
        return (self.path / "started").exists()

    def supervisor(self) -> Process | None:
        """The process that claimed the attempt, if it wrote itself down."""
        processes = _read_processes(self.path / "started")
        return processes[0] if processes else None

    def request_stop(self) -> None:
        """Record durably that somebody asked for the end (I7)."""
        create_once(self.path / "stop", b"")

    def is_stop_requested(self) -> bool:
        """Whether somebody asked for the end."""
        return (self.path / "stop").exists()

    def write_progress(self, progress: Progress) -> None:
        """Say what the supervisor is doing."""
        write_file(self.path / "phase.json", json.dumps(asdict(progress)).encode(), durable=False)

    def read_progress(self) -> Progress:
        """What the supervisor is doing."""
        stored = read_json(self.path / "phase.json") or {}
        phase, detail = stored.get("phase"), checked.text(stored.get("detail"))
        if phase not in (Phase.PREPARING, Phase.RUNNING) or detail is None:
            return Progress()
        return Progress(Phase(phase), detail, checked.moment(stored.get("started_at")))

    def write_processes(self, processes: Sequence[Process]) -> None:
        """Write down the job's processes."""
        write_file(self.path / "processes.json", _process_json(processes), durable=False)

    def read_processes(self) -> Sequence[Process]:
        """The job's processes as they were last written down."""
        return _read_processes(self.path / "processes.json")

    def write_outcome(self, outcome: Outcome) -> None:
        """Say durably how it ended, whatever the job put in the way.

        Raises:
            OSError: the disk refused, or the folder is gone.
        """
        with contextlib.suppress(OSError):
            self.path.chmod(self.path.stat().st_mode | 0o700)
        path = self.path / "outcome.json"
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        write_file(path, json.dumps(asdict(outcome)).encode())

    def has_outcome(self) -> bool:
        """Whether somebody wrote an outcome, which need not be the supervisor; cheaper than reading it."""
        return os.path.lexists(self.path / "outcome.json")

    def read_outcome(self) -> Outcome | None:
        """What is written about the end; ``None`` if there is nothing, or no outcome."""
        stored = read_json(self.path / "outcome.json") or {}
        ending, message = stored.get("ending"), checked.text(stored.get("message"))
        if ending not in list(Ending) or message is None:
            return None
        ended_at = checked.moment(stored.get("ended_at")) or time.time()
        started_at = checked.moment(stored.get("started_at"))
        return Outcome(
            Ending(ending),
            message,
            checked.whole(stored.get("exit_code"), most=255),
            checked.text(stored.get("signal")) or None,
            # A clock that was set back in between must not give a run of negative length.
            min(started_at, ended_at) if started_at is not None else None,
            ended_at,
        )

    def final_outcome(self) -> Outcome | None:
        """How it ended; ``None`` as long as a supervisor is there, whatever is written."""
        return None if not self.has_outcome() or is_locked(self.lock) else self.read_outcome()


def remove_tree(path: Path) -> None:
    """Delete a folder that a job had its hands on, as far as possible; links in it are not followed."""

    def make_writable_and_retry(function: Callable[..., object], name: str, _: object) -> None:
        with contextlib.suppress(OSError):
            Path(name).parent.chmod(0o700)
            if not Path(name).is_symlink():
                Path(name).chmod(0o700)
            if Path(name).is_dir() and function is not os.rmdir:
                shutil.rmtree(name, ignore_errors=True)
            else:
                function(name)

    shutil.rmtree(path, onerror=make_writable_and_retry)


def _process_json(processes: Sequence[Process]) -> bytes:
    return json.dumps({"processes": [[process.pid, process.start] for process in processes]}).encode()


def _read_processes(path: Path) -> list[Process]:
    pairs = (read_json(path) or {}).get("processes")
    found = []
    for pair in pairs[:_MOST_PROCESSES] if isinstance(pairs, list) else []:
        pid, start = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
        number = checked.whole(pid, most=_LARGEST_PID)
        # We are never a process of a job, even if one says so.
        if number is not None and number > 1 and number != os.getpid() and isinstance(start, str):
            found.append(Process(number, start))
    return found


def _is_sound(spec: TrainingSpec) -> bool:
    memory, command = spec.memory_bytes, spec.command
    return (
        _KEY.fullmatch(spec.attempt.key) is not None
        and checked.positive(spec.timeout_seconds) is not None
        and (memory is None or checked.positive(memory) is not None)
        and isinstance(command, list)
        and all(isinstance(word, str) for word in command)
        and isinstance(spec.hyperparameters, dict)
        and isinstance(spec.environment, dict)
    )
