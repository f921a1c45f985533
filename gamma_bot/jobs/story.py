"""The durable workflow of a job, up to its launch: what is to be trained, and the handing over to a trainer.

Every line of ``train`` is a recorded step that may run twice, when the bot dies between the effect and the record.
What makes the second run harmless is said at the step. How a job ends is told by ``ending.py``.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from gamma_bot.config.effective import Effective
from gamma_bot.config.schema import GammaConfig
from gamma_bot.jobs.adoption import attempt_tags
from gamma_bot.jobs.budgets import Hold
from gamma_bot.jobs.engine import Steps, Values
from gamma_bot.jobs.giving_up import give_up
from gamma_bot.jobs.parts import Parts
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
    placed,
)
from gamma_bot.jobs.pull_requests import base_branch, refresh_pulls
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.record import new_job, stored_config
from gamma_bot.jobs.reuse import Reuse
from gamma_bot.jobs.superseding import Rivals, end_the_older, rivals_of
from gamma_bot.jobs.turns import may_have_to_wait, may_start
from gamma_bot.reporting.facts import CostFacts, State
from gamma_bot.store.jobs import TAKEN, WAITING, JobRecord
from gamma_bot.tracking.addresses import adopting_environment, tracking_environment
from gamma_bot.training.trainer import Attempt, Origin, TrainingSpec

TURN = "turn"
# A job's own time limit ends it long before; this only bounds how long a workflow can sleep.
_LONGEST_WAIT_SECONDS = 60 * 24 * 3600.0


class Story:
    """Tells a push to its launch."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._reuse = Reuse(parts)

    async def train(self, steps: Steps, push: Values) -> Values:
        """The workflow. Its result says whether something was launched, or how the job ended."""
        careful = self._parts.careful
        # The Checks tab shows it as queued. Without its row nobody could be told anything, so it waits for the store.
        opened = await steps.step("open", careful(self._open, patience_seconds=math.inf), push)
        if "failed" in opened:
            return opened
        plan = await steps.step("plan", careful(self._plan), push)  # gamma.yml at the head commit
        if plan.get("waits"):  # recorded with the plan, so that a job without it has no step more than ever
            await steps.receive(TURN, _LONGEST_WAIT_SECONDS)  # sleeps; the scheduler wakes it, to start or to end
        if plan.get("go"):
            plan = await steps.step("launch", careful(self._launch), push, plan)  # then the watcher looks after it
        if plan.get("stopped"):
            return await steps.step("stopped", careful(self._stopped), push)
        if plan.get("reuse"):
            plan = await steps.step("take over", careful(self._take_over), push, plan)
        if "failed" in plan:
            return await steps.step("give up", careful(self._give_up), push, plan)
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
        decision, _ = await asyncio.gather(self.decide(push), refresh_pulls(self._parts, push, only_if_unknown=True))
        match decision:
            case Plan(config=config, command=command, executor=executor, notices=notices):
                rivals = await rivals_of(self._parts, push) if config.concurrency == "supersede" else Rivals()
                baseline = config.baseline or await base_branch(self._parts, push)
                cost = await self._parts.expenses.estimate(push, config, executor)
                held = await self._reserve(push, config, cost, rivals) if cost is not None else None
                plan = {
                    "config": config.model_dump(mode="json"),
                    "command": list(command),
                    "executor": executor,
                    "baseline": baseline,
                }
                job = await self._parts.change(
                    push.job,
                    executor=executor,
                    timeout_seconds=config.train.timeout,
                    plan=plan,
                    facts={
                        "executor": executor,
                        "command": " ".join(command),
                        "baseline_branch": baseline,
                        "cost": cost,
                    },
                    **({} if may_have_to_wait(config) else {"turn": TAKEN}),
                )
                repeats = await self._repeats(push, job, plan) if held is not None and not job.final else None
                if job.final or (held is not None and repeats is None):
                    # A hold that was recorded stays, if there is money again meanwhile.
                    await self._parts.presenter.show_config(job, notices)
                    await self._hold(push, held)
                    return {"go": False}
                # Not before: what is held back gives no result, so it takes the place of none.
                await end_the_older(self._parts, push, rivals)
                if repeats is not None:  # which costs nothing
                    await self._parts.presenter.show_config(job, notices)
                    return {"go": False, "reuse": repeats}
                waits = may_have_to_wait(config) and await self._parts.jobs.ask_for_turn(push.job, may_start)
                await self._parts.presenter.show_config(job, notices)
                if waits:  # the scheduler says in a moment what for
                    return {"go": True, "waits": True, **plan}
                await self._parts.presenter.show_comments(job)
                return {"go": True, **plan}
            case Skip(why=why, hint=hint):
                await self._parts.end(push.job, State.SKIPPED, why, hint)
            case NothingToRun():
                why = "There is nothing to train: the commit has no gamma.yml and no train.py."
                job = await self._parts.end(push.job, State.SKIPPED, why, "`gamma / config` says what to add.")
                await self._parts.presenter.show_nothing_to_train(job)
            case Mistakes(asked=True):
                await self._parts.end(push.job, State.FAILED, decision.told, "Write the command again without that.")
            case Mistakes(problems=problems):
                count = f"{len(problems)} mistakes" if len(problems) != 1 else "a mistake"
                file = f"gamma.yml on `{decision.on}`" if decision.on else "gamma.yml"
                why = f"{file} has {count}, so nothing was trained."
                job = await self._parts.end(push.job, State.FAILED, why, "`gamma / config` shows where.")
                await self._parts.presenter.show_mistakes(job, problems)
            case _:
                assert_never(decision)
        return {"go": False}

    async def _reserve(self, push: Push, config: GammaConfig, cost: CostFacts, rivals: Rivals) -> Hold | None:
        job, replaces = await self._parts.job(push.job), [each.id for each in rivals.older]
        return await self._parts.expenses.reserve(push, config, cost, created_at=job.created_at, replaces=replaces)

    async def _repeats(self, push: Push, job: JobRecord, plan: Values) -> str | None:
        """The job whose result one that is held back would have anyway."""
        spec = await self._with_source(push, plan)
        earlier = await self._reuse.earlier(job, spec, force=push.force)
        if earlier is None:
            await asyncio.to_thread(spec.source.unlink, missing_ok=True)
        return earlier.id if earlier is not None else None

    async def _hold(self, push: Push, held: Hold | None) -> None:
        hint = "`/gamma approve` lets this one job train all the same, and so does the button on its check run."
        where = f" The budgets are in gamma.yml on `{push.default_branch}`." if push.default_branch else ""
        await self._parts.end(push.job, State.HELD, held.why if held is not None else "", hint + where)

    async def _launch(self, values: Values, plan: Values) -> Values:
        """Twice: archive and reuse are the same, the run is found by its tags, the trainer knows the attempt (I3)."""
        push = Push.from_json(values)
        job = await self._parts.job(push.job)
        if job.turn == WAITING:  # woken to end, or by nobody
            days = _LONGEST_WAIT_SECONDS / 86400
            await self._parts.jobs.ask_to_stop(push.job, why=f"Its turn did not come in {days:.0f} days.")
            return {"stopped": True}
        if job.stop:
            return {"stopped": True}
        attempt = Attempt(push.job, push.attempt)
        job = await self._parts.change(push.job, turn=TAKEN, facts={"detail": "fetching the code", "waits": False})
        await self._parts.presenter.show_check(job)
        if plan.get("waits"):
            await self._parts.presenter.show_comments(job)  # they still say what it waits for
        spec = await self._with_source(push, plan)
        if (earlier := await self._reuse.earlier(job, spec, force=push.force)) is not None:
            return {"reuse": earlier.id}
        environment = {
            **await self._tracked(push, attempt, adopt=stored_config(plan).train.mlflow == "adopt"),
            "GAMMA_REPOSITORY": push.repository,
            "GAMMA_BRANCH": push.branch,
            "GAMMA_SHA": push.after,
        }
        await self._parts.jobs.change(push.job, submitted_at=job.submitted_at or time.time())
        await self._parts.trainers[plan["executor"]].submit(replace(spec, environment=environment))
        await self._parts.jobs.change(push.job, launched_at=time.time())
        return {"launched": True}

    async def _take_over(self, values: Values, plan: Values) -> Values:
        return await self._reuse.take_over(Push.from_json(values), plan["reuse"])

    async def _stopped(self, values: Values) -> Values:
        """Twice: the first recorded end stays. Asked to end before it was handed to a trainer."""
        push = Push.from_json(values)
        job = await self._parts.job(push.job)
        await self._parts.end(push.job, State.CANCELLED, job.stop["why"], job.stop["hint"])
        return {"state": State.CANCELLED}

    async def _give_up(self, values: Values, reason: Values) -> Values:
        return await give_up(self._parts, Push.from_json(values).job, reason)

    async def decide(self, push: Push) -> Decision:
        """What would become of a push; nothing is started.

        Raises:
            GitHubError
        """
        files = Files(None, None) if push.skip else await self._read_files(push)
        executors = tuple(self._parts.trainers)
        decision = decide(push, files, executors=executors, default_executor=executors[0])
        if isinstance(decision, Plan):
            spec = self._spec(push, decision.config, decision.command, Path())
            if problems := await self._parts.trainers[decision.executor].preflight(spec):
                return Mistakes([placed(each, files, push) for each in problems])
        return decision

    async def configuration(self, push: Push) -> Effective | Mistakes | NothingToRun:
        """What a commit would train with, and where each value comes from.

        Raises:
            GitHubError
        """
        return configure(push, await self._read_files(push))

    async def _read_files(self, push: Push) -> Files:
        repository = await self._parts.repository(push)
        head, default = await asyncio.gather(
            repository.file(CONFIG_PATH, push.after, just_pushed=True),
            repository.file(CONFIG_PATH, push.default_branch),
        )
        if head is not None:
            return Files(head, default)
        return Files(
            None, default, has_script=await repository.file(DEFAULT_SCRIPT, push.after, just_pushed=True) is not None
        )

    async def _tracked(self, push: Push, attempt: Attempt, *, adopt: bool) -> Mapping[str, str]:
        """What the job finds in its environment to log into MLflow with."""
        uri = self._parts.tracking.uri
        if adopt:
            return adopting_environment(uri, push.repository, attempt_tags(attempt.job, attempt.number, push.after))
        run_id = await self._open_run(push, attempt)
        # Recorded before the job can exist anywhere, so that whatever comes of it has a place.
        await self._parts.jobs.change(push.job, run_id=run_id)
        return tracking_environment(uri, run_id, push.repository)

    async def _open_run(self, push: Push, attempt: Attempt) -> str:
        tags = {
            "gamma.repo": push.repository,
            "gamma.ref": f"refs/heads/{push.branch}",
            "gamma.pusher": push.pusher,
            **attempt_tags(attempt.job, attempt.number, push.after),
        }
        return await self._parts.tracking.open_run(push.repository, f"{push.branch} {push.after[:7]}", tags)

    def _spec(self, push: Push, config: GammaConfig, command: Sequence[str], source: Path) -> TrainingSpec:
        return TrainingSpec(
            attempt=Attempt(push.job, push.attempt),
            source=source,
            command=tuple(command),
            hyperparameters=config.train.hyperparameters,
            timeout_seconds=config.train.timeout,
            memory_bytes=config.train.memory,
            origin=Origin(push.repository_id, push.repository, push.branch, push.after, push.default_branch),
            sagemaker=config.train.sagemaker,
            actions=config.train.actions,
        )

    async def _with_source(self, push: Push, plan: Values) -> TrainingSpec:
        archive = self._parts.archive(Attempt(push.job, push.attempt))
        if not archive.exists():
            await (await self._parts.repository(push)).download(push.after, archive)
        return self._spec(push, stored_config(plan), plan["command"], archive)
