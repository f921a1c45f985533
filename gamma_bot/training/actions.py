"""Runs attempts as runs of a workflow in the repository's own GitHub Actions.

An attempt is recorded before GitHub is asked for its run, and the run carries the attempt's key in its name. So an
answer that never came is found again, and GitHub is asked a second time only when there surely is no run (I3).
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict
from typing import BinaryIO

import structlog

from gamma_bot.config.errors import Problem
from gamma_bot.config.executors import Actions
from gamma_bot.store.actions_runs import ActionsRun, ActionsRuns
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.training.actions_evidence import ActionsEvidence
from gamma_bot.training.actions_inputs import run_inputs, too_large
from gamma_bot.training.actions_log import JobLog
from gamma_bot.training.actions_outcome import job_that_counts, outcome_of_run, shown
from gamma_bot.training.actions_own_run import own_and_doubles
from gamma_bot.training.trainer import Artifact, Attempt, Ending, Observation, Outcome, TrainingSpec
from gamma_bot.training.workflows import NoAnswer, Refused, WorkflowPlace, WorkflowRun, Workflows

_MOST_TRIES = 3
_CLOCK_SKEW_SECONDS = 300.0
_CANCEL_AGAIN_SECONDS = 60.0
_FORCE_SECONDS = 300.0
_KEPT_ENDS = 1_024

log = structlog.get_logger()


class ActionsTrainer:
    """Starts, watches and cancels runs of the workflow that ``gamma init --executor actions`` wrote.

    Args:
        tracking_problem: why GitHub's machines can't reach MLflow; empty if they can, as far as is known.
        sweep_seconds: how often GitHub is asked for the runs of a repository without having told of news.
        settle_seconds: how long after an unclear answer GitHub's list is believed that it shows no run.
    """

    name = "actions"
    look_seconds = 2.0  # a look costs a query of our own; GitHub is asked when it has told of news, or now and then
    tells_cheaply = False  # GitHub gives no log out before a job's end

    def __init__(
        self,
        workflows: Workflows,
        runs: ActionsRuns,
        *,
        tracking_problem: str = "",
        sweep_seconds: float = 30.0,
        settle_seconds: float = 90.0,
    ) -> None:
        self._workflows, self._runs = workflows, runs
        self._tracking_problem = tracking_problem
        self._sweep_seconds, self._settle_seconds = sweep_seconds, settle_seconds
        self._swept: dict[WorkflowPlace, float] = {}
        self._over: OrderedDict[str, Observation] = OrderedDict()
        self._evidence = ActionsEvidence(workflows, runs)

    async def preflight(self, spec: TrainingSpec) -> Sequence[Problem]:
        """What GitHub would refuse, and what could not work there."""
        problems = []
        if self._tracking_problem:
            hint = "Whoever runs this Gamma sets GAMMA_MLFLOW_TRACKING_URI to a server that both can reach."
            problems.append(Problem(self._tracking_problem, hint, ("train", "executor")))
        if over := too_large(spec):
            message = f"the hyperparameters are {over:,} characters too long for GitHub, which takes 65,535 in all"
            hint = "Keep long values in a file of the repository."
            problems.append(Problem(message, hint, ("train", "hyperparameters")))
        return problems

    async def conditions(self, spec: TrainingSpec) -> Mapping[str, str] | None:
        """Not known: what a machine of GitHub's brings along changes every week, and is told only afterwards."""
        return None

    async def submit(self, spec: TrainingSpec) -> None:
        """Accept an attempt: recorded first, then asked for at GitHub. What GitHub refuses is the attempt's outcome.

        Raises:
            StoreUnavailable: nothing was accepted.
            Exception: the client's own: GitHub can't be asked now. Try again.
        """
        assert spec.origin is not None, "the commit is known"
        run = await self._runs.record(
            ActionsRun(
                attempt=spec.attempt.key,
                repository_id=spec.origin.repository_id,
                repository=spec.origin.repository,
                workflow=(spec.actions or Actions()).workflow,
                # As it is on the default branch: a push must not change what runs with the repository's secrets (I10).
                ref=spec.origin.default_branch or "main",
                inputs=run_inputs(spec),
                timeout_seconds=spec.timeout_seconds,
                recorded_at=time.time(),
            )
        )
        if run.tried_at is None:  # else the run exists, or the next look says whether it does
            await self._dispatch(run)

    async def observe(self, attempts: Sequence[Attempt]) -> Sequence[Observation]:
        """How these attempts are. GitHub is asked once for each workflow whose time has come."""
        seen = {attempt.key: self._over[attempt.key] for attempt in attempts if attempt.key in self._over}
        others = {attempt.key: attempt for attempt in attempts if attempt.key not in seen}
        if others:
            # What is to end is looked after until it has, also if its job was given up and nobody asks for it.
            wanted = [run for run in await self._runs.open() if run.attempt in others or run.stop_at is not None]
            await self._look(wanted)
            for key, run in (await self._runs.of(list(others))).items():
                seen[key] = shown(others[key], run)
                if run.outcome is not None:
                    self._over[key] = seen[key]
        while len(self._over) > _KEPT_ENDS:
            self._over.popitem(last=False)
        return [seen[attempt.key] for attempt in attempts if attempt.key in seen]

    async def stop(self, attempt: Attempt) -> None:
        """Ask an attempt to end: recorded first, then GitHub is asked, and again if nothing comes of it (I7)."""
        run = await self._runs.ask_to_stop(attempt.key)
        if run is None or run.outcome is not None:
            return
        if run.tried_at is None:
            outcome = Outcome(Ending.STOPPED, "Stopped before GitHub was asked to run it.", ended_at=time.time())
            await self._runs.change(run.attempt, outcome=asdict(outcome))
        elif run.run_id is not None:
            await self._alone(run.repository, self._cancel(run))

    async def log_tail(self, attempt: Attempt, lines: int) -> Sequence[str]:
        """The newest lines of an ended attempt's log; GitHub gives none out before, and none after its retention."""
        return (await self._evidence.log_of(attempt.key)).lines[-lines:]

    async def log_dropped(self, attempt: Attempt) -> int:
        """Nothing: a log that is too long to be read is GitHub's to show."""
        return 0

    async def source_roots(self, attempt: Attempt) -> Sequence[str]:
        """The folder of the checkout, as the log tells it."""
        root = (await self._evidence.log_of(attempt.key)).source_root
        return (root,) if root else ()

    async def artifacts(self, attempt: Attempt) -> Sequence[Artifact]:
        """The zips that the run has kept at GitHub."""
        return [Artifact(f"{file.name}.zip", file.size) for file in await self._evidence.kept_files(attempt.key)]

    async def open_artifact(self, attempt: Attempt, path: str) -> BinaryIO:
        """Download one of them.

        Raises:
            OSError: there is no such artifact any more, or GitHub can't be asked.
        """
        return await self._evidence.open(attempt.key, path.removesuffix(".zip"))

    async def forget(self, attempt: Attempt) -> None:
        """Nothing of an attempt is on this machine."""

    async def _dispatch(self, run: ActionsRun) -> None:
        """Ask GitHub for the run, unless somebody else does."""
        claimed = await self._runs.claim(run)
        if claimed is None:
            return
        try:
            started = await self._workflows.dispatch(_place(run), run.inputs)
        except Refused as refusal:
            outcome = Outcome(Ending.CONFIG, refusal.message, hint=refusal.hint, ended_at=time.time())
            await self._runs.change(run.attempt, outcome=asdict(outcome))
        except NoAnswer as error:  # it may be there, and is looked for
            log.warning("actions.no_answer", attempt=run.attempt, repo=run.repository, error=str(error))
        except Exception:  # GitHub surely did nothing: it was not asked, or said that it can't be asked now
            await self._runs.change(run.attempt, tried_at=run.tried_at, tries=run.tries)
            raise
        else:
            log.info("actions.dispatched", attempt=run.attempt, repo=run.repository, run=started and started.id)
            if started is not None:
                await self._runs.change(run.attempt, run_id=started.id, url=started.url, status=started.status)

    async def _look(self, runs: Sequence[ActionsRun]) -> None:
        """Ask GitHub for the runs of each workflow with news, and of the others now and then."""
        groups: dict[WorkflowPlace, list[ActionsRun]] = {}
        for run in runs:
            groups.setdefault(_place(run), []).append(run)
        now = time.monotonic()
        for place, group in groups.items():
            if any(run.hinted for run in group) or now - self._swept.get(place, -math.inf) >= self._sweep_seconds:
                self._swept[place] = now
                await self._alone(group[0].repository, self._sweep(place, group))
        self._swept = {place: at for place, at in self._swept.items() if place in groups}

    async def _sweep(self, place: WorkflowPlace, group: Sequence[ActionsRun]) -> None:
        # Before GitHub is asked: what it tells of from now on is news again.
        await self._runs.looked([run.attempt for run in group])
        since = min(run.recorded_at for run in group) - _CLOCK_SKEW_SECONDS
        listed = await self._workflows.runs(place, since=since)
        for run in group:
            await self._alone(run.repository, self._settle(run, listed))

    async def _settle(self, run: ActionsRun, listed: Sequence[WorkflowRun]) -> None:
        """Compare an attempt with what GitHub shows, and do what is to be done."""
        own, doubles = own_and_doubles(run, listed)
        for double in doubles:
            log.warning("actions.double", attempt=run.attempt, repo=run.repository, run=double.id)
            await self._workflows.cancel(run.repository_id, double.id, force=False)
        found = next((one for one in listed if one.id == own), None)
        if own is not None and (found is None or found.again):
            found = await self._workflows.run(run.repository_id, own)
            if found is None:
                if self._is_fresh(run):
                    return  # GitHub's own copies of what it has just made may lag behind
                outcome = Outcome(Ending.LOST, "The run was deleted at GitHub.", ended_at=time.time())
                await self._runs.change(run.attempt, outcome=asdict(outcome))
                return
        if found is None:
            await self._find_or_ask_again(run)
        elif found.is_over:
            await self._end(run, found)
        else:
            if (run.run_id, run.status) != (found.id, found.status):
                await self._runs.change(run.attempt, run_id=found.id, url=found.url, status=found.status)
            if run.stop_at is not None:
                await self._cancel(run, found.id)

    async def _find_or_ask_again(self, run: ActionsRun) -> None:
        """GitHub shows no run. Soon after it was asked for one that means nothing; later, that there is none."""
        if run.tried_at is None or self._is_fresh(run):
            return
        # All runs of the time in question: the list of a busy workflow ends before them.
        since, until = run.recorded_at - _CLOCK_SKEW_SECONDS, run.tried_at + _CLOCK_SKEW_SECONDS
        listed = await self._workflows.runs(_place(run), since=since, until=until)
        own, _ = own_and_doubles(run, listed)
        if (found := next((one for one in listed if one.id == own), None)) is not None:
            await self._runs.change(run.attempt, run_id=found.id, url=found.url, status=found.status)
            return
        if run.stop_at is not None:
            outcome = Outcome(Ending.STOPPED, "Stopped before GitHub began to run it.", ended_at=time.time())
        elif run.tries >= _MOST_TRIES:
            outcome = Outcome(Ending.PLATFORM, f"GitHub started no run, asked {run.tries} times.", ended_at=time.time())
        else:
            await self._dispatch(run)
            return
        await self._runs.change(run.attempt, outcome=asdict(outcome))

    def _is_fresh(self, run: ActionsRun) -> bool:
        return run.tried_at is not None and time.time() - run.tried_at < self._settle_seconds

    async def _cancel(self, run: ActionsRun, run_id: int | None = None) -> None:
        now, wanted = time.time(), run_id or run.run_id
        assert wanted is not None, "there is a run to cancel"
        if run.cancelled_at is not None and now - run.cancelled_at < _CANCEL_AGAIN_SECONDS:
            return
        # A workflow may go on with `if: always()` for as long as it likes; not for longer than we are patient.
        force = run.cancelled_at is not None and run.stop_at is not None and now - run.stop_at > _FORCE_SECONDS
        await self._workflows.cancel(run.repository_id, wanted, force=force)
        await self._runs.change(run.attempt, cancelled_at=now)

    async def _end(self, run: ActionsRun, seen: WorkflowRun) -> None:
        jobs = await self._workflows.jobs(run.repository_id, seen.id)
        job = job_that_counts(jobs)
        # The log says what a failed command exited with; of other ends it has nothing that we need to know.
        reads = seen.conclusion == "failure" and job is not None and run.stop_at is None
        text = await self._evidence.read(run.attempt, run.repository_id, job) if reads and job is not None else JobLog()
        stopped = run.stop_at is not None
        outcome = outcome_of_run(seen, jobs, text, timeout_seconds=run.timeout_seconds, stopped=stopped)
        await self._runs.change(run.attempt, run_id=seen.id, url=seen.url, status=seen.status, outcome=asdict(outcome))

    async def _alone(self, repository: str, work: Awaitable[None]) -> None:
        """Whatever is wrong with one repository or run, the others are looked at all the same."""
        try:
            await work
        except StoreUnavailable:
            raise
        except Exception as error:
            log.warning("actions.unreachable", repo=repository, error=f"{type(error).__name__}: {error}")


def _place(run: ActionsRun) -> WorkflowPlace:
    return WorkflowPlace(run.repository_id, run.workflow, run.ref)
