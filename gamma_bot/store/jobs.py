"""Queries over jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, case, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gamma_bot.store.database import Database
from gamma_bot.store.outlines import UNFINISHED_STATES, Outlines
from gamma_bot.store.projects import Place, place_of_new_job
from gamma_bot.store.tables import jobs

_DOCUMENTS = ("push", "plan", "stop", "facts", "champion")
FINAL_STATES = ("succeeded", "failed", "cancelled", "skipped", "held")

# A job's turn: it has to wait, it may start and is to be told so, it has started. Empty before its plan is made.
WAITING, GRANTED, TAKEN = "waiting", "granted", "taken"
# As their indexes say it: with parameters SQLite would not use those.
_IN_LINE: ColumnElement[bool] = literal_column("turn IN ('waiting', 'granted')")
_CHAMPION: ColumnElement[bool] = literal_column("champion <> '{}'")

_LONG = ("plan", "facts")
_DECIDING = 0x7475726E << 24  # a number that nobody else locks in Postgres

# Asked for again and again as long as Gamma runs: building a query takes longer than its answer.
_OF_ID = select(jobs).where(jobs.c.id == bindparam("job"))
_UNFINISHED = select(jobs).where(jobs.c.state.not_in(FINAL_STATES)).order_by(jobs.c.created_at)
_ANYBODY_IN_LINE = select(jobs.c.id).where(_IN_LINE, jobs.c.state.not_in(FINAL_STATES)).limit(1)


@dataclass(frozen=True)
class JobRecord:
    """A job as stored.

    Attributes:
        push: the intent it came from.
        plan: what was decided to run, empty until then.
        stop: ``{"why": …, "hint": …}`` once somebody asked for its end.
        facts: what a report may say of it.
        turn: whether it may start: empty until its plan is made, then ``WAITING``, ``GRANTED`` or ``TAKEN``.
        champion: ``{"by": …, "since": …, "model": …}`` while later jobs are compared with it: who promoted it, when,
            and the repository's name then, by which MLflow knows the champion. Empty for all others.
        fingerprint: jobs that have the same one come to the same result; empty if that is not known.
        submitted_at: when a trainer was first asked to take it (Unix seconds), recorded before: it may cost something
            from then on.
        launched_at: when a trainer had taken it; from then on no workflow waits for it.
        estimate_usd: the most that it may cost, reserved while it is not over; ``None`` where nothing is paid.
        cost_usd: what it has cost; where nobody can say, the most that it can have been. ``None`` until its end.
        notice: for who pressed a button of its check run last: why that did nothing. Empty if it did something.
    """

    id: str
    attempt: int
    installation_id: int
    repository_id: int
    repository: str
    branch: str
    head_sha: str
    before_sha: str
    pushed_at: float
    created_at: float
    updated_at: float
    state: str
    executor: str
    timeout_seconds: float | None
    run_id: str | None
    experiment_id: str | None
    push: Mapping[str, Any]
    plan: Mapping[str, Any]
    stop: Mapping[str, Any]
    facts: Mapping[str, Any]
    turn: str = ""
    champion: Mapping[str, Any] = field(default_factory=dict)
    notice: str = ""
    submitted_at: float | None = None
    launched_at: float | None = None
    fingerprint: str = ""
    estimate_usd: float | None = None
    cost_usd: float | None = None

    @property
    def final(self) -> bool:
        """Nothing more will happen to it."""
        return self.state in FINAL_STATES


class Jobs:
    """What Gamma remembers of its jobs.

    Attributes:
        outlines: for whoever looks at all of them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.outlines = Outlines(database)

    async def open(self, job: JobRecord) -> JobRecord:
        """Store a new job, or return the one that has this id already.

        Its repository's name and installation are those of today: the push that it comes from may be an old one.
        """

        def work(connection: Connection) -> JobRecord:
            dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
            place = place_of_new_job(connection, Place(job.repository_id, job.repository, job.installation_id))
            values = {**job.__dict__, **{name: json.dumps(job.__dict__[name]) for name in _DOCUMENTS}}
            values |= {"repository": place.full_name, "installation_id": place.installation_id}
            connection.execute(dialect.insert(jobs).values(**values).on_conflict_do_nothing(index_elements=["id"]))
            return _job(connection.execute(select(jobs).where(jobs.c.id == job.id)).mappings().one())

        return await self._database.write(work)

    async def get(self, job: str) -> JobRecord | None:
        """The job of this id."""
        found = await self._database.read(lambda c: c.execute(_OF_ID, {"job": job}).mappings().first())
        return _job(found) if found is not None else None

    async def that_trained(self, job: JobRecord) -> JobRecord:
        """The job that left what this one shows: itself, unless it has taken over an earlier one's result."""
        earlier = (job.facts.get("reused") or {}).get("job")
        return (await self.get(earlier) if earlier else None) or job

    async def change(self, job: str, **values: Any) -> JobRecord:
        """Set columns of a job that is not over yet; a final job stays as it is.

        A late observation ("running") must never overwrite an end that was recorded meanwhile.
        """
        facts = values.get("facts")
        values |= {name: json.dumps(values[name]) for name in _DOCUMENTS if name in values}

        def work(connection: Connection) -> JobRecord:
            done = connection.execute(
                update(jobs)
                .where(jobs.c.id == job, jobs.c.state.not_in(FINAL_STATES))
                .values(**values, updated_at=_later())
            )
            row = connection.execute(_OF_ID, {"job": job}).mappings().one()
            return _job(row, facts=facts if done.rowcount else None)

        return await self._database.write(work)

    async def ask_to_stop(self, job: str, *, why: str, hint: str = "") -> bool:
        """Record that a job shall end (I7). False if it is over, or somebody asked before."""
        change = (
            update(jobs)
            .where(jobs.c.id == job, jobs.c.state.not_in(FINAL_STATES), jobs.c.stop == "{}")
            .values(stop=json.dumps({"why": why, "hint": hint}))
        )
        return bool(await self._database.write(lambda c: c.execute(change).rowcount))

    async def crown(self, job: str, champion: Mapping[str, Any]) -> tuple[JobRecord, Sequence[JobRecord]]:
        """Record that a job is the champion of its repository; the job, and those that were it until now.

        Crowning the champion again changes nothing.
        """

        def work(connection: Connection) -> tuple[JobRecord, Sequence[JobRecord]]:
            of_job = select(jobs.c.repository_id).where(jobs.c.id == job).scalar_subquery()
            query = select(jobs).where(jobs.c.repository_id == of_job).with_for_update()
            before = connection.execute(query.where(jobs.c.champion != "{}", jobs.c.id != job)).mappings().all()
            crowned = _job(connection.execute(query.where(jobs.c.id == job)).mappings().one())
            for other in before:
                _retell(connection, other["id"], champion="{}")
            if not crowned.champion:
                _retell(connection, job, champion=json.dumps(dict(champion)), notice="")
            now = [_by_id(connection, each) for each in (job, *(other["id"] for other in before))]
            return now[0], now[1:]

        return await self._database.write(work)

    async def champion(self, repository_id: int) -> JobRecord | None:
        """The job that was promoted last in a repository."""
        return await self._one(select(jobs).where(jobs.c.repository_id == repository_id, _CHAMPION))

    async def of_run(self, repository_id: int, run_id: str) -> JobRecord | None:
        """The job of a repository whose MLflow run this is; others may have taken over its result."""
        query = select(jobs).where(jobs.c.repository_id == repository_id, jobs.c.run_id == run_id)
        return await self._one(query.order_by(jobs.c.created_at).limit(1))

    async def notice(self, job: str, words: str) -> JobRecord:
        """Record what to tell who pressed a button, also of a job that is over; empty words take it back."""

        def work(connection: Connection) -> JobRecord:
            if _by_id(connection, job).notice != words:
                _retell(connection, job, notice=words)
            return _by_id(connection, job)

        return await self._database.write(work)

    async def ask_for_turn(self, job: str, may_start: Callable[[Sequence[JobRecord]], Collection[str]]) -> bool:
        """Let a job start, or make it wait. True if it has to wait.

        Asking again changes nothing: a turn that was granted meanwhile stays.

        Args:
            may_start: who of all contenders may start now.
        """

        def work(connection: Connection) -> bool:
            _one_at_a_time(connection)
            joins = update(jobs).where(jobs.c.id == job, jobs.c.turn == "").values(turn=WAITING)
            connection.execute(joins)
            everyone = _contenders(connection)
            waiting = any(each.id == job and each.turn == WAITING for each in everyone)
            if waiting and job in may_start(everyone):
                connection.execute(update(jobs).where(jobs.c.id == job).values(turn=TAKEN))
                return False
            return waiting

        return await self._database.write(work)

    async def grant_turns(self, may_start: Callable[[Sequence[JobRecord]], Collection[str]]) -> Sequence[JobRecord]:
        """Record that jobs may start; all contenders as they are then."""

        def work(connection: Connection) -> Sequence[JobRecord]:
            _one_at_a_time(connection)
            chosen = list(may_start(_contenders(connection)))
            connection.execute(update(jobs).where(jobs.c.id.in_(chosen), jobs.c.turn == WAITING).values(turn=GRANTED))
            return _contenders(connection)

        return await self._database.write(work)

    async def contenders(self, *installations: int) -> Sequence[JobRecord]:
        """The unfinished jobs of these installations, and of those where a job waits for its turn, the oldest first.

        The plan and the facts of those that don't wait are left out: there may be thousands.
        """
        return await self._database.read(lambda c: _contenders(c, *installations))

    async def is_anybody_in_line(self) -> bool:
        """Whether a job waits for its turn, or may not know yet that it came."""
        return await self._database.read(lambda c: c.execute(_ANYBODY_IN_LINE).first() is not None)

    async def of_commit(self, repository_id: int, sha: str) -> Sequence[JobRecord]:
        """All jobs of a commit, the newest first."""
        query = select(jobs).where(jobs.c.repository_id == repository_id, jobs.c.head_sha == sha)
        return await self._all(_newest_first(query))

    async def of_commits_like(self, repository_id: int, beginning: str) -> Sequence[JobRecord]:
        """All jobs of the commits whose SHAs begin so, the newest first."""
        query = select(jobs).where(
            jobs.c.repository_id == repository_id, jobs.c.head_sha.startswith(beginning, autoescape=True)
        )
        return await self._all(_newest_first(query))

    async def of_branch(self, repository_id: int, branch: str, limit: int = 50) -> Sequence[JobRecord]:
        """The jobs of a branch, the newest first."""
        query = select(jobs).where(jobs.c.repository_id == repository_id, jobs.c.branch == branch)
        return await self._all(_newest_first(query).limit(limit))

    async def of_repository(self, repository_id: int, limit: int, state: str = "") -> Sequence[JobRecord]:
        """The newest jobs of a repository, whatever their branches; of one state, or (empty) of any."""
        query = select(jobs).where(jobs.c.repository_id == repository_id)
        if state:
            query = query.where(jobs.c.state == state)
        return await self._all(query.order_by(jobs.c.created_at.desc()).limit(limit))

    async def unfinished(self) -> Sequence[JobRecord]:
        """Jobs that are not over."""
        return await self._database.read(_unfinished)

    async def with_fingerprint(self, repository_id: int, fingerprint: str, limit: int = 5) -> Sequence[JobRecord]:
        """The jobs of a repository with this fingerprint that trained and succeeded, the newest first."""
        query = select(jobs).where(
            jobs.c.repository_id == repository_id,
            jobs.c.fingerprint == fingerprint,
            jobs.c.state == "succeeded",
            jobs.c.submitted_at.is_not(None),  # else it has taken over the result of another one
            jobs.c.run_id.is_not(None),
        )
        return await self._all(query.order_by(jobs.c.created_at.desc()).limit(limit))

    async def newest_of_branch(
        self, repository_id: int, branch: str, *, sha: str | None = None, states: Sequence[str] | None = None
    ) -> JobRecord | None:
        """The job of the newest push to a branch, by the time GitHub gives the push, not by its arrival (I2)."""
        query = select(jobs).where(jobs.c.repository_id == repository_id, jobs.c.branch == branch)
        if sha is not None:
            query = query.where(jobs.c.head_sha == sha)
        if states is not None:
            query = query.where(jobs.c.state.in_(states))
        return await self._one(_newest_first(query).limit(1))

    async def finished_before(self, job: JobRecord, branch: str) -> JobRecord | None:
        """The newest succeeded job of a branch that can be the baseline of ``job``: pushed no later, and not it."""
        query = select(jobs).where(
            jobs.c.repository_id == job.repository_id,
            jobs.c.branch == branch,
            jobs.c.state == "succeeded",
            jobs.c.id != job.id,
            jobs.c.run_id.is_not(None),
        )
        if branch == job.branch:
            query = query.where(jobs.c.pushed_at <= job.pushed_at, jobs.c.created_at <= job.created_at)
        return await self._one(_newest_first(query).limit(1))

    async def last_change(self) -> float | None:
        """When any job last changed (Unix seconds); ``None`` without jobs."""
        return await self._database.read(lambda c: c.execute(select(func.max(jobs.c.updated_at))).scalar())

    async def counts(self) -> dict[str, int]:
        """How many jobs are in which state."""
        query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        return await self._database.read(lambda c: {row[0]: row[1] for row in c.execute(query)})

    async def recent(self, limit: int = 50) -> Sequence[JobRecord]:
        """The newest jobs of all repositories."""
        return await self._all(select(jobs).order_by(jobs.c.created_at.desc()).limit(limit))

    async def _one(self, query: Select[Any]) -> JobRecord | None:
        rows = await self._all(query)
        return rows[0] if rows else None

    async def _all(self, query: Select[Any]) -> Sequence[JobRecord]:
        return await self._database.read(lambda c: [_job(row) for row in c.execute(query).mappings()])


