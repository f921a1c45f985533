"""Questions to the agent from wherever they come: whether they are answered now, what is known before, and the answer.

An answer is recorded before anybody is told of it, so that a question that a crash interrupts is tried once more, or
gets the answer that it has already, and is never answered twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from gamma_bot.agent.ask_events import Answered, Event
from gamma_bot.agent.ask_prompt import Exchange, Question
from gamma_bot.agent.facts import FileChange, Project
from gamma_bot.agent.ledger import Charge
from gamma_bot.agent.models import Usage
from gamma_bot.jobs.commit_facts import project_facts
from gamma_bot.jobs.project_reader import JobsReader, run_view
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.reach import Reach
from gamma_bot.jobs.record import facts_of, stored_config
from gamma_bot.store.asks import OPEN, AskRow, Asks, Busy, NewAsk, TooMany
from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.tracking.runs import Tracking
from gamma_bot.training.trainer import Trainer

if TYPE_CHECKING:
    from gamma_bot.agent.ask import Asker

MOST_AN_HOUR = 10
MOST_TRIES = 2
_THREAD = 6

log = structlog.get_logger()


class WhyNotAsked(StrEnum):
    """Why a model was not even asked."""

    NO_AGENT = "no_agent"
    BUSY = "busy"  # another question of this thread is being answered
    TOO_MANY = "too_many"  # of this person, in this hour
    INTERRUPTED = "interrupted"  # it was tried, and Gamma was stopped each time


@dataclass(frozen=True)
class NotAsked:
    """A question that no model is asked.

    Attributes:
        again_at: when one may ask again (Unix seconds), if that is known.
        told_before: the same was said in this thread before.
    """

    why: WhyNotAsked
    again_at: float = 0.0
    told_before: bool = False


@dataclass(frozen=True)
class Inquiry:
    """A question, and where it comes from.

    Attributes:
        request: makes a second try at the same question harmless.
        thread: the conversation that it belongs to; it remembers itself.
        sha: the commit that is asked about; empty for that of the repository's newest job.
        resumes: whoever asks will come back with the same request after a crash.
        most_an_hour: how much this author may ask.
    """

    repository_id: int
    request: str
    thread: str
    by: str
    text: str
    sha: str = ""
    branch: str = ""
    default_branch: str = ""
    kind: str = "ask"
    resumes: bool = True
    most_an_hour: int = MOST_AN_HOUR


class Asking:
    """Answers questions about projects.

    Args:
        asker: ``None`` without a key: then every question is told so.
        write_up_of: what was written about a commit of a repository; empty if nothing was.
        page_url: the address of a job's page, by job id.
    """

    def __init__(
        self,
        asker: Asker | None,
        asks: Asks,
        jobs: Jobs,
        reach: Reach,
        tracking: Tracking,
        trainers: Mapping[str, Trainer],
        *,
        write_up_of: Callable[[int, str], Awaitable[str]],
        page_url: Callable[[str], str],
    ) -> None:
        self._page_url = page_url
        self._asker = asker
        self._asks = asks
        self._jobs = jobs
        self._reach = reach
        self._tracking = tracking
        self._trainers = trainers
        self._write_up_of = write_up_of

    @property
    def model(self) -> str:
        """The model that is asked first; empty without one."""
        return self._asker.model if self._asker is not None else ""

    async def ask(self, inquiry: Inquiry, on_event: Callable[[Event], Awaitable[None]]) -> Answered | NotAsked:
        """Answer a question, or say why not.

        Raises:
            GitHubError: what is asked about could not be looked up; the same inquiry can be made again.
            StoreUnavailable
        """
        new = NewAsk(inquiry.request, inquiry.repository_id, inquiry.thread, inquiry.by, inquiry.text)
        row = await self._asks.open(new, most_an_hour=inquiry.most_an_hour)
        match row:
            case Busy():
                return NotAsked(WhyNotAsked.BUSY)
            case TooMany(again_at=again_at):
                return NotAsked(WhyNotAsked.TOO_MANY, again_at)
        if row.state != OPEN:
            return await self._as_before(row)
        if self._asker is None:
            return await self._not_asked(row, WhyNotAsked.NO_AGENT)
        try:
            job = await self._job(inquiry)
            reader = await self._reader(inquiry, job)
            question = await self._question(inquiry, row, job, reader.head)
            if await self._asks.trying(row.request) > MOST_TRIES:
                return await self._not_asked(row, WhyNotAsked.INTERRUPTED)
            charge = Charge(inquiry.repository_id, job.id if job else "", inquiry.kind, f"ask:{row.request}"[:300])
            answered = await self._asker.answer(question, reader, charge, on_event)
            await self._asks.close(
                row.request,
                answer=answered.markdown,
                why_not=answered.why_not,
                outcome=asdict(answered),
            )
        except BaseException:
            if not inquiry.resumes:  # nobody will come back for it, and it must not hold up the next one
                closing = self._asks.close(row.request, answer="", why_not="cancelled", outcome={})
                await asyncio.shield(asyncio.ensure_future(closing))
            raise
        log.info(
            "agent.asked",
            request=row.request,
            kind=inquiry.kind,
            why_not=answered.why_not,
            tools=len(answered.looked_at),
            dropped=answered.dropped,
            usd=round(answered.usd, 6),
            seconds=round(answered.seconds, 1),
        )
        return answered

    async def is_approved(self, repository_id: int, sha: str, branch: str) -> bool:
        """Whether a maintainer let this commit of a fork train: before that, the agent does not look at it."""
        jobs = await self._jobs.of_commit(repository_id, sha)
        return any(job.branch == branch and not Push.from_json(job.push).skip for job in jobs)

    async def _as_before(self, row: AskRow) -> Answered | NotAsked:
        if row.why_not in WhyNotAsked.__members__.values():
            return await self._told(row, WhyNotAsked(row.why_not))
        known = dict(row.outcome)
        return Answered(**{**known, "usage": Usage(**known["usage"])}) if known else Answered("", "cancelled")

    async def _not_asked(self, row: AskRow, why: WhyNotAsked) -> NotAsked:
        await self._asks.close(row.request, answer="", why_not=why, outcome={})
        return await self._told(row, why)

    async def _told(self, row: AskRow, why: WhyNotAsked) -> NotAsked:
        return NotAsked(why, told_before=await self._asks.was_told(row, why))

    async def _job(self, inquiry: Inquiry) -> JobRecord | None:
        """The newest job of the commit that is asked about."""
        if inquiry.sha:
            of_commit = await self._jobs.of_commit(inquiry.repository_id, inquiry.sha)
            return next((job for job in of_commit if not inquiry.branch or job.branch == inquiry.branch), None)
        return next(iter(await self._jobs.of_repository(inquiry.repository_id, 1)), None)

    async def _reader(self, inquiry: Inquiry, job: JobRecord | None) -> JobsReader:
        repository = await self._reach.repository(inquiry.repository_id)
        default_branch = inquiry.default_branch or (Push.from_json(job.push).default_branch if job else "")
        default_branch = default_branch or (await repository.about()).default_branch
        head = inquiry.sha or (job.head_sha if job else "") or await repository.head_of(default_branch) or ""
        if job is not None:
            address = facts_of(job).commit_url.partition("/commit/")[0]
        else:
            address = (await repository.commit(head)).html_url if head else ""
        return JobsReader(
            inquiry.repository_id,
            self._jobs,
            self._reach,
            self._tracking,
            self._trainers,
            repository=address,
            head=head,
            default_branch=default_branch,
            page_url=self._page_url,
        )

    async def _question(self, inquiry: Inquiry, row: AskRow, job: JobRecord | None, head: str) -> Question:
        earlier = await self._asks.thread(inquiry.repository_id, inquiry.thread, row.asked_at, _THREAD)
        files = facts_of(job).changed_files if job is not None else ()
        repository = (await self._reach.repository(inquiry.repository_id)).full_name
        return Question(
            project=_project(inquiry, repository, job),
            text=inquiry.text,
            by=inquiry.by,
            sha=head,
            branch=inquiry.branch or (job.branch if job is not None else ""),
            run=run_view(job, self._page_url) if job is not None else None,
            files=[FileChange(f.path, f.status, f.additions, f.deletions, f.patch) for f in files],
            write_up=await self._write_up_of(inquiry.repository_id, head),
            thread=[Exchange(each.author, each.question, each.answer) for each in earlier],
        )


def _project(inquiry: Inquiry, repository: str, job: JobRecord | None) -> Project:
    if job is None or not job.plan:
        return Project(inquiry.repository_id, repository, inquiry.default_branch)
    return project_facts(job, Push.from_json(job.push), facts_of(job), stored_config(job.plan))
