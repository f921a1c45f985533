"""What a bot knows of an attempt that has not ended: its folder, its place in the queue, who looks after it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass

from gamma_bot.training.attempt_folder import AttemptFolder, StoredSpec
from gamma_bot.training.supervisor_watch import SupervisorWatch
from gamma_bot.training.trainer import Attempt, Observation, Phase


@dataclass
class OpenAttempt:
    """An attempt that has not ended, as far as is known here."""

    folder: AttemptFolder
    stored: StoredSpec  # as it was when the job had not run yet, or at this bot's start
    watch: SupervisorWatch
    supervisor: subprocess.Popen[bytes] | None = None
    failed_starts: int = 0
    start_again_at: float = 0.0
    was_started: bool = False
    is_trouble_told: bool = False

    @property
    def key(self) -> str:
        """Its attempt's key."""
        return self.folder.path.name

    def is_started(self) -> bool:
        """Whether somebody claimed the attempt; once seen it stays so, though the job may delete the file."""
        self.was_started = self.was_started or self.folder.is_started()
        return self.was_started

    def is_active(self) -> bool:
        """Whether it takes a slot."""
        try:
            return self.supervisor is not None or self.is_started()
        except OSError:
            return True  # only a job that ran can have made its folder unreadable

    def note_failed_start(self) -> None:
        """Wait before the next try."""
        self.failed_starts += 1
        self.start_again_at = time.monotonic() + 2.0**self.failed_starts / 4

    def may_start(self) -> bool:
        """Whether its turn can come now."""
        return not self.is_active() and self.start_again_at <= time.monotonic()

    def unreadable(self, attempt: Attempt) -> Observation:
        """What there is to say when it can't be looked at."""
        phase = Phase.RUNNING if self.watch.is_running_seen else Phase.PREPARING
        return Observation(attempt, phase, "its folder can't be read at the moment; the bot's log says why")


def in_order(attempts: Iterable[OpenAttempt]) -> list[OpenAttempt]:
    """Oldest first."""
    return sorted(attempts, key=lambda entry: (entry.stored.submitted_at, entry.key))
