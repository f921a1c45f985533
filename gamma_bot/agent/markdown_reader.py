"""Reads Markdown into the tree of what may be shown, and makes the text in it harmless.

Whatever else a parser knows is no part of the tree: HTML is text, an image is its description, a rule is nothing, and a
link that leads elsewhere is its label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, assert_never

from gamma_bot.agent.allowed_links import AllowedLinks
from gamma_bot.agent.markdown_tree import Block, Break, Code, Inline, Items, Link, Paragraph, Quote, Span, Table, Text
from gamma_bot.agent.text_nodes import code_text, decoded, disarmed, seen

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

# Languages that GitHub colours. What it draws or offers to apply is none: mermaid, math, geojson, stl, suggestion.
_LANGUAGES = (
    "bash c cmake console cpp css csv cuda cython diff dockerfile go hcl html http ini java javascript js json json5"
    " jsonl julia latex log makefile markdown md plain powershell protobuf py pycon pytb python r rust sh shell sql"
    " swift terraform text toml ts tsv txt typescript xml yaml yml zsh"
)
_HIGHEST_HEADING = 4
_MARKS = {"em": "*", "strong": "**", "s": "~~"}
_LARGEST_START = 999_999


def parse(markdown: str, links: AllowedLinks) -> list[Block]:
    """The blocks of a document, not yet made harmless: first it may be cut."""
    return list(_blocks(iter(_parser().parse(seen(markdown))), links))


def disarm(blocks: Iterable[Block], links: AllowedLinks) -> None:
    """Tear apart in each paragraph and cell what GitHub would do something with."""
    for block in blocks:
        match block:
            case Paragraph():
                _disarm_words(block.children, links)
            case Table():
                for row in block.rows:
                    for cell in row:
                        _disarm_words(cell, links)
            case Quote():
                disarm(block.blocks, links)
            case Items():
                for item in block.items:
                    disarm(item, links)
            case Code():
                pass
            case _:
                assert_never(block)


def parse_line(markdown: str, links: AllowedLinks) -> list[Inline]:
    """The words of a document that is taken as one line, which may be a cell of a table; they are harmless."""
    tokens = _parser().parseInline(" ".join(seen(markdown).split()))
    words = _inlines(tokens[0].children or [], links, keeps_lines=False, in_table=True)
    _disarm_words(words, links)
    return words


def plain(text: str, most: int) -> str:
    """One line of text of at most this length, made harmless and not yet escaped."""
    line = decoded(seen(text[: most * 8])).strip()
    clipped = line if len(line) <= most else line[: max(0, most - 1)].rstrip() + "…"
    (shown,) = disarmed([clipped], [True], AllowedLinks().knows)
    return shown


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # 0.1 s, which a process that only stores webhooks does not have

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def _blocks(tokens: Iterator[Token], links: AllowedLinks) -> Iterator[Block]:
    """The blocks up to the end of the block that is open."""
    for token in tokens:
        if token.nesting < 0:
            return
        match token.type:
            case "paragraph_open" | "heading_open":
                level = int(token.tag[1]) if token.tag != "p" else 0
                level = max(level, _HIGHEST_HEADING) if level else 0
                if children := _words(tokens, links, keeps_lines=not level):
                    yield Paragraph(children, level, token.hidden)
            case "fence" | "code_block":
                yield from _code_block(token)
            case "blockquote_open":
                if blocks := list(_blocks(tokens, links)):
                    yield Quote(blocks)
            case "bullet_list_open" | "ordered_list_open":
                yield from _items(token, tokens, links)
            case "table_open":
                yield from _table(tokens, links)


def _words(tokens: Iterator[Token], links: AllowedLinks, *, keeps_lines: bool) -> list[Inline]:
    words = next(tokens)
    next(tokens)  # the end of what they stand in
    return _inlines(words.children or [], links, keeps_lines=keeps_lines)


def _code_block(token: Token) -> Iterator[Block]:
    language = (token.info.split() or [""])[0].lower()
    value = code_text(token.content).strip("\n")
    # A bot that reads the source looks for commands in code too. A blank is what a shell does not mind.
    value = re.sub("^/", " /", value, flags=re.MULTILINE)
    if value.strip():
        yield Code(value, language if language in _LANGUAGES.split() else "")


def _items(opened: Token, tokens: Iterator[Token], links: AllowedLinks) -> Iterator[Block]:
    start = int(opened.attrs.get("start", 1))
    found = Items(None if opened.type == "bullet_list_open" else start if start <= _LARGEST_START else 1)
    for token in tokens:
        if token.nesting < 0:
            break
        # An item without anything would make a heading of the line above it.
        if item := list(_blocks(tokens, links)):
            found.items.append(item)
    if found.items:
        yield found


def _table(tokens: Iterator[Token], links: AllowedLinks) -> Iterator[Block]:
    table = Table()
    for token in tokens:
        match token.type:
            case "table_close":
                break
            case "tr_open":
                table.rows.append([])
            case "th_open" | "td_open":
                if len(table.rows) == 1:
                    table.align.append(str(token.attrGet("style") or "").removeprefix("text-align:"))
                cell = _inlines(next(tokens).children or [], links, keeps_lines=False, in_table=True)
                table.rows[-1].append(cell)
    if any(cell for row in table.rows for cell in row):
        yield table


def _inlines(tokens: list[Token], links: AllowedLinks, *, keeps_lines: bool, in_table: bool = False) -> list[Inline]:
    if not tokens:
        return []
    root: list[Inline] = []
    # For each token that is open: the list that its content goes to. What is in itself already adds nothing.
    places = [root]
    marks = [""]
    for token in tokens:
        if token.nesting > 0:
            opened = _opened(token, links, marks)
            marks.append(opened.mark if isinstance(opened, Span) else "a" if opened else "")
            if opened:
                places[-1].append(opened)
            places.append(opened.children if opened else places[-1])
        elif token.nesting < 0:
            places.pop()
            marks.pop()
        else:
            _add(places[-1], _leaf(token, keeps_lines=keeps_lines, in_table=in_table))
    words = _tidy(root)
    _edges(words)
    return words


def _opened(token: Token, links: AllowedLinks, marks: list[str]) -> Span | Link | None:
    if token.type == "link_open":
        address = links.address(str(token.attrGet("href") or ""))
        return Link(address) if address else None
    mark = _MARKS.get(token.tag)
    return Span(mark) if mark and mark not in marks else None


def _leaf(token: Token, *, keeps_lines: bool, in_table: bool) -> Inline:
    match token.type:
        case "softbreak" | "hardbreak":
            return Break(token.type == "hardbreak") if keeps_lines else Text(" ")
        case "code_inline":
            value = code_text(" ".join(token.content.split("\n")).strip())
            # A table is split at its bars before code is looked for.
            return Text(value) if in_table and "|" in value else Code(value)
        case "image":
            return Text(_description(token))
        case _:
            return Text(token.content)


def _description(image: Token) -> str:
    parts = (_description(token) if token.type == "image" else token.content or " " for token in image.children or [])
    return "".join(parts)


def _add(place: list[Inline], inline: Inline) -> None:
    """Add something; text that follows text is one, so that its entities are seen as a reader would see them."""
    last = place[-1] if place else None
    if isinstance(inline, Text) and isinstance(last, Text):
        last.value += inline.value
        return
    if last is not None and _fence_of(inline) and _fence_of(inline) == _fence_of(last):
        place.append(Text(" "))  # or "`a`" and "`b`" would be one span
    place.append(inline)


def _fence_of(inline: Inline) -> str:
    """The character that begins and ends it in Markdown."""
    return "`" if isinstance(inline, Code) else inline.mark[0] if isinstance(inline, Span) else ""


def _tidy(inlines: list[Inline]) -> list[Inline]:
    """Resolve entities, drop what is empty, and bring blanks from the inner edge of a span to the outer one."""
    tidy: list[Inline] = []
    for inline in inlines:
        match inline:
            case Text():
                if value := decoded(inline.value):
                    _add(tidy, Text(value))
            case Code():
                if inline.value:
                    _add(tidy, inline)
            case Break():
                _add(tidy, inline)
            case Span() | Link():
                inline.children = _tidy(inline.children)
                before, after = _edges(inline.children)
                if before:
                    _add(tidy, Text(" "))
                if inline.children:
                    _add(tidy, inline)
                if after:
                    _add(tidy, Text(" "))
    return tidy


def _edges(children: list[Inline]) -> tuple[bool, bool]:
    """Take blanks and line ends away from both ends, and say at which ends there were some."""
    found = [False, False]
    for end, last in ((0, 0), (1, -1)):
        while children:
            leaf = children[last]
            if isinstance(leaf, Text):
                stripped = leaf.value.rstrip() if end else leaf.value.lstrip()
                found[end] = found[end] or stripped != leaf.value
                leaf.value = stripped
                if stripped:
                    break
            elif not isinstance(leaf, Break):
                break
            else:
                found[end] = True
            children.pop(last)
    return found[0], found[1]


def _disarm_words(inlines: Sequence[Inline], links: AllowedLinks) -> None:
    leaves = list(_leaves(inlines))
    pieces = ["\n" if isinstance(leaf, Break) else leaf.value for leaf in leaves]
    shown = disarmed(pieces, [isinstance(leaf, Text) for leaf in leaves], links.knows)
    for leaf, value in zip(leaves, shown, strict=True):
        if isinstance(leaf, Text):
            leaf.value = value


def _leaves(inlines: Iterable[Inline]) -> Iterator[Text | Code | Break]:
    for inline in inlines:
        if isinstance(inline, Span | Link):
            yield from _leaves(inline.children)
        else:
            yield inline
