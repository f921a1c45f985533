"""A mistake in ``gamma.yml`` as a value: where it is, what is wrong, and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One mistake. Lines and columns count from 1 and include their end; ``None`` where there is no place to show.

    Attributes:
        message: what is wrong, in one sentence without a full stop; code stands in backquotes.
        hint: what to do, in whole sentences; may be empty.
        key_path: the way to the value (``("train", "timeout")``); list items are numbers from 0.
        warning: Gamma can work with it, but it is probably not what was meant.
    """

    message: str
    hint: str = ""
    key_path: KeyPath = ()
    line: int | None = None
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None
    warning: bool = False


def dotted(key_path: KeyPath) -> str:
    """``train.seeds[2]``: the way to a value as a person writes it."""
    written = ""
    for key in key_path:
        if isinstance(key, int):
            written += f"[{key}]"
        else:
            written += f".{clipped(key)}" if written else clipped(key)
    return written


def clipped(text: str, most: int = 60) -> str:
    """The text, or its beginning and an ellipsis: nobody wants to read a whole file in a message."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
