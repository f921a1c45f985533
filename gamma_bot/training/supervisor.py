"""The process that looks after one attempt from its start to its outcome, whatever becomes of the bot.

It needs the standard library only and has one thread. Started by ``launch.py``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from gamma_bot.training import processes
from gamma_bot.training.attempt_folder import AttemptFolder, Progress, StoredSpec, remove_tree
from gamma_bot.training.durable import take_lock
from gamma_bot.training.endings import outcome_of, why_not_started
from gamma_bot.training.guarded_run import Cause, GuardedRun, RunEnd, RunLimits
from gamma_bot.training.job_environment import bare_environment, job_environment, make_folders, scratch_folder
from gamma_bot.training.joblog import LogWriter, clean_line, read_tail
from gamma_bot.training.launch import LaunchSettings
from gamma_bot.training.source import SourceError, SourceLimits, unpack
from gamma_bot.training.trainer import Ending, Outcome, Phase
from gamma_bot.training.virtualenv import (
    EnvironmentCache,
    Requirements,
    RequirementsError,
    build_environment,
    interpreter_of,
    read_requirements,
    trim_download_cache,
)

_FAILURE_CHARACTERS = 400  # of an outcome's 500
_LOCK_SECONDS = 5.0  # others hold the lock for a moment to see whether it is free


def main(path: str) -> int:
    """Look after the attempt in this folder, if nobody else does or did."""
    processes.hide_memory()  # before it holds anything worth reading
    settings = LaunchSettings.from_json(sys.stdin.buffer.read())
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    processes.adopt_orphans()
    folder = AttemptFolder(Path(path))
    end_request = _EndRequest(folder)
    # Never closed: it is free again when this process is gone, however it goes.
    lock = take_lock(folder.lock, wait_seconds=_LOCK_SECONDS)
    stored = folder.read_spec()
    if lock is None or stored is None or folder.has_outcome():
        return 0
    if not folder.start(processes.read_process(os.getpid())):
        return 0
    outcome = _Supervision(folder, stored, settings, end_request).run()
    try:
        folder.write_outcome(outcome)
    except OSError:
        # A full disk: what the job no longer needs makes room for the last word.
        _remove_scratch(folder, stored)
        remove_tree(folder.code)
        folder.write_outcome(outcome)
    return 0


class _Ended(Exception):
    """Somebody asked for the end while nothing of the job's own was running."""


class _EndRequest:
    """Whether this attempt shall end: somebody asked for it, or the machine is shutting down."""

    def __init__(self, folder: AttemptFolder) -> None:
        self._folder = folder
        self._told = False
        self._look_at = 0.0
        signal.signal(signal.SIGTERM, self._hear)
        for number in (signal.SIGINT, signal.SIGHUP):
            # Not SIG_IGN, which the job would inherit.
            signal.signal(number, lambda *_: None)

    def is_there(self) -> bool:
        return self._told or self._folder.is_stop_requested()

    def check(self) -> None:
        """Raise ``_Ended`` if the end was asked for; cheap enough for any loop."""
        if self._told or (now := time.monotonic()) >= self._look_at:
            if self.is_there():
                raise _Ended
            self._look_at = now + 0.2

    def _hear(self, *_: object) -> None:
        self._told = True


