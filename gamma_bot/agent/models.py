"""What is known of the models: dated prices, and from how many tokens on a prompt can be cached.

A model without prices is refused when Gamma starts: its calls would look as if they cost nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

FILE_NAME = "models.json"
DEFAULT_MODEL = "claude-sonnet-5-5"
SECOND_MODEL = "claude-haiku-5-5"

_PER_TOKEN = 1e-6


class UnknownModel(Exception):
    """A model was asked for of which no price is known; the text says which ones there are."""


class ModelsUnusable(Exception):
    """A table of models can't be read; the text says which one."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one attempt. The whole input is the sum of ``fresh``, ``cache_read`` and the two kinds of writes.

    Attributes:
        thinking: how many of ``output`` nobody sees.
    """

    fresh: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    thinking: int = 0

    @property
    def prompt(self) -> int:
        """All tokens that went in."""
        return self.fresh + self.cache_read + self.cache_write_5m + self.cache_write_1h

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, name) + getattr(other, name) for name in Usage.__dataclass_fields__))


@dataclass(frozen=True)
class Band:
    """US dollars per million tokens, for prompts of at most ``prompt_up_to`` tokens (``None``: of any size)."""

    input: float
    output: float
    cache_read: float
    cache_write_5m: float
    cache_write_1h: float
    prompt_up_to: int | None = None


@dataclass(frozen=True)
class Model:
    """One model.

    Attributes:
        min_cacheable_tokens: a shorter prefix is never cached; ``None`` if that is not known.
        effort: what to ask of it for a write-up; ``None`` if it takes no such option.
        prices: the newest first, each with the day (``2026-10-07``) it goes from.
    """

    name: str
    min_cacheable_tokens: int | None
    effort: str | None
    prices: Sequence[tuple[str, Sequence[Band]]]

    def usd(self, usage: Usage, at: float) -> float:
        """What an attempt at this moment (Unix seconds) costs."""
        band = self._band(usage.prompt, at)
        return _PER_TOKEN * (
            usage.fresh * band.input
            + usage.cache_read * band.cache_read
            + usage.cache_write_5m * band.cache_write_5m
            + usage.cache_write_1h * band.cache_write_1h
            + usage.output * band.output
        )

    def most_usd(self, prompt_tokens: int, output_tokens: int, at: float) -> float:
        """The most that a call can cost: all of its prompt is written to the cache and none of it read from there."""
        return self.usd(Usage(cache_write_1h=prompt_tokens, output=output_tokens), at)

    def _band(self, prompt_tokens: int, at: float) -> Band:
        day = datetime.fromtimestamp(at, UTC).date().isoformat()
        bands = next((bands for since, bands in self.prices if since <= day), self.prices[-1][1])
        fitting = (band for band in bands if band.prompt_up_to is None or prompt_tokens <= band.prompt_up_to)
        return next(fitting, bands[-1])


class Models:
    """The table of models."""

    def __init__(self, models: Mapping[str, Model], as_of: str) -> None:
        self._models = models
        self.as_of = as_of

    def get(self, name: str) -> Model:
        """A model by the name that the API knows it by.

        Raises:
            UnknownModel
        """
        if name not in self._models:
            known = ", ".join(sorted(self._models))
            raise UnknownModel(
                f"{name} has no prices in the table of models of {self.as_of}, so what it costs could not be limited. "
                f"Known are {known}; a {FILE_NAME} in the data directory can add others."
            )
        return self._models[name]


def load_models(data_dir: Path | None = None) -> Models:
    """The package's table, and what a ``models.json`` in the data directory adds to it or puts in its place.

    Raises:
        ModelsUnusable
    """
    text = (files("gamma_bot.agent") / FILE_NAME).read_text(encoding="utf-8")
    models, as_of = _table(text, "the table of models of the package")
    path = data_dir / FILE_NAME if data_dir is not None else None
    if path is not None and path.is_file():
        try:
            more, newer = _table(path.read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise ModelsUnusable(f"{path} can't be read ({error.strerror})") from None
        models, as_of = {**models, **more}, max(as_of, newer)
    return Models(models, as_of)


def _table(text: str, name: str) -> tuple[Mapping[str, Model], str]:
    try:
        document = json.loads(text)
        models = {key: _model(key, values) for key, values in document["models"].items()}
        return models, str(document["as_of"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ModelsUnusable(f"{name} is damaged ({what}); write it as in gamma_bot/agent/{FILE_NAME}") from None


def _band(values: Mapping[str, Any]) -> Band:
    # A price that is no number would be noticed when the call is made and paid; with NaN no sum would be over a cap.
    for name, price in values.items():
        is_number = isinstance(price, int | float) and not isinstance(price, bool)
        if name != "prompt_up_to" and not (is_number and math.isfinite(price) and price >= 0):
            raise ValueError(f"{name} is {price!r}, which is no price")
    return Band(**values)


def _model(name: str, values: Mapping[str, Any]) -> Model:
    prices = [(str(price["since"]), [_band(band) for band in price["bands"]]) for price in values["prices"]]
    if not prices or not all(bands for _, bands in prices):
        raise ValueError(f"{name} has no prices")
    return Model(
        name,
        values["min_cacheable_tokens"],
        values["effort"],
        sorted(prices, key=lambda price: price[0], reverse=True),  # ISO dates sort as text
    )
