"""What the agent may read, read: jobs, MLflow, logs, files of runs, and the repository at GitHub, of one project.

Everything is scoped here, whatever the model asks for: a run must be one of this repository, and a commit must be in
the history of its default branch, of the commit that is asked about, or of one that was trained.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from gamma_bot.agent.facts import FileChange
from gamma_bot.agent.reading import CannotRead, CommitView, Diff, FileView, RunView
from gamma_bot.github import history
from gamma_bot.github.errors import GitHubError, Rejected
from gamma_bot.github.repository import Repository
from gamma_bot.jobs.commit_facts import hyperparameters, metric_facts
from gamma_bot.jobs.kept_files import kept_files
from gamma_bot.jobs.reach import Reach
from gamma_bot.jobs.record import facts_of
from gamma_bot.reporting.facts import JobFacts
from gamma_bot.reporting.log_lines import shorten_paths
from gamma_bot.reporting.titles import shown_metrics
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.tracking.runs import Tracking, TrackingError
from gamma_bot.training.trainer import Attempt, Trainer, TrainerUnavailable

_LOG_LINES = 5_000
_POINTS = 2_000


class JobsReader:
    """A ``ProjectReader`` of one repository.

    Args:
        repository: the repository's address for people.
        head: the whole SHA that is meant where none is named.
        default_branch: everything that it contains may be read.
        page_url: the address of a job's page, by job id.
    """

    def __init__(
        self,
        repository_id: int,
        jobs: Jobs,
        reach: Reach,
        tracking: Tracking,
        trainers: Mapping[str, Trainer],
        *,
        repository: str,
        head: str,
        default_branch: str,
        page_url: Callable[[str], str],
    ) -> None:
        self.repository = repository
        self.head = head
        self._id = repository_id
        self._jobs = jobs
        self._reach = reach
        self._tracking = tracking
        self._trainers = trainers
        self._default_branch = default_branch
        self._page_url = page_url
        self._commits: set[str] = {head} if head else set()

    async def runs(self, limit: int, state: str) -> Sequence[RunView]:
        """The newest jobs of the repository."""
        with _readable():
            return [run_view(job, self._page_url) for job in await self._jobs.of_repository(self._id, limit, state)]

    async def run(self, run_id: str) -> RunView | None:
        """A job of the repository, or the one that an MLflow run is of."""
        job = await self._job(run_id)
        return run_view(job, self._page_url) if job is not None else None

    async def history(self, run: RunView, metric: str) -> Sequence[tuple[int, float]] | None:
        """From MLflow."""
        if not run.mlflow_id:
            return None
        with _readable():
            found = (await self._tracking.read_run(run.mlflow_id, max_points=_POINTS)).metrics.get(metric)
        return [(point.step, point.value) for point in found] if found else None

    async def log(self, run: RunView) -> Sequence[str]:
        """From the trainer, with the paths of the machine taken out."""
        job = await self._that_trained(run.id)
        trainer = self._trainers.get(job.executor) if job is not None else None
        if job is None or trainer is None:
            return ()
        attempt = Attempt(job.id, job.attempt)
        with _readable():
            lines = await trainer.log_tail(attempt, _LOG_LINES)
            return shorten_paths(lines, await trainer.source_roots(attempt))

    async def artifact(self, run: RunView, path: str, most_bytes: int) -> bytes | None:
        """A file that is recorded of the job and still kept by its trainer."""
        job, trained = await self._job(run.id), await self._that_trained(run.id)
        if job is None or trained is None:
            return None
        attempt, trainer = Attempt(trained.id, trained.attempt), self._trainers.get(trained.executor)
        with _readable():
            source = (await kept_files(trainer, attempt, facts_of(job))).get(path)
            if source is None or trainer is None:
                return None
            file = await trainer.open_artifact(attempt, source)
            with file:
                return await asyncio.to_thread(file.read, most_bytes + 1)

    async def commits(self, path: str, limit: int) -> Sequence[CommitView]:
        """From GitHub."""
        if not self.head:
            return []
        with _readable():
            found = await history.commits(await self._repository(), self.head, path, limit)
        self._commits |= {commit.sha for commit in found}
        return [CommitView(one.sha, one.message, one.author, one.at) for one in found]

    async def diff(self, from_sha: str, to_sha: str) -> Diff | None:
        """From GitHub, as its page of a comparison shows it."""
        with _readable():
            repository = await self._repository()
            to = await self._commit(repository, to_sha)
            if to is None:
                return None
            start = await self._commit(repository, from_sha) if from_sha else await self._before(repository, to)
            if start is None:
                return None
            changes = await repository.changes(start, to)
        return Diff(start, to, [FileChange(f.path, f.status, f.additions, f.deletions, f.patch) for f in changes])

    async def file(self, sha: str, path: str) -> FileView | None:
        """From GitHub; at most 1 MB."""
        with _readable():
            repository = await self._repository()
            commit = await self._commit(repository, sha)
            if commit is None:
                return None
            try:
                content = await repository.file(path, commit)
            except Rejected:  # it is too large
                return None
        return FileView(commit, content) if content is not None else None

    async def _job(self, run_id: str) -> JobRecord | None:
        with _readable():
            job = await self._jobs.get(run_id)
            if job is None or job.repository_id != self._id:
                job = await self._jobs.of_run(self._id, run_id)
        return job

    async def _that_trained(self, run_id: str) -> JobRecord | None:
        """A job that only took over the result of another one has no log and no files of its own."""
        job = await self._job(run_id)
        with _readable():
            return await self._jobs.that_trained(job) if job is not None else None

    async def _repository(self) -> Repository:
        return await self._reach.repository(self._id)

    async def _commit(self, repository: Repository, sha: str) -> str | None:
        """The whole SHA of a commit that may be read."""
        known = [commit for commit in self._commits if commit.startswith(sha)]
        if len(known) == 1:
            return known[0]
        found = sha if await self._jobs.of_commit(self._id, sha) else None
        for tip in (self.head, self._default_branch):
            if found is None and tip:
                found = await history.ancestor(repository, sha, tip)
        if found is not None:
            self._commits.add(found)
        return found

    async def _before(self, repository: Repository, sha: str) -> str | None:
        """The commit that the push of this one began at."""
        for job in await self._jobs.of_commit(self._id, sha):
            compared_with = facts_of(job).compared_with or job.before_sha
            if compared_with.strip("0"):
                return compared_with
        return await history.parent_of(repository, sha)


def run_view(job: JobRecord, page_url: Callable[[str], str]) -> RunView:
    """A job as the agent sees it."""
    facts = facts_of(job)
    return RunView(
        id=job.id,
        mlflow_id=job.run_id or "",
        state=job.state,
        branch=job.branch,
        sha=job.head_sha,
        attempt=job.attempt,
        executor=job.executor,
        message=facts.message,
        why=facts.why,
        queued_at=facts.queued_at,
        seconds=_seconds(facts),
        params={**(hyperparameters(job) if job.plan else {}), **facts.params},
        metrics=[metric_facts(line) for line in shown_metrics(facts)],
        artifacts=facts.artifacts,
        compared_with=facts.baseline.job if facts.baseline is not None else "",
        url=page_url(job.id),
    )


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (GitHubError, TrackingError, TrainerUnavailable, StoreUnavailable, OSError) as error:
        raise CannotRead(f"{type(error).__name__}: {error}") from error


def _seconds(facts: JobFacts) -> float | None:
    return round(facts.wall_seconds, 1) if facts.wall_seconds is not None else None
