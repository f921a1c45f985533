"""Processes of the machine: which belong to a job, what memory they hold, and how to end every one of them.

Linux tells through ``/proc``; elsewhere ``ps`` is asked, which knows less: a job's process that left its family
is not found there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_PS_SECONDS = 5.0
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36


@dataclass(frozen=True, slots=True)
class Process:
    """A living process. The start tells it from a later process with the same number."""

    pid: int
    start: str
    parent: int = field(default=0, compare=False)
    resident_bytes: int = field(default=0, compare=False)
    is_halted: bool = field(default=False, compare=False)  # by SIGSTOP


def read_process(pid: int) -> Process | None:
    """The process with this number; ``None`` if there is none, or only a dead one that nobody has collected."""
    if not _has_proc():
        return _ask_ps().get(pid)
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The program's name stands in brackets and may hold brackets and spaces itself.
    fields = stat[stat.rfind(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    start = f"{_boot()}/{fields[19].decode()}"
    resident_bytes = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return Process(pid, start, int(fields[1]), resident_bytes, fields[0] == b"T")


def is_alive(process: Process) -> bool:
    """Whether this very process still lives."""
    return read_process(process.pid) == process


def descendants(ancestor: int) -> list[Process]:
    """The living children of a process, their children, and so on."""
    if _lists_children(ancestor):
        return list(_walk_children(ancestor))
    family: dict[int, list[Process]] = {}
    for process in _all_processes():
        family.setdefault(process.parent, []).append(process)
    found, parents = [], [ancestor]
    while parents:
        children = family.pop(parents.pop(), [])
        found += children
        parents += [child.pid for child in children]
    return found


def carriers(marker: str) -> list[Process]:
    """The processes with this word in the environment they were started with."""
    word, found = marker.encode(), []
    for pid in _numbers():
        try:
            environment = (_PROC / str(pid) / "environ").read_bytes()
        except OSError:
            continue
        if word in environment and pid != os.getpid() and (process := read_process(pid)):
            found.append(process)
    return found


def memory_bytes(processes: Iterable[Process]) -> int:
    """Memory that these processes hold together, with what they share counted once where the kernel tells."""
    return sum(_proportional_bytes(process) for process in processes)


def end_all(find: Callable[[], Sequence[Process]], *, seconds: float, collect: Callable[[], None]) -> bool:
    """Kill whatever ``find`` finds, until it finds nothing.

    All are stopped before the first is killed, because a program that starts others faster than they are killed
    would go on for ever.

    Args:
        collect: takes notice of dead children.

    Returns:
        Whether nothing is left; ``False`` if ``seconds`` were not enough.
    """
    deadline = time.monotonic() + seconds
    while True:
        doomed: set[Process] = set()
        while (fresh := set(find()) - doomed) and time.monotonic() < deadline:
            send(fresh, signal.SIGSTOP)
            doomed |= fresh
        send(doomed | fresh, signal.SIGKILL)
        collect()
        if not find():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)


def send(processes: Iterable[Process], number: signal.Signals) -> None:
    """Signal each of these processes that still lives."""
    for process in processes:
        if is_alive(process):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose parent dies, so that none can slip away (Linux only)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hide_memory() -> None:
    """Let no other process of the same user read this one's memory and environment (Linux only).

    A program that this process starts is an ordinary one again. Root can read all the same.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it dies (Linux only)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@cache
def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _prctl(option: int, value: int) -> None:
    library = _libc()
    if library is not None:
        library.prctl(option, value, 0, 0, 0)


@cache
def _has_proc() -> bool:
    return (_PROC / "self" / "stat").exists()


@cache
def _boot() -> str:
    # Start times count from the machine's start; after a restart the same number and time may be somebody else.
    with contextlib.suppress(OSError):
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return ""


def _numbers() -> list[int]:
    if not _has_proc():
        return []
    with os.scandir(_PROC) as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def _all_processes() -> Iterable[Process]:
    if not _has_proc():
        return _ask_ps().values()
    return [process for pid in _numbers() if (process := read_process(pid))]


def _lists_children(pid: int) -> bool:
    return (_PROC / str(pid) / "task" / str(pid) / "children").exists()


def _walk_children(ancestor: int) -> Iterator[Process]:
    parents, seen = [ancestor], {ancestor}
    while parents:
        parent = parents.pop()
        for child in _children(parent):
            if child in seen:
                continue
            seen.add(child)
            parents.append(child)
            if process := read_process(child):
                yield process


def _children(pid: int) -> list[int]:
    found: list[int] = []
    # Each thread has a list of its own.
    with contextlib.suppress(OSError), os.scandir(_PROC / str(pid) / "task") as threads:
        for thread in threads:
            found += map(int, Path(thread.path, "children").read_bytes().split())
    return found


def _proportional_bytes(process: Process) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in (_PROC / str(process.pid) / "smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return process.resident_bytes


def _ask_ps() -> dict[int, Process]:
    columns = [word for name in ("pid", "ppid", "rss", "state", "lstart") for word in ("-o", f"{name}=")]
    # The start is text in the language of whoever asks, and is compared with what another process was told.
    command = ["env", "LC_ALL=C", "TZ=UTC", "ps", "-A", *columns]
    try:
        asked = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    except OSError:
        return {}
    with asked:
        try:
            answer = asked.communicate(timeout=_PS_SECONDS)[0]
        except subprocess.TimeoutExpired:
            asked.kill()
            return {}
    found = {}
    for line in answer.splitlines():
        pid, parent, kibibytes, state, start = line.split(None, 4)
        if not state.startswith("Z") and int(pid) != asked.pid:
            found[int(pid)] = Process(int(pid), start, int(parent), int(kibibytes) * 1024, state.startswith("T"))
    return found
