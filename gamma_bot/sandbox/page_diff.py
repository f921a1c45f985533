"""A file's patch as hunks of numbered lines, so that a page can put annotations below the line they mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from gamma_bot.sandbox.git import FileChange

LARGEST_PATCH = 300_000  # characters; GitHub hides large ones too


@dataclass(frozen=True)
class Line:
    """A line of a hunk; a number is None on the side where the line does not exist."""

    kind: Literal["context", "added", "removed"]
    old_number: int | None
    new_number: int | None
    text: str


@dataclass
class Hunk:
    heading: str
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True)
class FileDiff:
    """One changed file as a page shows it."""

    change: FileChange
    hunks: list[Hunk]

    @property
    def too_large(self) -> bool:
        return len(self.change.patch or "") > LARGEST_PATCH

    @property
    def path(self) -> str:
        return self.change.path

    @property
    def new_numbers(self) -> set[int]:
        """The numbers of the lines of the new file that the diff shows."""
        return {line.new_number for hunk in self.hunks for line in hunk.lines if line.new_number is not None}


_HUNK = re.compile(r"@@ -(?P<old>\d+)(?:,(?P<old_count>\d+))? \+(?P<new>\d+)(?:,(?P<new_count>\d+))? @@.*")


def file_diff(change: FileChange) -> FileDiff:
    """Read the change's patch, which starts at its first ``@@``."""
    if len(change.patch or "") > LARGEST_PATCH:
        return FileDiff(change, [])
    lines = iter((change.patch or "").split("\n"))
    return FileDiff(change, [_hunk(match, lines) for line in lines if (match := _HUNK.fullmatch(line))])


def _hunk(match: re.Match[str], lines: Iterator[str]) -> Hunk:
    """Take exactly as many lines as the heading says: a removed line may itself look like a heading."""
    hunk = Hunk(match[0])
    old, new = int(match["old"]), int(match["new"])
    old_end = old + int(match["old_count"] or 1)
    new_end = new + int(match["new_count"] or 1)
    while old < old_end or new < new_end:
        line = next(lines, None)
        if line is None:
            break
        sign, text = line[:1], line[1:]
        match sign:
            case "\\":  # "\ No newline at end of file"
                continue
            case "+":
                hunk.lines.append(Line("added", None, new, text))
                new += 1
            case "-":
                hunk.lines.append(Line("removed", old, None, text))
                old += 1
            case _:
                hunk.lines.append(Line("context", old, new, text))
                old, new = old + 1, new + 1
    return hunk
