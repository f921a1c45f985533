"""Charts that GitHub draws without fetching an image: sparklines of letters, and Mermaid's line chart."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gamma_bot.reporting.numbers import format_value

History = Sequence[tuple[int, float]]

_BARS = "▁▂▃▄▅▆▇█"
_MOST_NAMES = 20  # steps that are written below the axis one by one
_NAMES_WIDTH = 100  # characters of them, quotes included, before they run into each other
# Mermaid's own first colour is nearly invisible on white. Blue and orange differ for colour-blind readers too.
_PALETTE = '%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #bc4c00"}}}}%%'


@dataclass(frozen=True)
class Chart:
    """A Mermaid chart and what must be said beside it.

    Attributes:
        source: the diagram's text, to be put into a ``mermaid`` fence.
        has_baseline: the second, orange line is drawn.
        note: one sentence if a line does not show all its run or shows more; else empty.
    """

    source: str
    has_baseline: bool
    note: str = ""


def sparkline(values: Sequence[float], width: int = 12) -> str:
    """The course of a metric as at most ``width`` little bars; empty with fewer than two finite values."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    if len(finite) > width:
        finite = resample(list(enumerate(finite)), 0, len(finite) - 1, width)
    low, high = min(finite), max(finite)
    if low == high:
        return _BARS[3] * len(finite)
    span = high / 2 - low / 2  # halved, because the difference of two huge floats may overflow
    return "".join(_BARS[min(7, int((value / 2 - low / 2) / span * 8))] for value in finite)


def resample(history: History, start: float, end: float, points: int) -> list[float]:
    """The values at ``points`` evenly spread steps, straight between two points and held outside of them."""
    found, index = [], 0
    for number in range(points):
        at = start + (end - start) * number / (points - 1)
        while index + 2 < len(history) and history[index + 1][0] < at:
            index += 1
        (left, low), (right, high) = history[index], history[min(index + 1, len(history) - 1)]
        share = 0.0 if right == left else min(1.0, max(0.0, (at - left) / (right - left)))
        found.append(low * (1 - share) + high * share)
    return found


def xychart(name: str, history: History, baseline: History = (), points: int = 30) -> Chart | None:
    """A line chart of a metric over the run's own steps, with the baseline's line where there is one.

    Mermaid spreads each line evenly over the axis, so both are resampled to the same steps.

    Returns:
        ``None`` if there are fewer than two different steps to draw.
    """
    own, other = _one_value_a_step(history), _one_value_a_step(baseline)
    if len(own) < 2:
        return None
    start, end = own[0][0], own[-1][0]
    names = _step_names([step for step, _ in own])
    count = len(names) or max(20, min(40, points))
    lines = [resample(own, start, end, count)]
    if len(other) >= 2:
        lines.append(resample(other, start, end, count))
    if names:
        step_unit, steps = "step", f"[{', '.join(names)}]"
    else:
        step_unit, step_scale = _step_unit(max(abs(start), abs(end)))
        steps = f"{_fixed(start / step_scale, 3)} --> {_fixed(end / step_scale, 3)}"
    low, high, exponent = _range(lines)
    scaled = [[value / 10.0**exponent for value in line] for line in lines]
    decimals = max(0, min(12, 3 - math.floor(math.log10(high - low))))
    label = _label(name)
    title = f"{label} (in units of 1e{exponent:+03d})" if exponent else label
    source = [
        _PALETTE,
        "xychart-beta",
        f'    x-axis "{step_unit}" {steps}',
        f'    y-axis "{title}" {_fixed(low, decimals)} --> {_fixed(high, decimals)}',
        *(f"    line [{', '.join(_fixed(value, decimals) for value in line)}]" for line in scaled),
    ]
    return Chart("\n".join(source), len(lines) == 2, _note(own, other))


def _note(own: History, other: History) -> str:
    if len(other) < 2:
        return ""
    end, other_end = own[-1][0], other[-1][0]
    if other_end < end:
        return f"The baseline ended at step {format_value(other_end)}; its last value is held after that."
    if other_end > end:
        return f"The baseline went on to step {format_value(other_end)}, which is not shown."
    return ""


def _one_value_a_step(history: History) -> list[tuple[int, float]]:
    """The newest finite value of each step, in the order of steps."""
    return sorted({step: value for step, value in history if math.isfinite(value)}.items())


def _range(lines: Sequence[Sequence[float]]) -> tuple[float, float, int]:
    """The y axis: low, high, and the power of ten that they are scaled by. Mermaid reads no exponents."""
    values = [value for line in lines for value in line]
    size = max(abs(value) for value in values)
    exponent = 0
    if size and not 1e-2 <= size < 1e6:
        exponent = max(-300, math.floor(math.log10(size) / 3) * 3)
    low, high = min(values) / 10.0**exponent, max(values) / 10.0**exponent
    # A flat line gets an axis around it; a difference below what floats can show counts as flat.
    pad = (high - low) * 0.05 if high - low > 1e-9 * max(abs(low), abs(high), 1e-9) else max(abs(high) * 0.05, 1e-3)
    # What is never negative, such as a loss, gets no negative room.
    return (max(0.0, low - pad) if low >= 0 else low - pad), high + pad, exponent


def _step_names(steps: Sequence[int]) -> list[str]:
    """The steps as names on the axis: few ones, evenly apart, that fit beside each other. Else none.

    A range between few steps would get marks at 0.5, where nothing can have been logged.
    """
    apart = steps[1] - steps[0]
    even = all(after - before == apart for before, after in pairwise(steps))
    few = steps if even else range(steps[0], steps[-1] + 1)
    if len(few) > _MOST_NAMES or _step_unit(max(abs(steps[0]), abs(steps[-1]))) != ("step", 1):
        return []
    names = [f'"{step}"' for step in few]
    return names if sum(len(name) for name in names) <= _NAMES_WIDTH else []


def _step_unit(largest: float) -> tuple[str, int]:
    """Six-digit labels run into each other, so large steps are counted in thousands or millions."""
    if largest >= 1e8:
        return "million steps", 1_000_000
    return ("thousand steps", 1000) if largest >= 1e5 else ("step", 1)


def _label(name: str) -> str:
    """A metric's name that can't end Mermaid's string or start a directive."""
    return re.sub(r"[^A-Za-z0-9_./@ -]+", "_", name)[:60] or "value"


def _fixed(value: float, decimals: int) -> str:
    shown = f"{value:.{decimals}f}"
    shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    return "0" if shown in ("-0", "") else shown
