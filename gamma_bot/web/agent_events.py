"""Server-sent events of a chat: how what happens while a question is answered is written to a client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, assert_never

from gamma_bot.agent.ask_events import Answered, Delta, Event, Restart, Status, ToolDone, UsageNow
from gamma_bot.agent.models import Usage

PING = b": ping\n\n"


def frame(name: str, data: Mapping[str, Any]) -> bytes:
    """One event. JSON has no line ends of its own, so that nothing in it can begin another event."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def event_frame(event: Event) -> bytes:
    """Something that happened on the way."""
    match event:
        case Status(text=text):
            return frame("status", {"text": text})
        case ToolDone(name=name, ok=ok, ms=ms):
            return frame("tool", {"name": name, "ok": ok, "ms": ms})
        case Delta(text=text):
            return frame("delta", {"text": text})
        case Restart():
            return frame("restart", {})
        case UsageNow(usage=usage, usd=usd):
            return frame("usage", _usage(usage, usd))
        case _:
            assert_never(event)


def done_frame(answered: Answered) -> bytes:
    """The checked answer, which takes the place of all pieces."""
    data = {
        "markdown": answered.markdown,
        "stop": answered.stop,
        "model": answered.model,
        "left_out": answered.dropped,
        "usage": _usage(answered.usage, answered.usd),
    }
    return frame("done", data)


def error_frame(code: str, message: str) -> bytes:
    """Why there is no answer."""
    return frame("error", {"code": code, "message": message})


def _usage(usage: Usage, usd: float) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "cached_tokens": usage.cache_read,
        "output_tokens": usage.output,
        "usd": round(usd, 6),
    }
