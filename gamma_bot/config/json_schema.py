"""The schema of ``gamma.yml`` for editors: completion, descriptions and red underlines while one types.

It is made from the models, so that it can't fall behind them. It is a little more lenient than Gamma: rules about
several keys and about commands can't be said in a schema, and ``gamma validate`` tells those.
"""

from __future__ import annotations

from typing import Any

from gamma_bot.config.schema import GammaConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """``gamma.yml`` as a JSON Schema (2020-12)."""
    made = GammaConfig.model_json_schema(mode="validation")
    definitions = made.pop("$defs", {})
    return {
        "$schema": DIALECT,
        "title": "gamma.yml",
        **_section(made),
        "$defs": {name: _section(definition) for name, definition in definitions.items()},
    }


def _section(model: dict[str, Any]) -> dict[str, Any]:
    """A model's schema, without the titles that only repeat its keys.

    A section may be there with nothing in it, and so may each of its keys: that means the default.
    """
    keys = {name: _or_nothing(key) for name, key in model["properties"].items()}
    words = model["description"].replace("``", "`")
    return {**_without_title(model), "type": ["object", "null"], "description": words, "properties": keys}


def _or_nothing(key: dict[str, Any]) -> dict[str, Any]:
    kind = _without_title(key)
    about: dict[str, Any] = {name: kind.pop(name) for name in ("description", "default") if name in kind}
    if about.get("default", ...) is None:
        del about["default"]
    # pydantic writes null among the kinds where the model has None.
    kinds = [_closed(one) for one in kind.pop("anyOf", [kind]) if one != {"type": "null"}]
    return {**about, "anyOf": [*kinds, {"type": "null"}]}


def _closed(kind: dict[str, Any]) -> dict[str, Any]:
    """Names that don't fit the pattern are mistakes, not extras."""
    return {**kind, "additionalProperties": False} if "patternProperties" in kind else kind


def _without_title(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "title"}
