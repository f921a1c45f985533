"""Runs one command to its end under limits, and leaves nothing of it alive."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from gamma_bot.training import processes
from gamma_bot.training.joblog import LogWriter
from gamma_bot.training.processes import Process

_LOOK_SECONDS = 0.25
_READ_BYTES = 1 << 18
_END_SECONDS = 10.0
_DRAIN_SECONDS = 2.0
_PIPE_BYTES = 1 << 20


class Cause(Enum):
    """Why a command did not end by itself."""

    STOP = auto()
    TIME = auto()
    MEMORY = auto()
    PROCESSES = auto()


@dataclass(frozen=True)
class RunLimits:
    """What a command may use; the memory and the number count all of its processes together."""

    seconds: float
    processes: int
    grace_seconds: float
    memory_bytes: int | None = None


@dataclass(frozen=True)
class RunEnd:
    """How a command ended.

    Attributes:
        exit_code: ``None`` if a signal ended it.
        figure: the bytes or the processes that were too many.
        survivors: some of its processes could not be ended.
        ignored_sigterm: it still ran when the grace time was over, and was killed.
    """

    exit_code: int | None
    signal: str | None
    cause: Cause | None
    figure: int = 0
    survivors: bool = False
    ignored_sigterm: bool = False


class GuardedRun:
    """One run of one command. The process that does this must do nothing else: all its children are the command's.

    Args:
        environment: all of the command's variables.
        is_stop_requested: asked a few times per second, and whenever this process gets a signal.
        note_processes: told the command's processes whenever they are others.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log: LogWriter,
        limits: RunLimits,
        is_stop_requested: Callable[[], bool],
        note_processes: Callable[[Sequence[Process]], None],
    ) -> None:
        self._command, self._environment, self._folder = command, environment, folder
        self._log, self._limits = log, limits
        self._is_stop_requested, self._note_processes = is_stop_requested, note_processes
        self._status: int | None = None
        self._cause: Cause | None = None
        self._figure = 0
        self._kill_at = float("inf")
        self._ignored_sigterm = False
        self._noted: frozenset[Process] = frozenset()

    def run(self) -> RunEnd:
        """Run it.

        Raises:
            OSError: it could not be started.
            ValueError: the command or a variable can't be handed to a program (a NUL, for example).
        """
        with _SignalBell() as bell, self._start() as process, selectors.DefaultSelector() as selector:
            assert process.stdout is not None
            self._main = process
            self._output = process.stdout.fileno()
            os.set_blocking(self._output, False)
            selector.register(self._output, selectors.EVENT_READ)
            selector.register(bell.descriptor, selectors.EVENT_READ)
            try:
                self._watch(selector, bell)
            finally:
                all_ended = self._end_everything()
                process.returncode = self._status if self._status is not None else -signal.SIGKILL
            self._drain()
        status = process.returncode
        name = _signal_name(-status) if status < 0 else None
        code = status if status >= 0 else None
        return RunEnd(code, name, self._cause, self._figure, not all_ended, self._ignored_sigterm)

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=dict(self._environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            # Safe here: this process has one thread.
            preexec_fn=processes.die_with_parent,  # noqa: PLW1509
        )
        assert process.stdout is not None
        if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux only
            with contextlib.suppress(OSError):
                fcntl.fcntl(process.stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        with contextlib.suppress(OSError):
            # If the machine runs out of memory, the kernel shall end the job before the bot.
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("500")
        return process

    def _watch(self, selector: selectors.BaseSelector, bell: _SignalBell) -> None:
        started = time.monotonic()
        look_at = 0.0
        while self._status is None:
            for key, _ in selector.select(max(0.0, look_at - time.monotonic())):
                if key.fd == bell.descriptor:
                    bell.silence()
                    look_at = 0.0
                elif not self._read():
                    selector.unregister(self._output)
            now = time.monotonic()
            if now >= look_at:
                look_at = now + _LOOK_SECONDS
                self._collect()
                self._log.refresh()
                self._enforce(now, now - started)

    def _enforce(self, now: float, elapsed: float) -> None:
        if self._status is not None:
            return
        family = processes.descendants(os.getpid())
        if (current := frozenset(family)) != self._noted:
            self._note_processes(family)
            self._noted = current
        if now >= self._kill_at:
            self._ignored_sigterm = True
            self._kill_family()
        elif self._cause is None:
            if self._is_stop_requested():
                self._ask_to_end(Cause.STOP, now)
            elif elapsed > self._limits.seconds:
                self._ask_to_end(Cause.TIME, now)
        if len(family) > self._limits.processes:
            self._kill_family(Cause.PROCESSES, len(family))
        elif (used := self._memory_over_limit(family)) is not None:
            self._kill_family(Cause.MEMORY, used)

    def _memory_over_limit(self, family: Sequence[Process]) -> int | None:
        limit = self._limits.memory_bytes
        if limit is None or sum(process.resident_bytes for process in family) <= limit:
            return None
        # That sum counts shared pages once per process; the exact figure is dear and only needed near the limit.
        used = processes.memory_bytes(family)
        return used if used > limit else None

    def _ask_to_end(self, cause: Cause, now: float) -> None:
        self._cause = cause
        self._kill_at = now + self._limits.grace_seconds
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._main.pid, signal.SIGTERM)
            os.killpg(self._main.pid, signal.SIGCONT)  # a process that was halted hears it too

    def _kill_family(self, cause: Cause | None = None, figure: int = 0) -> None:
        if self._cause is None and cause is not None:
            self._cause, self._figure = cause, figure
        self._end_everything()

    def _end_everything(self) -> bool:
        # Where orphans can't be adopted, the group is all that holds the job together.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._main.pid, signal.SIGKILL)
        return processes.end_all(
            lambda: processes.descendants(os.getpid()), seconds=_END_SECONDS, collect=self._collect
        )

    def _collect(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._main.pid:
                self._status = os.waitstatus_to_exitcode(status)

    def _read(self) -> bool:
        try:
            chunk = os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return True
        if chunk:
            self._log.feed(chunk)
        return bool(chunk)

    def _drain(self) -> None:
        # Everybody who could write is dead; what is still in the pipe is the job's last words.
        deadline = time.monotonic() + _DRAIN_SECONDS
        with contextlib.suppress(BlockingIOError):
            while time.monotonic() < deadline and (chunk := os.read(self._output, _READ_BYTES)):
                self._log.feed(chunk)
        self._log.refresh()


class _SignalBell:
    """Makes a ``select`` wake up when a child dies or this process is told to end."""

    def __enter__(self) -> _SignalBell:
        self.descriptor, self._ring = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._ring, False)
        # Without a handler of ours Python would not write to the pipe.
        self._before = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._ring, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, self._before)
        os.close(self.descriptor)
        os.close(self._ring)

    def silence(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self.descriptor, 4_096):
                pass


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
