"""Numbers as a person reads them: metric values, changes, durations and sizes."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

# Not strftime's: those follow the language of the machine.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def format_value(value: float) -> str:
    """Four significant digits; whole numbers up to a billion in full, very small and very large ones as 1.2e-05."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e9 or size < 1e-4:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"
    if abs(float(f"{value:.4g}")) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def format_percent(relative: float) -> str:
    """A signed share of one as per cent: 0.46 → ``+46 %``."""
    percent = relative * 100
    size = abs(percent)
    if not math.isfinite(percent):
        return "NaN %"
    if size == 0:
        return "0 %"
    if size < 0.01:
        return "<0.01 %"
    if size < 9.95:
        digits = f"{percent:+.{2 if size < 1 else 1}f}"
        return f"{digits.rstrip('0').rstrip('.')} %"
    if size < 1e6:
        return f"{percent:+,.0f} %"
    return f"{'+' if percent > 0 else ''}{format_value(percent)} %"


def format_change(change: float, relative: float | None) -> str:
    """A signed change, with its share of the baseline where that is known: ``+62.1 (+46 %)``."""
    if change == 0:
        return "0"
    amount = format_signed(change)
    return amount if relative is None else f"{amount} ({format_percent(relative)})"


def format_signed(change: float) -> str:
    """A value that always shows its sign, but for zero and NaN."""
    return f"+{format_value(change)}" if change > 0 else format_value(change)


def format_seconds(seconds: float) -> str:
    """The two largest units that matter: ``0.4 s``, ``12 s``, ``2 m 10 s``, ``1 h 2 m``, ``3 d 4 h``."""
    if not math.isfinite(seconds) or seconds < 0:
        return "unknown time"
    if seconds < 0.05:
        return "under 0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return _two(days, "d", hours_left, "h")
    if hours:
        return _two(hours, "h", minutes_left, "m")
    return _two(minutes, "m", rest, "s") if minutes else f"{rest} s"


def format_moment(moment: float) -> str:
    """Unix seconds as ``27 Nov 2026, 14:05 UTC``."""
    found = datetime.fromtimestamp(moment, UTC)
    return f"{found.day} {_MONTHS[found.month - 1]} {found.year}, {found:%H:%M} UTC"


def format_bytes(size: int) -> str:
    """A size in decimal units: ``512 B``, ``12.3 kB``, ``1.5 GB``."""
    if abs(size) < 1000:
        return f"{size} B"
    amount = float(size)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if abs(amount) < 999.5:
            return f"{amount:.3g} {unit}"
    return f"{amount / 1000:,.4g} TB"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: ``1 file``, ``1,200 files``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """A key by which ``m2`` comes before ``m10``."""
    pieces = re.split(r"([0-9]{1,18})", name)
    return [(1, int(piece), piece) if index % 2 else (0, 0, piece) for index, piece in enumerate(pieces)]


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"
