"""The lines of a log that tell most: its errors and warnings, each once, and its end."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gamma_bot.agent.accounting import tokens_of

_LAST_LINES = 80
_TELLING = re.compile(
    r"\b(?:error|exception|warning|warn|fatal|critical|traceback|failed|killed|out of memory|oom|nan|inf|diverged"
    r"|early stop\w*|deprecat\w*|cuda|assert\w*)\b",
    re.IGNORECASE,
)
_VARYING = re.compile(r"[0-9a-f]{8,}|\d+(?:\.\d+)?")


def extract(lines: Sequence[str], tokens: int) -> dict[str, list[str]]:
    """Telling lines before the end of the log, and its end; the newest win where there is not room for all."""
    end = _newest([line[:500] for line in lines[-_LAST_LINES:] if line.strip()], tokens * 2 // 3)
    left = tokens - sum(tokens_of(line) + 1 for line in end)
    seen: set[str] = set()
    telling: list[str] = []
    for line in lines[:-_LAST_LINES]:
        if _TELLING.search(line):
            kind = _VARYING.sub("0", line)
            if kind not in seen:
                seen.add(kind)
                telling.append(line[:500])
    found = {"telling_lines": _newest(telling, left), "end": end}
    return {name: value for name, value in found.items() if value}


def _newest(lines: Sequence[str], tokens: int) -> list[str]:
    kept: list[str] = []
    for line in reversed(lines):
        tokens -= tokens_of(line) + 1
        if tokens < 0:
            break
        kept.append(line)
    return kept[::-1]
