"""Finds the line of the repository at which Python code broke, by reading the tracebacks in a log.

A log is written by code that nobody trusts: a path in it is only ever compared with the repository's own tree,
never opened, and every size is capped.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from gamma_bot.reporting.facts import BrokenLine
from gamma_bot.reporting.log_lines import shorten_paths
from gamma_bot.reporting.markdown import clip, log_line

_MAX_LINES = 5000
_MAX_LINE_LENGTH = 2000
_MAX_BROKEN_LINES = 10
_MAX_MESSAGE_LINES = 12
_HEADER = "Traceback (most recent call last):"
_RANK = re.compile(r"^\[(?:rank|default)(\d{1,5})\]:\s?", re.IGNORECASE)
_FRAME = re.compile(r'^\s*File "([^"]{1,500})", line (\d{1,7})(?:, in (.{1,200}))?\s*$')
_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]{0,200}(?:<locals>[\w.]{0,200})?)(?::(?:\s+(.*))?)?$")
_CHAIN = re.compile(r"^(During handling of the above exception|The above exception was the direct cause)")
_GROUP_RULE = re.compile(r"^[\s|]*\+-[-+]*")
_LOG_LINE = re.compile(r"^(\[|\d{4}-\d\d-\d\d|\d\d:\d\d|(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b)")
_INSTALLED = re.compile(r"(^|/)(site-packages|dist-packages|\.venv|venv|\.tox|lib/python3[^/]*)/")
_MISSING_MODULE = re.compile(r"No module named '([\w.]{1,100})'")
_SYNTAX_ERRORS = ("SyntaxError", "IndentationError", "TabError")
# Modules whose package has another name.
_PACKAGES = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def find_broken_lines(
    log_lines: Sequence[str], repository_files: Collection[str] | None, source_roots: Sequence[str]
) -> tuple[BrokenLine, ...]:
    """The innermost lines of the repository's own code in the log's last traceback.

    There is one for an ordinary failure; several if ranks or the members of an exception group broke in
    different places.

    Args:
        repository_files: the paths that exist at the commit; ``None`` if they are not known.
        source_roots: the folders that the repository was unpacked into (``/opt/ml/code``).
    """
    found: dict[tuple[str, int, str], BrokenLine] = {}
    for lines in _by_rank(log_lines):
        for traceback in _that_matter(_tracebacks(lines), repository_files, source_roots):
            broken = _broken_line(traceback, repository_files, source_roots)
            if broken is not None:
                found.setdefault((broken.path, broken.line, broken.title), broken)
    return tuple(found.values())[:_MAX_BROKEN_LINES]


@dataclass
class _Traceback:
    """A traceback as read: frames from the outermost to the innermost."""

    frames: list[tuple[str, int, str]] = field(default_factory=list)
    exception: str = ""
    message: str = ""
    in_group: bool = False
    chained: bool = False  # Python's words say that it continues the one before


def _by_rank(log_lines: Sequence[str]) -> list[list[str]]:
    """The log's lines, one list for each rank that marks its lines: ranks write at the same time."""
    groups: dict[str, list[str]] = {}
    for raw in log_lines[-_MAX_LINES:]:
        line = log_line(raw[:_MAX_LINE_LENGTH])
        match = _RANK.match(line)
        groups.setdefault(match[1] if match else "", []).append(line[match.end() :] if match else line)
    return [groups[rank] for rank in sorted(groups, key=lambda rank: int(rank or -1))]


def _tracebacks(lines: Sequence[str]) -> Iterator[_Traceback]:
    """Every traceback in order of appearance."""
    index, chained = 0, False
    while index < len(lines):
        line = lines[index]
        at = line.find(_HEADER)
        if at >= 0:
            prefix = line[:at]
            grouped = "Exception Group " in prefix
            if grouped:
                prefix = prefix.replace("+ Exception Group ", "| ").replace("Exception Group ", "")
            traceback, index = _read(lines, index + 1, prefix)
            traceback.in_group = grouped or prefix.strip() == "|"
        elif _FRAME.match(line):
            # The start was cut off, or it is a syntax error in the script itself: Python writes no header for that.
            traceback, index = _read(lines, index, "")
        else:
            chained = chained or bool(_CHAIN.match(line.strip(" |")))
            index += 1
            continue
        traceback.chained, chained = chained, False
        if traceback.frames:
            yield traceback


