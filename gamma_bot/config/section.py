"""What a section of ``gamma.yml`` is, and the values that more than one of them takes.

Values are strict: a number is never taken for text, nor ``yes`` for true. What a value shall be is said once, in
plain words, by the ``Wants`` beside its type; errors and help are made from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([KMGT])i?B?", re.IGNORECASE)


@dataclass(frozen=True)
class Wants:
    """What a value must be, to follow "must be"; ``item`` is the same for what a list or mapping holds."""

    value: str
    item: str = ""


def mistake(message: str, hint: str = "", *keys: str) -> PydanticCustomError:
    """A mistake that only a rule can see.

    Args:
        keys: the keys of the section that contradict each other; the last one is shown.
    """
    # The words go into the context, because pydantic would fill in the braces of a template.
    return PydanticCustomError("rule", "{message}", {"message": message, "hint": hint, "keys": keys})


class Section(BaseModel):
    """A part of ``gamma.yml``. A key with nothing after it means the default."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, strict=True, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _nothing_means_default(cls, values: Any) -> Any:
        if values is None:
            return {}
        if isinstance(values, dict):
            return {key: value for key, value in values.items() if value is not None or key not in cls.model_fields}
        return values


def _seconds(value: object) -> object:
    """``90``, ``90s``, ``30m``, ``2h``, ``1h30m``, ``1d`` → seconds."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None or not any(match.groups()):
            raise ValueError("not a duration")
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return value


def _bytes(value: object) -> object:
    """``512M``, ``8G``, ``8GiB`` → bytes (powers of 1024)."""
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise ValueError("not a size")
        return int(float(match[1]) * 1024 ** (" KMGT".index(match[2].upper())))
    return value


def number_or_text(pattern: str, number: Literal["integer", "number"] = "number", **bounds: float) -> WithJsonSchema:
    """How a quantity is told to an editor: a number, or text with a unit."""
    # Neither \s nor flags: what is left means the same in the regular expressions of all languages.
    return WithJsonSchema({"anyOf": [{"type": number, **bounds}, {"type": "string", "pattern": f"^ *{pattern} *$"}]})


def text_or_list(item: dict[str, object], most: int) -> WithJsonSchema:
    """How a list that may be one text is told to an editor."""
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "maxItems": most}]})


def listed(value: object) -> object:
    """One text may stand for a list of one."""
    return [value] if isinstance(value, str) else value


Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, le=28 * 24 * 3600),
    Wants("a duration like 90s, 30m or 2h, at most 28d"),
    number_or_text(
        r"(?=[0-9])([0-9]{1,9}d)?([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?",
        exclusiveMinimum=0,
        maximum=28 * 24 * 3600,
    ),
]
Bytes = Annotated[
    int,
    BeforeValidator(_bytes),
    Field(ge=64 * 1024**2, le=64 * 1024**4),
    Wants("a size like 512M or 8G, at least 64M"),
    number_or_text(
        r"[0-9]{1,9}(\.[0-9]{1,9})? *[KMGTkmgt][iI]?[bB]?", "integer", minimum=64 * 1024**2, maximum=64 * 1024**4
    ),
]
Switch = Annotated[bool, Wants("true or false")]
