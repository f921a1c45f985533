"""Reads what the model gave a tool: of the right kind and size, with paths and ids of a harmless shape, or refused.

The API checks the schema, but neither ranges nor lengths, and nothing here relies on it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any

# Names that are likely to hold a secret, in any part of a path. What is refused here is told as if it did not exist.
_DENIED = (".env*", "*.pem", "*key*", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", ".netrc", ".pypirc", ".npmrc", ".git")
_LONGEST_PATH = 500


class Unfit(Exception):
    """Why a call can't be carried out: one of our own sentences, fit for the model."""


def whole_number(arguments: Mapping[str, Any], name: str, least: int, most: int) -> int:
    """A number within its bounds.

    Raises:
        Unfit
    """
    value = arguments.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Unfit(f"`{name}` must be a whole number from {least} to {most}.")
    return value


def text(arguments: Mapping[str, Any], name: str, longest: int, *, may_be_empty: bool = False) -> str:
    """A text of a bounded length.

    Raises:
        Unfit
    """
    value = arguments.get(name)
    if not isinstance(value, str) or len(value) > longest or not (value or may_be_empty):
        kind = f"at most {longest}" if may_be_empty else f"1 to {longest}"
        raise Unfit(f"`{name}` must be a text of {kind} characters.")
    return value


def one_of(arguments: Mapping[str, Any], name: str, known: Collection[str]) -> str:
    """One of a few words.

    Raises:
        Unfit
    """
    value = arguments.get(name)
    if not isinstance(value, str) or value not in known:
        raise Unfit(f"`{name}` must be empty or one of {', '.join(word for word in known if word)}.")
    return value


def run_id(arguments: Mapping[str, Any], name: str, unknown: str) -> str:
    """A run's name. One of another shape is no run of anybody: the answer is the same as for a missing one.

    Raises:
        Unfit
    """
    value = arguments.get(name)
    if not isinstance(value, str) or not re.fullmatch("[A-Za-z0-9-]{1,64}", value):
        raise Unfit(unknown)
    return value


def sha(arguments: Mapping[str, Any], name: str) -> str:
    """A commit's SHA or its beginning, in lower case; empty for none.

    Raises:
        Unfit
    """
    value = arguments.get(name)
    if value == "":
        return ""
    if not isinstance(value, str) or not re.fullmatch("[0-9a-fA-F]{7,64}", value):
        raise Unfit(f"`{name}` must be empty or a commit's SHA of at least 7 digits, not a branch.")
    return value.lower()


def path(arguments: Mapping[str, Any], name: str, *, may_be_empty: bool = False) -> str:
    """A path from the root, without any way out of it.

    Raises:
        Unfit
    """
    value = arguments.get(name)
    if value == "" and may_be_empty:
        return ""
    if not isinstance(value, str) or not _is_straight(value):
        raise Unfit(f"`{name}` must be a path from the root, with forward slashes, without `..`.")
    return "/".join(part for part in value.split("/") if part not in ("", "."))


def is_denied(path: str) -> bool:
    """Whether a path may not be read."""
    parts = path.lower().split("/")
    return any(fnmatchcase(part, pattern) for part in parts for pattern in _DENIED)


def _is_straight(value: str) -> bool:
    if not value or len(value) > _LONGEST_PATH or value.startswith(("/", "~")):
        return False
    if "\\" in value or "%" in value or not value.isprintable() or re.match("[A-Za-z]:", value):
        return False
    parts = value.split("/")
    return ".." not in parts and any(part not in ("", ".") for part in parts)
