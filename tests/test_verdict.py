"""A run against its baseline: which way each metric moved, and how the job ends."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from pydantic import TypeAdapter

from gamma_bot.config.schema import Metric
from gamma_bot.jobs.verdict import Conclusion, conclude, judge_metrics
from gamma_bot.reporting.facts import Judgement, MetricLine, State
from gamma_bot.tracking.runs import Point, Run
from gamma_bot.training.trainer import Ending, Outcome

NAN, INF = math.nan, math.inf
UP, DOWN = Metric(goal="maximize", primary=True), Metric(goal="minimize", primary=True)


def run(**metrics: list[float]) -> Run:
    histories = {name: [Point(n, value, float(n)) for n, value in enumerate(row)] for name, row in metrics.items()}
    return Run("run", "experiment", "FINISHED", metrics=histories)


def judge(last: float, baseline: float | None, rule: Metric) -> MetricLine:
    (line,) = judge_metrics(run(m=[last]), None if baseline is None else run(m=[baseline]), {"m": rule})
    return line


@pytest.mark.parametrize(
    ("last", "baseline", "rule", "expected"),
    [
        (2.0, 1.0, UP, Judgement.BETTER),
        (1.0, 2.0, UP, Judgement.WORSE),
        (1.0, 2.0, DOWN, Judgement.BETTER),
        (2.0, 1.0, DOWN, Judgement.WORSE),
        (2.0, 1.0, Metric(), Judgement.CHANGED),
        (1.0, 1.0, Metric(), Judgement.SAME),
        (0.1 + 0.2, 0.3, UP, Judgement.SAME),
        (-0.0, 0.0, UP, Judgement.SAME),
        (1.0, 0.0, UP, Judgement.BETTER),
        (1.0, None, UP, Judgement.NO_BASELINE),
        (1.0, NAN, UP, Judgement.NO_BASELINE),
        (NAN, 1.0, UP, Judgement.NOT_FINITE),
        (INF, 1.0, UP, Judgement.NOT_FINITE),
        (NAN, None, Metric(), Judgement.NOT_FINITE),
        (1e308, -1e308, UP, Judgement.NO_BASELINE),
    ],
)
def test_a_metric_is_judged_by_its_goal(last: float, baseline: float | None, rule: Metric, expected: Judgement) -> None:
    assert judge(last, baseline, rule).judgement is expected


@pytest.mark.parametrize(
    ("last", "expected"),
    [(102.0, Judgement.SAME), (98.0, Judgement.SAME), (102.1, Judgement.BETTER), (97.9, Judgement.WORSE)],
)
def test_the_tolerance_is_an_amount_in_the_metrics_own_unit(last: float, expected: Judgement) -> None:
    assert judge(last, 100.0, Metric(goal="maximize", tolerance=2)).judgement is expected


def test_a_change_comes_with_its_share_of_the_baseline() -> None:
    assert (judge(198.4, -100.0, UP).change, judge(198.4, -100.0, UP).relative) == (298.4, 2.984)
    assert (judge(1.0, 0.0, UP).change, judge(1.0, 0.0, UP).relative) == (1.0, None)
    assert (judge(1.0, None, UP).change, judge(1.0, None, UP).relative) == (None, None)


def test_the_primary_metric_leads_then_gamma_yml_then_the_alphabet() -> None:
    rules = {"z": Metric(), "main": UP, "absent": Metric(), "y": Metric()}
    own = run(**{"system/gpu": [1], "b": [1], "y": [1], "main": [1], "a": [1], "z": [1]})
    lines = judge_metrics(own, None, rules)

    assert [line.name for line in lines] == ["main", "z", "y", "a", "b", "system/gpu"]
    assert [line.primary for line in lines] == [True, False, False, False, False, False]


@pytest.mark.parametrize(
    ("rules", "primary"),
    [({"b": Metric()}, "b"), ({}, None), ({"absent": UP, "b": Metric()}, None)],
)
def test_without_a_primary_metric_the_first_of_gamma_yml_is_it(rules: dict[str, Metric], primary: str | None) -> None:
    lines = judge_metrics(run(a=[1], b=[1]), None, rules)

    assert next((line.name for line in lines if line.primary), None) == primary


def test_a_lone_metric_is_primary() -> None:
    assert judge_metrics(run(**{"loss": [1], "system/gpu": [2]}), None, {})[0].primary


def test_the_best_value_is_the_best_finite_one_by_the_goal() -> None:
    values = [3.0, INF, 9.0, NAN, 1.0, 2.0]

    assert [(line.best, line.best_step) for line in judge_metrics(run(m=values), None, {"m": UP})] == [(9.0, 2)]
    assert [(line.best, line.best_step) for line in judge_metrics(run(m=values), None, {"m": DOWN})] == [(1.0, 4)]
    assert judge_metrics(run(m=values), None, {})[0].best is None
    assert judge_metrics(run(m=[NAN]), None, {"m": UP})[0].best is None


def test_a_metric_without_points_is_none() -> None:
    assert judge_metrics(run(m=[]), run(m=[1]), {"m": UP}) == ()
    assert judge_metrics(run(m=[1]), run(m=[]), {"m": UP})[0].judgement is Judgement.NO_BASELINE


@given(st.lists(st.floats(width=32), min_size=1, max_size=1200))
def test_a_history_is_thinned_to_what_matters(values: list[float]) -> None:
    (line,) = judge_metrics(run(m=values), run(m=values[:7]), {})
    finite = [(step, value) for step, value in enumerate(values) if math.isfinite(value)]

    assert len(line.history) <= 200
    assert list(line.history) == sorted(line.history, key=lambda point: point[0])
    assert set(line.history) <= set(finite)
    if finite:
        kept = [value for _, value in line.history]
        assert (line.history[0], line.history[-1]) == (finite[0], finite[-1])
        assert (min(kept), max(kept)) == (min(v for _, v in finite), max(v for _, v in finite))
    if len(finite) <= 200:
        assert list(line.history) == finite


@pytest.mark.parametrize("value", [NAN, INF, -INF, -0.0, 1e-320])
def test_any_value_survives_being_stored(value: float) -> None:
    """A job's facts are kept as JSON, and JSON has no NaN."""
    lines = TypeAdapter(tuple[MetricLine, ...])
    stored = json.dumps(
        lines.dump_python(judge_metrics(run(m=[value]), run(m=[value]), {}), mode="json"), allow_nan=False
    )
    (line,) = lines.validate_python(json.loads(stored))

    assert repr((line.last, line.baseline)) == repr((value, value))


