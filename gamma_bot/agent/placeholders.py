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
    rest = PLACEHOLDER.sub("", text)
    if "[[" in rest or "]]" in rest:
        found.append("a placeholder's brackets do not close")
    return found


def resolve(text: str, metrics: Mapping[str, Metric]) -> str:
    """The text with its numbers. Only for texts without ``unresolved`` placeholders."""

    def value(match: re.Match[str]) -> str:
        wanted = read(match[1])
        return metrics[wanted.metric].printed[wanted.field]

    return PLACEHOLDER.sub(value, text)
