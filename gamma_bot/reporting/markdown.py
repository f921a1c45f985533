"""GitHub Markdown out of text that nobody may trust: branch names, log lines, metric names, exception messages.

Each function here returns ``Markdown``, a string that is safe to put into a comment. The template environment
escapes everything else with ``text``, so that a forgotten filter shows a backslash instead of pinging a stranger.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote, urlsplit


class Markdown(str):
    """A piece of Markdown that holds only what we mean: nothing in it needs escaping again."""

    __slots__ = ()


# GitHub links @names, #12, GH-12 and commit SHAs after Markdown is rendered, so a backslash does not stop it. A
# zero-width space does, and copies of the text still read the same.
_BREAK = "\u200b"
_HEX_WORD = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{7,40}(?![0-9A-Za-z])")
_LINKS_ITSELF = re.compile(
    r"@"  # a person, a team, an e-mail address, owner/repository@sha
    r"|\#(?=\d)"  # an issue
    r"|gh-(?=\d)"  # an issue, written otherwise
    r"|:(?=//)"  # an address
    r"|www(?=\.)"
    r"|:(?=[\w+-]+:)",  # an emoji: "train.py:100: ValueError" would show a red 100
    re.IGNORECASE,
)
_ESCAPED = {
    **{mark: "\\" + mark for mark in "\\`*_[]~#!"},
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    "|": "&#124;",  # an entity, because "\|" means something else inside a table than outside
    "$": "&#36;",  # would start a formula
}
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")
# Control characters, lone surrogates, marks that reverse the direction of reading, and characters without a meaning.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_CODE_IN_PROSE = re.compile(r"`([^`]+)`")
_FENCE_LINE = re.compile(r"^(`{3,})(.*)$")


def text(value: object, limit: int = 2000) -> Markdown:
    """One line of prose, shown exactly as it is: no link, mention, emphasis, HTML, formula or table cell of its own."""
    return Markdown(_at_line_start(_escape(plain(value, limit))))


def prose(value: object, limit: int = 2000) -> Markdown:
    """As ``text``, but what stands between two backticks becomes a code span."""
    parts = _CODE_IN_PROSE.split(plain(value, limit))
    shown = [str(code(part)) if index % 2 else _escape(part) for index, part in enumerate(parts)]
    return Markdown(_at_line_start("".join(shown)))


def code(value: object, limit: int = 200) -> Markdown:
    """A code span, in a table or out of one, whatever backticks and bars the text has."""
    line = plain(value, limit).strip()
    if not line:
        return Markdown("(empty)")
    if "|" in line:
        # A table splits its cells before it looks for code spans; HTML with an entity is the same on both sides.
        return Markdown(f"<code>{_escape(line)}</code>")
    ticks = "`" * (_longest_run(line) + 1)
    pad = " " if line[0] == "`" or line[-1] == "`" else ""
    return Markdown(f"{ticks}{pad}{line}{pad}{ticks}")


def fence(value: str | Sequence[str], lang: str = "", line_limit: int = 1000) -> Markdown:
    """A code block that its content can't leave. A list is taken as lines; an over-long line is cut."""
    lines = value.split("\n") if isinstance(value, str) else list(value)
    body = "\n".join(clip(log_line(line), line_limit) for line in lines)
    ticks = "`" * max(3, _longest_run(body) + 1)
    return Markdown(f"{ticks}{re.sub('[^a-z0-9-]', '', lang.lower())}\n{body}\n{ticks}")


def link(label: str | Markdown, url: str | None) -> Markdown:
    """A link, or just its label if the address is not a plain http or https one. A plain label is escaped."""
    shown = label if isinstance(label, Markdown) else text(label)
    address = _safe_address(url)
    return Markdown(f"[{shown}]({address})") if address else shown


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> Markdown:
    """A table with as many cells in every row as the header has. ``align`` has one of l, r, c for each column."""
    marks = {"l": ":--", "r": "--:", "c": ":-:"}
    width = len(header)
    lines = [
        _row(header, width),
        "| " + " | ".join(marks[mark] for mark in align.ljust(width, "l")[:width]) + " |",
        *(_row(row, width) for row in rows),
    ]
    return Markdown("\n".join(lines))


