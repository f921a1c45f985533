"""An attempt whose supervisor is gone without a word: nothing of it may live on, and its end is said honestly."""

from __future__ import annotations

import os
import time

from gamma_bot.training import processes
from gamma_bot.training.attempt_folder import AttemptFolder, StoredSpec, remove_tree
from gamma_bot.training.durable import take_lock
from gamma_bot.training.job_environment import scratch_folder
from gamma_bot.training.processes import Process
from gamma_bot.training.trainer import Ending, Outcome

_SECONDS = 2.0


def settle(folder: AttemptFolder, reason: str) -> Outcome | None:
    """End what is left of an attempt that nobody looks after, and write its outcome.

    Args:
        reason: a sentence about what happened, for the outcome.

    Returns:
        The outcome; ``None`` if somebody does look after the attempt, or if something of it can't be ended yet.
    """
    lock = take_lock(folder.lock)
    if lock is None:
        return None
    try:
        if outcome := folder.read_outcome():
            return outcome
        stored = folder.read_spec()
        if stored is None or not processes.end_all(
            lambda: _leftovers(folder, stored), seconds=_SECONDS, collect=lambda: None
        ):
            return None
        outcome = _outcome(folder, reason)
        folder.write_outcome(outcome)
        remove_tree(scratch_folder(folder, stored))
        return outcome
    finally:
        os.close(lock)


def _leftovers(folder: AttemptFolder, stored: StoredSpec) -> list[Process]:
    noted = [process for process in folder.read_processes() if processes.is_alive(process)]
    roots = {*noted, *processes.carriers(stored.marker)}
    return [*roots, *(child for root in roots for child in processes.descendants(root.pid))]


def _outcome(folder: AttemptFolder, reason: str) -> Outcome:
    started_at = folder.read_progress().started_at
    if not folder.is_stop_requested():
        return Outcome(Ending.LOST, reason, started_at=started_at, ended_at=time.time())
    if started_at is None:
        message = "Stopped before the command was started."
    else:
        message = f"Stopped because somebody asked for it. {reason}"
    return Outcome(Ending.STOPPED, message, started_at=started_at, ended_at=time.time())
