"""What a webhook channel hands on: GitHub's headers, and the body in every form that may be the one GitHub signed."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from multidict import CIMultiDict

_HEADERS = ("X-GitHub-Event", "X-GitHub-Delivery", "X-Hub-Signature-256")
_BLANK = re.compile(r"[ \t\r\n]*")


class NotADelivery(Exception):
    """The event is no webhook of GitHub's; the words say why."""


@dataclass(frozen=True)
class Relayed:
    """One delivery. ``bodies`` are candidates, the likeliest first: the signature says which one GitHub sent."""

    headers: Mapping[str, str]
    bodies: tuple[bytes, ...]

    @property
    def guid(self) -> str:
        return self.headers.get("X-GitHub-Delivery", "")

    @property
    def event(self) -> str:
        return self.headers.get("X-GitHub-Event", "")


def read_relayed(data: bytes) -> Relayed:
    """Read an event's data: an object with headers (at the top or under ``headers``) and a body.

    The body is ``rawBody`` (text), ``bodyB`` (base64), or ``body`` or ``payload`` (text, or the JSON itself).

    Raises:
        NotADelivery
    """
    try:
        members = _members(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise NotADelivery("the event's data is no JSON object") from None
    headers: CIMultiDict[str] = CIMultiDict()
    inner = members["headers"].value if "headers" in members else {}
    given = {**(inner if isinstance(inner, dict) else {}), **{name: member.value for name, member in members.items()}}
    by_name = {name.lower(): value for name, value in given.items()}
    for name in _HEADERS:
        value = by_name.get(name.lower())
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, str):
            headers[name] = value
    if "X-GitHub-Event" not in headers:
        raise NotADelivery("the event has no x-github-event header: only GitHub's webhooks belong into this channel")
    bodies = tuple(dict.fromkeys(_bodies(members)))
    if not bodies:
        raise NotADelivery("the event has no body")
    return Relayed(headers, bodies)


@dataclass(frozen=True)
class _Member:
    value: Any
    text: str
    """As it stood in the data: parsing and writing it again could change a number or an escape."""


def _bodies(members: Mapping[str, _Member]) -> Iterator[bytes]:
    for name in ("rawBody", "bodyB", "body", "payload"):
        member = members.get(name)
        if member is None:
            continue
        if isinstance(member.value, str):
            try:
                if name == "bodyB":
                    yield base64.b64decode(member.value, validate=True)
                else:
                    yield member.value.encode("utf-8")
            except (binascii.Error, UnicodeEncodeError):
                continue
        elif isinstance(member.value, dict):
            # GitHub signs compact JSON; a channel that passes it through or writes it compactly keeps it as it was.
            yield member.text.encode("utf-8")
            for ascii_only in (False, True):
                compact = json.dumps(member.value, separators=(",", ":"), ensure_ascii=ascii_only)
                yield compact.encode("utf-8", "surrogatepass")


def _members(text: str) -> dict[str, _Member]:
    """The members of a JSON object, each with its own text."""
    decoder = json.JSONDecoder()
    members: dict[str, _Member] = {}
    position = _past_blank(text, 0)
    if text[position : position + 1] != "{":
        raise ValueError("no object")
    position = _past_blank(text, position + 1)
    if text[position : position + 1] == "}":
        return members
    while True:
        name, position = decoder.raw_decode(text, position)
        position = _past_blank(text, position)
        if not isinstance(name, str) or text[position : position + 1] != ":":
            raise ValueError("no member")
        start = _past_blank(text, position + 1)
        value, position = decoder.raw_decode(text, start)
        members[name] = _Member(value, text[start:position])
        position = _past_blank(text, position)
        match text[position : position + 1]:
            case ",":
                position = _past_blank(text, position + 1)
            case "}":
                return members
            case _:
                raise ValueError("no end")


def _past_blank(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    return found.end() if found else position
