"""Mermaid's ``xychart-beta`` as inline SVG: GitHub draws it in the reader's browser, the sandbox has no such library.

The parser is as strict as Mermaid's grammar where that matters to whoever writes a chart: ``1e-5``, ``NaN`` and an
empty list are errors on GitHub too, and the sandbox shows the same kind of box instead of hiding the mistake.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

# What Mermaid uses when no palette is set: the first colour is nearly invisible on white, as it is on GitHub.
DEFAULT_PALETTE = ("#ECECFF", "#8493A6", "#FFC3A0", "#DCDDE1", "#B8E994", "#D1A36F", "#C3CDE6", "#FFB6C1")

WIDTH, HEIGHT = 700, 420
LARGEST_SOURCE = 50_000  # characters; Mermaid's own maxTextSize


class MermaidError(ValueError):
    """The source is no chart that Mermaid would draw; the text says which line and why."""


class UnsupportedDiagramError(MermaidError):
    """A kind of Mermaid diagram that the sandbox does not draw."""


@dataclass(frozen=True)
class Series:
    """One ``line`` or ``bar`` statement."""

    kind: Literal["line", "bar"]
    values: Sequence[float]
    name: str = ""


@dataclass(frozen=True)
class Chart:
    """A parsed ``xychart-beta``; a range or the categories are ``None`` where the source leaves them out."""

    series: Sequence[Series]
    title: str = ""
    x_label: str = ""
    x_range: tuple[float, float] | None = None
    categories: Sequence[str] | None = None
    y_label: str = ""
    y_range: tuple[float, float] | None = None
    palette: Sequence[str] = DEFAULT_PALETTE


def draw(source: str) -> str:
    """The chart as one ``<svg>`` element.

    Raises:
        UnsupportedDiagramError: another diagram than an upright ``xychart``.
        MermaidError: a chart with a mistake.
    """
    return svg(parse(source))


def parse(source: str) -> Chart:
    """Read the chart's source; raises what ``draw`` raises."""
    if len(source) > LARGEST_SOURCE:
        raise MermaidError(f"The diagram has {len(source):,} characters; Mermaid draws at most {LARGEST_SOURCE:,}.")
    directives = _INIT.findall(source)
    lines = [(number, line.strip()) for number, line in enumerate(_INIT.sub("", source).split("\n"), 1)]
    statements = [(number, line) for number, line in lines if line and not line.startswith("%%")]
    if not statements or not re.match(r"xychart(-beta)?\b", statements[0][1]):
        raise UnsupportedDiagramError("The sandbox draws xychart-beta only; GitHub would draw this diagram.")
    if "horizontal" in statements[0][1]:
        raise UnsupportedDiagramError("The sandbox draws upright charts only; GitHub would draw this one sideways.")

    draft = _Draft(palette=_palette(directives))
    for number, line in statements[1:]:
        try:
            _read_statement(line, draft)
        except MermaidError as error:
            raise MermaidError(f"Parse error on line {number}: {error}") from None
    if not draft.series:
        raise MermaidError("The chart has no line and no bar.")
    return draft.chart()


def svg(chart: Chart) -> str:
    """Draw a parsed chart; text takes the page's colour, so it reads in light and in dark."""
    top = 40 if chart.title else 16
    bottom = 66 if chart.x_label else 40
    left = 84 if chart.y_label else 62
    plot = _Plot(left, top, WIDTH - left - 20, HEIGHT - top - bottom, _y_range(chart))
    parts = [
        f'<svg class="mermaid-chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(chart.title or "chart")}" xmlns="http://www.w3.org/2000/svg">'
    ]
    if chart.title:
        parts.append(_text(WIDTH / 2, 24, chart.title, "chart-title"))
    parts += _y_axis(chart, plot)
    parts += _x_axis(chart, plot)
    bars = [index for index, series in enumerate(chart.series) if series.kind == "bar"]
    for index, series in enumerate(chart.series):
        colour = chart.palette[index % len(chart.palette)]
        if series.kind == "bar":
            parts += _bars(series, plot, chart, colour, bars.index(index), len(bars))
        else:
            parts.append(_line(series, plot, chart, colour))
    parts.append("</svg>")
    return "".join(parts)


