"""A metric as a value, and Prometheus' text form of many. Who counts something makes these; ``/metrics`` shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Metric:
    """One metric with its samples. Label values must be few: each is a time series for as long as Prometheus keeps it.

    Attributes:
        samples: by labels (name and value); ``()`` for the only one of a metric without labels.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: Mapping[Labels, float]


def only(value: float) -> dict[Labels, float]:
    """The one sample of a metric without labels."""
    return {(): float(value)}


def by(label: str, values: Mapping[str, float]) -> dict[Labels, float]:
    """A sample for each value of one label."""
    return {((label, name),): float(value) for name, value in values.items()}


def render(metrics: Iterable[Metric]) -> str:
    """Prometheus' text exposition format, version 0.0.4."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {_escaped(metric.help)}", f"# TYPE {metric.name} {metric.kind}"]
        for labels, value in sorted(metric.samples.items()):
            lines.append(f"{metric.name}{_labels(labels)} {_number(value)}")
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value).replace(chr(34), chr(92) + chr(34))}"' for name, value in labels)
    return "{" + ",".join(pairs) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    # Counters must not stand still for many counts because their last digits are rounded away.
    return f"{value:.0f}" if float(value).is_integer() else repr(float(value))
