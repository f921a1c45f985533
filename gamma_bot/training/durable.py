"""Writing small files so that a reader, or a machine that lost power, sees the old content or the new, never half."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

_MOST_BYTES = 64 << 20
# What a job can put in the place of a file: nothing, a link, a socket, something that may not be read.
_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES})


def write_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace a file in one step.

    Args:
        durable: wait until the disk has it; not needed for what only informs, such as a progress note.

    Raises:
        OSError: the file can't be written, and the old one is untouched.
    """
    # A name that nobody can have taken before, with a link or a pipe for example.
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def create_once(path: Path, data: bytes) -> bool:
    """Create a file durably; answer whether it was this call that did it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Make a rename or a new name in this folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; ``None`` if there is no such file or it holds something else."""
    text = read_file(path)
    try:
        value = json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_file(path: Path) -> bytes | None:
    """What a plain file holds; ``None`` if there is none, or a monstrous one. Waits for no pipe and follows no link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(_MOST_BYTES)
    finally:
        os.close(descriptor)


def take_lock(path: Path, *, shared: bool = False, wait_seconds: float = 0.0) -> int | None:
    """Lock a file until the returned descriptor is closed or this process dies, however it dies.

    Returns:
        The descriptor, or ``None`` if another process kept the lock for all of ``wait_seconds``.
    """
    # Python opens descriptors close-on-exec, so a started program never keeps the lock of its dead parent.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, operation)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
        time.sleep(0.02)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock; also if that can't be told."""
    try:
        lock = take_lock(path)
    except OSError:
        return True
    if lock is None:
        return True
    os.close(lock)
    return False
