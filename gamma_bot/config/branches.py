"""Which branches train: patterns like ``models`` and ``models/*``."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matches_branch(patterns: Iterable[str], branch: str) -> bool:
    """Whether one of the patterns is the whole name of the branch.

    ``*`` stands for any text, slashes too: ``models/*`` covers ``models/ada/wider`` as well.
    """
    return any(fnmatchcase(branch, pattern) for pattern in patterns)
