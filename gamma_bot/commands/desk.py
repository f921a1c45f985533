"""What commands may ask for: the counter between what people type and what jobs do.

Calls that change something take the command's ``request``; a second call with the same one does nothing more and
answers the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gamma_bot.commands.pull import PullContext
from gamma_bot.config.errors import Problem
from gamma_bot.config.schema import Scalar
from gamma_bot.jobs.budgets import Allowance
from gamma_bot.jobs.promotion import Promoted
from gamma_bot.reporting.facts import JobFacts
from gamma_bot.store.spending import Spent


@dataclass(frozen=True)
class Started:
    """A job was started: which one, of which commit, and the address of its page."""

    job: str
    sha: str
    attempt: int
    details_url: str


@dataclass(frozen=True)
class Refused:
    """It can't be done: why, and what to do instead. Whole sentences; code stands between backticks."""

    why: str
    hint: str = ""


@dataclass(frozen=True)
class Asked:
    """Training that somebody asks for: by whom, for which request, and what is to be different from gamma.yml."""

    by: str
    request: str
    hyperparameters: Mapping[str, Scalar] = field(default_factory=dict)
    instance: str | None = None
    force: bool = False


@dataclass(frozen=True)
class Setting:
    """One value of the configuration, written as in gamma.yml, and where it comes from: ``gamma.yml at `1a2b3c4` ``."""

    name: str
    value: str
    source: str


@dataclass(frozen=True)
class Effective:
    """The configuration that the head commit would train with, and what is wrong with its gamma.yml."""

    settings: tuple[Setting, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Costs:
    """What jobs have cost, as estimated.

    Attributes:
        month: the calendar month (UTC) that is told of, as ``2026-11``.
        spent: US dollars of the pull request, the month and the repository; what runs counts with what it may cost.
        budgets: what gamma.yml on the default branch allows.
        job_limit: what a single job may cost; ``None`` for any amount.
        jobs: the newest jobs of the pull request.
        unpriced: how many jobs of the repository are in no sum, since nobody knows the price of their machines.
        agent, agent_limit: what models have cost the repository in the month, and what they may cost.
    """

    month: str
    spent: Spent
    budgets: Sequence[Allowance]
    job_limit: float | None
    jobs: Sequence[JobFacts]
    unpriced: int = 0
    agent: float = 0.0
    agent_limit: float = 0.0


@dataclass(frozen=True)
class Preview:
    """What training the head commit would mean.

    Attributes:
        command: as one line.
        memory_bytes: ``None`` for no limit.
        estimated_cost: with its currency, like "0.84 USD"; ``None`` if nothing is paid or nobody knows.
        baseline: the branch that the result would be compared with.
        baseline_job: the job on it; ``None`` if there is none yet.
        is_champion: that job was promoted; it may be of another branch than the pull request's base.
        would: what would become of it now.
        why: the reason, if it would not train; a whole sentence.
        waits_for: what it would wait for before it starts; empty if it would start at once.
    """

    executor: str
    command: str
    timeout_seconds: float
    memory_bytes: int | None
    instance: str | None
    estimated_cost: str | None
    baseline: str
    baseline_job: str | None
    would: Literal["train", "skip", "refuse"]
    why: str = ""
    hyperparameters: Mapping[str, Scalar] = field(default_factory=dict)
    waits_for: str = ""
    is_champion: bool = False


class Desk(Protocol):
    """Does what commands ask for."""

    async def jobs(self, pull: PullContext, limit: int = 10) -> Sequence[JobFacts]:
        """The jobs of a pull request, the newest first."""

    async def log_tail(self, job: str, lines: int) -> Sequence[str]:
        """The newest lines of a job's log, oldest first."""

    async def train(self, pull: PullContext, asked: Asked) -> Started | Refused:
        """Train the head commit."""

    async def retry(self, pull: PullContext, asked: Asked) -> Started | Refused:
        """Start a new attempt of the newest job, with what it had and the changes that are named."""

    async def stop(self, pull: PullContext, by: str, *, everything: bool, request: str) -> Sequence[JobFacts]:
        """Stop the newest job, or all; the jobs that are being stopped."""

    async def skip(self, pull: PullContext, by: str, request: str) -> Sequence[JobFacts]:
        """Leave the head commit untrained and its check neutral; the jobs that this ends."""

    async def approve(self, pull: PullContext, by: str, sha: str, request: str) -> Started | Refused:
        """Let this one commit train, though it comes from a fork or costs more than the budget allows."""

    async def costs(self, pull: PullContext, limit: int = 10) -> Costs | Refused:
        """What the pull request, the month and the newest jobs have cost, and what is left of the budgets."""

    async def promote(self, pull: PullContext, by: str, job: str) -> Promoted | Refused:
        """Make a job of this repository the one that later jobs are compared with; the newest one, without a name."""

    async def effective_config(self, pull: PullContext) -> Effective | Refused:
        """What the head commit would train with, and where each value comes from."""

    async def simulate(self, pull: PullContext, asked: Asked) -> Preview | Refused:
        """What training the head commit would mean; nothing is started."""
