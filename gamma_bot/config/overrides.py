"""Hyperparameters that a person gives for one job (``/gamma train lr=0.01``), put over those of ``gamma.yml``.

A name that ``gamma.yml`` does not know is refused, because a training script would silently ignore a misspelt one; a
``gamma.yml`` without any hyperparameters takes every name. A value must be of the kind that ``gamma.yml`` gives there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from gamma_bot.config.document import scalar_value
from gamma_bot.config.errors import Problem, clipped
from gamma_bot.config.explain import closest, explain
from gamma_bot.config.schema import GammaConfig, Scalar


@dataclass(frozen=True)
class Overridden:
    """What came of it.

    Attributes:
        config: ``None`` exactly if there is a problem.
        changed: name → the value before (``None`` if there was none) and the value now.
    """

    config: GammaConfig | None
    changed: Mapping[str, tuple[Scalar, Scalar]]
    problems: tuple[Problem, ...] = ()


def overrides(config: GammaConfig, given: Mapping[str, str]) -> Overridden:
    """Put values over the hyperparameters of a config; all that is wrong with them is told at once.

    Args:
        given: names and values as a person typed them.
    """
    declared = config.train.hyperparameters
    values: dict[str, Scalar] = {}
    problems = []
    for name, text in given.items():
        if declared and name not in declared:
            problems.append(_unknown(name, declared))
            continue
        value = scalar_value(text)
        before = declared.get(name)
        if isinstance(before, str):
            value = text
        elif wrong := _unfit(name, before, value, text):
            problems.append(wrong)
            continue
        values[name] = value
    merged = {**declared, **values}
    if not problems:
        # The limits on names, lengths and numbers of them are the same as in the file.
        sections = {"train": {"hyperparameters": merged}}
        try:
            GammaConfig.model_validate(sections)
        except ValidationError as error:
            problems = [Problem(each.message, each.hint, each.key_path) for each in explain(error, sections)]
    if problems:
        return Overridden(None, {}, tuple(problems))
    train = config.train.model_copy(update={"hyperparameters": merged})
    changed = {name: (declared.get(name), value) for name, value in values.items()}
    return Overridden(config.model_copy(update={"train": train}), changed)


def _unknown(name: str, declared: Mapping[str, Scalar]) -> Problem:
    close = closest(name, declared)
    listed = f"gamma.yml has: {', '.join(clipped(known) for known in list(declared)[:20])}."
    return Problem(
        f"`{clipped(name)}` is not a hyperparameter of gamma.yml",
        f"Did you mean `{close}`? {listed}" if close else listed,
        ("train", "hyperparameters", name),
    )


def _unfit(name: str, before: Scalar, value: Scalar, text: str) -> Problem | None:
    """The problem with a value that is of another kind than the one in ``gamma.yml``; text takes everything."""
    where = ("train", "hyperparameters", name)
    shown = f"`{clipped(text)}`" if text.strip() else "empty text"
    if isinstance(value, float) and not math.isfinite(value):
        return Problem(f"`{clipped(name)}` must be a finite number, not {shown}", "", where)
    if isinstance(before, bool):
        if not isinstance(value, bool):
            return Problem(f"`{clipped(name)}` must be true or false, not {shown}", "", where)
    elif isinstance(before, int | float) and (isinstance(value, bool) or not isinstance(value, int | float)):
        return Problem(f"`{clipped(name)}` must be a number like {before:g}, not {shown}", "", where)
    return None
