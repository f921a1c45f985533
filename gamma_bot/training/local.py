"""Runs attempts on this machine: a folder and a detached supervisor process for each.

The bot may die at any moment. All that counts is in the folders (``attempt_folder.py``), so the next bot over the
same root finds every attempt again and goes on. A job runs as the bot's own user: this keeps the bot's variables
from it and ends it reliably, but it is no wall against a job that means harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gamma_bot.training.artifacts import list_artifacts, open_artifact
from gamma_bot.training.attempt_folder import AttemptFolder, remove_tree
from gamma_bot.training.job_environment import scratch_folder
from gamma_bot.training.joblog import dropped_bytes, read_tail
from gamma_bot.training.launch import LaunchSettings, start_supervisor
from gamma_bot.training.processes import is_alive
from gamma_bot.training.recovery import settle
from gamma_bot.training.submission import remove_abandoned, write_down
from gamma_bot.training.trainer import Artifact, Attempt, Observation, Outcome, Phase, TrainingSpec

_REMEMBERED_OUTCOMES = 1_024
_START_TRIES = 3
_SUPERVISOR_DIED = (
    "The process that looked after the job died without a word (a restart of the machine, or killed); "
    "what was left of the job has been ended."
)


@dataclass
class _Open:
    """An attempt that has not ended, as far as is known here."""

    folder: AttemptFolder
    submitted_at: float
    supervisor: subprocess.Popen[bytes] | None = None
    failed_starts: int = 0
    start_again_at: float = 0.0


class LocalTrainer:
    """The trainer that runs jobs as processes of this machine.

    Args:
        root: the folder of all attempts; nothing else may be in it.
        slots: how many attempts run at once; the others wait, oldest first.
        grace_seconds: what a job has between SIGTERM and SIGKILL.
        python: runs the supervisors, and the jobs that bring no requirements of their own.
        process_limit: how many processes a job may have at once.
        install_seconds: how long installing requirements may take.
        source_files: how many files a tree may have.
        source_bytes: how large an unpacked tree may be.
    """

    name = "local"

    def __init__(
        self,
        root: Path,
        *,
        slots: int,
        grace_seconds: float = 30.0,
        python: str = sys.executable,
        process_limit: int = 512,
        install_seconds: float = 1800.0,
        source_files: int = 200_000,
        source_bytes: int = 8 << 30,
    ) -> None:
        self._root, self._slots = root.absolute(), slots
        self._settings = LaunchSettings(
            python=python,
            environments=str(self._root / "venvs"),
            grace_seconds=grace_seconds,
            process_limit=process_limit,
            install_seconds=install_seconds,
            source_files=source_files,
            source_bytes=source_bytes,
        )
        # The calls work in threads, one at a time: they are short, and it makes them easy to reason about.
        self._turn = threading.Lock()
        self._open: dict[str, _Open] | None = None
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()
        # Supervisors that are about to exit; they would stay zombies if nobody took notice.
        self._leaving: list[subprocess.Popen[bytes]] = []

    async def submit(self, spec: TrainingSpec) -> None:
        """Accept an attempt; it starts at once if a slot is free.

        Raises:
            OSError: the tarball can't be read, or the disk refused; nothing was accepted.
            ValueError: the attempt's key can't be a folder's name.
        """
        await asyncio.to_thread(self._submit, spec)

    async def observe(self, attempts: Sequence[Attempt]) -> Sequence[Observation]:
        """How these attempts are; starts those whose turn has come."""
        return await asyncio.to_thread(self._observe, attempts)

    async def stop(self, attempt: Attempt) -> None:
        """Ask an attempt to end. One that was never submitted here, or has ended, is left as it is."""
        await asyncio.to_thread(self._stop, attempt)

    async def log_tail(self, attempt: Attempt, lines: int) -> Sequence[str]:
        """The newest lines of the log, oldest first, as harmless text."""
        return await asyncio.to_thread(read_tail, self._folder(attempt).log, lines)

    async def log_dropped(self, attempt: Attempt) -> int:
        """How many bytes of the log were not kept."""
        return await asyncio.to_thread(dropped_bytes, self._folder(attempt).log)

    async def source_roots(self, attempt: Attempt) -> Sequence[str]:
        """The folder that holds the unpacked tree."""
        return (str(self._folder(attempt).code),)

    async def artifacts(self, attempt: Attempt) -> Sequence[Artifact]:
        """The files in the model and output folders, at most a thousand, without links."""
        return await asyncio.to_thread(list_artifacts, self._folder(attempt).ml)

    async def open_artifact(self, attempt: Attempt, path: str) -> BinaryIO:
        """Open one of them for reading.

        Raises:
            OSError: there is no such artifact.
        """
        return await asyncio.to_thread(open_artifact, self._folder(attempt).ml, path)

    async def forget(self, attempt: Attempt) -> None:
        """Delete an ended attempt's code, input, checkpoints and scratch; log and artifacts stay."""
        await asyncio.to_thread(self._forget, attempt)

    def _folder(self, attempt: Attempt) -> AttemptFolder:
        return AttemptFolder.below(self._root, attempt)

    def _submit(self, spec: TrainingSpec) -> None:
        folder = self._folder(spec.attempt)
        with self._turn:
            open_attempts = self._load()
            if not folder.exists():
                write_down(self._root, folder, spec)
            self._adopt(folder, open_attempts)
            self._advance(open_attempts)

    def _observe(self, attempts: Sequence[Attempt]) -> list[Observation]:
        with self._turn:
            open_attempts = self._load()
            for attempt in attempts:
                self._adopt(self._folder(attempt), open_attempts)
            self._advance(open_attempts)
            waiting = [entry.folder.path.name for entry in _in_order(open_attempts) if not _is_active(entry)]
            found = (self._look(attempt, open_attempts, waiting) for attempt in attempts)
            return [observation for observation in found if observation is not None]

    def _look(self, attempt: Attempt, open_attempts: dict[str, _Open], waiting: list[str]) -> Observation | None:
        entry = open_attempts.get(attempt.key)
        if entry is None:
            outcome = self._outcome(self._folder(attempt))
            return Observation(attempt, Phase.ENDED, outcome.message, outcome) if outcome else None
        if entry.folder.is_started():
            progress = entry.folder.read_progress()
            return Observation(attempt, progress.phase, progress.detail)
        if entry.supervisor is not None:
            return Observation(attempt, Phase.QUEUED, "starting")
        before = waiting.index(attempt.key)
        detail = f"waiting for a free slot; {before} before it" if before else "waiting for a free slot"
        return Observation(attempt, Phase.QUEUED, detail)

    def _stop(self, attempt: Attempt) -> None:
        folder = self._folder(attempt)
        with self._turn:
            if not folder.exists() or folder.has_outcome():
                return
            folder.request_stop()
            # With nobody there to stop it, it ends here and now; a queued one never starts.
            if settle(folder, _SUPERVISOR_DIED) is None:
                supervisor = folder.supervisor()
                if supervisor is not None and is_alive(supervisor):
                    os.kill(supervisor.pid, signal.SIGTERM)

    def _forget(self, attempt: Attempt) -> None:
        folder = self._folder(attempt)
        stored = folder.read_spec()
        if stored is None or not folder.has_outcome():
            return
        ml = folder.ml
        for path in (folder.code, ml / "input", ml / "checkpoints", folder.home, folder.virtual_environment):
            remove_tree(path)
        remove_tree(scratch_folder(folder, stored))
        folder.source.unlink(missing_ok=True)

    def _load(self) -> dict[str, _Open]:
        """The attempts that have not ended; at the first call, those that an earlier bot left."""
        if self._open is None:
            self._root.mkdir(parents=True, exist_ok=True)
            self._open = {}
            remove_abandoned(self._root)
            for path in self._root.iterdir():
                self._adopt(AttemptFolder(path), self._open)
        return self._open

    def _adopt(self, folder: AttemptFolder, open_attempts: dict[str, _Open]) -> None:
        key = folder.path.name
        if key in open_attempts or key in self._outcomes or folder.has_outcome():
            return
        stored = folder.read_spec()
        if stored is not None:
            open_attempts[key] = _Open(folder, stored.submitted_at)

    def _advance(self, open_attempts: dict[str, _Open]) -> None:
        """Take notice of what ended, and start what may start."""
        self._leaving = [supervisor for supervisor in self._leaving if supervisor.poll() is None]
        for key, entry in list(open_attempts.items()):
            # What the disk refuses for one attempt is tried again at the next look, and must not hold up the others.
            with contextlib.suppress(OSError):
                if self._has_ended(entry):
                    del open_attempts[key]
        free = self._slots - sum(map(_is_active, open_attempts.values()))
        if free <= 0:
            return
        for entry in _in_order(open_attempts):
            if free > 0 and not _is_active(entry) and entry.start_again_at <= time.monotonic():
                self._start(entry)
                free -= 1

    def _has_ended(self, entry: _Open) -> bool:
        if entry.supervisor is not None and entry.supervisor.poll() is not None:
            entry.supervisor = None
            if not entry.folder.is_started():
                _note_failed_start(entry)
        if entry.folder.has_outcome():
            if entry.supervisor is not None:
                self._leaving.append(entry.supervisor)
            return True
        if entry.supervisor is not None:
            return False
        if not entry.folder.exists():
            return True  # somebody deleted it
        if entry.folder.is_started() or entry.folder.is_stop_requested():
            return settle(entry.folder, _SUPERVISOR_DIED) is not None
        if entry.failed_starts >= _START_TRIES:
            reason = f"The job's supervisor could not be started; see {entry.folder.supervisor_log}."
            return settle(entry.folder, reason) is not None
        return False

    def _start(self, entry: _Open) -> None:
        try:
            entry.supervisor = start_supervisor(entry.folder, self._settings, os.environ)
        except OSError as error:
            _note_failed_start(entry)
            with contextlib.suppress(OSError):
                entry.folder.supervisor_log.write_text(f"{error}\n", encoding="utf-8")

    def _outcome(self, folder: AttemptFolder) -> Outcome | None:
        key = folder.path.name
        outcome = self._outcomes.get(key) or folder.read_outcome()
        if outcome is not None:
            self._outcomes[key] = outcome
            self._outcomes.move_to_end(key)
            if len(self._outcomes) > _REMEMBERED_OUTCOMES:
                self._outcomes.popitem(last=False)
        return outcome


def _is_active(entry: _Open) -> bool:
    return entry.supervisor is not None or entry.folder.is_started()


def _in_order(open_attempts: dict[str, _Open]) -> list[_Open]:
    """Oldest first."""
    return sorted(open_attempts.values(), key=lambda entry: (entry.submitted_at, entry.folder.path.name))


def _note_failed_start(entry: _Open) -> None:
    entry.failed_starts += 1
    entry.start_again_at = time.monotonic() + 2.0**entry.failed_starts / 4
