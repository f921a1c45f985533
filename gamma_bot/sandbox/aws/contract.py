"""Checks a request against AWS's published service model: what is required, how long, which charset, how many.

The service model is what botocore ships; the sentences are the ones that the service's own validation writes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any

from gamma_bot.sandbox.aws.errors import Refused, invalid

_CATEGORY = re.compile(r"\\p\{(\w+)\}")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (int, float),
    "list": (list,),
    "map": (dict,),
    "structure": (dict,),
}


class Contract:
    """The published model of one service."""

    def __init__(self, service: str) -> None:
        import botocore.session  # type: ignore[import-untyped, unused-ignore]

        self._model = botocore.session.get_session().get_service_model(service)

    def input_shape(self, operation: str) -> Any:
        return self._model.operation_model(operation).input_shape

    def output_shape(self, operation: str) -> Any:
        return self._model.operation_model(operation).output_shape

    def shape(self, name: str) -> Any:
        return self._model.shape_for(name)

    def check(self, operation: str, request: dict[str, Any]) -> None:
        """Refuse what the service model refuses, with all findings in one sentence, as the service does.

        Raises:
            Refused: ``ValidationException``, or ``SerializationException`` for a value of another type.
        """
        findings = list(violations(self.input_shape(operation), request))
        if findings:
            count = f"{len(findings)} validation error{'s' if len(findings) > 1 else ''} detected"
            raise invalid(f"{count}: {'; '.join(findings)}")


def violations(shape: Any, value: Any, path: str = "") -> Iterator[str]:
    """What is wrong with ``value``, one sentence each.

    Raises:
        Refused: ``SerializationException``: the value is of another type than the shape.
    """
    _check_type(shape, value)
    match shape.type_name:
        case "structure":
            yield from _structure(shape, value, path)
        case "list":
            if (problem := _out_of_bounds(shape, len(value))) is not None:
                yield _finding(value, path, problem)
            yield from _members(shape.member, enumerate(value, 1), path, value, "Member")
        case "map":
            if (problem := _out_of_bounds(shape, len(value))) is not None:
                yield _finding(value, path, problem)
            keys = ((key, key) for key in value)
            yield from _members(shape.key, keys, path, value, "Map keys")
            yield from _members(shape.value, value.items(), path, value, "Map value")
        case _:
            if broken := list(broken_constraints(shape, value)):
                yield _finding(value, path, broken[0])


def _structure(shape: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"Value null at '{_below(path, name)}' failed to satisfy constraint: Member must not be null"
    for name, member in shape.members.items():
        if value.get(name) is not None:
            yield from violations(member, value[name], _below(path, name))


def _members(shape: Any, items: Iterable[tuple[Any, Any]], path: str, whole: Any, role: str) -> Iterator[str]:
    """Simple values are reported once for the whole collection, with all constraints; structures by their place."""
    for place, item in items:
        if shape.type_name in ("structure", "list", "map"):
            yield from violations(shape, item, f"{path}.{place}.member")
            continue
        _check_type(shape, item)
        if any(broken_constraints(shape, item)):
            constraints = ", ".join(_all_constraints(shape))
            yield _finding(whole, path, f"{role} must satisfy constraint: [{constraints}]")
            return


def broken_constraints(shape: Any, value: Any) -> Iterator[str]:
    """The constraints of a simple shape that ``value`` breaks."""
    limits = shape.metadata
    if shape.type_name == "string":
        if shape.enum and value not in shape.enum:
            yield f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
        if (problem := _out_of_bounds(shape, len(value))) is not None:
            yield problem
        if "pattern" in limits and not _compiled(limits["pattern"]).fullmatch(value):
            yield f"Member must satisfy regular expression pattern: {limits['pattern']}"
    elif shape.type_name in ("integer", "long", "float", "double"):
        if "min" in limits and value < limits["min"]:
            yield f"Member must have value greater than or equal to {limits['min']}"
        if "max" in limits and value > limits["max"]:
            yield f"Member must have value less than or equal to {limits['max']}"


def _all_constraints(shape: Any) -> Iterator[str]:
    limits = shape.metadata
    if "max" in limits:
        yield f"Member must have length less than or equal to {limits['max']}"
    if "min" in limits:
        yield f"Member must have length greater than or equal to {limits['min']}"
    if "pattern" in limits:
        yield f"Member must satisfy regular expression pattern: {limits['pattern']}"
    if getattr(shape, "enum", None):
        yield f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"


def _out_of_bounds(shape: Any, length: int) -> str | None:
    limits = shape.metadata
    if "min" in limits and length < limits["min"]:
        return f"Member must have length greater than or equal to {limits['min']}"
    if "max" in limits and length > limits["max"]:
        return f"Member must have length less than or equal to {limits['max']}"
    return None


def _check_type(shape: Any, value: Any) -> None:
    expected = _TYPES.get(shape.type_name)
    wrong = expected is not None and not isinstance(value, expected)
    if wrong or (isinstance(value, bool) and shape.type_name not in ("boolean", "structure")):
        given = type(value).__name__.upper()
        raise Refused("SerializationException", f"{given}_VALUE can not be converted to {shape.type_name.title()}")


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(_CATEGORY.sub(lambda found: _characters(found[1]), pattern))


@lru_cache(maxsize=16)
def _characters(category: str) -> str:
    """A Unicode category such as ``\\p{L}``, which Python's `re` doesn't know, as what stands in a class."""
    if category == "Alnum":
        return "a-zA-Z0-9"
    points = [point for point in range(0x10000) if unicodedata.category(chr(point)).startswith(category)]
    starts = [point for before, point in pairwise([-2, *points]) if point != before + 1]
    ends = [point for point, after in pairwise([*points, 0x10001]) if after != point + 1]
    return "".join(f"\\u{start:04x}-\\u{end:04x}" for start, end in zip(starts, ends, strict=True))


def _finding(value: Any, path: str, problem: str) -> str:
    return f"Value '{_as_java(value)}' at '{path}' failed to satisfy constraint: {problem}"


def _as_java(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_as_java(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_as_java(item) for item in value) + "]"
    return str(value)


def _below(path: str, member: str) -> str:
    name = member[0].lower() + member[1:]
    return f"{path}.{name}" if path else name
