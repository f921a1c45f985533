"""The desk at work: what commands and buttons ask for, done with jobs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from gamma_bot.agent.ledger import Ledger
from gamma_bot.commands.desk import Asked, Costs, Effective, Preview, Refused, Setting, Started
from gamma_bot.commands.pull import PullContext
from gamma_bot.config.branches import matches_branch
from gamma_bot.config.loader import load
from gamma_bot.config.schema import Budget, GammaConfig
from gamma_bot.github.errors import GitHubError
from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.repository import Repository
from gamma_bot.jobs.budgets import allowances
from gamma_bot.jobs.expenses import Expenses
from gamma_bot.jobs.plan import CONFIG_PATH, Mistakes, NothingToRun, Plan, Skip
from gamma_bot.jobs.promotion import Promoted, Promotion, Unfit
from gamma_bot.jobs.push import Push, branch_of_fork
from gamma_bot.jobs.record import facts_of, new_job
from gamma_bot.jobs.story import Story
from gamma_bot.jobs.turns import Wait, contenders_of, explain, waits
from gamma_bot.reporting.facts import JobFacts, State
from gamma_bot.reporting.money import estimate
from gamma_bot.store.jobs import WAITING, JobRecord, Jobs
from gamma_bot.store.pulls import PullRecord, Pulls
from gamma_bot.training.trainer import Attempt, Trainer, TrainerUnavailable

_NOTHING_TO_RUN = Refused("There is neither a gamma.yml nor a train.py.", "`gamma init` writes both.")


class JobsDesk:
    """Does what commands ask for. A request has one job, however often it is asked: the job's id is made from it.

    Args:
        begin: start the workflow of a push.
        page_url: the address of a job's page.
        ledger: what models have cost; ``None`` where none are asked.
    """

    def __init__(
        self,
        jobs: Jobs,
        pulls: Pulls,
        github: GitHubApp,
        trainers: Mapping[str, Trainer],
        story: Story,
        promotion: Promotion,
        expenses: Expenses,
        branches: Sequence[str],
        *,
        begin: Callable[[Push], Awaitable[None]],
        page_url: Callable[[str], str],
        ledger: Ledger | None = None,
    ) -> None:
        self._jobs = jobs
        self._pulls = pulls
        self._github = github
        self._trainers = trainers
        self._story = story
        self._promotion = promotion
        self._expenses = expenses
        self._branches = branches
        self._begin = begin
        self._page_url = page_url
        self._ledger = ledger

    async def jobs(self, pull: PullContext, limit: int = 10) -> Sequence[JobFacts]:
        """The jobs of a pull request, the newest first."""
        return [facts_of(job) for job in await self._of(pull, limit)]

    async def log_tail(self, job: str, lines: int) -> Sequence[str]:
        """The newest lines of a job's log, oldest first."""
        found = await self._jobs.get(job)
        record = await self._jobs.that_trained(found) if found is not None else None
        trainer = self._trainers.get(record.executor) if record is not None else None
        if record is None or trainer is None:
            return ()
        try:
            return await trainer.log_tail(Attempt(record.id, record.attempt), lines)
        except TrainerUnavailable as error:
            return (f"[The log can't be read now: {error}]",)

    async def train(self, pull: PullContext, asked: Asked) -> Started | Refused:
        """Train the head commit."""
        if pull.from_fork:
            return Refused(
                "This pull request comes from a fork, whose code nobody has looked at yet.",
                f"A maintainer can allow this one commit: `/gamma approve {pull.head_sha}`",
            )
        if not matches_branch(self._branches, pull.head_branch):
            return Refused(
                f"`{pull.head_branch}` is no branch that trains.",
                f"Branches that train: `{', '.join(self._branches)}`.",
            )
        return await self._start_if_fit(await self._push(pull, pull.head_branch, asked))

    async def retry(self, pull: PullContext, asked: Asked) -> Started | Refused:
        """Start a new attempt of the newest job, with what it had and the changes that are named."""
        newest = next(iter(await self._of(pull, 1)), None)
        if newest is None:
            return Refused("This pull request has no job yet.", "`/gamma train` trains its head commit.")
        return await self._start_if_fit(await self._repetition(newest, asked))

    async def stop(self, pull: PullContext, by: str, *, everything: bool, request: str) -> Sequence[JobFacts]:
        """Stop the newest job, or all; the jobs that are being stopped."""
        running = [job for job in await self._of(pull, 50) if not job.final]
        stopped = running if everything else running[:1]
        for job in stopped:
            await self.stop_job(job.id, by)
        return [facts_of(job) for job in stopped]

    async def skip(self, pull: PullContext, by: str, request: str) -> Sequence[JobFacts]:
        """Leave the head commit untrained and its check neutral; the jobs that this ends."""
        branch = _branch_of(pull)
        jobs = await self._jobs.of_commit(pull.repository_id, pull.head_sha)
        ended = [job for job in jobs if not job.final and not job.stop]
        for job in ended:
            await self._jobs.ask_to_stop(job.id, why=f"Skipped by `{by}`.")
        push = await self._push(pull, branch, Asked(by, request))
        await self._begin(replace(push, skip=True))
        return [facts_of(job) for job in ended]

    async def approve(self, pull: PullContext, by: str, sha: str, request: str) -> Started | Refused:
        """Let this one commit train, though it is a fork's or its job is held back by a budget."""
        if sha != pull.head_sha:
            return Refused(f"The head is `{pull.head_sha}` now, not the commit that was approved.", "Look at it again.")
        branch = _branch_of(pull)
        newest = await self._newest_of_commit(pull.repository_id, sha, branch)
        if newest is not None and newest.state == State.HELD:
            return await self._start_approved(newest, by)
        if newest is not None and newest.push.get("approved_by") and not newest.final:
            return self._started(newest)  # somebody has approved it
        if not pull.from_fork:
            return Refused(
                "This pull request needs no approval: its branch is in this repository, and no budget holds it back.",
                "`/gamma train` trains it.",
            )
        await self._pulls.seen(
            PullRecord(pull.repository_id, pull.number, branch, pull.head_sha, pull.base_branch, updated_at=0.0)
        )
        return await self._start(await self._push(pull, branch, Asked(by, request)))

    async def approve_job(self, job: JobRecord, by: str) -> Started | Refused:
        """Let a job train that a budget holds back: as a new attempt of its commit."""
        newest = await self._newest_of_commit(job.repository_id, job.head_sha, job.branch)
        if newest is None or newest.state != State.HELD:
            return Refused(f"Job `{newest.id if newest else job.id}` of this commit waits for no approval.")
        return await self._start_approved(newest, by)

    async def costs(self, pull: PullContext, limit: int = 10) -> Costs | Refused:
        """What the pull request, the month and the newest jobs have cost, and what is left of the budgets."""
        repository = Repository(self._github.installation(pull.installation_id), pull.repository)
        try:
            guard = load(await repository.file(CONFIG_PATH, pull.default_branch) or b"", path=CONFIG_PATH)
        except GitHubError as error:
            return Refused(f"{error}.", "Write the command again in a minute.")
        budget = guard.config.budget if guard.config is not None else Budget()
        month, spent = await self._expenses.spent(pull.repository_id, _branch_of(pull))
        found = [each for each in allowances(budget, spent, of_pull_request=True) if not each.of_each_job]
        unpriced = await self._expenses.unpriced(pull.repository_id)
        agent = await self._ledger.month_usd(pull.repository_id) if self._ledger is not None else 0.0
        agent_limit = self._ledger.caps.month if self._ledger is not None else 0.0
        jobs = await self.jobs(pull, limit)
        return Costs(month, spent, found, budget.job, jobs, unpriced, agent, agent_limit)

    async def effective_config(self, pull: PullContext) -> Effective | Refused:
        """What the head commit would train with, and where each value comes from."""
        push = await self._push(pull, pull.head_branch, Asked("somebody", "config"))
        try:
            found = await self._story.configuration(push)
        except GitHubError as error:
            return Refused(f"{error}.", "Write the command again in a minute.")
        if isinstance(found, Mistakes):
            return Effective((), tuple(found.problems))
        if isinstance(found, NothingToRun):
            return _NOTHING_TO_RUN
        settings = tuple(Setting(item.name, item.written, item.source) for item in found.settings)
        return Effective(settings, found.ignored)

    async def simulate(self, pull: PullContext, asked: Asked) -> Preview | Refused:
        """What training the head commit would mean; nothing is started."""
        push = await self._push(pull, pull.head_branch, asked)
        try:
            decision = await self._story.decide(push)
        except GitHubError as error:
            return Refused(f"{error}.", "Write the command again in a minute.")
        match decision:
            case Mistakes(asked=True):
                return Refused(decision.told)
            case Mistakes(problems=problems):
                first = problems[0]
                return Refused(f"gamma.yml can't be used: {first.message}.", first.hint)
            case NothingToRun():
                return _NOTHING_TO_RUN
            case Skip(why=why, hint=hint):
                return Refused(why, hint)
            case Plan(config=config, command=command, executor=executor):
                baseline = config.baseline or pull.base_branch
                job = await self._jobs.champion(pull.repository_id)
                if job is None or config.baseline not in (None, job.branch):
                    job = await self._jobs.newest_of_branch(pull.repository_id, baseline, states=("succeeded",))
                wait = await self._wait(push, config)
                cost = await self._expenses.estimate(push, config, executor)
                held = await self._expenses.would_hold(push, config, cost) if cost is not None else None
                waits_for = explain(wait, push.default_branch) if wait is not None else ""
                return Preview(
                    executor=executor,
                    command=" ".join(command),
                    timeout_seconds=config.train.timeout,
                    memory_bytes=config.train.memory,
                    instance=None,
                    estimated_cost=estimate(cost) if cost is not None else None,
                    baseline=job.branch if job is not None else baseline,
                    baseline_job=job.id if job is not None else None,
                    is_champion=bool(job is not None and job.champion),
                    would="refuse" if pull.from_fork else "train",
                    why="It comes from a fork; a maintainer has to approve it." if pull.from_fork else "",
                    hyperparameters=config.train.hyperparameters,
                    waits_for=f"`/gamma approve`: {held.why}" if held is not None else waits_for,
                )

    async def stop_job(self, job: str, by: str) -> str:
        """Ask a job to end; what became of it, in a few words."""
        found = await self._jobs.get(job)
        begun = found is not None and found.run_id is not None
        hint = "Its metrics and files are kept." if begun else "It had not begun to train."
        asked = await self._jobs.ask_to_stop(job, why=f"Stopped by `{by}`.", hint=hint)
        return f"job {job} is being stopped" if asked else f"job {job} is over, or being stopped already"

    async def promote(self, pull: PullContext, by: str, job: str) -> Promoted | Refused:
        """Make a job of this repository the champion, or the newest one of the pull request."""
        if not job:
            newest = next(iter(await self._of(pull, 1)), None)
            if newest is None:
                return Refused("This pull request has no job yet.", "`/gamma train` trains its head commit.")
            return await self.promote_job(newest, by)
        found = await self._jobs.get(job)
        if found is None or found.repository_id != pull.repository_id:
            return Refused(f"This repository has no job `{job}`.", "`/gamma status` lists those of this pull request.")
        return await self.promote_job(found, by)

    async def promote_job(self, job: JobRecord, by: str) -> Promoted | Refused:
        """Make this job the champion.

        Raises:
            TrackingError
        """
        outcome = await self._promotion.promote(job, by)
        return Refused(outcome.why, outcome.hint) if isinstance(outcome, Unfit) else outcome

    async def repeat(self, job: JobRecord, asked: Asked) -> Started:
        """Start a new attempt of this job."""
        return await self._start(await self._repetition(job, asked))

    async def _repetition(self, job: JobRecord, asked: Asked) -> Push:
        """A new attempt of a job, with the changes that are named."""
        before = Push.from_json(job.push).moved(job.repository, job.installation_id)
        attempts = [other.attempt for other in await self._jobs.of_commit(job.repository_id, job.head_sha)]
        return replace(
            before,
            guid=asked.request,
            attempt=max(attempts, default=0) + 1,
            hyperparameters={**before.hyperparameters, **asked.hyperparameters},
            instance=asked.instance or before.instance,
            force=True,
            asked_by=asked.by,
            approved_by="",  # that was for one job
            skip=False,
        )

    async def _wait(self, push: Push, config: GammaConfig) -> Wait | None:
        """What a job would wait for if it came now."""
        job = new_job(push, details_url="", now=time.time())
        job = replace(job, turn=WAITING, plan={"config": config.model_dump(mode="json")})
        return waits(contenders_of([*await self._jobs.contenders(job.installation_id), job]))[job.id]

    async def _start_approved(self, held: JobRecord, by: str) -> Started:
        # Named after the job that waits: approved twice, at once and by different people, it is paid for once.
        again = await self._repetition(held, Asked(by, f"approved-{held.id}"))
        return await self._start(replace(again, approved_by=by, force=bool(held.push.get("force"))))

    async def _start_if_fit(self, push: Push) -> Started | Refused:
        """Start a job, unless what is to be different this time can't be: that is said at once, not by a failed job."""
        if (push.hyperparameters or push.instance) and await self._jobs.get(push.job) is None:
            try:
                decision = await self._story.decide(push)
            except GitHubError as error:
                return Refused(f"{error}.", "Write the command again in a minute.")
            if isinstance(decision, Mistakes) and decision.asked:
                return Refused(decision.told)
        return await self._start(push)

    async def _start(self, push: Push) -> Started:
        known = await self._jobs.get(push.job)
        if known is not None:  # asked before
            return self._started(known)
        await self._begin(push)
        return Started(push.job, push.after, push.attempt, self._page_url(push.job))

    def _started(self, job: JobRecord) -> Started:
        return Started(job.id, job.head_sha, job.attempt, self._page_url(job.id))

    async def _newest_of_commit(self, repository_id: int, sha: str, branch: str) -> JobRecord | None:
        jobs = await self._jobs.of_commit(repository_id, sha)
        return next((job for job in jobs if job.branch == branch), None)

    async def _push(self, pull: PullContext, branch: str, asked: Asked) -> Push:
        """The head commit as a push that somebody asked for; what is known of it comes from its newest job."""
        known = await self._jobs.of_commit(pull.repository_id, pull.head_sha)
        last = next(iter(known), None) or next(iter(await self._of(pull, 1)), None)
        before = Push.from_json(last.push).moved(pull.repository, pull.installation_id) if last is not None else None
        repository = Repository(self._github.installation(pull.installation_id), pull.repository)
        commit = await repository.commit(pull.head_sha) if not known else None
        return Push(
            guid=asked.request,
            installation_id=pull.installation_id,
            repository_id=pull.repository_id,
            repository=pull.repository,
            branch=branch,
            before=last.before_sha if last is not None and known else "0" * 40,
            after=pull.head_sha,
            pusher=before.pusher if before is not None and known else asked.by,
            message=commit.message if commit is not None else before.message if before is not None else "",
            # A job that is asked for now is the newest of its branch, whatever push its commit came with, and also if
            # that push is yet to arrive: then it is older than the wish.
            pushed_at=max(before.pushed_at if before is not None else 0.0, 0.0 if known else time.time()),
            html_url=before.html_url if before is not None else commit.html_url if commit is not None else "",
            default_branch=pull.default_branch,
            attempt=max((job.attempt for job in known), default=0) + 1,
            hyperparameters=dict(asked.hyperparameters),
            instance=asked.instance or "",
            force=asked.force,
            asked_by=asked.by,
        )

    async def _of(self, pull: PullContext, limit: int) -> Sequence[JobRecord]:
        return await self._jobs.of_branch(pull.repository_id, _branch_of(pull), limit)


def _branch_of(pull: PullContext) -> str:
    return branch_of_fork(pull.number) if pull.from_fork else pull.head_branch
