"""How a training command is read: split as a shell would, but run without one."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath

from gamma_bot.config.errors import clipped

_SHELL_SIGNS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1", "&>"})
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_MOST_WORDS, _LONGEST = 200, 4000


def split_command(command: str) -> tuple[str, ...]:
    """The words of a command.

    Raises:
        ValueError: a quote is never closed.
    """
    return tuple(shlex.split(command))


def command_mistake(command: str) -> tuple[str, str] | None:
    """What is wrong with a command and what to write instead; ``None`` if it can be run."""
    if len(command) > _LONGEST or _CONTROL.search(command):
        return f"the command has control characters or more than {_LONGEST:,} of any", "Put it into a script."
    if "\n" in command.strip():
        return "the command has several lines, but it is run without a shell", (
            "Put the lines into a script and run that: `command: sh run.sh`."
        )
    try:
        words = split_command(command)
    except ValueError:
        return "a quote in the command is never closed", "Add the closing quote, or a backslash before an apostrophe."
    if not words or not words[0]:
        return "the command is empty", "Write what to run, like `python train.py`, or leave the key out."
    if len(words) > _MOST_WORDS:
        return f"the command has more than {_MOST_WORDS} words", "Put it into a script."
    if sign := next((word for word in words if word in _SHELL_SIGNS), None):
        return f"`{sign}` means nothing here: the command is run without a shell", (
            "Put the steps into a script and run that: `command: sh run.sh`."
        )
    if _ASSIGNMENT.match(words[0]):
        return f"`{clipped(words[0].partition('=')[0])}=…` sets no variable here: the command is run without a shell", (
            "Put `env` in front: `env NAME=value python train.py`."
        )
    return None


def entry_point_mistake(entry_point: str) -> tuple[str, str] | None:
    """What is wrong with a script's path and what to write instead; ``None`` if it stays in the repository."""
    parts = PurePosixPath(entry_point).parts
    if entry_point.startswith(("/", "~")) or re.match(r"[A-Za-z]:", entry_point):
        return (
            "the entry point is not a path inside the repository",
            "Write it from the repository's root: src/train.py.",
        )
    if ".." in parts:
        return "the entry point leaves the repository with `..`", "Write it from the repository's root: src/train.py."
    if "\\" in entry_point:
        return "the entry point has a backslash", "Write folders with /: src/train.py."
    if not parts or entry_point.endswith("/"):
        return "the entry point names no file", "Write a script's path, like train.py."
    if entry_point.startswith("-") or _CONTROL.search(entry_point) or "\n" in entry_point or len(entry_point) > 1000:
        return "the entry point is not a plain file name", "Write a script's path, like train.py."
    if len(entry_point.split()) > 1:
        return "the entry point has blanks in it", (
            "It is one file. To pass arguments, write `command: python train.py --name value`."
        )
    return None
