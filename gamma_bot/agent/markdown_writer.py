"""Writes the tree of a document as Markdown that every renderer reads as this tree, and cuts one that is too long."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from gamma_bot.agent.markdown_tree import Block, Break, Code, Inline, Items, Link, Paragraph, Quote, Span, Table, Text
from gamma_bot.agent.text_nodes import escaped

_RULES = {"": "---", "left": ":--", "center": ":-:", "right": "--:"}
# What the marks of a cell, an item, a span or a line cost at least.
_OVERHEAD = 4


def written(blocks: Sequence[Block]) -> str:
    """The document."""
    return "\n".join(_lines(blocks))


def written_line(inlines: Sequence[Inline], *, in_heading: bool = False) -> str:
    """Words in Markdown; more than one line if there are line ends among them."""
    return _Words(in_heading=in_heading).of(inlines)


def shortened(blocks: Sequence[Block], part: float) -> list[Block]:
    """The beginning of the document, about this part of it; whatever is open there is closed."""
    whole = _Shears(sys.maxsize)
    whole.blocks(blocks)
    return _Shears(int((sys.maxsize - whole.left) * part)).blocks(blocks)


def _lines(blocks: Sequence[Block], *, is_tight: bool = False) -> list[str]:
    lines: list[str] = []
    is_twin = False
    for before, block in zip([None, *blocks], blocks, strict=False):
        # Two lists with the same marks would be one.
        is_twin = not is_twin and isinstance(block, Items) and isinstance(before, Items)
        # A list right below a line belongs to it, unless it begins with a number that is not 1.
        follows = is_tight and isinstance(block, Items) and block.start in (None, 1)
        if lines and not follows:
            lines.append("")
        lines += _items(block, is_twin=is_twin) if isinstance(block, Items) else _block(block)
    return lines


def _block(block: Paragraph | Code | Quote | Table) -> list[str]:
    match block:
        case Paragraph():
            words = written_line(block.children, in_heading=block.level > 0)
            return [f"{'#' * block.level} {words}"] if block.level else words.split("\n")
        case Code():
            ticks = "`" * max(3, _longest_run(block.value) + 1)
            return [ticks + block.language, *block.value.split("\n"), ticks]
        case Quote():
            return [f"> {line}".rstrip() for line in _lines(block.blocks)]
        case Table():
            return list(_table(block))
    assert_never(block)


def _items(found: Items, *, is_twin: bool) -> list[str]:
    bullet, dot = ("* ", ") ") if is_twin else ("- ", ". ")
    is_tight = all(not isinstance(block, Paragraph) or block.is_tight for item in found.items for block in item)
    lines: list[str] = []
    for number, item in enumerate(found.items):
        if lines and not is_tight:
            lines.append("")
        mark = bullet if found.start is None else f"{found.start + number}{dot}"
        for line in _lines(item, is_tight=is_tight):
            lines.append((mark + line).rstrip())
            mark = " " * len(mark)
    return lines


def _table(table: Table) -> Iterator[str]:
    for number, row in enumerate(table.rows):
        yield "| " + " | ".join(written_line(cell) for cell in row) + " |"
        if number == 0:
            yield "| " + " | ".join(_RULES.get(align, "---") for align in table.align) + " |"


class _Words:
    """One paragraph that is being written."""

    def __init__(self, *, in_heading: bool) -> None:
        self._in_heading = in_heading
        self._parts: list[str] = []
        self._at_line_start = True

    def of(self, inlines: Sequence[Inline]) -> str:
        """The words of a paragraph, without lines that are empty."""
        self._add(inlines)
        return "\n".join(line.strip(" ") for line in "".join(self._parts).split("\n"))

    def _add(self, inlines: Sequence[Inline]) -> None:
        for number, inline in enumerate(inlines):
            match inline:
                case Text():
                    follows = inlines[number + 1] if number + 1 < len(inlines) else None
                    self._write(
                        escaped(
                            inline.value.lstrip(" ") if self._at_line_start else inline.value,
                            at_line_start=self._at_line_start and not self._in_heading,
                            is_last=not isinstance(follows, Break),
                            in_heading=self._in_heading,
                        )
                    )
                case Code():
                    ticks = "`" * (_longest_run(inline.value) + 1)
                    pad = " " if inline.value[0] == "`" or inline.value[-1] == "`" else ""
                    self._write(f"{ticks}{pad}{inline.value}{pad}{ticks}")
                case Break() if self._at_line_start:
                    pass  # an empty line would end the paragraph
                case Break():
                    self._write("\\\n" if inline.is_hard else "\n")
                case Span():
                    self._write(inline.mark)
                    self._add(inline.children)
                    self._write(inline.mark)
                case Link():
                    self._write("[")
                    self._add(inline.children)
                    self._write(f"]({inline.address})")

    def _write(self, part: str) -> None:
        self._parts.append(part)
        if part.strip(" "):
            self._at_line_start = part.endswith("\n")


def _longest_run(value: str) -> int:
    return max((len(run) for run in re.findall("`+", value)), default=0)


class _Shears:
    """Cuts a document off, counting what has been kept."""

    def __init__(self, size: int) -> None:
        self.left = size

    def blocks(self, blocks: Sequence[Block]) -> list[Block]:
        kept: list[Block] = []
        for block in blocks:
            self.left -= _OVERHEAD
            if self.left <= 0:
                break
            if (cut := self._block(block)) is not None:
                kept.append(cut)
        return kept

    def _block(self, block: Block) -> Block | None:
        """The beginning of the block, or None: marks around nothing would be text."""
        match block:
            case Paragraph():
                children = self._inlines(block.children)
                return replace(block, children=children) if children else None
            case Code():
                whole = "\n".join(self._whole(block.value.split("\n")))
                return replace(block, value=whole or "…")
            case Quote():
                blocks = self.blocks(block.blocks)
                return Quote(blocks) if blocks else None
            case Items():
                items = [kept for item in block.items if (kept := self.blocks(item))]
                return Items(block.start, items) if items else None
            case Table():
                rows = [[self._inlines(cell) for cell in row] for row in block.rows if self.left > 0]
                return Table(rows, block.align)
        assert_never(block)

    def _inlines(self, inlines: Sequence[Inline]) -> list[Inline]:
        kept: list[Inline] = []
        for inline in inlines:
            if self.left <= 0:
                break
            match inline:
                case Text() | Code():
                    kept.append(replace(inline, value=self._clipped(inline.value)))
                case Break():
                    kept.append(inline)
                case Span() | Link():
                    self.left -= _OVERHEAD + (len(inline.address) if isinstance(inline, Link) else 0)
                    if children := self._inlines(inline.children):
                        kept.append(replace(inline, children=children))
        while kept and isinstance(kept[-1], Break):
            kept.pop()
        return kept

    def _clipped(self, value: str) -> str:
        self.left -= len(value) + 1
        if self.left >= 0:
            return value
        return value[: max(0, len(value) + self.left)].rstrip() + "…"

    def _whole(self, lines: Sequence[str]) -> Iterator[str]:
        for line in lines:
            self.left -= len(line) + 1
            if self.left < 0:
                return
            yield line
