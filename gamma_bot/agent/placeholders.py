"""``[[val_loss.delta]]``: where the model wants a number, and we print it.

The printed text is ours, from the metrics table; the model never writes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gamma_bot.agent.facts import Metric

FIELDS = ("baseline", "current", "delta", "rel")

# Also what only looks like one, so that nothing with double brackets goes through unread.
PLACEHOLDER = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
# A sign, a digit or a word that touches it, or a unit after a blank; both also through the backticks around it.
_BEFORE = re.compile(r"(?:[-+−–±~\w.,%^*/×\]]|\b(?:minus|plus|negative|times)\s)`?\Z", re.IGNORECASE)
_PERCENT = re.compile(r"`?\s*(?:%|％|percent\b|per\s+cent\b|percentage\s+points?\b|points?\b)", re.IGNORECASE)
_AFTER = re.compile(
    rf"(?:{_PERCENT.pattern}|`?\s*(?:‰|pp\b|basis\s+points|per\s+mille|[x×*^]|times\b|-?fold\b|thousand|million|[kKM]\b)"
    r"|`?[\w\[+−^])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Placeholder:
    """One field of one metric."""

    metric: str
    field: str


def read(inner: str) -> Placeholder:
    """What stands between the brackets; the field is after the last dot, since names have dots too."""
    name, _, field = inner.strip().rpartition(".")
    return Placeholder(name.strip().strip("`").strip(), field.strip())


def unresolved(text: str, metrics: Mapping[str, Metric]) -> Sequence[str]:
    """Why placeholders of a text can't be printed, in words for the model."""
    found = []
    for match in PLACEHOLDER.finditer(text):
        wanted = read(match[1])
        if wanted.metric not in metrics:
            found.append(f"the placeholder {match[0]} names no metric of the input")
        elif wanted.field not in FIELDS:
            found.append(f"the placeholder {match[0]} has no field of {', '.join(FIELDS)}")
        elif not metrics[wanted.metric].printed.get(wanted.field):
            found.append(f"the placeholder {match[0]} has no value: `{wanted.metric}` has no {wanted.field}")
        elif "\n" in match[0]:
            found.append("the placeholder {} goes over two lines".format(" ".join(match[0].split())))
        if (of := metrics.get(wanted.metric)) and (beside := _beside(text, match, of)):
            found.append(f"{beside!r} beside the placeholder {match[0]} would make another number of it")
    rest = PLACEHOLDER.sub("", text)
    if "[[" in rest or "]]" in rest:
        found.append("a placeholder's brackets do not close")
    if bare := next((f"{name}.{field}" for name in metrics for field in FIELDS if f"{name}.{field}" in rest), ""):
        found.append(f"{bare!r} is no placeholder without two square brackets on both sides")
    return found


def _beside(text: str, match: re.Match[str], metric: Metric) -> str:
    """What stands at a placeholder and would be read as a part of the number: a sign, a digit, a unit."""
    before, after = _BEFORE.search(text[: match.start()]), _AFTER.match(text[match.end() :])
    if before is not None:
        return before[0]
    # The values of "top1 %" are percentages.
    is_percentage = re.search("%|percent|pct", metric.name, re.IGNORECASE) and read(match[1]).field != "rel"
    if after is None or (is_percentage and _PERCENT.fullmatch(after[0])):
        return ""
    return after[0]


def resolve(text: str, metrics: Mapping[str, Metric]) -> str:
    """The text with its numbers. Only for texts without ``unresolved`` placeholders."""

    def value(match: re.Match[str]) -> str:
        wanted = read(match[1])
        return metrics[wanted.metric].printed[wanted.field]

    return PLACEHOLDER.sub(value, text)
