"""Values out of files that a job can write to: each is what it should be, or absent."""

from __future__ import annotations

import math
import time

from gamma_bot.training.joblog import clean_line

_MOST_CHARACTERS = 500
_DAY_SECONDS = 86_400.0


def text(value: object) -> str | None:
    """A harmless line of at most 500 characters."""
    if not isinstance(value, str):
        return None
    line = clean_line(value.encode("utf-8", "replace")).strip()
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 1] + "…"


def moment(value: object) -> float | None:
    """A Unix time that is not far in the future."""
    found = positive(value)
    return found if found is not None and found <= time.time() + _DAY_SECONDS else None


def positive(value: object) -> float | None:
    """A finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and found > 0 else None


def whole(value: object, *, most: int) -> int | None:
    """A whole number from 0 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        return None
    return value
