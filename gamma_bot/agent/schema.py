"""The form of a write-up as the model gives it: what the API is asked to enforce, and what we check ourselves.

The API takes a schema without lengths and counts, and lets through what a broken stream left: so whatever comes is
validated here again. Every field is required, since few may be optional; empty values stand for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=600)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Change(_Part):
    """What one file of the diff changes."""

    path: Name
    summary: Sentence


class Note(_Part):
    """What is remarkable about one metric."""

    metric: Name
    text: Sentence


class Reference(_Part):
    """Something in the input that supports a claim."""

    kind: Literal["diff", "metric", "log", "param"]
    ref: Name


class Cause(_Part):
    """The most probable explanation."""

    text: Sentence
    confidence: Literal["low", "medium", "high"]
    evidence: Annotated[list[Reference], Field(max_length=5)]


class Suspect(_Part):
    """A place that may have broken a failed run."""

    path: Name
    quote: Name
    why: Sentence


class Experiment(_Part):
    """What to try next."""

    change: Sentence
    why: Sentence
    expected_metric: Annotated[str, StringConstraints(max_length=300)]
    expected_direction: Literal["up", "down", "unknown"]


class Written(_Part):
    """A whole write-up."""

    # Asked for shorter than it is taken: a name of a metric or a file can be long.
    headline: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=240),
        Field(description="At most 120 characters."),
    ]
    what_changed: Annotated[list[Change], Field(max_length=6)]
    metric_notes: Annotated[list[Note], Field(max_length=4)]
    likely_cause: Cause
    suspects: Annotated[list[Suspect], Field(max_length=3)]
    next_experiments: Annotated[list[Experiment], Field(max_length=3)]
    caveats: Annotated[list[Sentence], Field(max_length=3)]


class NotAWriteUp(Exception):
    """A text that is no write-up; ``violations`` say where it is wrong, in words for the model."""

    def __init__(self, violations: Sequence[str]) -> None:
        super().__init__("; ".join(violations))
        self.violations = violations


def parse(text: str) -> Written:
    """A write-up out of JSON.

    Raises:
        NotAWriteUp
    """
    try:
        return Written.model_validate_json(text)
    except ValidationError as error:
        found = [f"{'.'.join(map(str, each['loc'])) or 'the answer'}: {each['msg']}" for each in error.errors()[:10]]
        raise NotAWriteUp(found) from None


def output_format() -> dict[str, Any]:
    """What ``output_config.format`` takes."""
    schema = Written.model_json_schema()
    return {"type": "json_schema", "schema": _for_the_api(schema, schema.get("$defs", {}))}


def _for_the_api(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return _for_the_api(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if schema["type"] == "object":
        properties = {name: _for_the_api(each, definitions) for name, each in schema["properties"].items()}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    if schema["type"] == "array":
        items = _for_the_api(schema["items"], definitions)
        return {"type": "array", "items": items, "description": f"At most {schema['maxItems']} items."}
    if "enum" in schema:
        return {"type": "string", "enum": list(schema["enum"])}
    return {"type": "string", "description": schema.get("description", f"At most {schema['maxLength']} characters.")}
