"""The files that a job left, listed and opened without ever following a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gamma_bot.training.trainer import Artifact

_ROOTS = ("model", "output/data")
_MOST_FILES = 1_000
_MOST_ENTRIES = 100_000


def list_artifacts(ml: Path) -> list[Artifact]:
    """Files in the model and output folders, at most a thousand, by path below the job's ``ml`` folder."""
    found: list[Artifact] = []
    entries = 0
    for root in _ROOTS:
        for path, status in _files(ml / root):
            entries += 1
            if len(found) == _MOST_FILES or entries > _MOST_ENTRIES:
                return found
            name = path.relative_to(ml).as_posix()
            # A name that is no text can't stand in a page or a table.
            if status is not None and name.isprintable():
                found.append(Artifact(name, status.st_size))
    return found


def open_artifact(ml: Path, path: str) -> BinaryIO:
    """Open a file that ``list_artifacts`` named.

    Raises:
        OSError: there is no such file; also for a path that leads elsewhere.
    """
    parts = PurePosixPath(path).parts
    inside = any(parts[: len(root)] == root for root in (PurePosixPath(name).parts for name in _ROOTS))
    if not inside or ".." in parts:
        raise FileNotFoundError(path)
    folder = os.open(ml, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        # Not blocking, or a pipe with this name would hold us up for ever.
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileNotFoundError(path)
    return os.fdopen(file, "rb")


def _files(root: Path) -> Iterator[tuple[Path, os.stat_result | None]]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            try:
                status = path.lstat()
            except OSError:
                continue
            yield path, status if stat.S_ISREG(status.st_mode) else None
