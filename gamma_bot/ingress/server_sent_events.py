"""Server-sent events as the HTML standard frames them, read from bytes as they come, with a limit on each event.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True)
class Event:
    """One event. ``data`` is empty and ``too_large`` set if it was larger than the limit and has been dropped."""

    name: str
    data: bytes
    too_large: bool = False


class EventReader:
    """Turns the bytes of a stream into events; comments, such as those that keep a connection open, become none.

    Attributes:
        last_event_id: what to send as ``Last-Event-ID`` when the stream is opened again.
        retry_seconds: how long the server asks to wait before that, if it said so.
    """

    def __init__(self, largest_event_bytes: int) -> None:
        self.last_event_id = ""
        self.retry_seconds: float | None = None
        self._largest = largest_event_bytes
        self._after_carriage_return = False
        self._restart()

    def open(self, last_event_id: str) -> None:
        """A new stream begins after this event: what was left of the stream before is no event."""
        self.last_event_id = last_event_id
        self._restart()

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that end within this chunk.

        ``last_event_id`` moves with each event, just before it is given out.
        """
        if self._after_carriage_return:
            chunk = chunk.removeprefix(b"\n")  # the second half of a line end that fell between two chunks
        self._after_carriage_return = chunk.endswith(b"\r")
        start = 0
        for line_end in _LINE_END.finditer(chunk):
            self._line += chunk[start : line_end.start()]
            start = line_end.end()
            yield from self._end_line()
        self._line += chunk[start:]
        if len(self._line) + self._size > self._largest:
            self._drop()
        if self._too_large and self._line:
            self._line[:] = b"x"  # what is dropped is not kept; only that the line is not empty matters

    def _restart(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._name = ""
        self._id = self.last_event_id
        self._too_large = False
        self._after_carriage_return = False
        self._first_line = True

    def _end_line(self) -> Iterator[Event]:
        line = bytes(self._line)
        self._line.clear()
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            yield from self._end_event()
        elif not self._too_large and not line.startswith(b":"):
            name, _, value = line.partition(b":")
            self._take(name, value.removeprefix(b" "))

    def _take(self, field: bytes, value: bytes) -> None:
        match field:
            case b"data":
                self._data.append(value)
                self._size += len(value) + 1
                if self._size > self._largest:
                    self._drop()
            case b"event":
                self._name = value.decode("utf-8", "replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit() and len(value) < 9:
                self.retry_seconds = int(value) / 1000
            case _:
                pass  # the standard: ignore what you don't know

    def _drop(self) -> None:
        self._too_large = True
        self._data.clear()
        self._size = 0

    def _end_event(self) -> Iterator[Event]:
        name, data, too_large = self._name or "message", b"\n".join(self._data), self._too_large
        there = bool(self._data) or too_large
        self._data, self._size, self._name, self._too_large = [], 0, "", False
        self.last_event_id = self._id
        if there:
            yield Event(name, data, too_large)
