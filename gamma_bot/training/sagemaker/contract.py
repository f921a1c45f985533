"""A request against AWS's own description of it: every limit that it breaks, with the place in the request.

botocore checks little before it sends a request. What it ships says more: lengths, patterns, counts, allowed words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Path = tuple[str | int, ...]

# Python's `re` has no Unicode categories. \w allows the underscore besides, as all of these patterns do.
_CATEGORIES = {r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": " \u00a0\u2000-\u200a\u3000", r"\p{Alnum}": "a-zA-Z0-9"}


@dataclass(frozen=True)
class Violation:
    """One limit that a request breaks.

    Attributes:
        path: the way into the request; a mapping's key that is wrong itself is the last part.
        rule: what is allowed, to follow "must": "have at most 512 characters".
        allowed: the allowed words, where there is a list of them.
    """

    path: Path
    value: Any
    rule: str
    allowed: tuple[str, ...] = ()


def violations(shape: Any, value: Any, path: Path = ()) -> Iterator[Violation]:
    """What of ``value`` is not as botocore's ``shape`` says."""
    match shape.type_name:
        case "structure":
            yield from _structure(shape, value, path)
        case "list":
            yield from _count(shape, value, path, "entries")
            for index, item in enumerate(value):
                yield from violations(shape.member, item, (*path, index))
        case "map":
            yield from _count(shape, value, path, "entries")
            for key, item in value.items():
                yield from violations(shape.key, key, (*path, key))
                yield from violations(shape.value, item, (*path, key))
        case "string":
            yield from _text(shape, value, path)
        case "integer" | "long":
            low, high = shape.metadata.get("min"), shape.metadata.get("max")
            if low is not None and value < low:
                yield Violation(path, value, f"be at least {low:,}")
            if high is not None and value > high:
                yield Violation(path, value, f"be at most {high:,}")


def _structure(shape: Any, value: Mapping[str, Any], path: Path) -> Iterator[Violation]:
    for name in shape.required_members:
        if value.get(name) in (None, ""):
            yield Violation((*path, name), None, "be there")
    for name, member in shape.members.items():
        if value.get(name) not in (None, ""):
            yield from violations(member, value[name], (*path, name))


def _count(shape: Any, value: Sequence[Any] | Mapping[str, Any], path: Path, what: str) -> Iterator[Violation]:
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max")
    if len(value) < low:
        yield Violation(path, value, f"have at least {low} {what}, this has {len(value)}")
    if high is not None and len(value) > high:
        yield Violation(path, value, f"have at most {high} {what}, this has {len(value)}")


def _text(shape: Any, value: str, path: Path) -> Iterator[Violation]:
    if shape.enum:
        if value not in shape.enum:
            yield Violation(path, value, "be one of the allowed words", tuple(shape.enum))
        return
    low, high, pattern = (shape.metadata.get(name) for name in ("min", "max", "pattern"))
    if high is not None and len(value) > high:
        yield Violation(path, value, f"have at most {high:,} characters, this has {len(value):,}")
    elif low is not None and len(value) < low:
        yield Violation(path, value, f"have at least {low} characters")
    elif pattern == ".*" and not _compiled(pattern).fullmatch(value):
        yield Violation(path, value, "be on one line")
    elif pattern and not _compiled(pattern).fullmatch(value):
        yield Violation(path, value, f"be of the form {pattern}")


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    for category, characters in _CATEGORIES.items():
        pattern = pattern.replace(category, characters)
    return re.compile(pattern)
