"""Reads the log that GitHub keeps of a job: what the command printed, its exit status, and where the code was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

LARGEST_LOG_BYTES = 4 << 20
"""Of a longer log only the end is read."""

_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ?")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
# What the starter's workflow prints around the command, and the runner at the end of a failed step.
_CODE = re.compile(r"gamma: the code is in (\S.*)")
_END = re.compile(r"gamma: the command ended with status (\d+)")
_FAILED = re.compile(r"##\[error\]Process completed with exit code (\d+)\.")


@dataclass(frozen=True)
class JobLog:
    """What is known from a log.

    Attributes:
        lines: what the command printed; everything in a workflow that does not say where it begins.
        exit_status: of the command; ``None`` if the log does not tell.
        source_root: the folder of the checkout; empty if the log does not tell.
    """

    lines: Sequence[str] = ()
    exit_status: int | None = None
    source_root: str = ""


def read_log(content: bytes) -> JobLog:
    """Read a log as GitHub gives it out: with a time before each line, colours, and groups of the runner's own."""
    text = content.decode(errors="replace").removeprefix("\ufeff")
    lines = [_plain(line) for line in text.splitlines()]
    begin = next((number for number, line in enumerate(lines) if _CODE.fullmatch(line)), None)
    end = next((number for number in range(len(lines) - 1, -1, -1) if _END.fullmatch(lines[number])), None)
    failed = [found for line in lines if (found := _FAILED.fullmatch(line))]
    status = _END.fullmatch(lines[end]) if end is not None else (failed[-1] if failed else None)
    root = _CODE.fullmatch(lines[begin]) if begin is not None else None
    if begin is not None:
        # Without its last word the command was cut short; what follows is of the runner and the steps after it.
        after = next((number for number in range(begin, len(lines)) if lines[number].startswith("##[")), len(lines))
        lines = lines[begin + 1 : end if end is not None and end > begin else after]
    return JobLog(lines, int(status[1]) if status else None, root[1] if root else "")


def _plain(line: str) -> str:
    return _UNPRINTABLE.sub("", _COLOUR.sub("", _TIME.sub("", line)))
