"""What came of a run: each metric beside the baseline's, and the sentence that ends the job."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from gamma_bot.config.schema import Metric
from gamma_bot.reporting.facts import Judgement, MetricLine, State
from gamma_bot.reporting.numbers import format_percent, format_value, natural_order
from gamma_bot.tracking.runs import Point, Run
from gamma_bot.training.trainer import Ending, Outcome

_MAX_POINTS = 200


@dataclass(frozen=True)
class Conclusion:
    """How a job ends for its readers.

    Attributes:
        why: one plain sentence; empty only for a success with nothing to add.
        hint: what to do next; may be empty for a success.
        gate_failed: the metric whose gate failed the job.
    """

    state: State
    why: str = ""
    hint: str = ""
    gate_failed: str | None = None


def judge_metrics(run: Run, baseline: Run | None, rules: Mapping[str, Metric]) -> tuple[MetricLine, ...]:
    """Every metric of the run beside the baseline's last value.

    The primary metric comes first, then those of ``gamma.yml`` in its order, then the others by name (``m2`` before
    ``m10``), MLflow's ``system/`` metrics last; every report shows them in this order. If no metric is called primary,
    the first of ``gamma.yml`` is, or the only one logged.
    """
    logged = {name: points for name, points in run.metrics.items() if points}
    primary = _primary(logged, rules)
    place = {name: number for number, name in enumerate(rules)}
    ordered = sorted(
        logged,
        key=lambda name: (
            name != primary,
            name.startswith("system/"),
            place.get(name, len(place)),
            natural_order(name),
        ),
    )
    return tuple(
        _judge(
            name,
            logged[name],
            baseline.metrics.get(name, ()) if baseline else (),
            rules.get(name, Metric()),
            primary=name == primary,
        )
        for name in ordered
    )


def primary_metric(run: Run, rules: Mapping[str, Metric]) -> str | None:
    """The metric that a run is judged by first, if there is one."""
    return _primary({name: points for name, points in run.metrics.items() if points}, rules)


def conclude(outcome: Outcome, lines: Sequence[MetricLine], rules: Mapping[str, Metric]) -> Conclusion:
    """The job's end state, with words. Only a run that completed can succeed (I7)."""
    said = outcome.message.strip()
    match outcome.ending:
        case Ending.COMPLETED:
            return _conclude_completed(lines, rules)
        case Ending.STOPPED:
            return Conclusion(State.CANCELLED, said or "The run was stopped.", "Push again to train it once more.")
        case Ending.USER_CODE:
            return Conclusion(State.FAILED, said or _how_it_died(outcome), outcome.hint or _after_a_crash(outcome))
        case Ending.COMMAND:
            return Conclusion(
                State.FAILED,
                said or "The command could not be started.",
                "Correct `train.command` in gamma.yml: it is run from the repository's root, without a shell.",
            )
        case Ending.SOURCE:
            return Conclusion(
                State.FAILED,
                said or "The repository's files could not be unpacked.",
                "Look for links that lead out of the repository and for very large files, then push again.",
            )
        case Ending.REQUIREMENTS:
            return Conclusion(
                State.FAILED,
                said or "requirements.txt could not be installed.",
                "The end of the log names the package; correct requirements.txt and push again.",
            )
        case Ending.TIME_LIMIT:
            return Conclusion(
                State.FAILED,
                said or "The run took longer than gamma.yml allows.",
                "Raise `train.timeout` in gamma.yml, or let the run do less.",
            )
        case Ending.MEMORY_LIMIT:
            return Conclusion(
                State.FAILED,
                said or "The run used more memory than gamma.yml allows.",
                "Raise `train.memory` in gamma.yml, or let the run need less: a smaller batch, fewer workers.",
            )
        case Ending.LOST:
            return Conclusion(
                State.FAILED,
                said or "The machine that ran the job went down.",
                "This may not be the code's fault: push again to train it once more.",
            )
        case Ending.CONFIG | Ending.QUOTA:
            hint = outcome.hint or "Correct gamma.yml and push again."
            return Conclusion(State.FAILED, said or "The executor refused the job.", hint)
        case Ending.CAPACITY | Ending.PLATFORM | Ending.NEVER_STARTED:
            return Conclusion(
                State.FAILED,
                said or "The executor could not run the job.",
                outcome.hint or "This is not the code's fault: `/gamma retry` tries again.",
            )
        case _:
            assert_never(outcome.ending)


def _conclude_completed(lines: Sequence[MetricLine], rules: Mapping[str, Metric]) -> Conclusion:
    by_name = {line.name: line for line in lines}
    for line in lines:
        if line.primary and line.judgement is Judgement.NOT_FINITE:
            return Conclusion(
                State.FAILED,
                f"The run finished, but `{line.name}` ended as {format_value(line.last)} at step {line.step:,}.",
                "Look for the step where it broke; a lower learning rate or gradient clipping often helps.",
                line.name if rules.get(line.name, Metric()).gate else None,
            )
    for name, rule in rules.items():
        if rule.gate is None:
            continue
        failure = _gate_failure(name, by_name.get(name), rule)
        if failure is not None:
            return failure
    for name, rule in rules.items():
        if rule.primary and name not in by_name:
            return Conclusion(
                State.SUCCEEDED,
                f"The run finished, but it never logged `{name}`, the primary metric in gamma.yml.",
                f'Log it with `mlflow.log_metric("{name}", value, step=step)`, or name another metric in gamma.yml.',
            )
    return Conclusion(State.SUCCEEDED)


