"""Runs attempts on this machine: a folder and a detached supervisor process for each.

The bot may die at any moment. All that counts is in the folders (``attempt_folder.py``), so the next bot over the
same root finds every attempt again. A job runs as the bot's own user: this is no wall against one that means harm.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import structlog

from gamma_bot.config.errors import Problem
from gamma_bot.training.artifacts import list_artifacts, open_artifact
from gamma_bot.training.attempt_folder import AttemptFolder, remove_tree
from gamma_bot.training.endings import why_overdue
from gamma_bot.training.job_environment import scratch_folder
from gamma_bot.training.joblog import dropped_bytes, read_tail
from gamma_bot.training.launch import LaunchSettings, start_supervisor
from gamma_bot.training.open_attempt import OpenAttempt, in_order
from gamma_bot.training.processes import send
from gamma_bot.training.recovery import end_leftovers, settle, settle_by_force
from gamma_bot.training.submission import remove_abandoned, write_down
from gamma_bot.training.supervisor_watch import SupervisorWatch, patience_with
from gamma_bot.training.trainer import Artifact, Attempt, Ending, Observation, Outcome, Phase, TrainingSpec

log = structlog.get_logger()

_REMEMBERED_OUTCOMES = 1_024
_START_TRIES = 3
_SUPERVISOR_DIED = (
    "The process that looked after the job died without a word (a restart of the machine, or somebody killed it, "
    "which the job itself can do); what was left of the job has been ended."
)
_NEVER_STARTED = "The process that looked after the job hung before the command was seen running; it has been ended."
_REAP_SECONDS = 2.0


class LocalTrainer:
    """Runs jobs as processes of this machine.

    Args:
        root: the folder of all attempts; nothing else may be in it.
        slots: how many attempts run at once; the others wait, oldest first.
        grace_seconds: what a job has between SIGTERM and SIGKILL.
        python: runs the supervisors, and the jobs that bring no requirements of their own.
        process_limit: how many processes a job may have at once.
        install_seconds: how long installing requirements may take.
        source_files: how many files a tree may have.
        source_bytes: how large an unpacked tree may be.
        overdue_seconds: how long after its limits a supervisor that has not ended its job is ended with it.
        term: the number of this process's term of office, where several work on one root: only one of them starts
            jobs, counts slots and ends what is left over. 0 is for the others, which only write down what is asked.
    """

    name = "local"
    look_seconds = 0.5
    tells_cheaply = True

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
        overdue_seconds: float = 60.0,
        term: Callable[[], int] = lambda: 1,
    ) -> None:
        self._root, self._slots, self._overdue_seconds = root.absolute(), slots, overdue_seconds
        self._term, self._known_term = term, 0
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
        self._open: dict[str, OpenAttempt] | None = None
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()

    async def preflight(self, spec: TrainingSpec) -> Sequence[Problem]:
        """Nothing: what can't run here is seen when it is run, which costs nothing."""
        return ()

    async def conditions(self, spec: TrainingSpec) -> Mapping[str, str] | None:
        """The Python that runs it; requirements are part of the tree."""
        return {"python": sys.version}

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
            if not folder.exists():
                self._root.mkdir(parents=True, exist_ok=True)
                write_down(self._root, folder, spec)
            if self._term():
                open_attempts = self._load()
                self._adopt(folder, open_attempts)
                self._advance(open_attempts)

    def _observe(self, attempts: Sequence[Attempt]) -> list[Observation]:
        with self._turn:
            if not self._term():
                return []  # voted out while this call was on its way
            open_attempts = self._load()
            for attempt in attempts:
                with self._alone(attempt.key):
                    self._adopt(self._folder(attempt), open_attempts)
            self._advance(open_attempts)
            waiting = [entry.key for entry in in_order(open_attempts.values()) if not entry.is_active()]
            found = []
            for attempt in attempts:
                entry = open_attempts.get(attempt.key)
                observation = entry.unreadable(attempt) if entry else None
                with self._alone(attempt.key):
                    observation = self._look(attempt, open_attempts, waiting)
                if observation is not None:
                    found.append(observation)
            return found

    @contextlib.contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Whatever is wrong with one attempt, the others are looked at all the same."""
        try:
            yield
        except Exception:
            entry = (self._open or {}).get(key)
            if entry is None or not entry.is_trouble_told:
                log.exception("training.attempt_in_trouble", attempt=key)
            if entry is not None:
                entry.is_trouble_told = True

    def _look(self, attempt: Attempt, open_attempts: dict[str, OpenAttempt], waiting: list[str]) -> Observation | None:
        entry = open_attempts.get(attempt.key)
        if entry is None:
            outcome = self._outcome(self._folder(attempt))
            return Observation(attempt, Phase.ENDED, outcome.message, outcome) if outcome else None
        if entry.is_started():
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
            if not self._term():
                if folder.exists() and self._outcome(folder) is None:
                    folder.request_stop()
                return
            self._adopt(folder, self._load())
            entry = self._load().get(attempt.key)
            if entry is None or self._outcome(folder) is not None:
                return
            folder.request_stop()
            # With nobody there to stop it, it ends here and now; a queued one never starts.
            if settle(folder, entry.stored, _SUPERVISOR_DIED) is None and (supervisor := entry.watch.supervisor()):
                send([supervisor], signal.SIGTERM)

    def _forget(self, attempt: Attempt) -> None:
        folder = self._folder(attempt)
        stored = folder.read_spec()
        with self._turn:
            if stored is None or self._outcome(folder) is None:
                return
        inner = (folder.ml / "input", folder.ml / "checkpoints")
        for path in (folder.code, *inner, folder.home, folder.virtual_environment):
            remove_tree(path)
        remove_tree(scratch_folder(folder, stored))
        folder.source.unlink(missing_ok=True)

    def _load(self) -> dict[str, OpenAttempt]:
        """The attempts that have not ended; at the first call of a term, those that an earlier bot left."""
        term = self._term()
        if self._open is None or term != self._known_term:
            self._known_term = term
            self._root.mkdir(parents=True, exist_ok=True)
            self._open = {}
            remove_abandoned(self._root)
            for path in self._root.iterdir():
                with self._alone(path.name):
                    self._adopt(AttemptFolder(path), self._open)
        return self._open

    def _adopt(self, folder: AttemptFolder, open_attempts: dict[str, OpenAttempt]) -> None:
        key = folder.path.name
        if key in open_attempts or self._outcome(folder) is not None:
            return
        stored = folder.read_spec()
        if stored is not None:
            patience = patience_with(stored.spec, self._settings, self._slots, self._overdue_seconds)
            open_attempts[key] = OpenAttempt(folder, stored, SupervisorWatch(folder, patience))

    def _advance(self, open_attempts: dict[str, OpenAttempt]) -> None:
        """Take notice of what ended, and start what may start."""
        for key, entry in list(open_attempts.items()):
            # What the disk refuses for one attempt is tried again at the next look.
            with self._alone(key):
                if self._has_ended(entry):
                    del open_attempts[key]
        free = self._slots - sum(entry.is_active() for entry in open_attempts.values())
        if free <= 0:
            return
        for entry in in_order(open_attempts.values()):
            if free > 0 and entry.may_start():
                self._start(entry)
                free -= 1

    def _has_ended(self, entry: OpenAttempt) -> bool:
        folder = entry.folder
        if entry.supervisor is not None:
            if entry.supervisor.poll() is None:
                return self._end_if_overdue(entry)
            entry.supervisor = None
            if not entry.is_started():
                entry.note_failed_start()
        if not folder.path.exists():
            return end_leftovers(folder, entry.stored)  # somebody deleted it
        if entry.is_started() or folder.has_outcome() or folder.is_stop_requested():
            return self._has_settled(entry, _SUPERVISOR_DIED) or self._end_if_overdue(entry)
        if entry.failed_starts >= _START_TRIES:
            return self._has_settled(entry, f"The job's supervisor could not be started; see {folder.supervisor_log}.")
        return False

    def _has_settled(self, entry: OpenAttempt, reason: str) -> bool:
        # Remembered here: read again, it would not count while another process holds the lock to settle it too.
        outcome = settle(entry.folder, entry.stored, reason)
        if outcome is not None:
            self._remember(entry.key, outcome)
        return outcome is not None

    def _end_if_overdue(self, entry: OpenAttempt) -> bool:
        if not entry.watch.is_overdue(time.monotonic()):
            return False
        ending, reason = Ending.LOST, _NEVER_STARTED
        if entry.watch.is_running_seen:
            ending, reason = Ending.TIME_LIMIT, why_overdue(entry.stored.spec.timeout_seconds)
        outcome = settle_by_force(entry.folder, entry.stored, entry.watch.supervisor(), ending, reason)
        self._remember(entry.key, outcome)
        if entry.supervisor is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                entry.supervisor.wait(_REAP_SECONDS)
        return True

    def _start(self, entry: OpenAttempt) -> None:
        try:
            entry.supervisor = start_supervisor(entry.folder, self._settings, os.environ)
            entry.watch.note_child(entry.supervisor.pid)
        except OSError as error:
            entry.note_failed_start()
            with contextlib.suppress(OSError):
                entry.folder.supervisor_log.write_text(f"{error}\n", encoding="utf-8")

    def _outcome(self, folder: AttemptFolder) -> Outcome | None:
        key = folder.path.name
        outcome = self._outcomes.get(key) or folder.final_outcome()
        if outcome is not None:
            self._remember(key, outcome)
        return outcome

    def _remember(self, key: str, outcome: Outcome) -> None:
        self._outcomes[key] = outcome
        self._outcomes.move_to_end(key)
        if len(self._outcomes) > _REMEMBERED_OUTCOMES:
            self._outcomes.popitem(last=False)
