"""A job's log: its beginning and its newest lines, in a bounded space however much the job prints.

Three files: ``head`` takes the first lines and is never touched again; ``new`` takes the rest and becomes ``old``
when it is full, which drops the former ``old``. Each holds whole lines.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

from gamma_bot.training.durable import read_file, write_file

_SHOWN_CHARACTERS = 2_000
_BLOCK = 65_536
_MOST_READ_BYTES = 32 << 20  # of one file; ours are smaller, but the job could put another one there
_ESCAPE_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\|$)"  # window titles and links
    r"|[PX^_][^\x1b]*(?:\x1b\\|$)"
    r"|[ -/]*[0-~])"
)
# Control characters but the tab, and the marks that turn the direction of writing, which can disguise a text.
_INVISIBLE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class LogWriter:
    """Takes a job's output as it comes and keeps what fits.

    A line that overwrites itself with carriage returns, as progress bars do, is kept in its last state.

    Args:
        folder: is created.
        head_bytes: size of the beginning that is kept for good.
        segment_bytes: at least this much of the newest output is kept, and at most twice as much.
        line_bytes: what is kept of one line.
    """

    def __init__(
        self, folder: Path, *, head_bytes: int = 65_536, segment_bytes: int = 4_194_304, line_bytes: int = 16_384
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.dropped_bytes = 0
        self._folder, self._line_bytes = folder, line_bytes
        self._head_bytes, self._segment_bytes = head_bytes, segment_bytes
        self._in_head = True
        self._unfinished = b""
        self._shown_unfinished = b""
        self._size = 0
        self._descriptor = _create(folder / "head")

    def feed(self, chunk: bytes) -> None:
        """Take some output; it may end anywhere."""
        text = self._unfinished + chunk
        end = text.rfind(b"\n") + 1
        lines, self._unfinished = text[:end], self._cut(_last_state(text[end:]))
        if lines:
            self._append(self._tidy(lines))

    def refresh(self) -> None:
        """Let readers see the unfinished line as it is now."""
        if self._unfinished != self._shown_unfinished:
            shown = self._unfinished.rstrip(b"\r")
            with contextlib.suppress(OSError):
                _write_at(self._descriptor, shown, self._size)
                os.ftruncate(self._descriptor, self._size + len(shown))
            self._shown_unfinished = self._unfinished

    def close(self) -> None:
        """Finish the last line and close the file."""
        if self._unfinished.strip(b"\r"):
            self.feed(b"\n")
        self._note_dropped()
        os.close(self._descriptor)

    def _tidy(self, lines: bytes) -> bytes:
        if b"\r" not in lines and lines.find(b"\n") == len(lines) - 1 <= self._line_bytes:
            return lines
        split = lines.split(b"\n")
        # Most output needs nothing of this, and a job that prints very much must not wait for us.
        if b"\r" not in lines and max(map(len, split)) <= self._line_bytes:
            return lines
        return b"\n".join(self._cut(_last_state(line).rstrip(b"\r")) for line in split)

    def _cut(self, line: bytes) -> bytes:
        self.dropped_bytes += max(0, len(line) - self._line_bytes)
        return line[: self._line_bytes]

    def _append(self, lines: bytes) -> None:
        if self._in_head and self._size + len(lines) > self._head_bytes:
            fitting = lines.rfind(b"\n", 0, self._head_bytes - self._size) + 1
            self._write(lines[:fitting])
            lines = lines[fitting:]
            self._continue_in("new")
            self._in_head = False
        if not self._in_head and self._size and self._size + len(lines) > self._segment_bytes:
            self._rotate()
        self._write(lines)

    def _write(self, lines: bytes) -> None:
        try:
            _write_at(self._descriptor, lines, self._size)
        except OSError:
            # A full disk costs lines of the log, never the job.
            self.dropped_bytes += len(lines)
            self._cut_file()
        else:
            self._size += len(lines)
        if self._shown_unfinished:
            self._cut_file()
            self._shown_unfinished = b""

    def _cut_file(self) -> None:
        """Take away what stands behind the finished lines."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._size)

    def _rotate(self) -> None:
        new, old = self._folder / "new", self._folder / "old"
        with contextlib.suppress(FileNotFoundError):
            self.dropped_bytes += old.stat().st_size
        with contextlib.suppress(OSError):
            new.replace(old)
        self._note_dropped()
        self._continue_in("new")

    def _continue_in(self, name: str) -> None:
        with contextlib.suppress(OSError):
            fresh = _create(self._folder / name)
            os.ftruncate(self._descriptor, self._size)
            os.close(self._descriptor)
            self._descriptor, self._size = fresh, 0

    def _note_dropped(self) -> None:
        with contextlib.suppress(OSError):
            write_file(self._folder / "dropped", str(self.dropped_bytes).encode(), durable=False)


def dropped_bytes(folder: Path) -> int:
    """How much of the log was not kept."""
    try:
        return min(max(0, int(read_file(folder / "dropped") or 0)), 1 << 62)
    except (OSError, ValueError):
        return 0


def read_tail(folder: Path, lines: int) -> list[str]:
    """The newest lines, oldest first, made fit to be shown; a gap in the log is said in a line of its own."""
    if lines <= 0:
        return []
    files = _open_segments(folder)
    found: list[bytes] = []
    try:
        for name in ("new", "old", "head"):
            if name == "head" and found and (dropped := dropped_bytes(folder)):
                found.insert(0, f"[… {dropped:,} bytes of the log were not kept …]".encode())
            if name in files and len(found) < lines:
                found = _last_lines(files[name], lines - len(found)) + found
    finally:
        for descriptor in files.values():
            os.close(descriptor)
    return [clean_line(line) for line in found[-lines:]]


def clean_line(line: bytes) -> str:
    """A line as harmless text: no escape sequences, no control characters, not endless."""
    # A line that was cut inside a long one may be all escape sequences, so the shortening comes last.
    text = _INVISIBLE.sub("", _ESCAPE_SEQUENCE.sub("", line.decode("utf-8", "replace")))
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _last_state(line: bytes) -> bytes:
    body = len(line.rstrip(b"\r"))
    return line[line.rfind(b"\r", 0, body) + 1 :]


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _open_segments(folder: Path) -> dict[str, int]:
    while True:
        files: dict[str, int] = {}
        for name in ("new", "old", "head"):
            # The job runs as the same user and could put a link or a pipe there.
            with contextlib.suppress(OSError):
                flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                descriptor = os.open(folder / name, flags)
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    files[name] = descriptor
                else:
                    os.close(descriptor)
        if len({os.fstat(descriptor).st_ino for descriptor in files.values()}) == len(files):
            return files
        # The writer renamed a file between two of these openings: the same one was opened twice.
        for descriptor in files.values():
            os.close(descriptor)


def _last_lines(descriptor: int, lines: int) -> list[bytes]:
    offset = os.fstat(descriptor).st_size
    blocks: list[bytes] = []
    line_ends = 0
    # One line end more than lines are wanted: the first line found may be only the rest of one.
    end = max(0, offset - _MOST_READ_BYTES)
    while offset > end and line_ends <= lines:
        size = min(_BLOCK, offset)
        offset -= size
        block = os.pread(descriptor, size, offset)
        line_ends += block.count(b"\n")
        blocks.append(block)
    text = b"".join(reversed(blocks))
    return text.removesuffix(b"\n").split(b"\n")[-lines:] if text else []
