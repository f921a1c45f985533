"""The collaborators of a job's workflows, and what both of them do with its row."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gamma_bot.github.repository import Repository
from gamma_bot.jobs.engine import Values
from gamma_bot.jobs.expenses import Expenses, charge, with_untold_cost
from gamma_bot.jobs.patience import careful
from gamma_bot.jobs.presenter import Presenter
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.reach import Reach
from gamma_bot.jobs.record import dump_facts, facts_of
from gamma_bot.redaction import redacted
from gamma_bot.reporting.facts import State
from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.store.pulls import Pulls
from gamma_bot.tracking.runs import Tracking
from gamma_bot.training.trainer import Attempt, Trainer


@dataclass(frozen=True)
class Parts:
    """The collaborators of a job.

    Attributes:
        trainers: by executor name; the first one is the default.
        branches: patterns of branches that train; the first one is the default baseline.
        page_url: the address of a job's page, by job id.
        patience_seconds: how long a step goes on trying while GitHub, MLflow or the store are out of reach.
        redact: takes secrets out of words that people will read.
    """

    jobs: Jobs
    pulls: Pulls
    presenter: Presenter
    reach: Reach
    trainers: Mapping[str, Trainer]
    tracking: Tracking
    expenses: Expenses
    data_dir: Path
    branches: tuple[str, ...]
    page_url: Callable[[str], str]
    patience_seconds: float = 900.0
    redact: Callable[[str], str] = redacted

    async def job(self, job_id: str) -> JobRecord:
        """The row of a job that was opened."""
        job = await self.jobs.get(job_id)
        assert job is not None, "a job is opened before anything else happens to it"
        return job

    async def repository(self, push: Push) -> Repository:
        """The repository of a push: not by the push's own name and installation, since both may have changed."""
        return await self.reach.repository(push.repository_id)

    async def change(self, job_id: str, *, facts: Mapping[str, Any], **columns: Any) -> JobRecord:
        """Change some of a job's facts, and columns with them."""
        job = await self.job(job_id)
        changed = replace(facts_of(job), state=State(columns.get("state", job.state)), **facts)
        return await self.jobs.change(job_id, facts=dump_facts(changed), **columns)

    async def end(self, job_id: str, state: State, why: str, hint: str) -> JobRecord:
        """End a job that nothing is to be judged of, and show it."""
        facts: dict[str, Any] = {"why": why, "hint": hint, "ended_at": time.time()}
        job = await self.job(job_id)
        columns: dict[str, Any] = {}
        if state is not State.HELD:
            cost = facts["cost"] = with_untold_cost(facts_of(job).cost, job, stopped=job.executor in self.trainers)
            columns["cost_usd"] = charge(cost)
        job = await self.change(job_id, state=state, facts=facts, **columns)
        await self.presenter.show_check(job)
        await self.presenter.show_comments(job)
        return job

    def archive(self, attempt: Attempt) -> Path:
        """Where the tree of an attempt lies until its trainer has it."""
        return self.data_dir / "sources" / f"{attempt.key}.tar.gz"

    def careful(
        self, work: Callable[..., Awaitable[Values]], *, patience_seconds: float | None = None
    ) -> Callable[..., Awaitable[Values]]:
        """A step that never raises."""
        return careful(work, self.patience_seconds if patience_seconds is None else patience_seconds, self.redact)
