"""Which lines of a comment are meant as commands: those that a reader sees as plain text at the start of a line.

GitHub's own Markdown library decides that, not a second grammar of ours: each line that may be a command gets a mark
that no Markdown knows, the comment is rendered, and where the marks come out is where the reader sees the lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser

import cmarkgfm
import nh3
from cmarkgfm.cmark import Options

_LINE = re.compile(r"( {0,3})(/gamma)(?!\S)(.*)", re.IGNORECASE | re.DOTALL)
_LINE_END = re.compile("\r\n|\n|\r")
# A character that has no meaning in Unicode, so it is neither a blank nor a sign to Markdown.
_MARK = "\ue0a7"
_MARKED = re.compile(f"/gamma{_MARK}([0-9]+){_MARK}")
_TAG = re.compile("<(/?)([A-Za-z][A-Za-z0-9-]*)")
_NEVER_CLOSED = frozenset({"br", "hr", "img", "input", "source", "wbr"})
# Nobody quotes a quote 500 times. The sanitiser needs seconds for ten thousand.
_DEEPEST = 500
# What GitHub keeps of HTML in a comment; of other elements it shows only the text in them.
_SHOWN = (
    "a b blockquote br code dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr i img input ins kbd li"
    " ol p picture pre q rp rt ruby s samp section source span strike strong sub summary sup table tbody td tfoot th"
    " thead tr tt ul var wbr"
)
# An asterisk that pairs up with one in the line above makes a command italic, not less meant.
_EMPHASIS = frozenset({"em", "strong"})


@dataclass(frozen=True)
class CommandLine:
    """A line that begins with ``/gamma``: its number from 1, and what follows the word."""

    number: int
    rest: str


def command_lines(comment: str) -> tuple[CommandLine, ...]:
    """The lines of a comment that are commands, in their order."""
    lines = _LINE_END.split(_readable(comment))
    candidates: dict[int, str] = {}
    for number, line in enumerate(lines):
        if match := _LINE.fullmatch(line):
            candidates[number] = match[3].strip()
            lines[number] = f"{match[1]}/gamma{_MARK}{number}{_MARK}{match[3]}"
    if not candidates:
        return ()
    # Footnotes as on GitHub: a line may belong to one.
    options = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_FOOTNOTES
    html = cmarkgfm.github_flavored_markdown_to_html("\n".join(lines), options)
    if _is_too_deep(html):
        return ()
    reader = _Reader()
    reader.feed(nh3.clean(html, tags=set(_SHOWN.split()), attributes={}, link_rel=None))
    reader.close()
    return tuple(CommandLine(number + 1, candidates[number]) for number in sorted(reader.found))


class _Reader(HTMLParser):
    """Finds the marks at the start of a line of a paragraph that is in nothing else.

    It reads the sanitiser's output, in which every element is closed.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: set[int] = set()
        self._open: list[str] = []
        self._at_line_start = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("p", "br"):
            self._at_line_start = True
        if tag not in _NEVER_CLOSED:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and tag == self._open[-1]:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        is_prose = self._open[:1] == ["p"] and _EMPHASIS.issuperset(self._open[1:])
        for number, line in enumerate(data.split("\n")):
            self._at_line_start = self._at_line_start or number > 0
            if is_prose and self._at_line_start and (match := _MARKED.match(line)):
                self.found.add(int(match[1]))
            if line.strip():
                self._at_line_start = False


def _readable(comment: str) -> str:
    """The comment without what can't be given to the library: NUL, half characters, and marks of somebody else."""
    whole = comment.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}").replace(_MARK, "\N{REPLACEMENT CHARACTER}")


def _is_too_deep(html: str) -> bool:
    depth = 0
    for match in _TAG.finditer(html):
        if match[2].lower() not in _NEVER_CLOSED:
            depth += -1 if match[1] else 1
            if depth > _DEEPEST:
                return True
    return False