def _retell(connection: Connection, job: str, **values: str) -> None:
    """Change what is told of a job beside how it went: that stays as it is recorded, also when the job is over."""
    connection.execute(update(jobs).where(jobs.c.id == job).values(**values, updated_at=_later()))


def _later() -> ColumnElement[float]:
    """The time of a change: later than the last one even if the clock was set back, since it orders what is shown."""
    now, least = time.time(), jobs.c.updated_at + 1e-5
    return case((least > now, least), else_=now)


def _by_id(connection: Connection, job: str) -> JobRecord:
    return _job(connection.execute(_OF_ID, {"job": job}).mappings().one())


def _unfinished(connection: Connection) -> Sequence[JobRecord]:
    return [_job(row) for row in connection.execute(_UNFINISHED).mappings()]


def _contenders(connection: Connection, *installations: int) -> Sequence[JobRecord]:
    columns = [
        case((_IN_LINE, column), else_="{}").label(column.name) if column.name in _LONG else column for column in jobs.c
    ]
    line = jobs.alias()
    found = set(
        connection.execute(
            select(line.c.installation_id).where(_IN_LINE, line.c.state.in_(UNFINISHED_STATES)).distinct()
        ).scalars()
    )
    query = select(*columns).where(
        jobs.c.state.in_(UNFINISHED_STATES), jobs.c.installation_id.in_(found.union(installations))
    )
    return [_job(row) for row in connection.execute(query.order_by(jobs.c.created_at)).mappings()]


def _one_at_a_time(connection: Connection) -> None:
    """Whoever decides on turns sees what was decided before. On SQLite there is one writer anyway."""
    if connection.dialect.name != "sqlite":
        connection.execute(select(func.pg_advisory_xact_lock(_DECIDING)))


def _newest_first(query: Select[Any]) -> Select[Any]:
    return query.order_by(jobs.c.pushed_at.desc(), jobs.c.attempt.desc(), jobs.c.created_at.desc())


def _job(row: Any, *, facts: Mapping[str, Any] | None = None) -> JobRecord:
    """The job of a row. By far the largest of its documents, the facts, need not be read again where they are known."""
    values = dict(row)
    values |= {name: json.loads(values[name]) for name in _DOCUMENTS if name != "facts" or facts is None}
    return JobRecord(**values if facts is None else {**values, "facts": facts})
