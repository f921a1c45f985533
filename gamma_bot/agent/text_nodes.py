"""Plain text that GitHub shows and does nothing with: no mention, reference, address, emoji, formula or command.

GitHub looks for these after Markdown is rendered, in the text between the tags, so that a backslash or an entity does
not stop them. A zero-width space does, and what a person reads stays the same.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise

BREAK = "\u200b"

# Everything that is not seen: controls, marks of direction, joiners, fillers, variation selectors, tags, private use,
# lone surrogates. It would hide words from a reader, or tear a pattern apart that somebody else puts together again.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160"
    "\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3"
    "\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
_LINE_END = re.compile("\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]")
_BLANKS = re.compile("[\\s\u1680]+")
_ANSI = re.compile(r"\x1b\[[0-?]{0,50}[ -/]{0,50}[@-~]|\x1b[@-_]")
# More than four marks on one letter are no language; a hundred cover the lines above and below.
_ABOVE = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_TOWER = re.compile(f"({_ABOVE}{{4}}){_ABOVE}+")
# "&amp;amp;amp;" is an ampersand, in one step instead of one for each.
_AMPERSANDS = re.compile(r"&(?:(?:amp|#0{0,9}38|#x0{0,9}26);)+", re.IGNORECASE)
_MOST_ROUNDS = 10

# Whatever of this matches is torn apart where the match ends. Each is wider than GitHub's own rule.
_ACTS = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        r"[@＠﹫]",  # a person, a team, an e-mail address, owner/repository@sha
        r"[#＃﹟](?=\d)",  # an issue, with or without owner/repository before it
        r"(?:gh|ghsa|cve)[-\u2010-\u2015](?=\w)",  # an issue or an advisory
        r"[:：﹕︓](?=[/\\／⁄∕])",  # an address
        r"(?:https?|ftps?|sftp|ssh|git|mailto|xmpp|javascript|vbscript|data|file|blob|tel|sms|ircs?)[:：]",
        r"www(?=[.．。｡])",
        r":(?=[\w+-]+:)",  # an emoji: "train.py:100: ValueError" would show a red 100
        r"\[(?=(?:\s{1,4}|x)\]|!|\^)",  # a task, an alert, a footnote
        r"^[ \t]*(?=[/／⁄∕⧸])",  # a command, to Gamma or to any other bot
    )
)
# GitHub links words of 7 to 40 hexadecimal digits that begin a commit; pieces of six are none. One that is a number
# stays whole, since all it could become is a link to a commit of this very repository.
_HEX_WORD = re.compile(r"(?<![0-9A-Za-z])(?=[0-9]{0,63}[A-Fa-f])[0-9A-Fa-f]{7,64}(?![0-9A-Za-z])")
_HEX_RUN = re.compile(r"[0-9A-Fa-f]{7,}")
_OUR_MARKER = re.compile(r"<(?=!--\s{0,9}gamma)", re.IGNORECASE)

_ESCAPED = {
    **{mark: "\\" + mark for mark in "\\*_[]~"},
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    "|": "&#124;",  # "\|" means something else inside a table than outside
    "`": "&#96;",  # after a backslash it could still end a code span
    "$": "&#36;",  # would start a formula
}
_MARKS = re.compile("[" + re.escape("".join(_ESCAPED)) + "]")
_WITHIN_A_WORD = re.compile(r"(?<=[A-Za-z0-9])_(?=[A-Za-z0-9])")


def seen(source: str) -> str:
    """The source of a document with what can be seen of it, and one kind of line end."""
    return _TOWER.sub(r"\1", _UNSEEN.sub("", _LINE_END.sub("\n", _ANSI.sub("", source))))


def decoded(value: str) -> str:
    """One line of text as a reader would see it if entities were resolved for ever."""
    for _ in range(_MOST_ROUNDS):
        resolved = seen(html.unescape(_AMPERSANDS.sub("&", value)))
        if resolved == value:
            break
        value = resolved
    else:
        value = value.replace("&", "")  # nobody writes ten levels of entities
    return _BLANKS.sub(" ", value)


def disarmed(pieces: Sequence[str], is_text: Sequence[bool], knows_commit: Callable[[str], bool]) -> list[str]:
    """The pieces of one paragraph, torn apart wherever GitHub would do something with them.

    They are judged together: ``@`` and ``octocat`` are a mention, whatever stands around the one or the other.

    Args:
        pieces: the text of the paragraph in its order; a line end is one.
        is_text: which of them may be changed; code is left as it is.
        knows_commit: whether GitHub may link this beginning of a SHA.
    """
    together = "".join(pieces)
    ends = list(accumulate(len(piece) for piece in pieces))
    places = set(_places(together))
    # Where a tag begins a word ends for GitHub: "**run**deadbeef1" names a commit, "rundeadbeef1" does not.
    for piece, end in zip(pieces, ends, strict=True):
        places.update(end - len(piece) + place for place in _commits(piece, knows_commit))
    words = "".join(piece if changes else "`" * len(piece) for piece, changes in zip(pieces, is_text, strict=True))
    places.update(_commits(words, knows_commit))
    # A mark between two pieces that closes nothing is shown, and ends a word too.
    for run in _HEX_RUN.finditer(words):
        next_edge = bisect_right(ends, run.start())
        if next_edge < len(ends) and ends[next_edge] < run.end() and not knows_commit(run[0]):
            places.update(range(run.start() + 6, run.end(), 6))
    cuts: list[list[int]] = [[] for _ in pieces]
    for place in sorted(places):
        # The piece that ends here or goes on here; if that one is code, the text which begins here.
        index = bisect_left(ends, place)
        while index < len(pieces) and not is_text[index] and ends[index] == place:
            index += 1
        if index < len(pieces) and is_text[index]:
            cuts[index].append(place - (ends[index] - len(pieces[index])))
    return [_cut(piece, places) for piece, places in zip(pieces, cuts, strict=True)]


def escaped(value: str, *, at_line_start: bool, is_last: bool, in_heading: bool = False) -> str:
    """Markdown that shows exactly this text.

    Args:
        at_line_start: nothing stands before it in its line, so that it could be a list, a heading or an underline.
        is_last: something else than text follows, such as a link, which a "!" would turn into an image.
        in_heading: a "#" at the end would be dropped.
    """
    kept = {match.start() for match in _WITHIN_A_WORD.finditer(value)}
    shown = _MARKS.sub(lambda match: match[0] if match.start() in kept else _ESCAPED[match[0]], value)
    if in_heading:
        shown = shown.replace("#", "\\#").replace("&\\#", "&#")
    if is_last and shown.endswith("!"):
        shown = shown[:-1] + "\\!"
    if not at_line_start:
        return shown
    if number := re.match(r"[0-9]+(?=[.)])", shown):
        return f"{number[0]}\\{shown[number.end() :]}"
    starts = ("-", "+", "=", ":", *(() if in_heading else ("#",)))
    return "\\" + shown if shown.startswith(starts) else shown


def code_text(value: str) -> str:
    """The content of code without what makes a comment look like one of ours."""
    return _OUR_MARKER.sub("<" + BREAK, value)


def _places(together: str) -> Iterator[int]:
    for pattern in _ACTS:
        for match in pattern.finditer(together):
            yield match.end()


def _commits(value: str, knows_commit: Callable[[str], bool]) -> Iterator[int]:
    for match in _HEX_WORD.finditer(value):
        if not knows_commit(match[0]):
            yield from range(match.start() + 6, match.end(), 6)


def _cut(piece: str, places: Sequence[int]) -> str:
    edges = [0, *places, len(piece)]
    return BREAK.join(piece[start:end] for start, end in pairwise(edges))
