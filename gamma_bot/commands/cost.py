"""``/gamma cost``: what was spent, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.desk import Costs, Refused
from gamma_bot.commands.job_words import job_link, refused
from gamma_bot.commands.roles import Role
from gamma_bot.reporting.facts import CostFacts, JobFacts
from gamma_bot.reporting.markdown import Markdown, table
from gamma_bot.reporting.money import at_most_usd, left_of, machines, usd
from gamma_bot.reporting.numbers import count
from gamma_bot.reporting.sections import commit_link
from gamma_bot.reporting.titles import mark

_MOST = 10


@dataclass(frozen=True)
class CostArgs:
    """Nothing can be said after it."""


@command(
    "cost",
    usage="cost",
    summary="Show what this pull request and the month have cost, and what the budgets have left.",
    examples=["cost"],
    needs=Role.READ,
    reads=True,
    also=("costs", "budget", "money", "spent", "price"),
    details="All of it is estimated: seconds times the price of the machines in a dated table, without discounts and"
    " taxes. What still runs counts with the most that it may cost; what ended without a bill, with the most that it"
    " can have cost by then.",
)
async def cost(context: CommandContext, args: CostArgs) -> Reply:
    """The sums against their budgets, and the newest jobs one by one."""
    found = await context.desk.costs(context.pull, _MOST)
    if isinstance(found, Refused):
        return refused(found)
    paid = [each for each in found.jobs if each.cost is not None]
    spent = found.spent.repository + found.agent
    if not paid and not found.budgets and not found.unpriced and spent == 0:
        return Reply(Markdown("Nothing that trained here is paid for by Gamma, and there is no budget."))
    parts = [_sums(found)]
    if found.job_limit is not None:
        parts.append(Markdown(f"One job may cost {usd(found.job_limit)}."))
    if paid:
        parts.append(_jobs(paid))
    if found.unpriced:
        told = count(found.unpriced, "job")
        parts.append(Markdown(f"{told} of this repository had machines whose price is unknown: not in these sums."))
    parts.append(Markdown(f"{_label(paid)} What still runs counts with the most that it may cost."))
    return Reply(Markdown("\n\n".join(parts)))


def _sums(found: Costs) -> Markdown:
    budgets = {each.whose: each for each in found.budgets}
    rows = []
    for name, whose, spent in (
        ("This pull request", "the pull request", found.spent.branch),
        (f"Repository, {found.month}", "the month", found.spent.month),
        ("Repository, ever", "the repository", found.spent.repository),
    ):
        budget = budgets.get(whose)
        limit, left = (usd(budget.limit), f"{left_of(budget.left)} USD") if budget is not None else ("none", "")
        rows.append([name, usd(spent), limit, left])
    if found.agent:
        left = f"{left_of(found.agent_limit - found.agent)} USD"
        rows.append([f"The agent, {found.month}", usd(found.agent), usd(found.agent_limit), left])
        rows.append([f"Training and agent, {found.month}", usd(found.spent.month + found.agent), "", ""])
    return table(["What", "Cost", "Budget", "Left"], rows, "lrrr")


def _jobs(jobs: Sequence[JobFacts]) -> Markdown:
    rows = []
    for each in jobs:
        assert each.cost is not None, "only jobs that cost something are listed"
        state = f"{mark(each)} {each.state.value}"
        rows.append([job_link(each), commit_link(each), state, machines(each.cost), _cost(each.cost, each)])
    return table(["Job", "Commit", "State", "Machines", "Cost"], rows, "llllr")


def _cost(cost: CostFacts, facts: JobFacts) -> str:
    if cost.final is not None:
        return usd(cost.final)
    if cost.bound is not None:
        return f"unknown, at most {at_most_usd(cost.bound)}"
    if cost.most is None:
        return "price unknown"
    so_far = f"{usd(cost.so_far)} so far, " if cost.so_far is not None and not facts.state.final else ""
    return f"{so_far}up to {at_most_usd(cost.most)}"


def _label(jobs: Sequence[JobFacts]) -> str:
    dates = sorted({each.cost.as_of for each in jobs if each.cost is not None and each.cost.as_of})
    if not dates:
        return "Estimates."
    told = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"Estimates, by prices of {told}."