# --- the parser -------------------------------------------------------------------------------------------------------

_INIT = re.compile(r"%%\{\s*init(?:ialize)?\s*:\s*(\{.*?\})\s*\}%%", re.DOTALL)
_NUMBER = r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)"
_TEXT = r'"[^"]+"|[A-Za-z0-9_.&+=*#-]+?'
_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}|[a-zA-Z]+|(?:rgb|hsl)a?\([0-9., %]+\)")
_TITLE = re.compile(rf"title\s+({_TEXT})")
_AXIS = re.compile(
    rf"(?P<axis>[xy])-axis(?:\s+(?P<label>{_TEXT}))??"
    rf"(?:\s+(?P<low>{_NUMBER})\s*-->\s*(?P<high>{_NUMBER})|\s*\[(?P<categories>.*)\])?"
)
_SERIES = re.compile(rf"(?P<kind>line|bar)(?:\s+(?P<name>{_TEXT}))??\s*\[(?P<values>.*)\]")


@dataclass
class _Draft:
    palette: Sequence[str]
    series: list[Series] = field(default_factory=list)
    title: str = ""
    x_label: str = ""
    x_range: tuple[float, float] | None = None
    categories: Sequence[str] | None = None
    y_label: str = ""
    y_range: tuple[float, float] | None = None

    def chart(self) -> Chart:
        return Chart(
            tuple(self.series),
            self.title,
            self.x_label,
            self.x_range,
            self.categories,
            self.y_label,
            self.y_range,
            self.palette,
        )


def _read_statement(line: str, draft: _Draft) -> None:
    if match := _TITLE.fullmatch(line):
        draft.title = _unquote(match[1])
    elif match := _SERIES.fullmatch(line):
        values = tuple(_number(item) for item in match["values"].split(","))
        kind: Literal["line", "bar"] = "line" if match["kind"] == "line" else "bar"
        draft.series.append(Series(kind, values, _unquote(match["name"] or "")))
    elif match := _AXIS.fullmatch(line):
        label = _unquote(match["label"] or "")
        span = (float(match["low"]), float(match["high"])) if match["low"] else None
        if match["axis"] == "x":
            draft.x_label, draft.x_range = label, span
            draft.categories = _categories(match["categories"]) if match["categories"] is not None else None
        elif match["categories"] is not None:
            raise MermaidError("a y-axis takes a range (low --> high), not categories.")
        else:
            draft.y_label, draft.y_range = label, span
    elif not line.startswith(("accTitle", "accDescr")):
        raise MermaidError(f"cannot read {line!r}. Text with spaces needs double quotes.")


def _number(item: str) -> float:
    if not re.fullmatch(_NUMBER, item.strip()):
        raise MermaidError(f"{item.strip()!r} is no number of Mermaid's (no exponent, no NaN, no empty list).")
    return float(item)


def _categories(inner: str) -> tuple[str, ...]:
    found = re.findall(r'\s*("[^"]+"|[^",]+?)\s*(?:,|$)', inner)
    if not found:
        raise MermaidError("an axis needs at least one category.")
    return tuple(_unquote(item) for item in found)


def _unquote(text: str) -> str:
    return text[1:-1].strip() if text.startswith('"') else text


def _palette(directives: Sequence[str]) -> Sequence[str]:
    for directive in reversed(directives):
        try:
            options = json.loads(directive.replace("'", '"'))
        except ValueError as error:
            raise MermaidError(f"The init directive is no JSON: {error}.") from None
        node: object = options
        for key in ("themeVariables", "xyChart", "plotColorPalette"):
            node = node.get(key) if isinstance(node, Mapping) else None
        if isinstance(node, str):
            colours = [part.strip() for part in re.split(r",(?![^()]*\))", node)]
            return tuple(colour for colour in colours if _COLOUR.fullmatch(colour)) or DEFAULT_PALETTE
    return DEFAULT_PALETTE


# --- the drawing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plot:
    left: float
    top: float
    width: float
    height: float
    y_range: tuple[float, float]

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.top + self.height * (1 - (value - low) / (high - low))


