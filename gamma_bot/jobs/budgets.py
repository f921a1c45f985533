"""Whether a job may spend what it may cost: the budgets of ``gamma.yml``, and the words for who has to wait.

Budgets count on the default branch only, as ``config.effective`` has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from gamma_bot.config.schema import Budget
from gamma_bot.reporting.money import at_most_usd, left_of, usd
from gamma_bot.store.spending import Spent

# Sums of decimal prices as binary numbers: what is equal but for that is no excess.
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Allowance:
    """One budget: whose, how much it is, and how much of it is left. A single job's is always whole."""

    whose: str
    limit: float
    left: float
    of_each_job: bool = False


@dataclass(frozen=True)
class Hold:
    """A job has to wait for somebody's approval, and why: a whole sentence, code between backticks."""

    why: str


def allowances(budget: Budget, spent: Spent, *, of_pull_request: bool) -> Iterator[Allowance]:
    """The budgets that there are.

    Args:
        of_pull_request: there is one, so that its budget counts.
    """
    if budget.job is not None:
        yield Allowance("one job", budget.job, budget.job, of_each_job=True)
    if budget.pull_request is not None and of_pull_request:
        yield Allowance("the pull request", budget.pull_request, budget.pull_request - spent.branch)
    if budget.month is not None:
        yield Allowance("the month", budget.month, budget.month - spent.month)
    if budget.repository is not None:
        yield Allowance("the repository", budget.repository, budget.repository - spent.repository)


def hold(budget: Budget, spent: Spent, most: float, *, of_pull_request: bool) -> Hold | None:
    """Why a job that may cost so much has to wait; ``None`` if every budget has that left."""
    found = list(allowances(budget, spent, of_pull_request=of_pull_request))
    short = [each for each in found if most > each.left + _NEGLIGIBLE]
    if not short:
        return None
    tightest = min(short, key=lambda each: each.left)
    return Hold(f"Up to {at_most_usd(most)}, and {_left(tightest)}.")


def hold_unpriced(budget: Budget, unknown: str, *, of_pull_request: bool) -> Hold | None:
    """Why a job whose cost nobody knows has to wait; ``None`` without any budget.

    Args:
        unknown: what is missing, to follow "The price of".
    """
    first = next(allowances(budget, Spent(), of_pull_request=of_pull_request), None)
    if first is None:
        return None
    return Hold(f"The price of {unknown} is unknown, and there is a budget of {usd(first.limit)} for {first.whose}.")


def month_of(moment: float) -> tuple[str, float]:
    """The calendar month (UTC) of a time in Unix seconds: ``2026-11``, and when it began."""
    found = datetime.fromtimestamp(moment, UTC)
    return f"{found:%Y-%m}", datetime(found.year, found.month, 1, tzinfo=UTC).timestamp()


def _left(allowance: Allowance) -> str:
    if allowance.of_each_job:
        return f"one job may cost {usd(allowance.limit)}"
    return f"{allowance.whose}'s budget of {usd(allowance.limit)} has {left_of(allowance.left)} left"
