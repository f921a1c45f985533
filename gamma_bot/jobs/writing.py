"""The write-up of a finished job: begun after its verdict is shown, so that nobody waits for a model to see that.

A workflow of its own, with one step. Run twice it finds the text that the first run has kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakValueDictionary

import structlog

from gamma_bot.agent.footer import footer
from gamma_bot.agent.prompt import prompt_version
from gamma_bot.agent.sanitiser import AllowedLinks
from gamma_bot.agent.write_up import Rung, WriteUps
from gamma_bot.jobs.commit_facts import commit_facts, hyperparameters
from gamma_bot.jobs.engine import Steps, Values
from gamma_bot.jobs.parts import Parts
from gamma_bot.jobs.record import facts_of, stored_config
from gamma_bot.reporting.comments import write_up_alone
from gamma_bot.reporting.facts import JobFacts, State
from gamma_bot.reporting.markdown import Markdown
from gamma_bot.reporting.titles import ran_to_its_end
from gamma_bot.store.jobs import JobRecord
from gamma_bot.store.write_ups import WriteUpRow, WriteUpTexts
from gamma_bot.tracking.runs import TrackingError

# Each is some hundred kilobytes of prompt, and all of them are paid by one account.
_AT_ONCE = 4
_PAST = 5

log = structlog.get_logger()


@dataclass(frozen=True)
class Summarised:
    """The write-up of a commit.

    Attributes:
        facts: of the job that it tells of.
        asked: of the job that was asked for, which may have taken over the result of that one.
        text: a model's, or the deterministic one.
        is_new: it was written just now.
    """

    facts: JobFacts
    asked: JobFacts
    row: WriteUpRow
    text: Markdown
    is_new: bool


@dataclass(frozen=True)
class Ambiguous:
    """More than one commit that trained has a SHA that begins so: these."""

    commits: tuple[str, ...]


class Writing:
    """Writes about jobs that are over.

    Args:
        month_cap: US dollars that a repository may spend on models in a month, for the footer.
    """

    def __init__(self, parts: Parts, writer: WriteUps, texts: WriteUpTexts, *, month_cap: float) -> None:
        self._parts = parts
        self._writer = writer
        self._texts = texts
        self._month_cap = month_cap
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._of_job: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def wants(self, job: JobRecord) -> bool:
        """Whether a job that is over gets a write-up by a model: it came to a result, or its own code broke."""
        if not self._writer.available or not job.plan or not stored_config(job.plan).agent.write_up:
            return False
        facts = facts_of(job)
        if facts.reused is not None or facts.state not in (State.SUCCEEDED, State.FAILED):
            return False
        return ran_to_its_end(facts) or facts.exit_code is not None or bool(facts.broken_lines)

    async def write_up(self, steps: Steps, values: Values) -> Values:
        """The workflow. ``values`` names the job."""
        return await steps.step("write and show", self._parts.careful(self._write_and_show), values["job"])

    async def summary(self, repository_id: int, sha: str, *, force: bool = False) -> Summarised | Ambiguous | None:
        """The write-up of a commit, written now if there is none; ``None`` if none of its jobs came to a result.

        Args:
            sha: whole, or its beginning.
            force: write it anew.

        Raises:
            StoreUnavailable
        """
        found = await self._finished(repository_id, sha)
        if not isinstance(found, JobRecord):
            return found
        job = await self._parts.jobs.that_trained(found)
        row, is_new = await self._written(job, force=force)
        await self._show(job)
        asked = facts_of(found)
        if row.markdown:
            return Summarised(facts_of(job), asked, row, Markdown(row.markdown), is_new)
        return Summarised(asked, asked, row, write_up_alone(asked), is_new)

    async def text_of(self, repository_id: int, sha: str) -> str:
        """What a model has written about a commit; empty if none has."""
        row = await self._texts.of_commit(repository_id, sha)
        return row.markdown if row is not None else ""

    async def _finished(self, repository_id: int, sha: str) -> JobRecord | Ambiguous | None:
        jobs = await self._parts.jobs.of_commit(repository_id, sha)
        if not jobs:
            jobs = await self._parts.jobs.of_commits_like(repository_id, sha)
            commits = {each.head_sha for each in jobs}
            if len(commits) > 1:
                return Ambiguous(tuple(sorted(commits)))
        # One that failed before it had a plan, as by a mistake in gamma.yml, ran nothing that could be told of.
        return next((each for each in jobs if each.plan and each.state in (State.SUCCEEDED, State.FAILED)), None)

    async def _write_and_show(self, job_id: str) -> Values:
        job = await self._parts.job(job_id)
        row, _ = await self._written(job)
        await self._show(job)
        return {"rung": row.rung}

    async def _written(self, job: JobRecord, *, force: bool = False) -> tuple[WriteUpRow, bool]:
        # Asked for while it is written, it is waited for: it is paid once.
        async with self._of_job.setdefault(job.id, asyncio.Lock()), self._turns:
            version, model = prompt_version(), self._writer.model
            kept = await self._texts.get(job.id, version, model)
            if kept is not None and kept.markdown and not force:
                return kept, False  # what no model has written can be tried again
            facts = facts_of(job)
            commit = commit_facts(job, await self._params_before(job), *await self._past(job))
            links = AllowedLinks(commit.url, (facts.details_url,), frozenset({commit.sha, commit.compared_with} - {""}))
            done = await self._writer.write(commit, links)
            log.info("job.written_up", job=job.id, rung=done.rung.value, usd=round(done.usd, 4))
            if done.rung is Rung.DETERMINISTIC and kept is not None and kept.markdown:
                return kept, False  # a forced one that came to nothing takes nothing away
            row = WriteUpRow(
                job.repository_id,
                job.head_sha,
                version,
                model,
                job.id,
                0.0,
                done.rung.value,
                done.headline,
                done.markdown,
                footer(done, self._month_cap),
                done.why.value if done.why is not None else "",
            )
            return await self._texts.put(row), True

    async def _show(self, job: JobRecord) -> None:
        await self._parts.presenter.show_check(job)
        await self._parts.presenter.show_comments(job)

    async def _params_before(self, job: JobRecord) -> Mapping[str, str] | None:
        baseline = facts_of(job).baseline
        if baseline is None or baseline.run_id is None:
            return None
        other = await self._parts.jobs.get(baseline.job)
        given = hyperparameters(other) if other is not None and other.plan else {}
        try:
            return {**given, **(await self._parts.tracking.read_run(baseline.run_id, max_points=1)).params}
        except TrackingError as error:
            log.warning("write_up.baseline_unreadable", job=job.id, error=str(error))
            return given or None

    async def _past(self, job: JobRecord) -> tuple[list[JobRecord], Mapping[str, str]]:
        newest = await self._parts.jobs.of_repository(job.repository_id, 4 * _PAST)
        past = [
            other
            for other in newest
            if other.id != job.id
            and other.created_at <= job.created_at
            and other.state in (State.SUCCEEDED, State.FAILED)
        ][:_PAST]
        return past, await self._texts.headlines([other.id for other in past])