def ended(ending: Ending, message: str = "", exit_code: int | None = None, signal: str | None = None) -> Conclusion:
    return conclude(Outcome(ending, message, exit_code, signal), judge_metrics(run(m=[1]), None, {"m": UP}), {"m": UP})


@pytest.mark.parametrize("ending", list(Ending))
def test_only_a_completed_run_succeeds(ending: Ending) -> None:
    found = ended(ending)

    assert (found.state is State.SUCCEEDED) == (ending is Ending.COMPLETED)
    if ending is not Ending.COMPLETED:
        assert found.why.endswith(".")
        assert found.hint.endswith(".")


def test_a_stopped_run_is_never_a_success_even_if_it_is_better() -> None:
    """I7."""
    rules = {"m": UP}
    lines = judge_metrics(run(m=[5]), run(m=[1]), rules)

    assert conclude(Outcome(Ending.STOPPED, "", exit_code=0), lines, rules).state is State.CANCELLED


def test_the_trainers_own_sentence_is_told() -> None:
    found = ended(Ending.TIME_LIMIT, "The run was stopped after 2 h, the limit in gamma.yml.")

    assert found.why == "The run was stopped after 2 h, the limit in gamma.yml."
    assert found.hint == snapshot("Raise `train.timeout` in gamma.yml, or let the run do less.")


