"""Numbers as they are written, and which ones can be derived for a metric or a parameter."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from gamma_bot.agent.facts import Metric, Param

Subject = Metric | Param

_NUMBER = re.compile(r"([-+−–]?)((?:\d[\d,]*(?:\.\d+)?|\.\d+))(?:[eE]([-+−]?\d+))?\s?(.*)", re.DOTALL)
_LARGEST_POWER = 300  # beyond it no float is left: "1234e567" is the beginning of a SHA


@dataclass(frozen=True)
class Literal:
    """A number as it is written."""

    value: float
    decimals: int  # below zero for what is written with a multiplier
    signed: bool
    unit: str  # "", "%", "points", "x"

    @classmethod
    def read(cls, text: str) -> Literal:
        """A number out of a text that is one."""
        match = _NUMBER.fullmatch(text)
        assert match is not None, text
        digits = match[2].replace(",", "")
        exponent = int((match[3] or "0").replace("−", "-")[:9])
        unit = match[4].strip()
        thousands = {"k": 3, "M": 6}.get(unit, 0)
        decimals = len(digits.partition(".")[2]) - exponent - thousands
        value = float(digits) * 10.0 ** (exponent + thousands) if exponent < _LARGEST_POWER else math.inf
        negative = match[1] in ("-", "−", "–")
        kind = {"%": "%", "x": "x", "×": "x"}.get(unit, "points" if "p" in unit else "")
        return cls(-value if negative else value, decimals, bool(match[1]), kind)

    def is_rounding_of(self, value: float) -> bool:
        """Whether a value is this number at the decimals it is written with."""
        if not math.isfinite(self.value):
            return False
        if value != 0 and 10.0**-self.decimals > abs(value) * (2 if self.decimals > 0 else 1):
            return False  # hardly a digit of it is left
        half = 0.5 * 10.0**-self.decimals
        return abs(self.value - value) <= half * (1 + 1e-6) + 1e-12 * abs(value)


def metric_values(metric: Metric, role: str, literal: Literal, claimed: int) -> list[float]:
    """What a number about a metric may be, in that role and unit. A change without a sign needs the right word."""
    values: list[float] = []
    if role in ("", "current"):
        values += [metric.current, *([metric.best] if metric.best is not None and not role else [])]
    if role in ("", "baseline") and metric.baseline is not None:
        values.append(metric.baseline)
    changes = []
    if role in ("", "change"):
        changes = [(metric.delta, ""), (metric.relative, "%"), (metric.delta, "points")]
    if role in ("tolerance", ""):
        values.append(metric.tolerance)
    found: list[float] = []
    match literal.unit:
        case "":
            found += values
        case "%":
            found += [value * 100 for value in values if abs(value) <= 1]
        case "x":
            ratio = metric.current / metric.baseline if metric.baseline else None
            return [ratio] if ratio is not None and not role else []
        case _:
            found += []
    for change, unit in changes:
        if change is None or unit != literal.unit:
            continue
        shown = change * 100 if unit else change
        if literal.signed:
            found.append(shown)
        elif claimed == 0 or claimed == metric.direction:
            found.append(abs(shown))
    return found


def param_values(param: Param, role: str, literal: Literal) -> list[float]:
    before = as_number(param.before) if param.before is not None else None
    after = as_number(param.value) if param.value is not None else None
    if literal.unit == "x":
        return [after / before, before / after] if before and after else []
    found = []
    if role in ("", "current", "change") and after is not None:
        found.append(after)
    if role in ("", "baseline") and before is not None:
        found.append(before)
    if role == "baseline" and before is None and after is not None and not param.changed:
        found.append(after)
    return [value * 100 for value in found] if literal.unit == "%" else found


def direction_of(subject: Subject | None) -> int | None:
    if isinstance(subject, Metric):
        return subject.direction
    pair = pair_of(subject)
    return None if pair is None else (pair[1] > pair[0]) - (pair[1] < pair[0])


def pair_of(subject: Subject | None) -> tuple[float, float] | None:
    if isinstance(subject, Metric):
        return (subject.baseline, subject.current) if subject.baseline is not None else None
    if subject is None or subject.before is None or subject.value is None:
        return None
    before, after = as_number(subject.before), as_number(subject.value)
    return (before, after) if before is not None and after is not None else None


def as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
