"""The durable workflow of a job: from the push to the verdict.

Every line of ``train`` is a recorded step that may run twice, when the bot dies between the effect and the record.
What makes the second run harmless is said at the step.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, assert_never

import structlog

from gamma_bot.config.branches import matches_branch
from gamma_bot.config.effective import Effective
from gamma_bot.github.errors import GitHubError
from gamma_bot.github.repository import Repository
from gamma_bot.jobs.conclusion import Conclusion, Evidence
from gamma_bot.jobs.engine import Steps, Values
from gamma_bot.jobs.patience import careful
from gamma_bot.jobs.plan import (
    CONFIG_PATH,
    DEFAULT_SCRIPT,
    Decision,
    Files,
    Mistakes,
    NothingToRun,
    Plan,
    Skip,
    configure,
    decide,
)
from gamma_bot.jobs.presenter import Presenter
from gamma_bot.jobs.push import Push, is_of_fork
from gamma_bot.jobs.reach import Reach
from gamma_bot.jobs.record import dump_facts, facts_of, new_job, stored_config
from gamma_bot.jobs.turns import may_have_to_wait, may_start
from gamma_bot.redaction import redacted
from gamma_bot.reporting.facts import State
from gamma_bot.store.jobs import TAKEN, WAITING, JobRecord, Jobs
from gamma_bot.store.pulls import PullRecord, Pulls
from gamma_bot.tracking.addresses import tracking_environment
from gamma_bot.tracking.runs import RunStatus, Tracking, TrackingError
from gamma_bot.training.trainer import Attempt, Ending, Outcome, Trainer, TrainingSpec

TURN, OUTCOME = "turn", "outcome"
# A job's own time limit ends it long before; this only bounds how long a workflow can sleep.
_LONGEST_JOB_SECONDS = 60 * 24 * 3600.0

log = structlog.get_logger()


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
    data_dir: Path
    branches: tuple[str, ...]
    page_url: Callable[[str], str]
    patience_seconds: float = 900.0
    redact: Callable[[str], str] = redacted


class Story:
    """Tells a push to its end."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._conclusion = Conclusion(parts.tracking, parts.jobs, parts.reach)

    async def train(self, steps: Steps, push: Values) -> Values:
        """The workflow. Its result is the job's final state, in a word."""
        await steps.step("open", self._careful(self._open), push)  # the Checks tab shows it as queued
        plan = await steps.step("plan", self._careful(self._plan), push)  # gamma.yml at the head commit
        if plan.get("waits"):  # recorded with the plan, so that a job without it has no step more than ever
            await steps.receive(TURN, _LONGEST_JOB_SECONDS)  # sleeps; the scheduler wakes it, to start or to end
        if plan.get("go"):
            launched = await steps.step("launch", self._careful(self._launch), push, plan)
            if launched.get("stopped"):
                return await steps.step("stopped", self._careful(self._stopped), push)
            if launched.get("go"):
                outcome = await steps.receive(OUTCOME, _LONGEST_JOB_SECONDS)  # sleeps; the watcher wakes it
                ended = await steps.step("conclude", self._careful(self._conclude), push, plan, outcome)
                if "failed" not in ended:
                    return ended
                # MLflow or GitHub stayed out of reach: the verdict is told without what they know.
                launched = await steps.step("conclude alone", self._careful(self._conclude_alone), push, plan, outcome)
                if "failed" not in launched:
                    return launched
            plan = launched
        if "failed" in plan:
            return await steps.step("give up", self._careful(self._give_up), push, plan)
        return plan

    async def _open(self, values: Values) -> Values:
        """Twice: the job's id comes from the delivery, an existing row stays."""
        push = Push.from_json(values)
        job = await self._parts.jobs.open(new_job(push, details_url=self._parts.page_url(push.job), now=time.time()))
        await self._parts.presenter.show_check(job)
        return {"job": job.id}

    async def _plan(self, values: Values) -> Values:
        """Twice: only reads, and writes the same again."""
        push = Push.from_json(values)
        decision, _ = await asyncio.gather(self.decide(push), self._refresh_pulls(push, only_if_unknown=True))
        match decision:
            case Plan(config=config, command=command, executor=executor, notices=notices):
                if config.concurrency == "supersede":
                    await self._supersede(push)
                baseline = config.baseline or await self._base_branch(push)
                plan = {
                    "config": config.model_dump(mode="json"),
                    "command": list(command),
                    "executor": executor,
                    "baseline": baseline,
                }
                job = await self._change(
                    push.job,
                    executor=executor,
                    timeout_seconds=config.train.timeout,
                    plan=plan,
                    facts={"executor": executor, "command": " ".join(command), "baseline_branch": baseline},
                    **({} if may_have_to_wait(config) else {"turn": TAKEN}),
                )
                waits = may_have_to_wait(config) and await self._parts.jobs.ask_for_turn(push.job, may_start)
                await self._parts.presenter.show_config(job, notices)
                if waits:  # the scheduler says in a moment what for
                    return {"go": True, "waits": True, **plan}
                await self._parts.presenter.show_comments(job)
                return {"go": True, **plan}
            case Skip(why=why, hint=hint):
                await self._end(push.job, State.SKIPPED, why, hint)
            case NothingToRun():
                why = "There is nothing to train: the commit has no gamma.yml and no train.py."
                job = await self._end(push.job, State.SKIPPED, why, "`gamma / config` says what to add.")
                await self._parts.presenter.show_nothing_to_train(job)
            case Mistakes(asked=True):
                await self._end(push.job, State.FAILED, decision.told, "Write the command again without that.")
            case Mistakes(problems=problems):
                count = f"{len(problems)} mistakes" if len(problems) != 1 else "a mistake"
                file = f"gamma.yml on `{decision.on}`" if decision.on else "gamma.yml"
                why = f"{file} has {count}, so nothing was trained."
                job = await self._end(push.job, State.FAILED, why, "`gamma / config` shows where.")
                await self._parts.presenter.show_mistakes(job, problems)
            case _:
                assert_never(decision)
        return {"go": False}

    async def _supersede(self, push: Push) -> None:
        """Of the pushes to a branch only the newest is trained, in whatever order they come (I2)."""
        own = await self._job(push.job)
        for other in await self._parts.jobs.of_branch(push.repository_id, push.branch):
            # Somebody who asks for an old commit wants just that one: it neither ends a newer job nor is ended by it.
            if other.final or other.id == own.id or (push.asked_by and other.head_sha != own.head_sha):
                continue
            older, newer = (own, other) if await self._is_older(own, other) else (other, own)
            why = f"Superseded by `{newer.head_sha[:7]}`, job `{newer.id}`."
            await self._parts.jobs.ask_to_stop(older.id, why=why, hint="The newer job tells the result of this branch.")

    async def _is_older(self, own: JobRecord, other: JobRecord) -> bool:
        """Whether another job of the branch is of a later push.

        GitHub tells the time of a push in whole seconds, and deliveries come in any order. So within a second it is
        the chain of commits that tells, and if there are more in between, the branch's head (I6).
        """
        if own.pushed_at != other.pushed_at:
            return own.pushed_at < other.pushed_at
        if own.head_sha == other.head_sha:
            return (own.attempt, own.created_at) < (other.attempt, other.created_at)
        if own.head_sha == other.before_sha or other.head_sha == own.before_sha:
            return own.head_sha == other.before_sha
        repository = await self._parts.reach.repository(own.repository_id)
        return await repository.head_of(own.branch) != own.head_sha

    async def _launch(self, values: Values, plan: Values) -> Values:
        """Twice: the archive is the same, the run is found by its tags, the trainer knows the attempt's name (I3)."""
        push = Push.from_json(values)
        job = await self._job(push.job)
        if job.turn == WAITING:  # woken to end, or by nobody
            days = _LONGEST_JOB_SECONDS / 86400
            await self._parts.jobs.ask_to_stop(push.job, why=f"Its turn did not come in {days:.0f} days.")
            return {"stopped": True}
        if job.stop:
            return {"stopped": True}
        config = stored_config(plan)
        attempt = Attempt(push.job, push.attempt)
        archive = self._archive(attempt)
        job = await self._change(push.job, turn=TAKEN, facts={"detail": "fetching the code", "waits": False})
        await self._parts.presenter.show_check(job)
        if plan.get("waits"):
            await self._parts.presenter.show_comments(job)  # they still say what it waits for
        run_id = await self._open_run(push, attempt)
        await self._download(push, archive)
        # Recorded before the job can exist anywhere, so that whatever comes of it has a place.
        await self._parts.jobs.change(push.job, run_id=run_id)
        await self._parts.trainers[plan["executor"]].submit(
            TrainingSpec(
                attempt=attempt,
                source=archive,
                command=tuple(plan["command"]),
                hyperparameters=config.train.hyperparameters,
                environment={
                    **tracking_environment(self._parts.tracking.uri, run_id, push.repository),
                    "GAMMA_REPOSITORY": push.repository,
                    "GAMMA_BRANCH": push.branch,
                    "GAMMA_SHA": push.after,
                },
                timeout_seconds=config.train.timeout,
                memory_bytes=config.train.memory,
            )
        )
        return {"go": True, "run_id": run_id}

    async def _stopped(self, values: Values) -> Values:
        """Twice: the first recorded end stays. Asked to end before it was handed to a trainer."""
        push = Push.from_json(values)
        job = await self._job(push.job)
        await self._end(push.job, State.CANCELLED, job.stop["why"], job.stop["hint"])
        return {"state": State.CANCELLED}

    async def _conclude_alone(self, values: Values, plan: Values, message: Values | None) -> Values:
        """As ``_conclude``, by what the trainer left and nothing else."""
        return await self._conclude(values, plan, message, alone=True)

    async def _conclude(self, values: Values, plan: Values, message: Values | None, *, alone: bool = False) -> Values:
        """Twice: the first recorded end stays, and is shown again."""
        push = Push.from_json(values)
        outcome = _outcome(message)
        job = await self._job(push.job)
        attempt = Attempt(push.job, push.attempt)
        trainer = self._parts.trainers[plan["executor"]]
        if not job.final:
            evidence = Evidence(
                log=await trainer.log_tail(attempt, 400),
                log_dropped_bytes=await trainer.log_dropped(attempt),
                source_roots=await trainer.source_roots(attempt),
                artifacts=await trainer.artifacts(attempt),
            )
            if alone:
                facts = self._conclusion.facts_alone(job, outcome, plan["baseline"], evidence)
            else:
                await self._close_run(job, outcome)
                config = stored_config(plan)
                facts = await self._conclusion.facts(job, outcome, config, plan["baseline"], evidence)
                if outcome.ending is Ending.STOPPED and job.stop:
                    facts = replace(facts, why=job.stop["why"], hint=job.stop["hint"])
                await self._refresh_pulls(push)
            job = await self._parts.jobs.change(push.job, state=facts.state, facts=dump_facts(facts))
        await self._parts.presenter.show_check(job)
        await self._parts.presenter.show_comments(job)
        await trainer.forget(attempt)
        await asyncio.to_thread(self._archive(attempt).unlink, missing_ok=True)
        log.info("job.ended", job=job.id, repo=job.repository, state=job.state, ending=outcome.ending.value)
        return {"state": job.state}

    async def _give_up(self, values: Values, reason: Values) -> Values:
        """Twice: the first recorded end stays. What was opened in MLflow is closed by the sweep if not here."""
        push = Push.from_json(values)
        attempt = Attempt(push.job, push.attempt)
        for trainer in self._parts.trainers.values():
            await trainer.stop(
                attempt
            )  # nothing may go on that GitHub shows as over; one it does not know is no matter
        job = await self._job(push.job)
        if job.stop:  # it was to end anyway, and what failed may be due to the same cause (a suspended installation)
            state, why, hint = State.CANCELLED, job.stop["why"], job.stop["hint"]
        else:
            state, why, hint = State.FAILED, str(reason["failed"]), str(reason.get("hint", ""))
        job = await self._end(push.job, state, why, hint)
        await asyncio.to_thread(self._archive(attempt).unlink, missing_ok=True)
        if job.run_id is not None:
            try:
                await self._parts.tracking.close_run(job.run_id, RunStatus.KILLED if job.stop else RunStatus.FAILED)
            except TrackingError as error:
                log.warning("run.left_open", job=push.job, error=str(error))
        return {"state": state}

    async def decide(self, push: Push) -> Decision:
        """What would become of a push; nothing is started.

        Raises:
            GitHubError
        """
        files = Files(None, None) if push.skip else await self._read_files(push)
        executors = tuple(self._parts.trainers)
        return decide(push, files, executors=executors, default_executor=executors[0])

    async def configuration(self, push: Push) -> Effective | Mistakes | NothingToRun:
        """What a commit would train with, and where each value comes from.

        Raises:
            GitHubError
        """
        return configure(push, await self._read_files(push))

    async def _read_files(self, push: Push) -> Files:
        repository = await self._repository(push)
        head, default = await asyncio.gather(
            repository.file(CONFIG_PATH, push.after, just_pushed=True),
            repository.file(CONFIG_PATH, push.default_branch),
        )
        if head is not None:
            return Files(head, default)
        return Files(
            None, default, has_script=await repository.file(DEFAULT_SCRIPT, push.after, just_pushed=True) is not None
        )

    async def _refresh_pulls(self, push: Push, *, only_if_unknown: bool = False) -> None:
        """A webhook about a pull request can be missing or late; what GitHub says now is right (I6).

        Args:
            only_if_unknown: a pull request that is known is asked about when the job is over, and not twice.
        """
        if is_of_fork(push.branch):
            return
        known = await self._parts.pulls.of_branch(push.repository_id, push.branch)
        if known and only_if_unknown:
            return
        try:
            repository = await self._repository(push)
            found = await repository.pull_requests_of(push.branch)
        except GitHubError as error:
            # The comment then follows the webhooks alone; the job does not depend on it.
            log.warning("pulls.unreadable", job=push.job, error=str(error))
            return
        own = [pull for pull in found if pull.head_repository_id == push.repository_id]
        await self._parts.pulls.refresh(
            known,
            [
                PullRecord(push.repository_id, p.number, p.head_branch, p.head_sha, p.base_branch, p.updated_at)
                for p in own
            ],
        )

    async def _base_branch(self, push: Push) -> str:
        """What a branch is measured against: its pull request's base, else the main training branch."""
        for pull in await self._parts.pulls.of_branch(push.repository_id, push.branch):
            if matches_branch(self._parts.branches, pull.base_branch):  # nothing trains on the others
                return pull.base_branch
        main = self._parts.branches[0].removesuffix("/*")
        # Git can't hold `models` beside `models/x`: where there are such branches, `models/main` is the main one.
        return f"{main}/main" if push.branch.startswith(f"{main}/") else main

    async def _open_run(self, push: Push, attempt: Attempt) -> str:
        tags = {
            "gamma.repo": push.repository,
            "gamma.ref": f"refs/heads/{push.branch}",
            "gamma.sha": push.after,
            "gamma.job": attempt.job,
            "gamma.attempt": str(attempt.number),
            "gamma.pusher": push.pusher,
        }
        return await self._parts.tracking.open_run(push.repository, f"{push.branch} {push.after[:7]}", tags)

    async def _download(self, push: Push, archive: Path) -> None:
        if not archive.exists():
            await (await self._repository(push)).download(push.after, archive)

    async def _close_run(self, job: JobRecord, outcome: Outcome) -> None:
        if job.run_id is None:
            return
        match outcome.ending:
            case Ending.COMPLETED:
                status = RunStatus.FINISHED
            case Ending.STOPPED | Ending.LOST:
                status = RunStatus.KILLED
            case _:
                status = RunStatus.FAILED
        await self._parts.tracking.close_run(job.run_id, status)

    async def _end(self, job_id: str, state: State, why: str, hint: str) -> JobRecord:
        job = await self._change(job_id, state=state, facts={"why": why, "hint": hint, "ended_at": time.time()})
        await self._parts.presenter.show_check(job)
        await self._parts.presenter.show_comments(job)
        return job

    async def _change(self, job_id: str, *, facts: Mapping[str, Any], **columns: Any) -> JobRecord:
        job = await self._job(job_id)
        changed = replace(facts_of(job), state=State(columns.get("state", job.state)), **facts)
        return await self._parts.jobs.change(job_id, facts=dump_facts(changed), **columns)

    async def _job(self, job_id: str) -> JobRecord:
        job = await self._parts.jobs.get(job_id)
        assert job is not None, "a job is opened before anything else happens to it"
        return job

    async def _repository(self, push: Push) -> Repository:
        # Not by the push's own name and installation: both may have changed since.
        return await self._parts.reach.repository(push.repository_id)

    def _archive(self, attempt: Attempt) -> Path:
        return self._parts.data_dir / "sources" / f"{attempt.key}.tar.gz"

    def _careful(self, work: Callable[..., Awaitable[Values]]) -> Callable[..., Awaitable[Values]]:
        return careful(work, self._parts.patience_seconds, self._parts.redact)


def outcome_message(outcome: Outcome) -> Values:
    """An outcome as the message that wakes the workflow."""
    return asdict(outcome)


def _outcome(message: Values | None) -> Outcome:
    if message is None:
        return Outcome(Ending.LOST, "Nothing was heard of the job for 60 days.", ended_at=time.time())
    known = {name: message[name] for name in Outcome.__dataclass_fields__ if name in message}
    return Outcome(**{**known, "ending": Ending(message["ending"])})
