"""An attempt whose supervisor is gone, or must go: nothing of it may live on, and its end is said honestly."""

from __future__ import annotations

import os
import signal
import time

from gamma_bot.training import processes
from gamma_bot.training.attempt_folder import AttemptFolder, StoredSpec, remove_tree
from gamma_bot.training.durable import take_lock
from gamma_bot.training.job_environment import scratch_folder
from gamma_bot.training.processes import Process
from gamma_bot.training.trainer import Ending, Outcome

_SECONDS = 2.0


def settle(folder: AttemptFolder, stored: StoredSpec, reason: str) -> Outcome | None:
    """End what is left of an attempt that nobody looks after, and write its outcome if there is none.

    Args:
        reason: a sentence about what happened, for the outcome.

    Returns:
        The outcome; ``None`` if somebody does look after the attempt, or if something of it can't be ended yet.
    """
    try:
        lock = take_lock(folder.lock)
    except OSError:  # the job has its hands on it; the time limit ends it in any case
        return None
    if lock is None:
        return None
    try:
        all_ended = end_leftovers(folder, stored)
        if outcome := folder.read_outcome():
            return outcome
        return _write(folder, stored, Ending.LOST, reason) if all_ended else None
    finally:
        os.close(lock)


def settle_by_force(
    folder: AttemptFolder, stored: StoredSpec, supervisor: Process | None, ending: Ending, reason: str
) -> Outcome:
    """End an attempt together with its supervisor, whoever holds the lock and whatever is written about its end.

    Raises:
        OSError: the disk refused the outcome.
    """
    if supervisor is not None:
        # Halted it can neither start anything nor write an outcome, and it is still the parent of all it adopted.
        processes.send([supervisor], signal.SIGSTOP)
        processes.end_all(lambda: _family(supervisor), seconds=_SECONDS, collect=lambda: None)
        processes.send([supervisor], signal.SIGKILL)
    if not end_leftovers(folder, stored):
        reason += " Some of its processes could not be ended; the machine needs a look."
    return _write(folder, stored, ending, reason)


def end_leftovers(folder: AttemptFolder, stored: StoredSpec) -> bool:
    """End the processes of an attempt that has no supervisor; answer whether none is left."""
    return processes.end_all(lambda: _leftovers(folder, stored), seconds=_SECONDS, collect=lambda: None)


def _family(supervisor: Process) -> list[Process]:
    return processes.descendants(supervisor.pid) if processes.is_alive(supervisor) else []


def _leftovers(folder: AttemptFolder, stored: StoredSpec) -> list[Process]:
    noted = [process for process in folder.read_processes() if processes.is_alive(process)]
    roots = {*noted, *processes.carriers(stored.marker)}
    found = {*roots, *(child for root in roots for child in processes.descendants(root.pid))}
    return [process for process in found if process.pid != os.getpid()]


def _write(folder: AttemptFolder, stored: StoredSpec, ending: Ending, reason: str) -> Outcome:
    started_at = folder.read_progress().started_at
    outcome = Outcome(ending, reason, started_at=started_at, ended_at=time.time())
    if folder.is_stop_requested():
        message = "Stopped before the command was started."
        if started_at is not None:
            message = f"Stopped because somebody asked for it. {reason}"
        outcome = Outcome(Ending.STOPPED, message, started_at=started_at, ended_at=outcome.ended_at)
    folder.write_outcome(outcome)
    remove_tree(scratch_folder(folder, stored))
    return outcome
