"""What a job may cost, costs so far, and has cost: machines, seconds and prices, nothing else.

All of it is an estimate: prices have the date of their table, taxes, discounts and disks are not in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from gamma_bot.training.prices import Prices
from gamma_bot.training.trainer import Ending, Outcome, Usage

_HOUR = 3600.0
# A job that ends so has never had a machine, where its executor does not say otherwise.
_NEVER_BILLED = frozenset({Ending.CONFIG, Ending.QUOTA, Ending.CAPACITY, Ending.NEVER_STARTED})


@dataclass(frozen=True)
class Machines:
    """What a job asks for: one of these types, so many of it."""

    instance_types: Sequence[str]
    count: int = 1
    spot: bool = False


@dataclass(frozen=True)
class Rates:
    """The prices that go for one job from its plan to its end, whatever is refreshed meanwhile.

    Attributes:
        usd_per_hour: of those types whose price is known.
        unknown: the other ones.
        as_of: the oldest date of a table that a price comes from; empty if none is known.
    """

    usd_per_hour: Mapping[str, float]
    unknown: Sequence[str] = ()
    as_of: str = ""


def rates_of(machines: Machines, region: str, prices: Prices) -> Rates:
    """What the types that a job asks for cost in a region."""
    found = {name: prices.of(region, name) for name in machines.instance_types}
    known = {name: price for name, price in found.items() if price is not None}
    return Rates(
        usd_per_hour={name: price.usd_per_hour for name, price in known.items()},
        unknown=tuple(name for name in found if name not in known),
        as_of=min((price.as_of for price in known.values()), default=""),
    )


def upper_bound(machines: Machines, rates: Rates, *, run_seconds: float, warm_seconds: float = 0.0) -> float | None:
    """What a job costs if it takes all the time that it may, on the dearest of its types, and is kept warm all along.

    ``None`` if a price is unknown.
    """
    if rates.unknown or not rates.usd_per_hour:
        return None
    return (run_seconds + warm_seconds) / _HOUR * machines.count * max(rates.usd_per_hour.values())


def likely(past: Sequence[float], most: float | None) -> float | None:
    """What jobs like this have cost, at the median; ``None`` if there was none."""
    if not past:
        return None
    usual = median(past)
    return usual if most is None else min(usual, most)


def so_far(usage: Usage, rates: Rates, seconds: float) -> float | None:
    """What a job that has been training for so many seconds costs by now; on spot machines that is the most.

    ``None`` if the price of the machine that it got is unknown.
    """
    price = rates.usd_per_hour.get(usage.instance_type)
    if price is None:
        return None
    billed = usage.billable_seconds if usage.billable_seconds is not None else (usage.training_seconds or seconds)
    return _cost(usage, price, billed)


def final(outcome: Outcome, rates: Rates) -> float | None:
    """What a job has cost: its billable seconds, and those for which its machines were kept warm.

    ``None`` if nobody knows: the price, or how long it was billed.
    """
    usage = outcome.usage
    # What is billed begins with the training. Of what is lost nobody knows when that was.
    never_began = outcome.started_at is None and outcome.ending is not Ending.LOST
    if usage is None:
        return 0.0 if outcome.ending in _NEVER_BILLED else None
    price = rates.usd_per_hour.get(usage.instance_type)
    if usage.billable_seconds is None:
        return 0.0 if outcome.ending in _NEVER_BILLED or never_began else None
    if usage.billable_seconds == usage.retained_seconds == 0:
        return 0.0
    return None if price is None else _cost(usage, price, usage.billable_seconds)


def spot_saved(usage: Usage) -> float | None:
    """The share of the price that spot capacity saved (0.61 = 61 %), as AWS reckons it; ``None`` without any."""
    if not usage.spot or usage.billable_seconds is None or not usage.training_seconds:
        return None
    return max(0.0, 1 - usage.billable_seconds / usage.training_seconds)


def _cost(usage: Usage, usd_per_hour: float, seconds: float) -> float:
    return (seconds + usage.retained_seconds) / _HOUR * usage.instance_count * usd_per_hour
