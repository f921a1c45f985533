"""Which lines of a log a report shows, and how paths in them read: as in the repository."""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEADER = "Traceback (most recent call last):"
_MAX_TRACEBACK_LINES = 40


def shorten_paths(lines: Sequence[str], source_roots: Sequence[str]) -> tuple[str, ...]:
    """The lines with paths relative to the repository instead of to the machine that the job ran on."""
    folders = sorted({root.rstrip("/") for root in source_roots} - {""}, key=len, reverse=True)
    if not folders:
        return tuple(lines)
    # Not in the middle of a longer path: `/backup/opt/ml/code/x` is another file than `/opt/ml/code/x`.
    root = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, folders))})/")
    return tuple(root.sub("", line) for line in lines)


def lines_to_show(log_tail: Sequence[str], least: int) -> int:
    """How many of the newest lines show the last traceback whole; ``least`` if it is short, too long or absent."""
    for behind, line in enumerate(reversed(log_tail[-_MAX_TRACEBACK_LINES:]), start=1):
        if _HEADER in line:
            return max(least, behind)
    return least