def _y_range(chart: Chart) -> tuple[float, float]:
    values = [value for series in chart.series for value in series.values]
    low, high = chart.y_range or (min(values), max(values))
    if low > high:
        low, high = high, low
    if low == high:  # a flat line in the middle instead of a division by zero
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    return low, high


def _ticks(low: float, high: float, about: int) -> list[float]:
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _y_axis(chart: Chart, plot: _Plot) -> list[str]:
    parts = []
    for tick in _ticks(*plot.y_range, 6):
        y = plot.y(tick)
        parts.append(f'<path class="chart-grid" d="M{plot.left:.1f} {y:.1f}h{plot.width:.1f}"/>')
        parts.append(_text(plot.left - 8, y + 4, f"{tick:.6g}", "chart-tick chart-end"))
    if chart.y_label:
        middle = plot.top + plot.height / 2
        label = escape(chart.y_label)
        parts.append(f'<text class="chart-label" transform="translate(18 {middle:.1f}) rotate(-90)">{label}</text>')
    return parts


def _x_axis(chart: Chart, plot: _Plot) -> list[str]:
    base = plot.top + plot.height
    parts = [f'<path class="chart-axis" d="M{plot.left:.1f} {plot.top:.1f}v{plot.height:.1f}h{plot.width:.1f}"/>']
    if chart.categories is not None:
        # Names that would touch are thinned out; Mermaid lets them overlap.
        longest = max(len(name) for name in chart.categories)
        every = max(1, math.ceil(len(chart.categories) * min(longest, 24) * 7.5 / plot.width))
        for index, name in enumerate(chart.categories):
            if index % every == 0:
                shown = name if len(name) <= 24 else name[:23] + "…"
                parts.append(_text(_x(index, len(chart.categories), plot, band=True), base + 20, shown, "chart-tick"))
    else:
        low, high = _x_range(chart)
        for tick in _ticks(low, high, 8) if high > low else [low]:
            share = (tick - low) / (high - low) if high > low else 0.5
            parts.append(_text(plot.left + plot.width * share, base + 20, f"{tick:.6g}", "chart-tick"))
    if chart.x_label:
        parts.append(_text(plot.left + plot.width / 2, HEIGHT - 14, chart.x_label, "chart-label"))
    return parts


def _x_range(chart: Chart) -> tuple[float, float]:
    if chart.x_range:
        return min(chart.x_range), max(chart.x_range)
    return 1.0, float(max(len(series.values) for series in chart.series))


def _x(index: int, count: int, plot: _Plot, *, band: bool) -> float:
    if band:
        return plot.left + plot.width * (index + 0.5) / count
    return plot.left + plot.width * (index / (count - 1) if count > 1 else 0.5)


def _slots(series: Series, chart: Chart) -> int:
    return len(chart.categories) if chart.categories is not None else len(series.values)


def _line(series: Series, plot: _Plot, chart: Chart, colour: str) -> str:
    slots = _slots(series, chart)
    banded = chart.categories is not None or any(other.kind == "bar" for other in chart.series)
    points = [
        f"{_x(index, slots, plot, band=banded):.1f},{plot.y(value):.1f}"
        for index, value in enumerate(series.values[:slots])
    ]
    return f'<polyline class="chart-line" fill="none" stroke="{escape(colour)}" points="{" ".join(points)}"/>'


def _bars(series: Series, plot: _Plot, chart: Chart, colour: str, place: int, bar_series: int) -> list[str]:
    slots = _slots(series, chart)
    room = plot.width / slots * 0.8 / bar_series
    low, high = plot.y_range
    base = plot.top + plot.height  # Mermaid's bars stand on the axis, negative ones too
    parts = []
    for index, value in enumerate(series.values[:slots]):
        x = _x(index, slots, plot, band=True) - room * bar_series / 2 + room * place
        y = plot.y(min(max(value, low), high))
        rectangle = f'x="{x:.1f}" y="{min(y, base):.1f}" width="{room:.1f}" height="{abs(y - base):.1f}"'
        parts.append(f'<rect fill="{escape(colour)}" {rectangle}/>')
    return parts


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