def _gate_failure(name: str, line: MetricLine | None, rule: Metric) -> Conclusion | None:
    if line is None:
        return Conclusion(
            State.FAILED,
            f"The run finished, but it never logged `{name}`, which has a gate in gamma.yml.",
            f'Log it with `mlflow.log_metric("{name}", value, step=step)`, or remove its gate.',
            name,
        )
    if line.judgement is Judgement.NOT_FINITE:
        return Conclusion(
            State.FAILED,
            f"The run finished, but `{name}`, which has a gate in gamma.yml, ended as {format_value(line.last)}.",
            "Look at its course for the step where it broke.",
            name,
        )
    if line.judgement is not Judgement.WORSE or line.baseline is None or line.change is None:
        return None
    verb = "rose" if line.change > 0 else "fell"
    share = f" ({format_percent(line.relative)})" if line.relative is not None else ""
    allowed = (
        f"no regression beyond its tolerance of {format_value(rule.tolerance)}" if rule.tolerance else "no regression"
    )
    return Conclusion(
        State.FAILED,
        f"`{name}` {verb} from {format_value(line.baseline)} to {format_value(line.last)}{share}, "
        f"and its gate in gamma.yml allows {allowed}.",
        f"If a change of this size is noise, raise `metrics.{name}.tolerance` in gamma.yml.",
        name,
    )


def _how_it_died(outcome: Outcome) -> str:
    if outcome.signal:
        return f"The command was ended by {outcome.signal}."
    if outcome.exit_code is not None:
        return f"The command exited with status {outcome.exit_code}."
    return "The command failed."


def _after_a_crash(outcome: Outcome) -> str:
    if outcome.signal == "SIGKILL":
        return "SIGKILL from outside often means that the machine ran out of memory: let the run need less of it."
    if outcome.signal in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"):
        return "A native library crashed: `python -X faulthandler` in the command shows the line of Python."
    return "Correct the code and push again."


def _primary(logged: Mapping[str, Sequence[Point]], rules: Mapping[str, Metric]) -> str | None:
    named = [name for name, rule in rules.items() if rule.primary]
    if named:
        return named[0] if named[0] in logged else None
    ruled = [name for name in rules if name in logged]
    if ruled:
        return ruled[0]
    own = [name for name in logged if not name.startswith("system/")]
    return own[0] if len(own) == 1 else None


def _judge(
    name: str, points: Sequence[Point], baseline_points: Sequence[Point], rule: Metric, *, primary: bool
) -> MetricLine:
    newest = points[-1]
    baseline = baseline_points[-1].value if baseline_points else None
    change, relative = _change(newest.value, baseline)
    best = _best(points, rule.goal)
    return MetricLine(
        name=name,
        last=newest.value,
        step=newest.step,
        judgement=_judgement(newest.value, change, rule),
        goal=rule.goal,
        tolerance=rule.tolerance,
        primary=primary,
        best=best.value if best else None,
        best_step=best.step if best else None,
        baseline=baseline,
        change=change,
        relative=relative,
        history=_thinned(points),
        baseline_history=_thinned(baseline_points),
    )


def _change(last: float, baseline: float | None) -> tuple[float | None, float | None]:
    if baseline is None or not math.isfinite(last) or not math.isfinite(baseline):
        return None, None
    if math.isclose(last, baseline, rel_tol=1e-9):
        return 0.0, 0.0 if baseline else None  # the same number written twice differs in its last bits
    change = last - baseline
    if not math.isfinite(change):
        return None, None
    relative = change / abs(baseline) if baseline else None
    return change, relative if relative is None or math.isfinite(relative) else None


def _judgement(last: float, change: float | None, rule: Metric) -> Judgement:
    if not math.isfinite(last):
        return Judgement.NOT_FINITE
    if change is None:
        return Judgement.NO_BASELINE
    if abs(change) <= rule.tolerance * (1 + 1e-9):
        return Judgement.SAME
    if rule.goal is None:
        return Judgement.CHANGED
    return Judgement.BETTER if (change > 0) == (rule.goal == "maximize") else Judgement.WORSE


def _best(points: Sequence[Point], goal: str | None) -> Point | None:
    finite = [point for point in points if math.isfinite(point.value)]
    if goal is None or not finite:
        return None
    choose = max if goal == "maximize" else min
    return choose(finite, key=lambda point: point.value)


def _thinned(points: Sequence[Point]) -> tuple[tuple[int, float], ...]:
    """At most 200 finite points: the first, the last, the lowest, the highest, and others evenly between them."""
    finite = [(point.step, point.value) for point in points if math.isfinite(point.value)]
    if len(finite) <= _MAX_POINTS:
        return tuple(finite)
    spread = _MAX_POINTS - 2
    keep = {round(number * (len(finite) - 1) / (spread - 1)) for number in range(spread)}
    keep.add(min(range(len(finite)), key=lambda index: finite[index][1]))
    keep.add(max(range(len(finite)), key=lambda index: finite[index][1]))
    return tuple(finite[index] for index in sorted(keep))