def test_a_command_that_died_says_of_what() -> None:
    assert ended(Ending.USER_CODE, exit_code=3).why == "The command exited with status 3."
    assert ended(Ending.USER_CODE, signal="SIGKILL") == snapshot(
        Conclusion(
            state=State.FAILED,
            why="The command was ended by SIGKILL.",
            hint="SIGKILL from outside often means that the machine ran out of memory: let the run need less of it.",
        )
    )
    assert ended(Ending.USER_CODE, signal="SIGSEGV") == snapshot(
        Conclusion(
            state=State.FAILED,
            why="The command was ended by SIGSEGV.",
            hint="A native library crashed: `python -X faulthandler` in the command shows the line of Python.",
        )
    )


def test_a_lost_run_is_not_surely_innocent() -> None:
    """A job can end what looks after it."""
    assert ended(Ending.LOST).hint == snapshot("This may not be the code's fault: push again to train it once more.")


def finished(own: Run, baseline: Run | None, rules: dict[str, Metric]) -> Conclusion:
    return conclude(Outcome(Ending.COMPLETED, "", 0), judge_metrics(own, baseline, rules), rules)


def test_a_plain_success_needs_no_words() -> None:
    assert finished(run(m=[2]), run(m=[1]), {"m": UP}) == Conclusion(State.SUCCEEDED)


def test_a_worse_metric_without_a_gate_is_still_a_success() -> None:
    assert finished(run(m=[1]), run(m=[2]), {"m": UP}).state is State.SUCCEEDED


def test_a_primary_metric_that_is_no_number_fails_the_run() -> None:
    assert finished(run(m=[2, NAN]), run(m=[1]), {"m": UP}) == snapshot(
        Conclusion(
            state=State.FAILED,
            why="The run finished, but `m` ended as NaN at step 1.",
            hint="Look for the step where it broke; a lower learning rate or gradient clipping often helps.",
        )
    )


GATED = {"m": Metric(goal="maximize", primary=True, gate="no-regression", tolerance=0.5)}


def test_a_gate_fails_a_worse_metric() -> None:
    assert finished(run(m=[90]), run(m=[120]), GATED) == snapshot(
        Conclusion(
            state=State.FAILED,
            why=(
                "`m` fell from 120 to 90 (-25 %), "
                "and its gate in gamma.yml allows no regression beyond its tolerance of 0.5."
            ),
            hint="If a change of this size is noise, raise `metrics.m.tolerance` in gamma.yml.",
            gate_failed="m",
        )
    )


@pytest.mark.parametrize("last", [119.5, 120.0, 130.0])
def test_a_gate_lets_through_what_is_no_worse(last: float) -> None:
    assert finished(run(m=[last]), run(m=[120]), GATED).state is State.SUCCEEDED


def test_a_gate_has_nothing_to_hold_against_a_first_run() -> None:
    assert finished(run(m=[1]), None, GATED).state is State.SUCCEEDED


def test_a_gate_is_not_passed_by_logging_nothing() -> None:
    assert finished(run(other=[1]), run(m=[120]), GATED) == snapshot(
        Conclusion(
            state=State.FAILED,
            why="The run finished, but it never logged `m`, which has a gate in gamma.yml.",
            hint='Log it with `mlflow.log_metric("m", value, step=step)`, or remove its gate.',
            gate_failed="m",
        )
    )


def test_a_gate_is_not_passed_by_a_metric_that_is_no_number() -> None:
    rules = {"main": UP, "m": Metric(goal="minimize", gate="no-regression")}

    assert finished(run(main=[1], m=[INF]), None, rules) == snapshot(
        Conclusion(
            state=State.FAILED,
            why="The run finished, but `m`, which has a gate in gamma.yml, ended as inf.",
            hint="Look at its course for the step where it broke.",
            gate_failed="m",
        )
    )


def test_a_primary_metric_that_was_never_logged_is_pointed_out() -> None:
    assert finished(run(other=[1]), None, {"m": UP}) == snapshot(
        Conclusion(
            state=State.SUCCEEDED,
            why="The run finished, but it never logged `m`, the primary metric in gamma.yml.",
            hint='Log it with `mlflow.log_metric("m", value, step=step)`, or name another metric in gamma.yml.',
        )
    )
