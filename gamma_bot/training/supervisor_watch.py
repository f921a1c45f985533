"""Whether a supervisor still does its work: a halted one is woken, and one that is far over its time is found out.

A job runs as the same user and can halt or kill the process that enforces its limits. The clock here is the bot's
own, so nothing that the job writes moves it.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from gamma_bot.training import processes
from gamma_bot.training.attempt_folder import AttemptFolder
from gamma_bot.training.launch import LaunchSettings
from gamma_bot.training.processes import Process
from gamma_bot.training.trainer import Phase, TrainingSpec

_HALTED_LOOKS = 2
_UNPACK_SECONDS = 600.0


@dataclass(frozen=True)
class Patience:
    """How long a supervisor may go on.

    Attributes:
        prepare_seconds: from its start to the command's, if nobody saw that.
        run_seconds: from the command's start to the outcome.
        stop_seconds: from a request to stop to the outcome.
    """

    prepare_seconds: float
    run_seconds: float
    stop_seconds: float


def patience_with(spec: TrainingSpec, settings: LaunchSettings, slots: int, overdue_seconds: float) -> Patience:
    """How long the supervisor of this attempt may go on: its limits, and ``overdue_seconds`` for a slow machine."""
    beyond = settings.grace_seconds + overdue_seconds
    # An environment may have to be waited for while each of the other jobs tries to build it.
    prepare_seconds = _UNPACK_SECONDS + settings.install_seconds * (slots + 1)
    return Patience(prepare_seconds, spec.timeout_seconds + beyond, beyond)


class SupervisorWatch:
    """Looks at one supervisor now and then."""

    def __init__(self, folder: AttemptFolder, patience: Patience) -> None:
        self._folder, self._patience = folder, patience
        self._known: Process | None = None
        self._halted_looks = 0
        self._deadline = float("inf")
        self._seen: set[str] = set()

    @property
    def is_running_seen(self) -> bool:
        """Whether the command was seen running."""
        return Phase.RUNNING in self._seen

    def is_overdue(self, now: float) -> bool:
        """Look once, and wake the supervisor if it was halted; answer whether its time is long over.

        Args:
            now: of a clock that is never set.
        """
        self._wake()
        patience = self._patience
        self._limit("started", now + patience.prepare_seconds + patience.run_seconds)
        if self._folder.read_progress().phase is Phase.RUNNING:
            self._limit(Phase.RUNNING, now + patience.run_seconds)
        if self._folder.is_stop_requested():
            self._limit("stop", now + patience.stop_seconds)
        return now > self._deadline

    def note_child(self, pid: int) -> None:
        """Remember a supervisor that this process started."""
        self._known = processes.read_process(pid)

    def supervisor(self) -> Process | None:
        """The supervisor, if it lives."""
        if self._known is None or not processes.is_alive(self._known):
            # Not our child: what the folder says has to do.
            self._known = self._folder.supervisor()
        return processes.read_process(self._known.pid) if self._known and _is_other(self._known) else None

    def _limit(self, event: str, deadline: float) -> None:
        if event not in self._seen:
            self._seen.add(event)
            self._deadline = min(self._deadline, deadline)

    def _wake(self) -> None:
        supervisor = self.supervisor()
        self._halted_looks = self._halted_looks + 1 if supervisor is not None and supervisor.is_halted else 0
        if supervisor is not None and self._halted_looks >= _HALTED_LOOKS:
            processes.send([supervisor], signal.SIGCONT)
            self._halted_looks = 0


def _is_other(process: Process) -> bool:
    """Whether a process lives and is neither this one nor above it; a folder may hold a lie."""
    return processes.is_alive(process) and os.getpid() not in {
        process.pid,
        *(child.pid for child in processes.descendants(process.pid)),
    }
