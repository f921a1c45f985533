"""A metric's course as the parts of an SVG: points, marks on both axes and where they stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gamma_bot.reporting.facts import MetricLine
from gamma_bot.reporting.numbers import format_value

_WIDTH, _HEIGHT = 480, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 92, 16, 14, 30


@dataclass(frozen=True)
class Mark:
    """A word beside an axis; ``anchor`` is SVG's for where ``x`` is in it."""

    x: float
    y: float
    anchor: str
    label: str


@dataclass(frozen=True)
class ChartParts:
    """What the page's template draws.

    Attributes:
        run, baseline: points of the lines; the baseline's are empty if there is none.
        grid: heights of the lines that the marks of the y axis stand at.
        summary: what the chart shows, in words.
    """

    run: str
    baseline: str
    marks: Sequence[Mark]
    grid: Sequence[float]
    summary: str
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    right: int = _WIDTH - _RIGHT


def chart_parts(line: MetricLine) -> ChartParts | None:
    """The chart of a metric, this run's line and the baseline's; ``None`` with fewer than two points."""
    own, other = _finite(line.history), _finite(line.baseline_history)
    if len(own) < 2:
        return None
    points = [*own, *other]
    first, last = min(step for step, _ in points), max(step for step, _ in points)
    low, high = min(value for _, value in points), max(value for _, value in points)

    def x(step: int) -> float:
        return round(_LEFT + (step - first) / ((last - first) or 1) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        # Halved, because the difference of two huge floats may overflow.
        share = (value / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    def place(history: Sequence[tuple[int, float]]) -> str:
        return " ".join(f"{x(step)},{y(value)}" for step, value in history)

    values = [low, low / 2 + high / 2, high] if high > low else [low]
    steps = sorted({first, first + (last - first) // 2, last})
    anchors = {first: "start", last: "end"}
    marks = [Mark(_LEFT - 8, y(value) + 5, "end", format_value(value)) for value in values]
    marks += [
        Mark(x(step), _HEIGHT - 8, anchors.get(step, "middle"), f"step {step:,}" if step == first else f"{step:,}")
        for step in steps
    ]
    summary = f"{line.name}, {format_value(low)} to {format_value(high)} over steps {first:,} to {last:,}"
    return ChartParts(place(own), place(other), marks, [y(value) for value in values], summary)


def _finite(history: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    return [(step, value) for step, value in history if math.isfinite(value)]
