"""Finds text in lines, in time that grows with their length only: no regular expression is made of foreign text."""

from __future__ import annotations

_LONGEST_LINE = 4_000


class Wildcards:
    """A text to look for, in capitals or not; ``*`` stands for anything. An empty one is in every line."""

    def __init__(self, pattern: str) -> None:
        self._parts = [part for part in pattern.casefold().split("*") if part]

    def match(self, line: str) -> bool:
        """Whether the line contains it; of an over-long line only the beginning is looked at."""
        folded, place = line[:_LONGEST_LINE].casefold(), 0
        for part in self._parts:
            # The first place of each part is as good as any later one, so that nothing is ever tried twice.
            place = folded.find(part, place)
            if place < 0:
                return False
            place += len(part)
        return True
