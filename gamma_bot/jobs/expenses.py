"""What a job costs, from its plan to its end: estimated, held against the budgets, reserved, and settled."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from gamma_bot.config.executors import SageMaker
from gamma_bot.config.schema import GammaConfig
from gamma_bot.jobs.budgets import Hold, hold, hold_unpriced, month_of
from gamma_bot.jobs.push import Push, is_of_fork
from gamma_bot.reporting.facts import CostFacts
from gamma_bot.store.jobs import JobRecord
from gamma_bot.store.pulls import Pulls
from gamma_bot.store.spending import Spending, Spent, most_when_stopped
from gamma_bot.training.costs import Machines, Rates, final, likely, rates_of, so_far, spot_saved, upper_bound
from gamma_bot.training.prices import Prices, PricesUnusable, load_prices, packaged_tables
from gamma_bot.training.trainer import Outcome, Usage

# The executor whose machines Gamma has to pay for.
_PAID = "sagemaker"

log = structlog.get_logger()


class Expenses:
    """Knows the prices, and what was spent.

    Args:
        region: where SageMaker trains; empty if that is not known here, and then no price is.
    """

    def __init__(self, spending: Spending, pulls: Pulls, data_dir: Path, region: str) -> None:
        self._spending = spending
        self._pulls = pulls
        self._data_dir = data_dir
        self._region = region

    async def estimate(self, push: Push, config: GammaConfig, executor: str) -> CostFacts | None:
        """What a job may cost and usually does; ``None`` where nothing is paid, or not by us."""
        if executor != _PAID:
            return None
        section = config.train.sagemaker or SageMaker()
        asked = Machines(tuple(section.instance), section.count, section.spot)
        rates = rates_of(asked, self._region, await asyncio.to_thread(self._prices))
        most = upper_bound(asked, rates, run_seconds=config.train.timeout, warm_seconds=section.warm_pool or 0.0)
        facts = CostFacts(
            instance_types=asked.instance_types,
            count=asked.count,
            spot=asked.spot,
            as_of=rates.as_of,
            usd_per_hour=rates.usd_per_hour,
            unknown=rates.unknown,
            most=most,
            approved_by=push.approved_by,
        )
        past = await self._spending.of_succeeded(push.repository_id, push.branch)
        return replace(facts, likely=likely([each.usd for each in past if _alike(each.facts, asked)], most))

    async def reserve(
        self, push: Push, config: GammaConfig, cost: CostFacts, *, created_at: float, replaces: Collection[str]
    ) -> Hold | None:
        """Set aside what a job may cost, or hold the job back. Twice: it is set aside once.

        What somebody has approved is set aside whatever the budgets say.

        Args:
            created_at: when the job came (Unix seconds): it belongs to the month of that moment.
            replaces: jobs that end if this one may start; they count as if they were asked to now.
        """
        refuses = await self._refuses(push, config, cost)
        if cost.most is None:
            return refuses(Spent())
        _, began = month_of(created_at)
        return await self._spending.reserve(
            push.job, push.repository_id, push.branch, began, cost.most, refuses, replaces=replaces
        )

    async def would_hold(self, push: Push, config: GammaConfig, cost: CostFacts) -> Hold | None:
        """As ``reserve``, without setting anything aside."""
        refuses = await self._refuses(push, config, cost)
        _, spent = await self.spent(push.repository_id, push.branch)
        return refuses(spent)

    async def spent(self, repository_id: int, branch: str) -> tuple[str, Spent]:
        """The present month, and what has been spent of the budgets."""
        month, began = month_of(time.time())
        return month, await self._spending.of(repository_id, branch, began)

    async def unpriced(self, repository_id: int) -> int:
        """How many jobs are in no sum, since nobody knows the price of their machines."""
        return await self._spending.unpriced(repository_id, _PAID)

    async def _refuses(self, push: Push, config: GammaConfig, cost: CostFacts) -> Callable[[Spent], Hold | None]:
        if push.approved_by:
            return lambda spent: None
        # What the branch's jobs cost is what its pull request costs.
        of_pull_request = is_of_fork(push.branch) or bool(await self._pulls.of_branch(push.repository_id, push.branch))
        budget, most = config.budget, cost.most
        if most is not None:
            return lambda spent: hold(budget, spent, most, of_pull_request=of_pull_request)
        unknown = " and ".join(f"`{name}`" for name in cost.unknown)
        where = f" in {self._region}" if self._region else " (AWS_REGION is not set)"
        return lambda spent: hold_unpriced(budget, unknown + where, of_pull_request=of_pull_request)

    def _prices(self) -> Prices:
        try:
            return load_prices(self._data_dir)
        except PricesUnusable as error:
            log.warning("prices.unusable", error=str(error))
            return Prices(packaged_tables())


def with_running_cost(cost: CostFacts | None, usage: Usage | None, seconds: float) -> CostFacts | None:
    """The cost of a job that has trained for so many seconds."""
    if cost is None or usage is None:
        return cost
    return replace(_on(cost, usage), so_far=so_far(usage, _rates(cost), seconds), spot=usage.spot)


def with_final_cost(cost: CostFacts | None, outcome: Outcome, bound: float | None = None) -> CostFacts | None:
    """The cost of a job that is over, as its executor tells.

    Args:
        bound: the most that it can have been, which counts if that tells nothing.
    """
    if cost is None:
        return None
    settled = replace(cost, so_far=None, final=final(outcome, _rates(cost)))
    if settled.final is None:
        settled = replace(settled, bound=bound)
    usage = outcome.usage
    return settled if usage is None else replace(_on(settled, usage), spot_saved=spot_saved(usage))


def with_untold_cost(cost: CostFacts | None, job: JobRecord, *, stopped: bool) -> CostFacts | None:
    """The cost of a job that ends without a word of its executor.

    Args:
        stopped: its executor was asked to end it; if it is not here to be asked, it may train on to its limits.
    """
    if cost is None:
        return None
    if job.submitted_at is None:
        return replace(cost, so_far=None, final=0.0)
    return replace(cost, so_far=None, bound=spent_at_most(job) if stopped else cost.most)


def spent_at_most(job: JobRecord) -> float | None:
    """What a job can have cost that ends now, by the time since it was launched; ``None`` without a price."""
    if job.estimate_usd is None:
        return None
    return most_when_stopped(job.estimate_usd, job.timeout_seconds, job.submitted_at)


def charge(cost: CostFacts | None) -> float | None:
    """What a job that is over counts with against the budgets: its cost, or the most that it can have been."""
    if cost is None:
        return None
    return cost.final if cost.final is not None else cost.bound


def _on(cost: CostFacts, usage: Usage) -> CostFacts:
    """The cost, on the machines that the job got."""
    return replace(
        cost,
        instance_types=(usage.instance_type,),
        count=usage.instance_count,
        interruptions=usage.interruptions,
        unknown=() if usage.instance_type in cost.usd_per_hour else (usage.instance_type,),
    )


def _rates(cost: CostFacts) -> Rates:
    return Rates(cost.usd_per_hour, cost.unknown, cost.as_of)


def _alike(facts: str, asked: Machines) -> bool:
    """Whether a job trained on a machine that this one may get, so that what it cost tells something."""
    cost: Mapping[str, Any] = json.loads(facts).get("cost") or {}
    ran_on: list[str] = cost.get("instance_types") or []
    return (
        cost.get("final") is not None
        and len(ran_on) == 1
        and ran_on[0] in asked.instance_types
        and (cost.get("count"), cost.get("spot")) == (asked.count, asked.spot)
    )
