"""What of a Markdown document may be shown: paragraphs, headings, lists, quotes, tables, code, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass
class Text:
    """Plain text in one line, not yet escaped."""

    value: str


@dataclass
class Code:
    """A code span, or a block of code where it stands among blocks."""

    value: str
    language: str = ""


@dataclass
class Break:
    """The end of a line; a hard one is kept where line ends are not shown."""

    is_hard: bool


@dataclass
class Span:
    """Emphasised, strong or deleted words: ``*``, ``**`` or ``~~`` on both sides."""

    mark: str
    children: list[Inline] = field(default_factory=list)


@dataclass
class Link:
    """A link to an address that is allowed, as it will be written."""

    address: str
    children: list[Inline] = field(default_factory=list)


Inline: TypeAlias = Text | Code | Break | Span | Link


@dataclass
class Paragraph:
    """Words; a heading if it has a level. In a tight list no blank line stands around it."""

    children: list[Inline]
    level: int = 0
    is_tight: bool = False


@dataclass
class Quote:
    """Blocks that somebody else is said to have written."""

    blocks: list[Block] = field(default_factory=list)


@dataclass
class Items:
    """A list, numbered from ``start`` if there is one."""

    start: int | None
    items: list[list[Block]] = field(default_factory=list)


@dataclass
class Table:
    """Rows of cells, the header first; ``align`` has one of "", "left", "center" and "right" for each column."""

    rows: list[list[list[Inline]]] = field(default_factory=list)
    align: list[str] = field(default_factory=list)


Block: TypeAlias = Paragraph | Code | Quote | Items | Table
