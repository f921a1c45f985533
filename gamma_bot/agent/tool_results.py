"""What tools return to a model: JSON that is marked as data of others, of a bounded size, telling what was left out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gamma_bot.agent.accounting import tokens_of
from gamma_bot.agent.tool_arguments import Unfit
from gamma_bot.redaction import REDACTED

NO_TEXT = "This is no text file, so that it can't be read."

_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


@dataclass(frozen=True)
class ToolResult:
    """What goes back to the model: JSON text, and whether it is an error."""

    content: str
    ok: bool
    seconds: float = 0.0


@dataclass(frozen=True)
class Found:
    """What a tool read, before it is cut to size.

    Attributes:
        shortens: which list of ``data`` gives way if it is too much; empty where the tool has seen to that itself.
        newest_last: the list's beginning gives way, not its end.
    """

    source: str
    data: dict[str, Any]
    shortens: str = ""
    newest_last: bool = False
    left_out: int = 0


def failed(why: str) -> tuple[str, bool]:
    """An error as the model gets it."""
    return json.dumps({"error": why}), False


def fitting(found: Found, data: dict[str, Any], tokens: int) -> str:
    """The result as JSON of at most so many tokens; it tells what was left out."""
    left_out = found.left_out
    rows = data.get(found.shortens) if found.shortens else None
    while True:
        content = _written(found.source, data, left_out)
        too_much = tokens_of(content) - tokens
        if too_much <= 0 or not isinstance(rows, list) or not rows:
            break
        drop = max(1, len(rows) * too_much // (2 * tokens_of(content)))
        rows = rows[drop:] if found.newest_last else rows[:-drop]
        left_out += drop
        data = {**data, found.shortens: rows}
    if tokens_of(content) > tokens:  # one thing alone is too much: names and values of an endless length
        content = _written(found.source, {"text": json.dumps(data, ensure_ascii=False)[: tokens * 3 // 2]}, 1)
    return content


def _written(source: str, data: Mapping[str, Any], left_out: int) -> str:
    truncated = {"left_out": left_out} if left_out else {}
    result = {"source": source, "untrusted": True, "truncated": truncated, "data": data}
    return json.dumps(result, ensure_ascii=False, separators=(",", ":"))


def without_keys(text: str) -> str:
    """Private keys taken out, with as many lines as before: from the middle of one, nobody could tell what it is."""
    return _KEY.sub(lambda match: REDACTED + "\n" * match[0].count("\n"), text)


def text_of(content: bytes, *, is_cut: bool = False) -> str:
    if b"\0" in content:
        raise Unfit(NO_TEXT)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if is_cut and error.start > len(content) - 4:  # in the middle of a character
            return content[: error.start].decode("utf-8-sig")
        raise Unfit(NO_TEXT) from None


def clip(line: str, limit: int) -> str:
    return line if len(line) <= limit else f"{line[:limit]}…"