class _Supervision:
    def __init__(
        self, folder: AttemptFolder, stored: StoredSpec, settings: LaunchSettings, end_request: _EndRequest
    ) -> None:
        self._folder, self._stored, self._settings = folder, stored, settings
        self._end_request = end_request
        self._log = LogWriter(folder.log)
        self._started_at: float | None = None
        self._base = dict(os.environ)

    def run(self) -> Outcome:
        """Run the attempt and say how it ended; nothing of it is alive then."""
        try:
            return self._honest(self._end())
        finally:
            with contextlib.suppress(OSError):
                self._log.close()
            _remove_scratch(self._folder, self._stored)

    def _end(self) -> Outcome:
        try:
            return self._attempt()
        except _Ended:
            return self._outcome(Ending.STOPPED, "Stopped before the command was started.")
        except SourceError as error:
            return self._outcome(Ending.SOURCE, str(error))
        except RequirementsError as error:
            return self._outcome(Ending.REQUIREMENTS, clean_line(str(error).encode()))
        except Exception as error:
            traceback.print_exc()
            message = f"The attempt could not be carried on ({type(error).__name__}: {error}); nothing of it runs."
            return self._outcome(Ending.LOST, message)

    def _attempt(self) -> Outcome:
        self._end_request.check()
        self._report(Phase.PREPARING, "unpacking the source")
        make_folders(self._folder, self._stored)
        self._unpack()
        interpreter = self._interpreter()
        self._end_request.check()
        return self._train(interpreter)

    def _unpack(self) -> None:
        limits = SourceLimits(files=self._settings.source_files, bytes=self._settings.source_bytes)
        unpack(self._folder.source, self._folder.code, limits, between=self._end_request.check)
        self._folder.source.unlink(missing_ok=True)

    def _interpreter(self) -> Path:
        requirements = read_requirements(self._folder.code)
        if requirements is None:
            return Path(self._settings.python)
        self._report(Phase.PREPARING, f"installing requirements.txt ({requirements.digest[:12]})")
        build = partial(self._build, requirements)
        if requirements.is_local:
            build(self._folder.virtual_environment)
            return interpreter_of(self._folder.virtual_environment)
        cache = EnvironmentCache(Path(self._settings.environments))
        return interpreter_of(cache.obtain(requirements.digest, build, self._end_request.check))

    def _build(self, requirements: Requirements, environment: Path) -> None:
        downloads = Path(self._settings.environments).parent / "downloads"
        trim_download_cache(downloads)
        python = Path(self._settings.python)
        variables = bare_environment(self._folder, self._stored, python, self._base)
        variables |= {"PIP_CACHE_DIR": str(downloads)} | dict(self._settings.install_environment)
        deadline = time.monotonic() + self._settings.install_seconds

        def run(command: Sequence[str]) -> int:
            limits = RunLimits(deadline - time.monotonic(), self._settings.process_limit, grace_seconds=5.0)
            end = self._run(command, variables, limits)
            if end.cause is Cause.STOP:
                raise _Ended
            if end.cause is Cause.TIME:
                limit = self._settings.install_seconds / 60
                raise RequirementsError(f"requirements.txt was not installed within {limit:.4g} min.")
            return 1 if end.exit_code is None else end.exit_code

        build_environment(environment, requirements, python, run, lambda: read_tail(self._folder.log, 50))

    def _train(self, interpreter: Path) -> Outcome:
        spec = self._stored.spec
        command = list(spec.command)
        if command and command[0] in ("python", "python3"):
            command[0] = str(interpreter)
        variables = job_environment(self._folder, self._stored, interpreter, self._base)
        limits = RunLimits(
            spec.timeout_seconds, self._settings.process_limit, self._settings.grace_seconds, spec.memory_bytes
        )
        self._started_at = time.time()
        self._report(Phase.RUNNING, f"running {clean_line(' '.join(spec.command).encode('utf-8', 'replace'))}")
        try:
            if not command or not command[0]:
                raise FileNotFoundError
            end = self._run(command, variables, limits)
        except (OSError, ValueError) as error:
            self._started_at = None
            return self._outcome(Ending.COMMAND, why_not_started(command, variables, self._folder.code, error))
        failure = _read_failure(self._folder.ml / "output" / "failure")
        return outcome_of(end, limits, failure=failure, started_at=self._started_at, ended_at=time.time())

    def _run(self, command: Sequence[str], variables: dict[str, str], limits: RunLimits) -> RunEnd:
        return GuardedRun(
            command,
            environment=variables,
            folder=self._folder.code,
            log=self._log,
            limits=limits,
            is_stop_requested=self._end_request.is_there,
            note_processes=self._note_processes,
        ).run()

    def _note_processes(self, family: Sequence[processes.Process]) -> None:
        with contextlib.suppress(OSError):
            self._folder.write_processes(family)

    def _report(self, phase: Phase, detail: str) -> None:
        with contextlib.suppress(OSError):
            self._folder.write_progress(Progress(phase, detail, self._started_at))

    def _honest(self, outcome: Outcome) -> Outcome:
        """The outcome, with regard to who asked for the end."""
        if self._folder.is_stop_requested():
            # Also a job that came to its end by itself in the meantime is a stopped one (I7).
            if outcome.ending is Ending.STOPPED:
                return outcome
            message = f"Stopped because somebody asked for it; meanwhile: {outcome.message}"
            return _with(outcome, Ending.STOPPED, message)
        if outcome.ending is Ending.STOPPED:
            return _with(outcome, Ending.LOST, "Ended because the machine, or somebody on it, told it to (SIGTERM).")
        return outcome

    def _outcome(self, ending: Ending, message: str) -> Outcome:
        return Outcome(ending, message, started_at=self._started_at, ended_at=time.time())


def _with(outcome: Outcome, ending: Ending, message: str) -> Outcome:
    return Outcome(ending, message, outcome.exit_code, outcome.signal, outcome.started_at, outcome.ended_at)


def _remove_scratch(folder: AttemptFolder, stored: StoredSpec) -> None:
    remove_tree(scratch_folder(folder, stored))
    folder.source.unlink(missing_ok=True)


def _read_failure(path: Path) -> str:
    try:
        # The job could leave a link or a pipe here.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        try:
            text = file.read(_FAILURE_CHARACTERS * 4) or b""
        except OSError:
            return ""
    return clean_line(b" ".join(text.split()))[:_FAILURE_CHARACTERS]
