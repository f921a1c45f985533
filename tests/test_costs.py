"""What a job may cost, costs and has cost; whether a budget has that left; and how all of it is told."""
# ruff: noqa: E501 - reports have long lines

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from gamma_bot.config.schema import Budget
from gamma_bot.jobs.budgets import hold, hold_unpriced, month_of
from gamma_bot.jobs.expenses import with_final_cost, with_running_cost
from gamma_bot.reporting.checks import check_report
from gamma_bot.reporting.comments import sticky_comment
from gamma_bot.reporting.facts import CostFacts, JobFacts, State
from gamma_bot.reporting.money import at_most_usd, cost_line, left_of, usd
from gamma_bot.store.spending import Spent
from gamma_bot.training.costs import Machines, likely, rates_of, spot_saved, upper_bound
from gamma_bot.training.prices import Prices, PriceTable
from gamma_bot.training.trainer import Ending, Outcome, Usage
from tests.job_facts import BETTER, CANCELLED, PREPARING, QUEUED, RUNNING

PRICES = Prices(
    [
        PriceTable("us-east-1", "2026-09-24", "a test", {"ml.g5.xlarge": 1.408, "ml.m5.xlarge": 0.23}),
        PriceTable("us-east-1", "2026-08-20", "a test", {"ml.g5.2xlarge": 1.515}),
    ]
)
PAIR = Machines(("ml.g5.xlarge", "ml.g5.2xlarge"), count=2)
COST = CostFacts(
    instance_types=("ml.g5.xlarge",),
    count=1,
    spot=False,
    as_of="2026-11-01",
    usd_per_hour={"ml.g5.xlarge": 1.408},
    most=14.2,
    likely=3.1,
)
UNPRICED = replace(
    COST, instance_types=("ml.trn1.2xlarge",), unknown=("ml.trn1.2xlarge",), usd_per_hour={}, as_of="", most=None
)
UPPER = st.floats(min_value=0, max_value=1e6)


def ended(ending: Ending = Ending.COMPLETED, usage: Usage | None = None) -> Outcome:
    """An attempt that is over."""
    return Outcome(ending, "It ended.", 0, started_at=0.0, ended_at=60.0, usage=usage)


def line(facts: JobFacts, cost: CostFacts | None) -> str:
    """The line that tells what a job costs."""
    return str(cost_line(replace(facts, cost=cost)))


# ── the arithmetic ──


def test_the_upper_bound_is_all_the_time_on_the_dearest_machines() -> None:
    rates = rates_of(PAIR, "us-east-1", PRICES)

    assert rates.as_of == "2026-08-20", "the oldest table that a price comes from"
    assert upper_bound(PAIR, rates, run_seconds=7200) == pytest.approx(2 * 2 * 1.515)
    assert upper_bound(PAIR, rates, run_seconds=7200, warm_seconds=1800) == pytest.approx(2.5 * 2 * 1.515)


@pytest.mark.parametrize(("region", "name"), [("us-east-1", "ml.p5.48xlarge"), ("eu-north-1", "ml.g5.xlarge")])
def test_what_is_not_in_a_table_is_unknown(region: str, name: str) -> None:
    asked = Machines(("ml.m5.xlarge", name))
    rates = rates_of(asked, region, PRICES)

    assert name in rates.unknown
    assert upper_bound(asked, rates, run_seconds=60) is None


def test_what_is_likely_is_the_median_of_what_was() -> None:
    assert likely([], 5.0) is None
    assert likely([0.2, 9.0, 0.4], 5.0) == 0.4
    assert likely([9.0], 5.0) == 5.0, "never more than it can be"


def test_the_final_cost_is_billable_seconds_on_each_machine() -> None:
    usage = Usage("ml.g5.xlarge", instance_count=2, billable_seconds=1800, training_seconds=1800, retained_seconds=600)
    cost = with_final_cost(replace(COST, instance_types=("ml.g5.xlarge", "ml.g5.2xlarge")), ended(usage=usage))

    assert cost is not None
    assert cost.final == pytest.approx(2400 / 3600 * 2 * 1.408)
    assert (cost.instance_types, cost.count, cost.so_far) == (("ml.g5.xlarge",), 2, None)


