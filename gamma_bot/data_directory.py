"""Who works on a data directory: one process on SQLite; on Postgres the replicas of one machine may share it.

Locks of files say who is alive in it, exactly and at once: the kernel lets go of them however a process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import uuid
from pathlib import Path
from typing import IO

from gamma_bot.settings import WrongSettings

_REPLICAS = "replicas"


class DataDirectory:
    """Held from ``hold`` to ``release``.

    Args:
        replica: the id of this process among the replicas that share the directory; ``None`` for the only one.
    """

    def __init__(self, path: Path, replica: str | None) -> None:
        self._path = path
        self._replica = replica
        self._held: list[IO[bytes]] = []

    def hold(self) -> None:
        """Take the directory, and make it if there is none.

        Raises:
            WrongSettings: somebody works on it who does not share.
            OSError
        """
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        # On SQLite two processes would both work through the same inbox.
        if not self._lock(self._path / "gamma.lock", fcntl.LOCK_EX if self._replica is None else fcntl.LOCK_SH):
            raise WrongSettings(
                f"another gamma works on the data directory {self._path}; stop it, or set GAMMA_DATA_DIR"
            )
        if self._replica is not None:
            (self._path / _REPLICAS).mkdir(exist_ok=True, mode=0o700)
            self._lock(self._of(self._replica), fcntl.LOCK_EX)

    def release(self) -> None:
        """Let others have it."""
        if self._replica is not None and self._held:
            self._of(self._replica).unlink(missing_ok=True)
        for file in self._held:
            file.close()
        self._held.clear()

    def has_died(self, replica: str) -> bool:
        """Whether a process that shares this directory is certainly gone."""
        path = self._of(replica)
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
        except FileNotFoundError:
            return True  # one that lives has it
        except OSError:
            return False
        return True

    def place(self) -> str:
        """The same for two processes if they share this directory and see each other's processes.

        A name and a path don't say that: every container may have its own ``/data``, and one host's name.
        """
        own_id = self._path / "directory.id"
        if not own_id.exists():
            fresh = own_id.with_suffix(f".{uuid.uuid4().hex}")
            fresh.write_text(uuid.uuid4().hex)
            with contextlib.suppress(FileExistsError):
                os.link(fresh, own_id)  # of several that start at once, one gives the name
            fresh.unlink()
        boot = Path("/proc/sys/kernel/random/boot_id")
        processes = Path("/proc/self/ns/pid")
        seen = f"{own_id.stat().st_ino} {own_id.stat().st_mtime_ns}"
        if boot.exists() and processes.exists():
            seen += f" {boot.read_text()} {processes.readlink()}"
        return hashlib.sha256(f"{own_id.read_text()} {seen}".encode()).hexdigest()[:32]

    def _of(self, replica: str) -> Path:
        return self._path / _REPLICAS / f"{replica}.lock"

    def _lock(self, path: Path, how: int) -> bool:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb")
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._held.append(file)
        return True
