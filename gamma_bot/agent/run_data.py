"""Runs as tools tell them: plain JSON values, with what is computed of them computed here and not by the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gamma_bot.agent.facts import Judged, Metric
from gamma_bot.agent.reading import RunView

_MOST_METRICS = 60
_MOST_PARAMS = 60
_NONE = Metric("", Judged.NO_BASELINE, math.nan, {})


def rounded(value: float) -> float | str:
    """As precise as anybody says it; JSON has no NaN."""
    return float(f"{value:.6g}") if math.isfinite(value) else str(value)


def listed(run: RunView) -> dict[str, Any]:
    """A run among others."""
    primary = next((metric for metric in run.metrics if metric.primary), None)
    return _without_empty(
        {
            "run": run.id,
            "state": run.state,
            "branch": run.branch,
            "sha": run.sha[:12],
            "attempt": run.attempt,
            "at": _moment(run.queued_at),
            "message": run.message.split("\n")[0][:120],
            "why": run.why[:200],
            "primary": {"name": primary.name, "last": rounded(primary.current)} if primary is not None else None,
        }
    )


def whole(run: RunView) -> dict[str, Any]:
    """All of a run but its histories, its log and what is in its files."""
    metrics = sorted(run.metrics, key=lambda metric: (not metric.primary, not metric.goal, metric.name))
    return _without_empty(
        {
            "run": run.id,
            "mlflow_id": run.mlflow_id,
            "state": run.state,
            "why": run.why[:1000],
            "branch": run.branch,
            "sha": run.sha[:12],
            "attempt": run.attempt,
            "executor": run.executor,
            "queued_at": _moment(run.queued_at),
            "seconds": run.seconds,
            "message": run.message[:1000],
            "compared_with": run.compared_with,
            "params": dict(sorted(run.params.items())[:_MOST_PARAMS]),
            "metrics": [_metric(metric) for metric in metrics[:_MOST_METRICS]],
            "metrics_left_out": max(0, len(metrics) - _MOST_METRICS),
            "artifacts": [path for path, _ in run.artifacts],
        }
    )


def compared(first: RunView, second: RunView) -> dict[str, Any]:
    """Two runs side by side; every difference is the second one's value minus the first one's."""
    one, other = ({metric.name: metric for metric in run.metrics} for run in (first, second))
    names = sorted(
        {**one, **other},
        key=lambda name: (not _any_of(name, one, other).primary, not _any_of(name, one, other).goal, name),
    )
    differing = {
        name: {"a": first.params.get(name), "b": second.params.get(name)}
        for name in sorted({**first.params, **second.params})
        if first.params.get(name) != second.params.get(name)
    }
    return {
        "a": listed(first),
        "b": listed(second),
        "metrics": [_both(name, one.get(name), other.get(name)) for name in names[:_MOST_METRICS]],
        "params": dict(list(differing.items())[:_MOST_PARAMS]),
    }


def course(history: Sequence[tuple[int, float]], points: int) -> dict[str, Any]:
    """How a metric went: thinned points, and what is said of all of them."""
    finite = [(step, value) for step, value in history if math.isfinite(value)]
    broken = next((step for step, value in history if not math.isfinite(value)), None)
    data: dict[str, Any] = {
        "logged": len(history),
        "points": [[step, rounded(v)] for step, v in _thinned(history, points)],
    }
    if broken is not None:
        data |= {"not_finite": len(history) - len(finite), "first_not_finite_step": broken}
    if finite:
        low, high = min(finite, key=lambda point: point[1]), max(finite, key=lambda point: point[1])
        data |= {
            name: _point(at) for name, at in (("min", low), ("max", high), ("first", finite[0]), ("last", finite[-1]))
        }
        data["change"] = rounded(finite[-1][1] - finite[0][1])
        data["slope_per_step"] = rounded(_slope(finite))
    return data


def _metric(metric: Metric) -> dict[str, Any]:
    return _without_empty(
        {
            "name": metric.name,
            "last": rounded(metric.current),
            "step": metric.step,
            "best": rounded(metric.best) if metric.best is not None else None,
            "best_step": metric.best_step,
            "baseline": rounded(metric.baseline) if metric.baseline is not None else None,
            "delta": rounded(metric.delta) if metric.delta is not None else None,
            "rel": rounded(metric.relative) if metric.relative is not None else None,
            "judged": metric.judged.value,
            "goal": metric.goal,
            "primary": metric.primary,
            "tolerance": metric.tolerance,
        }
    )


def _both(name: str, one: Metric | None, other: Metric | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "goal": (one or other or _NONE).goal}
    for side, metric in (("a", one), ("b", other)):
        if metric is not None:
            row[side] = rounded(metric.current)
    if one is not None and other is not None:
        delta = other.current - one.current
        row["delta"] = rounded(delta)
        if math.isfinite(delta) and one.current:
            row["rel"] = rounded(delta / abs(one.current))
    return _without_empty(row)


def _any_of(name: str, one: Mapping[str, Metric], other: Mapping[str, Metric]) -> Metric:
    return one.get(name) or other.get(name) or _NONE


def _thinned(history: Sequence[tuple[int, float]], points: int) -> Sequence[tuple[int, float]]:
    if len(history) <= points:
        return history
    last = len(history) - 1
    return [history[round(index * last / (points - 1))] for index in range(points)]


def _point(at: tuple[int, float]) -> dict[str, Any]:
    return {"step": at[0], "value": rounded(at[1])}


def _slope(points: Sequence[tuple[int, float]]) -> float:
    """The straight line of least squares."""
    number = len(points)
    mean_step = sum(step for step, _ in points) / number
    mean = sum(value for _, value in points) / number
    spread = sum((step - mean_step) * (step - mean_step) for step, _ in points)
    return sum((step - mean_step) * (value - mean) for step, value in points) / spread if spread else 0.0


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M") if at else ""


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, "", (), [], {}) and value is not False}