@pytest.mark.parametrize(
    ("outcome", "final"),
    [
        (ended(Ending.CAPACITY), 0.0),  # there never was a machine
        (ended(Ending.LOST), None),  # nobody can say
        (ended(Ending.STOPPED, Usage("ml.g5.xlarge", billable_seconds=0)), 0.0),
        (ended(Ending.USER_CODE, Usage("ml.g5.xlarge", billable_seconds=None)), None),
        (ended(Ending.COMPLETED, Usage("ml.p5.48xlarge", billable_seconds=60)), None),  # no price of it
    ],
)
def test_an_end_without_a_bill_costs_nothing_or_nobody_knows(outcome: Outcome, final: float | None) -> None:
    cost = with_final_cost(COST, outcome)

    assert cost is not None
    assert cost.final == final


@given(
    st.floats(min_value=0, max_value=7200),
    st.floats(min_value=0, max_value=1),
    st.integers(min_value=1, max_value=64),
    st.booleans(),
)
def test_no_job_costs_more_than_its_upper_bound(seconds: float, billed: float, count: int, spot: bool) -> None:
    asked = Machines(PAIR.instance_types, count, spot)
    rates = rates_of(asked, "us-east-1", PRICES)
    most = upper_bound(asked, rates, run_seconds=7200)
    cost = CostFacts(asked.instance_types, count, spot, rates.as_of, rates.usd_per_hour, most=most)
    usage = Usage("ml.g5.2xlarge", count, spot, billable_seconds=seconds * billed, training_seconds=seconds)

    under_way = with_running_cost(cost, replace(usage, billable_seconds=None, training_seconds=None), seconds)
    over = with_final_cost(cost, ended(usage=usage))

    assert most is not None
    assert under_way is not None
    assert over is not None
    assert under_way.so_far is not None
    assert over.final is not None
    assert over.final <= under_way.so_far * (1 + 1e-9) <= most * (1 + 2e-9)
    saved = spot_saved(usage)
    assert saved is None or 0 <= saved <= 1
    assert spot or saved is None


def test_a_job_that_is_paid_for_by_nobody_we_know_has_no_cost() -> None:
    assert with_running_cost(None, Usage("ml.g5.xlarge"), 60) is None
    assert with_final_cost(None, ended()) is None
    assert "Cost" not in check_report(BETTER).summary


# ── budgets ──


def test_the_budget_with_the_least_left_is_told() -> None:
    budget = Budget(job=15, pull_request=40, month=200, repository=1000)
    spent = Spent(branch=30, month=196.9, repository=300)

    def why(most: float, *, of_pull_request: bool = True) -> str:
        found = hold(budget, spent, most, of_pull_request=of_pull_request)
        return found.why if found is not None else ""

    assert why(3.1) == "", "what is left may be spent, all of it"
    assert why(14.2) == snapshot("Up to 14.20 USD, and the month's budget of 200 USD has 3.10 left.")
    of_pull = hold(Budget(pull_request=40), spent, 14.2, of_pull_request=True)
    assert of_pull is not None
    assert of_pull.why == snapshot("Up to 14.20 USD, and the pull request's budget of 40 USD has 10 left.")
    assert hold(Budget(pull_request=40), spent, 14.2, of_pull_request=False) is None, "there is no pull request yet"
    overspent = hold(Budget(repository=100), Spent(repository=120.5), 0.25, of_pull_request=False)
    assert overspent is not None
    assert overspent.why == snapshot("Up to 0.25 USD, and the repository's budget of 100 USD has 0 left.")
    one = hold(Budget(job=5), Spent(), 14.2, of_pull_request=False)
    assert one is not None
    assert one.why == snapshot("Up to 14.20 USD, and one job may cost 5 USD.")


def test_a_job_without_a_price_waits_only_where_there_is_a_budget() -> None:
    assert hold_unpriced(Budget(), "`ml.p6.xlarge` in us-east-1", of_pull_request=True) is None
    found = hold_unpriced(Budget(month=200), "`ml.p6.xlarge` in us-east-1", of_pull_request=True)
    assert found is not None
    assert found.why == snapshot(
        "The price of `ml.p6.xlarge` in us-east-1 is unknown, and there is a budget of 200 USD for the month."
    )


@given(UPPER, UPPER, st.floats(min_value=0, max_value=1e6))
def test_a_budget_is_never_passed(limit: float, spent: float, most: float) -> None:
    if hold(Budget(month=limit), Spent(month=spent), most, of_pull_request=False) is None:
        assert spent + most <= limit + 1e-5


def test_months_are_those_of_the_calendar_in_utc() -> None:
    assert month_of(1_764_547_199.0) == ("2025-11", 1_761_955_200.0)
    assert month_of(1_764_547_200.0) == ("2025-12", 1_764_547_200.0)


# ── the words ──


