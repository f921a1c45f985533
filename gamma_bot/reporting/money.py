"""Money as a person reads it. All of it is estimated, and says by prices of which date."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal

from gamma_bot.reporting.facts import CostFacts, JobFacts, State
from gamma_bot.reporting.markdown import Markdown, code
from gamma_bot.reporting.numbers import count

_CENT = Decimal("0.01")


def usd(amount: float) -> str:
    """``0.42 USD``, ``200 USD``, ``1,240.50 USD``; what is less than a cent is said so."""
    if 0 < amount < 0.005:
        return "under 0.01 USD"
    return f"{_cents(amount, ROUND_HALF_UP)} USD"


def about_usd(amount: float) -> str:
    """``about 0.42 USD``."""
    told = usd(amount)
    return told if told.startswith("under") else f"about {told}"


def at_most_usd(amount: float) -> str:
    """An upper bound: rounded up, so that it stays one."""
    return f"{_cents(amount, ROUND_CEILING)} USD"


def left_of(amount: float) -> str:
    """What is left of a budget, without its unit: rounded down, and never less than nothing."""
    return _cents(max(0.0, amount), ROUND_FLOOR)


def cost_line(facts: JobFacts) -> Markdown:
    """What the job costs, in one line; empty where nothing is paid."""
    cost = facts.cost
    if cost is None:
        return Markdown()
    said = _of_an_end(cost) if facts.state.final and facts.state is not State.HELD else _before_the_end(facts, cost)
    approved = f", approved by {code(cost.approved_by)}" if cost.approved_by else ""
    return Markdown(f"**Cost:** {said}{approved}.") if said else Markdown()


def estimate(cost: CostFacts) -> str:
    """What a job would cost, as a cell of a table."""
    if cost.most is None:
        return f"not known, for want of the price of {' and '.join(cost.unknown)}"
    return f"up to {at_most_usd(cost.most)}{_usual(cost)} (prices of {cost.as_of})"


def machines(cost: CostFacts) -> Markdown:
    """``2 × `ml.g5.xlarge` ``, or what it may come to train on: ``ml.g5.xlarge` or `ml.g5.2xlarge` ``."""
    types = Markdown(" or ".join(code(name) for name in cost.instance_types))
    return Markdown(f"{cost.count} × {types}") if cost.count > 1 else types


def _before_the_end(facts: JobFacts, cost: CostFacts) -> str:
    if cost.unknown:
        return f"{_unknown(cost)} (`gamma prices refresh` asks AWS for it)"
    if cost.most is None:
        return ""
    most = f"up to {at_most_usd(cost.most)}"
    if facts.state is State.RUNNING and cost.so_far is not None:
        now = f"at most {at_most_usd(cost.so_far)}" if cost.spot else about_usd(cost.so_far)
        return f"{now} so far, {most} in all{_usual(cost)} {_label(cost)}"
    return f"{most} on {machines(cost)}{_usual(cost)} {_label(cost)}"


def _of_an_end(cost: CostFacts) -> str:
    if cost.final == 0:
        return "nothing was billed"
    if cost.final is not None:
        return f"{about_usd(cost.final)} on {machines(cost)} {_label(cost)}"
    if cost.unknown:
        return _unknown(cost)
    if cost.bound is not None:
        return f"not known, {at_most_usd(cost.bound)} at most, which counts against the budgets {_label(cost)}"
    if cost.most is None:
        return ""
    return f"not known, {at_most_usd(cost.most)} at most {_label(cost)}"


def _usual(cost: CostFacts) -> str:
    return f", usually {about_usd(cost.likely)} on this branch" if cost.likely is not None else ""


def _unknown(cost: CostFacts) -> str:
    names = " and ".join(code(name) for name in cost.unknown)
    return f"not known, for want of the price of {names}"


def _label(cost: CostFacts) -> str:
    parts = []
    if cost.spot_saved is not None and math.floor(cost.spot_saved * 100) >= 1:
        parts.append(f"spot saved {cost.spot_saved * 100:.0f} %")
    if cost.interruptions:
        parts.append(f"interrupted {count(cost.interruptions, 'time')}")
    return f"({'; '.join([f'estimate, prices of {cost.as_of}', *parts])})"


def _cents(amount: float, rounding: str) -> str:
    # What is a cent but for binary digits (14.200000000000001) is neither rounded up nor down by one.
    exact = Decimal(repr(round(amount, 9))).quantize(_CENT, rounding)
    return f"{exact:,.0f}" if exact == exact.to_integral_value() else f"{exact:,.2f}"
