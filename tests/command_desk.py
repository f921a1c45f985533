"""A desk that keeps jobs in memory: what commands ask of it happens, so that a later command sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gamma_bot.commands.answer import Answer, answer
from gamma_bot.commands.context import CommandContext, PullContext
from gamma_bot.commands.desk import Asked, Costs, Effective, Preview, Refused, Setting, Started
from gamma_bot.commands.parser import parse_comment
from gamma_bot.commands.registry import build_registry
from gamma_bot.commands.roles import Role
from gamma_bot.config.errors import Problem
from gamma_bot.config.schema import Budget, Scalar
from gamma_bot.jobs.budgets import allowances
from gamma_bot.jobs.promotion import Promoted
from gamma_bot.reporting.facts import ChampionFacts, JobFacts, State
from gamma_bot.store.spending import Spent
from tests.job_facts import QUEUED, SHA

T = TypeVar("T")
PULL = PullContext(
    installation_id=1,
    repository_id=2,
    repository="ann/cartpole",
    number=7,
    head_branch="models/wider",
    head_sha=SHA,
    base_branch="models",
    from_fork=False,
    private=False,
)


@dataclass
class MemoryDesk:
    """The jobs of one pull request, the newest first, and their logs."""

    held: list[JobFacts] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    config: dict[str, Scalar] = field(default_factory=lambda: {"lr": 0.01})
    problems: tuple[Problem, ...] = ()
    approved: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    answered: dict[str, object] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    spent: Spent = field(default_factory=lambda: Spent(branch=3.52, month=197.0, repository=897.0))

    async def jobs(self, pull: PullContext, limit: int = 10) -> Sequence[JobFacts]:
        return self.held[:limit]

    async def log_tail(self, job: str, lines: int) -> Sequence[str]:
        return self.log[-lines:]

    async def train(self, pull: PullContext, asked: Asked) -> Started | Refused:
        if pull.from_fork and pull.head_sha not in self.approved:
            refusal = Refused("This commit comes from a fork.", "A maintainer can allow it with `/gamma approve`.")
            return self._once(asked.request, refusal)
        return self._start(pull, 1, asked)

    async def retry(self, pull: PullContext, asked: Asked) -> Started | Refused:
        if not self.held:
            return self._once(asked.request, Refused("There is no job to retry", "`/gamma train` starts one"))
        return self._start(pull, self.held[0].attempt + 1, asked)

    async def stop(self, pull: PullContext, by: str, *, everything: bool, request: str) -> Sequence[JobFacts]:
        if request in self.answered:
            return self._once(request, list[JobFacts]())
        open_jobs = [each for each in self.held if not each.state.final][: None if everything else 1]
        self._end(open_jobs, f"{by} stopped it.")
        return self._once(request, open_jobs)

    async def skip(self, pull: PullContext, by: str, request: str) -> Sequence[JobFacts]:
        self.skipped.add(pull.head_sha)
        return await self.stop(pull, by, everything=True, request=request)

    async def approve(self, pull: PullContext, by: str, sha: str, request: str) -> Started | Refused:
        self.approved.add(sha)
        return self._start(pull, 1, Asked(by, request))

    async def costs(self, pull: PullContext, limit: int = 10) -> Costs | Refused:
        budgets = [each for each in allowances(self.budget, self.spent, of_pull_request=True) if not each.of_each_job]
        return Costs("2026-11", self.spent, budgets, self.budget.job, self.held[:limit])

    async def effective_config(self, pull: PullContext) -> Effective | Refused:
        settings = [Setting("train.executor", "local", "default")]
        settings += [
            Setting(f"train.hyperparameters.{name}", str(value), f"gamma.yml at `{pull.head_sha[:7]}`")
            for name, value in self.config.items()
        ]
        return Effective(tuple(settings), self.problems)

    async def promote(self, pull: PullContext, by: str, job: str) -> Promoted | Refused:
        found = next((each for each in self.held if each.job == job or not job), None)
        if found is None or found.state is not State.SUCCEEDED:
            return Refused("Only a run that succeeded can be promoted.", "`/gamma status` lists them.")
        replaced = next((each for each in self.held if each.champion), None)
        if replaced == found:
            return Promoted(found, already=True)
        champion = replace(found, champion=ChampionFacts(by, 1_764_252_300.0))
        self.held = [champion if each is found else replace(each, champion=None) for each in self.held]
        return Promoted(champion, replaced)

    async def simulate(self, pull: PullContext, asked: Asked) -> Preview | Refused:
        instance, hyperparameters = asked.instance, asked.hyperparameters
        fork = pull.from_fork and pull.head_sha not in self.approved
        return Preview(
            executor="sagemaker" if instance else "local",
            command="python train.py",
            timeout_seconds=7200,
            memory_bytes=None,
            instance=instance,
            estimated_cost="2.42 USD" if instance else None,
            baseline="models",
            baseline_job="models-9b2e4d7",
            would="refuse" if fork else "train",
            why="It comes from a fork" if fork else "",
            hyperparameters={**self.config, **hyperparameters},
        )

    def _start(self, pull: PullContext, attempt: int, asked: Asked) -> Started | Refused:
        request = asked.request
        if request not in self.answered:
            job = f"job-{len(self.held) + 1}"
            page = f"https://gamma.example/jobs/{job}"
            params = {name: str(value) for name, value in asked.hyperparameters.items()}
            started = replace(
                QUEUED, job=job, sha=pull.head_sha, attempt=attempt, pusher=asked.by, details_url=page, params=params
            )
            self.held.insert(0, started)
            return self._once(request, Started(job, pull.head_sha, attempt, page))
        return self._once(request, Refused("This was never asked."))

    def _end(self, jobs: Sequence[JobFacts], why: str) -> None:
        ended = {each.job for each in jobs}
        self.held = [replace(each, state=State.CANCELLED, why=why) if each.job in ended else each for each in self.held]

    def _once(self, request: str, outcome: T) -> T:
        """The first answer to a request is the answer for ever."""
        first: T = self.answered.setdefault(request, outcome)  # type: ignore[assignment]
        return first


@dataclass
class Conversation:
    """A pull request in which people write comments and read the answers."""

    desk: MemoryDesk = field(default_factory=MemoryDesk)
    pull: PullContext = PULL
    overrides: Mapping[str, Role] = field(default_factory=dict)
    comments: int = 0

    async def say(
        self, comment: str, role: Role = Role.ADMIN, *, saw: str | None = SHA, number: int | None = None
    ) -> list[Answer]:
        """The answers to a comment; ``number`` repeats an earlier one."""
        self.comments += number is None
        registry = build_registry()
        return [
            await answer(
                parsed,
                CommandContext(
                    pull=self.pull,
                    author="ann",
                    role=role,
                    comment_sha=saw,
                    request=f"{number or self.comments}-{parsed.index}",
                    desk=self.desk,
                    registry=registry,
                    overrides=self.overrides,
                ),
            )
            for parsed in parse_comment(comment, registry)
        ]

    async def read(self, comment: str, role: Role = Role.ADMIN, **more: str | None) -> str:
        """The one answer as a person sees it, the reaction before it."""
        (only,) = await self.say(comment, role, saw=more.get("saw", SHA))
        return f"[{only.reaction}] {only.body}"