def _read(lines: Sequence[str], index: int, prefix: str) -> tuple[_Traceback, int]:
    """Read one traceback's body from ``index``; returns it and the index of the first line behind it."""
    traceback = _Traceback()
    message: list[str] = []
    while index < len(lines):
        line = _without(prefix, lines[index])
        frame = _FRAME.match(line)
        if _HEADER in line or _GROUP_RULE.match(lines[index]) or (frame and message):
            break
        if frame:
            traceback.frames.append((frame[1], int(frame[2]), frame[3] or ""))
        elif not traceback.exception:
            match = _EXCEPTION.match(line)
            if match and traceback.frames:
                traceback.exception = match[1]
                message.append(match[2] or "")
            elif line.strip() and not line[0].isspace():
                break  # neither a frame nor source text nor an exception: the traceback was cut off
        elif not line.strip() or _LOG_LINE.match(line) or len(message) >= _MAX_MESSAGE_LINES:
            break
        else:
            message.append(line.rstrip())
        index += 1
    traceback.message = clip("\n".join(message).strip(), 4000)
    return traceback, index


def _without(prefix: str, line: str) -> str:
    """The line without what a logger or an exception group puts before it (``  | ``, a time, a level)."""
    if not prefix:
        return line
    if line.startswith(prefix):
        return line[len(prefix) :]
    if line.rstrip() == prefix.rstrip():
        return ""
    # A time stamp differs from line to line, its shape does not.
    same_shape = re.sub(r"\d", "0", line[: len(prefix)]) == re.sub(r"\d", "0", prefix)
    return line[len(prefix) :] if same_shape and re.search(r"\d", prefix) else line


def _that_matter(
    tracebacks: Iterator[_Traceback], files: Collection[str] | None, roots: Sequence[str]
) -> list[_Traceback]:
    """The last traceback that passes through the repository, with the other members if it is in a group."""
    everything = list(tracebacks)
    for last in range(len(everything) - 1, -1, -1):
        if _own_frame(everything[last], files, roots) is None:
            continue
        if not everything[last].in_group:
            return [everything[last]]
        first = last
        while first and everything[first - 1].in_group and not everything[first].chained:
            first -= 1
        members = everything[first : last + 1]
        leaves = [member for member in members if "ExceptionGroup" not in member.exception]
        return leaves or members
    return []


def _broken_line(traceback: _Traceback, files: Collection[str] | None, roots: Sequence[str]) -> BrokenLine | None:
    frame = _own_frame(traceback, files, roots)
    if frame is None:
        return None
    path, line, function = frame
    title = traceback.exception.rsplit(".", 1)[-1] or "Error"
    where = f" in {function}" if function and function != "<module>" else ""
    said = "\n".join(shorten_paths(traceback.message.split("\n"), roots))
    message = said or f"{title} was raised{where}, without a message."
    if not traceback.exception:
        message = "The log ends inside the traceback, before the exception."
    hint = _hint(traceback.exception, traceback.message, files)
    return BrokenLine(path, line, clip(title, 200), f"{message}\n\n{hint}" if hint else message)


def _own_frame(
    traceback: _Traceback, files: Collection[str] | None, roots: Sequence[str]
) -> tuple[str, int, str] | None:
    """The innermost frame in the repository, its path relative to the repository's root."""
    for path, line, function in reversed(traceback.frames):
        own = _own_path(path, files, roots)
        if own is not None and line > 0:
            return own, line, function
    return None


def _own_path(path: str, files: Collection[str] | None, roots: Sequence[str]) -> str | None:
    """The path relative to the repository, or ``None`` if it lies outside. By its letters only: no file is touched."""
    if path.startswith("<") or "\\" in path or not path.isprintable():
        return None
    relative: str | None = None
    normal = posixpath.normpath(path)
    if posixpath.isabs(normal):
        for root in sorted((posixpath.normpath(root) for root in roots), key=len, reverse=True):
            if normal.startswith(root.rstrip("/") + "/"):
                relative = normal[len(root.rstrip("/")) + 1 :]
                break
    else:
        relative = normal
    if not relative or relative in (".", "..") or relative.startswith("../") or _INSTALLED.search("/" + relative):
        return None
    return relative if files is None or relative in files else None


def _hint(exception: str, message: str, files: Collection[str] | None) -> str:
    kind = exception.rsplit(".", 1)[-1]
    missing = _MISSING_MODULE.search(message) if kind == "ModuleNotFoundError" else None
    if missing:
        module = missing[1].split(".")[0]
        if files is not None and _holds_module(module, files):
            return f"`{module}` is in the repository, but not where Python looks for it (the command's folder first)."
        return f"Add `{_PACKAGES.get(module, module)}` to requirements.txt."
    if kind in _SYNTAX_ERRORS:
        return "Python can't read this file, so nothing was trained."
    if kind == "OutOfMemoryError":
        return "The GPU's memory was full: a smaller batch or model needs less."
    return ""


def _holds_module(module: str, files: Collection[str]) -> bool:
    return any(f"/{path}".endswith(f"/{module}.py") or f"/{module}/" in f"/{path}" for path in files)
