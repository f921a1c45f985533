"""A YAML tree becomes plain values, and a map of where each of them stands in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gamma_bot.config.document import ListNode, MappingNode, Node, Place, ScalarNode
from gamma_bot.config.errors import KeyPath, Problem, clipped

_START = Place(1, 1, 1)


@dataclass(frozen=True)
class Places:
    """Where the values of a file stand, and the keys before them."""

    values: dict[KeyPath, Place] = field(default_factory=dict)
    keys: dict[KeyPath, Place] = field(default_factory=dict)

    def problem(
        self, key_path: KeyPath, message: str, hint: str = "", *, at_key: bool = False, warning: bool = False
    ) -> Problem:
        """A problem at its value (or its key), or at the nearest value around it."""
        place = self.keys.get(key_path) if at_key else None
        around = key_path
        while place is None:
            place = self.values.get(around) if around else self.values.get((), _START)
            around = around[:-1]
        return Problem(message, hint, key_path, place.line, place.column, place.line, place.end_column, warning)


def plain_values(root: Node) -> tuple[Any, Places, list[Problem]]:
    """The values of a tree, where they stand, and what is wrong with its keys."""
    places, problems = Places(), []  # type: tuple[Places, list[Problem]]
    return _value(root, (), places, problems), places, problems


def _value(node: Node, key_path: KeyPath, places: Places, problems: list[Problem]) -> Any:
    places.values[key_path] = node.place
    match node:
        case ScalarNode():
            return node.value
        case ListNode():
            return [_value(item, (*key_path, number), places, problems) for number, item in enumerate(node.items)]
        case MappingNode():
            return _mapping(node, key_path, places, problems)


def _mapping(node: MappingNode, key_path: KeyPath, places: Places, problems: list[Problem]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in node.entries:
        found = Places({key_path: key.place})
        if not isinstance(key, ScalarNode):
            problems.append(found.problem(key_path, "a key must be plain text, not a list or a mapping"))
            continue
        # The text as written: `on`, `1` and `null` are names here.
        name, path = key.text, (*key_path, key.text)
        if name == "<<":
            problems.append(found.problem(path, "merge keys (`<<`) are not read", "Write the keys out."))
        elif name in values:
            line = places.keys[path].line
            message = f"`{clipped(name)}` is given twice; the first one is in line {line}"
            problems.append(found.problem(path, message, "Keep one of them."))
        else:
            values[name] = _value(value, path, places, problems)
            places.keys[path] = key.place
            if not isinstance(value, ScalarNode) or not value.text:
                places.values[path] = key.place  # a block has no shape to underline; its key has
    return values
