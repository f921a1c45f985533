"""From an outcome and what the job left behind to the facts of the final report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from gamma_bot.config.schema import GammaConfig
from gamma_bot.github.errors import GitHubError
from gamma_bot.jobs.baseline import Baselines
from gamma_bot.jobs.reach import Reach
from gamma_bot.jobs.record import facts_of
from gamma_bot.jobs.verdict import Conclusion as Verdict
from gamma_bot.jobs.verdict import conclude, judge_metrics
from gamma_bot.reporting.facts import ChangedFile, JobFacts
from gamma_bot.reporting.log_lines import shorten_paths
from gamma_bot.reporting.traceback import find_broken_lines
from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.tracking.runs import Run, Tracking
from gamma_bot.training.trainer import OUTPUT_DATA, Artifact, Attempt, Ending, Outcome, Trainer

log = structlog.get_logger()


@dataclass(frozen=True)
class Evidence:
    """What a job left at its trainer."""

    log: Sequence[str]
    log_dropped_bytes: int
    source_roots: Sequence[str]
    artifacts: Sequence[Artifact]


async def evidence_of(trainer: Trainer | None, attempt: Attempt) -> Evidence:
    """What an attempt left; nothing, where its executor is not here any more."""
    if trainer is None:
        return Evidence((), 0, (), ())
    return Evidence(
        log=await trainer.log_tail(attempt, 400),
        log_dropped_bytes=await trainer.log_dropped(attempt),
        source_roots=await trainer.source_roots(attempt),
        artifacts=await trainer.artifacts(attempt),
    )


class Conclusion:
    """Gathers the facts of a job that is over."""

    def __init__(self, tracking: Tracking, jobs: Jobs, reach: Reach) -> None:
        self._tracking = tracking
        self._baselines = Baselines(tracking, jobs)
        self._reach = reach

    async def facts(
        self, job: JobRecord, outcome: Outcome, config: GammaConfig, baseline_branch: str, evidence: Evidence
    ) -> JobFacts:
        """Judge the job's run against its baseline's and collect what there is to tell.

        Raises:
            TrackingError: the job's own run can't be read; try again later.
        """
        run = await self._tracking.read_run(job.run_id) if job.run_id else Run("", "", "")
        baseline = await self._baselines.of(job, run, config, baseline_branch)
        lines = judge_metrics(run, baseline.run if baseline is not None else None, config.metrics)
        verdict = conclude(outcome, lines, config.metrics)
        base_sha = baseline.job.head_sha if baseline is not None else job.before_sha
        changed = await self._changes(job, base_sha)
        artifacts, left_out = listed_artifacts(run, evidence.artifacts)
        return replace(
            _facts_of_the_end(job, outcome, verdict, evidence),
            metrics=lines,
            baseline=baseline.facts(self._url(baseline.run)) if baseline is not None else None,
            baseline_branch=baseline_branch,
            params=dict(run.params),
            artifacts=artifacts,
            artifacts_left_out=left_out,
            changed_files=changed,
            compared_with=base_sha if changed else None,
            run_url=self._url(run) if job.run_id else None,
        )

    def facts_alone(self, job: JobRecord, outcome: Outcome, baseline_branch: str, evidence: Evidence) -> JobFacts:
        """What the trainer's evidence tells when neither MLflow nor GitHub can be asked."""
        facts = _facts_of_the_end(job, outcome, conclude(outcome, (), {}), evidence)
        artifacts, left_out = listed_artifacts(Run("", "", ""), evidence.artifacts)
        missing = "Its metrics could not be read from MLflow, so nothing is compared."
        return replace(
            facts,
            why=f"{facts.why} {missing}".strip(),
            metrics=(),
            baseline_branch=baseline_branch,
            artifacts=artifacts,
            artifacts_left_out=left_out,
        )

    def _url(self, run: Run) -> str | None:
        return self._tracking.run_url(run.experiment_id, run.run_id)

    async def _changes(self, job: JobRecord, base_sha: str) -> tuple[ChangedFile, ...]:
        if not base_sha.strip("0") or base_sha == job.head_sha:
            return ()
        try:
            repository = await self._reach.repository(job.repository_id)
            found = await repository.changes(base_sha, job.head_sha)
        except GitHubError as error:
            # The verdict does not depend on the diff: it is told without it.
            log.warning("diff.unreadable", job=job.id, error=str(error))
            return ()
        return tuple(ChangedFile(f.path, f.status, f.additions, f.deletions, f.patch) for f in found)


def listed_artifacts(run: Run, left: Sequence[Artifact]) -> tuple[tuple[tuple[str, int], ...], int]:
    """Files in MLflow and in the job's folders, and how many more there are whose names can't be printed.

    One that is in both counts once, also if the job logged ``output/data/x`` to MLflow as ``x``.
    """
    found: Mapping[str, int] = {**{item.path: item.size for item in left}, **dict(run.artifacts)}
    listed = {
        path: size
        for path, size in found.items()
        if path.isprintable()
        and not (path.startswith(OUTPUT_DATA) and found.get(path.removeprefix(OUTPUT_DATA)) == size)
    }
    return tuple(sorted(listed.items())), sum(not path.isprintable() for path in found)


def _facts_of_the_end(job: JobRecord, outcome: Outcome, verdict: Verdict, evidence: Evidence) -> JobFacts:
    places = find_broken_lines(evidence.log, None, evidence.source_roots)
    broke = outcome.ending in (Ending.USER_CODE, Ending.COMMAND)
    return replace(
        facts_of(job),
        state=verdict.state,
        why=verdict.why,
        hint=verdict.hint,
        detail="",
        gate_failed=verdict.gate_failed,
        exit_code=outcome.exit_code,
        started_at=outcome.started_at,
        ended_at=outcome.ended_at,
        wall_seconds=outcome.ended_at - outcome.started_at if outcome.started_at is not None else None,
        broken_lines=places if broke else (),
        printed_tracebacks=places if outcome.ending is Ending.COMPLETED else (),
        log_tail=shorten_paths(evidence.log[-100:], evidence.source_roots),
        log_dropped_bytes=evidence.log_dropped_bytes,
        run_id=job.run_id,
    )