def plain(value: object, limit: int = 255) -> str:
    """One line of plain text without control characters, at most ``limit`` long: for titles and as a first step."""
    # The cut before the cleaning bounds the work on huge input; the one after it bounds the result.
    raw = _ANSI.sub("", str(value)[: limit * 4])
    return clip(" ".join(_UNPRINTABLE.sub(" ", raw).split()), limit)


def log_line(line: str) -> str:
    """A line of a log as a terminal would show it in the end: no colours, and the last state of a progress bar."""
    shown = _ANSI.sub("", line[:20000]).rstrip("\r\n").rsplit("\r", 1)[-1]
    return re.sub("[\n\x0b\x0c\x85\u2028\u2029]", " ", _UNPRINTABLE.sub("", shown))


def sentence(value: str) -> str:
    """The text with a full stop where it has no end of its own."""
    said = value.rstrip()
    return said if not said or said[-1] in ".!?:" else said + "."


def clip(value: str, limit: int) -> str:
    """At most ``limit`` characters; a cut is shown by an ellipsis."""
    return value if len(value) <= limit else value[: max(0, limit - 1)].rstrip() + "…"


def fit(document: str, limit: int) -> Markdown:
    """At most ``limit`` characters, cut between two lines; open fences and folds are closed, and the cut is told."""
    if len(document) <= limit:
        return Markdown(document)
    kept = document[:limit].split("\n")[:-1]
    while True:
        left_out = len(document) - sum(len(line) + 1 for line in kept)
        note = f"*{left_out:,} characters were left out here: GitHub allows no more.*"
        shown = "\n".join([*kept, *_closers(kept), "", note]) if kept else clip(note, limit)
        if len(shown) <= limit:
            return Markdown(shown)
        kept.pop()


def _closers(lines: Sequence[str]) -> list[str]:
    ticks, folds = "", 0
    for line in lines:
        match = _FENCE_LINE.match(line)
        if ticks:
            if match and len(match[1]) >= len(ticks) and not match[2].strip():
                ticks = ""
        elif match and "`" not in match[2]:
            ticks = match[1]
        else:
            folds += line.count("<details") - line.count("</details>")
    return ([ticks] if ticks else []) + ["", "</details>"] * max(0, folds)


def _escape(line: str) -> str:
    broken = _LINKS_ITSELF.sub(lambda match: match[0] + _BREAK, line)
    # GitHub links hexadecimal words of 7 to 40 characters; pieces of six are none.
    broken = _HEX_WORD.sub(lambda match: _BREAK.join(re.findall(".{1,6}", match[0])), broken)
    return "".join(_ESCAPED.get(mark, mark) for mark in broken)


def _at_line_start(line: str) -> str:
    """Escape what would be a list, a heading's underline or a table's second row at the start of a line."""
    numbered = re.match(r"\d+(?=[.)])", line)
    if numbered:
        return f"{numbered[0]}\\{line[numbered.end() :]}"
    return "\\" + line if line[:1] in tuple("-+=:") else line


def _longest_run(value: str) -> int:
    return max((len(run) for run in re.findall("`+", value)), default=0)


def _row(given: Sequence[str], width: int) -> str:
    filled = [*given, *[""] * width][:width]
    cells = [" ".join(_UNPRINTABLE.sub(" ", cell).split()).replace("|", "&#124;") for cell in filled]
    return "| " + " | ".join(cells) + " |"


def _safe_address(url: str | None) -> str | None:
    if not url or len(url) > 2000:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or _UNPRINTABLE.search(url):
        return None
    quoted = quote(url, safe="%/:=&?~#+,;@-._[]").replace("[", "%5B").replace("]", "%5D")
    return quoted.replace("&", "&amp;")  # Markdown reads entities in addresses, after they were looked at
