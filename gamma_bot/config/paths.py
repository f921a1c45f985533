"""Path filters: which changed files make a push worth training.

A pattern starts at the repository's root. ``*`` and ``?`` stay within a folder, ``**`` stands for any number of
folders, ``src/`` means all that is in ``src``, and ``!`` in front takes paths out again: the last match wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

_ANY_FOLDERS = "**"


def touches(paths: Sequence[str], changed: Iterable[str]) -> bool:
    """Whether one of the changed paths counts. Without patterns, every path does."""
    return any(selects(paths, path) for path in changed) if paths else True


def selects(paths: Sequence[str], path: str) -> bool:
    """Whether the patterns select this path. A list that begins with ``!`` takes away from everything."""
    selected = not paths or paths[0].startswith("!")
    for pattern in paths:
        wanted = not pattern.startswith("!")
        if wanted is not selected and pattern_matches(pattern.removeprefix("!"), path):
            selected = wanted
    return selected


def pattern_matches(pattern: str, path: str) -> bool:
    """Whether a pattern (without ``!``) covers a path."""
    parts, names = _parts(pattern), path.split("/")
    part = name = 0
    resume_part, resume_name = -1, 0
    # The last ** is the only one that may have to take in more folders, so this never takes long.
    while name < len(names):
        if part < len(parts) and parts[part] == _ANY_FOLDERS:
            resume_part, resume_name = part, name
            part += 1
        elif part < len(parts) and fnmatchcase(names[name], parts[part]):
            part += 1
            name += 1
        elif resume_part >= 0:
            resume_name += 1
            part, name = resume_part + 1, resume_name
        else:
            return False
    return part == len(parts)


def pattern_mistake(pattern: str) -> tuple[str, str] | None:
    """What is wrong with a pattern and what to write instead; ``None`` if it can be used."""
    body = pattern.removeprefix("!")
    if not body.strip("/ "):
        return "names no path", "Write a path like train.py, src/ or data/**/*.csv."
    if body != body.strip() or any(ord(letter) < 32 for letter in body):
        return "has blanks at its ends or control characters in it", "Remove them."
    if "\\" in body:
        return "has a backslash", "Write folders with /, as Git does."
    parts = body.strip("/").split("/")
    if body.startswith("./") or any(part in ("", ".", "..") for part in parts):
        return "is not a plain path", "Write it from the repository's root, without `.`, `..` or double slashes."
    for part in parts:
        if _ANY_FOLDERS in part and part != _ANY_FOLDERS:
            return (
                "has `**` within a name",
                f"`**` stands alone between slashes: write `{part.replace(_ANY_FOLDERS, '**/*', 1)}`."
                if part.startswith(_ANY_FOLDERS) and part.count(_ANY_FOLDERS) == 1
                else "`**` stands alone between slashes, as in `src/**/*.py`.",
            )
    return None


def _parts(pattern: str) -> list[str]:
    parts = pattern.strip("/").split("/")
    if pattern.endswith("/"):
        parts.append(_ANY_FOLDERS)
    # What is in a folder has a name: src/** is not a file that is called src.
    return [*parts, "*"] if parts[-1] == _ANY_FOLDERS else parts