@pytest.mark.parametrize(
    ("amount", "told"),
    [(0, "0 USD"), (0.004, "under 0.01 USD"), (0.4249, "0.42 USD"), (200, "200 USD"), (1240.5, "1,240.50 USD")],
)
def test_amounts(amount: float, told: str) -> None:
    assert usd(amount) == told


def test_bounds_stay_bounds_when_they_are_rounded() -> None:
    assert (at_most_usd(3.1001), left_of(3.0999)) == ("3.11 USD", "3.09")
    assert (at_most_usd(14.200000000000001), left_of(3.0999999999999996)) == ("14.20 USD", "3.10")
    assert left_of(-20.5) == "0"


def test_the_cost_is_told_from_the_plan_to_the_end() -> None:
    spot = replace(COST, spot=True, so_far=0.42)

    assert [
        line(QUEUED, COST),
        line(PREPARING, replace(COST, likely=None, count=2, instance_types=("ml.g5.xlarge", "ml.g5.2xlarge"))),
        line(QUEUED, UNPRICED),
        line(RUNNING, replace(COST, so_far=0.42)),
        line(RUNNING, spot),
        line(BETTER, replace(COST, final=0.42)),
        line(BETTER, replace(spot, final=0.42, spot_saved=0.614, interruptions=2)),
        line(BETTER, replace(COST, final=0.001)),
        line(CANCELLED, replace(COST, final=0.0)),
        line(CANCELLED, COST),
        line(BETTER, UNPRICED),
        line(BETTER, None),
    ] == snapshot(
        [
            "**Cost:** up to 14.20 USD on `ml.g5.xlarge`, usually about 3.10 USD on this branch (estimate, prices of 2026-11-01).",
            "**Cost:** up to 14.20 USD on 2 × `ml.g5.xlarge` or `ml.g5.2xlarge` (estimate, prices of 2026-11-01).",
            "**Cost:** not known, for want of the price of `ml.trn1.2xlarge` (`gamma prices refresh` asks AWS for it).",
            "**Cost:** about 0.42 USD so far, up to 14.20 USD in all, usually about 3.10 USD on this branch (estimate, prices of 2026-11-01).",
            "**Cost:** at most 0.42 USD so far, up to 14.20 USD in all, usually about 3.10 USD on this branch (estimate, prices of 2026-11-01).",
            "**Cost:** about 0.42 USD on `ml.g5.xlarge` (estimate, prices of 2026-11-01).",
            "**Cost:** about 0.42 USD on `ml.g5.xlarge` (estimate, prices of 2026-11-01; spot saved 61 %; interrupted 2 times).",
            "**Cost:** under 0.01 USD on `ml.g5.xlarge` (estimate, prices of 2026-11-01).",
            "**Cost:** nothing was billed.",
            "**Cost:** not known, 14.20 USD at most (estimate, prices of 2026-11-01).",
            "**Cost:** not known, for want of the price of `ml.trn1.2xlarge`.",
            "",
        ]
    )


def test_a_job_that_is_held_says_what_it_waits_for_and_what_to_do() -> None:
    held = replace(
        QUEUED,
        state=State.HELD,
        why="Up to 14.20 USD, and the month's budget of 200 USD has 3.10 left.",
        hint="`/gamma approve` lets this one job train all the same. The budgets are in gamma.yml on `main`.",
        cost=replace(COST, likely=None),
    )

    report = check_report(held)
    assert (report.status, report.conclusion, report.title) == snapshot(
        (
            "completed",
            "action_required",
            "Waiting for /gamma approve: up to 14.20 USD, and the month's budget of 200 USD has 3.10 left",
        )
    )
    assert report.summary == snapshot("""\
**Next:** `/gamma approve` lets this one job train all the same. The budgets are in gamma.yml on `main`.

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

`python train.py` · on `local`

**Cost:** up to 14.20 USD on `ml.g5.xlarge` (estimate, prices of 2026-11-01).\
""")
    assert sticky_comment(held, previous=None, marker="<!-- m -->") == snapshot("""\
<!-- m -->
### ✋ Waiting for /gamma approve: up to 14.20 USD, and the month's budget of 200 USD has 3.10 left

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

**Next:** `/gamma approve` lets this one job train all the same. The budgets are in gamma.yml on `main`.

`python train.py` · on `local` · [Job page](https://gamma.example/jobs/models-wider-3f1c9aa)

**Cost:** up to 14.20 USD on `ml.g5.xlarge` (estimate, prices of 2026-11-01).

<sub>Job `models-wider-3f1c9aa`, attempt 1</sub>
""")
