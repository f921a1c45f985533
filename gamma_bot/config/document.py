"""YAML text becomes a small tree that knows where each of its nodes stands.

Scalars are read as YAML 1.2 reads them, which is what people expect today: ``1e-3`` is a number, ``on`` and ``1:30``
are text. Nothing here can build an object, run for long or take much memory, whatever the text is (I9).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from gamma_bot.config.errors import Problem, clipped
from gamma_bot.config.yaml_words import syntax_problem

MAX_BYTES = 64 * 1024
_MAX_DEPTH = 20
_MAX_NODES = 5000
_MAX_DIGITS = 300

Scalar = str | int | float | bool | None

_INTEGER = re.compile(r"[-+]?[0-9]+")
_OTHER_INTEGER = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True)
class Place:
    """A stretch of one line, counted from 1; ``end_column`` is the last column that belongs to it."""

    line: int
    column: int
    end_column: int


@dataclass(frozen=True, eq=False)
class ScalarNode:
    """A single value; ``text`` is how it was written, without quotes."""

    place: Place
    value: Scalar
    text: str


@dataclass(frozen=True, eq=False)
class ListNode:
    """A list."""

    place: Place
    items: list[Node] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class MappingNode:
    """Keys and values in the order of the file, doubles included."""

    place: Place
    entries: list[tuple[Node, Node]] = field(default_factory=list)


Node = ScalarNode | ListNode | MappingNode


class Refused(Exception):
    """The text can't be used as a whole; the problem says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def read_document(text: str) -> Node | None:
    """The tree of a YAML document; ``None`` if it is empty.

    Args:
        text: with ``\\n`` as its only line end.

    Raises:
        Refused: the text is not one YAML document, or uses what Gamma does not read.
    """
    try:
        return _Reader(text).read()
    # An escape like "\\UFFFFFFFF", which names no character, is a ValueError or an OverflowError.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise Refused(syntax_problem(error, text)) from error


def scalar_value(text: str) -> Scalar:
    """What an unquoted scalar means in YAML 1.2 (core schema)."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _MAX_DIGITS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OTHER_INTEGER.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", "").lower())
    return text


class _Reader:
    """Builds the tree from PyYAML's events, one at a time, so that it can stop early."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._events: Iterator[Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._nodes = 0

    def read(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refused(event, "there is a second document after `---`", "Keep one document per file.")
            elif isinstance(event, NodeEvent):
                root, _ = self._node(event, depth=0)
        is_empty = isinstance(root, ScalarNode) and root.value is None
        return None if is_empty else root

    def _node(self, event: Event, depth: int) -> tuple[Node, int]:
        """A node, and how many nodes it holds when aliases are written out."""
        if depth > _MAX_DEPTH:
            raise self._refused(event, f"this is nested more than {_MAX_DEPTH} levels deep", "")
        if isinstance(event, AliasEvent):
            return self._alias(event)
        self._refuse_tag(event)
        node: Node
        size = 1
        self._count(event, 1)
        if isinstance(event, ScalarEvent):
            plain = event.style is None
            node = ScalarNode(self._place(event), scalar_value(event.value) if plain else event.value, event.value)
        elif isinstance(event, SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(following := next(self._events), CollectionEndEvent):
                item, item_size = self._node(following, depth + 1)
                items.append(item)
                size += item_size
            node = ListNode(self._place(event), items)
        else:
            assert isinstance(event, MappingStartEvent)
            entries: list[tuple[Node, Node]] = []
            while not isinstance(following := next(self._events), CollectionEndEvent):
                key, key_size = self._node(following, depth + 1)
                value, value_size = self._node(next(self._events), depth + 1)
                entries.append((key, value))
                size += key_size + value_size
            node = MappingNode(self._place(event), entries)
        if event.anchor is not None:
            # Known only from here on, so an alias can't hold itself.
            self._anchors[event.anchor] = (node, size)
        return node, size

    def _alias(self, event: AliasEvent) -> tuple[Node, int]:
        known = self._anchors.get(event.anchor or "")
        if known is None:
            name = clipped(event.anchor or "")
            raise self._refused(
                event,
                f"`*{name}` refers to nothing: no `&{name}` stands before it",
                "A text that begins with * needs quotes.",
            )
        # An alias counts as much as what it stands for: ten lines of aliases can mean billions of values.
        self._count(event, known[1])
        return known

    def _count(self, event: Event, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > _MAX_NODES:
            raise self._refused(event, f"from here on the file holds more than {_MAX_NODES:,} values", "")

    def _refuse_tag(self, event: Event) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None:
            written = "!!" + tag.removeprefix("tag:yaml.org,2002:") if tag.startswith("tag:yaml.org,2002:") else tag
            raise self._refused(
                event, f"the YAML tag `{clipped(written)}` is not allowed", "Put text that begins with ! in quotes."
            )

    def _place(self, event: Event) -> Place:
        assert event.start_mark is not None
        assert event.end_mark is not None
        return place_of(self._text, event.start_mark.index, event.end_mark.index)

    def _refused(self, event: Event, message: str, hint: str) -> Refused:
        place = self._place(event)
        return Refused(
            Problem(
                message,
                hint,
                line=place.line,
                column=place.column,
                end_line=place.line,
                end_column=place.end_column,
            )
        )


def place_of(text: str, start: int, end: int) -> Place:
    """Where a stretch of the text stands; cut at the end of its first line."""
    start = min(start, len(text))
    begin_of_line = text.rfind("\n", 0, start) + 1
    end_of_line = text.find("\n", start)
    last = min(end, end_of_line if end_of_line >= 0 else len(text))
    column = start - begin_of_line + 1
    # PyYAML counts other characters as line ends too; people and GitHub count only \n.
    return Place(text.count("\n", 0, start) + 1, column, max(column, last - begin_of_line))
