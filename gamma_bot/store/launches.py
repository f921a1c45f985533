"""The tries of attempts at SageMaker: what is to exist there, what does, how it was last seen, how it ended.

A row is made before its training job, and what decides about money is decided in one statement: whether a try may be
created still, or is not to exist any more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gamma_bot.store.database import Database
from gamma_bot.store.tables import launches

_MOST_IN_A_QUERY = 500
_SEEN = ("status", "secondary", "modified_at", "interruptions")


class LaunchState(StrEnum):
    """Where a try is."""

    RECORDED = "recorded"  # nobody has asked AWS for it yet
    CREATING = "creating"  # somebody asks AWS for it: it may exist
    CREATED = "created"
    WAITING = "waiting"  # the one before found no machine; it is asked for later
    WAITING_QUOTA = "waiting_quota"  # others use up the account's quota
    ENDED = "ended"


_NOT_ASKED_FOR = (LaunchState.RECORDED, LaunchState.WAITING, LaunchState.WAITING_QUOTA)


@dataclass(frozen=True, slots=True)
class Launch:
    """A try as stored, without what is to be sent to AWS. Times are Unix seconds.

    Attributes:
        attempt: the attempt's key.
        number: of the try, from 1.
        limit_seconds: how long it may take by its own limits, waiting included.
        due_at: when to ask for it; while it is being created, when somebody began to.
        modified_at: by AWS's clock, when it came to be as it was last seen.
        outcome: of the attempt, as JSON; empty but for the last try of one that is over.
    """

    attempt: str
    number: int
    job: str
    job_attempt: int
    name: str
    state: LaunchState
    instance_type: str
    instance_count: int
    spot: bool
    limit_seconds: float
    recorded_at: float
    due_at: float
    waits_for: str = ""
    stop_requested_at: float | None = None
    status: str = ""
    secondary: str = ""
    modified_at: float = 0.0
    interruptions: int = 0
    ending: str = ""
    training_seconds: float | None = None
    billable_seconds: float | None = None
    outcome: str = ""

    @property
    def is_over(self) -> bool:
        """Nothing more will happen to this try."""
        return self.state is LaunchState.ENDED


_COLUMNS = tuple(launches.c[name] for name in Launch.__dataclass_fields__)
_TRIES = select(*_COLUMNS).where(launches.c.attempt == bindparam("wanted")).order_by(launches.c.number)


class Launches:
    """The table of tries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, launch: Launch, order: Mapping[str, Any]) -> Launch:
        """Store the first try of an attempt, or return the newest one that is there.

        Args:
            order: what is to be sent to AWS, and all that further tries need.
        """

        def work(connection: Connection) -> Launch:
            dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
            statement = dialect.insert(launches).values(**_values(launch, order))
            connection.execute(statement.on_conflict_do_nothing())
            return _newest(connection, [launch.attempt])[launch.attempt]

        return await self._database.write(work)

    async def newest(self, attempts: Iterable[str]) -> dict[str, Launch]:
        """The newest try of each of these attempts, by its key; attempts that are unknown here are absent."""
        wanted = list(attempts)
        return await self._database.read(lambda c: _newest(c, wanted))

    async def tries(self, attempt: str) -> Sequence[Launch]:
        """All tries of an attempt, the first one first."""
        values = {"wanted": attempt}
        return await self._database.read(lambda c: [_launch(row) for row in c.execute(_TRIES, values).mappings()])

    async def open(self) -> Sequence[Launch]:
        """The tries that are not over, the oldest first."""
        query = select(*_COLUMNS).where(launches.c.state != LaunchState.ENDED).order_by(launches.c.recorded_at)
        return await self._database.read(lambda c: [_launch(row) for row in c.execute(query).mappings()])

    async def named(self, names: Iterable[str]) -> dict[str, Launch]:
        """The tries with these training jobs' names; names that are unknown here are absent."""
        wanted = list(names)

        def work(connection: Connection) -> dict[str, Launch]:
            found: dict[str, Launch] = {}
            for start in range(0, len(wanted), _MOST_IN_A_QUERY):
                query = select(*_COLUMNS).where(launches.c.name.in_(wanted[start : start + _MOST_IN_A_QUERY]))
                found |= {row["name"]: _launch(row) for row in connection.execute(query).mappings()}
            return found

        return await self._database.read(work)

    async def order(self, launch: Launch) -> dict[str, Any]:
        """What is to be sent to AWS for a try."""
        query = select(launches.c.order).where(*_is(launch))
        found: dict[str, Any] = json.loads(await self._database.read(lambda c: c.execute(query).scalar_one()))
        return found

    async def claim(self, launch: Launch) -> Launch | None:
        """Say that AWS is asked for a try from now on; ``None`` if it is not to be created any more.

        Several may do so at once: the training job's name lets only one of them succeed.
        """
        may = launches.c.state.in_((*_NOT_ASKED_FOR, LaunchState.CREATING)) & launches.c.stop_requested_at.is_(None)
        return await self._change(launch, may, state=LaunchState.CREATING, due_at=time.time(), waits_for="")

    async def created(self, launch: Launch) -> Launch:
        """Record that its training job exists. A stop that was asked for meanwhile is in the answer."""
        exists = launches.c.state == LaunchState.CREATING
        return await self._change(launch, exists, state=LaunchState.CREATED) or await self._again(launch)

    async def postpone(self, launch: Launch, state: LaunchState, due_at: float, waits_for: str) -> Launch:
        """Record that AWS is asked again later."""
        asked = launches.c.state.in_((LaunchState.CREATING, *_NOT_ASKED_FOR))
        changed = await self._change(launch, asked, state=state, due_at=due_at, waits_for=waits_for)
        return changed or await self._again(launch)

    async def ask_to_stop(self, launch: Launch, outcome: Mapping[str, Any]) -> Launch:
        """Record that a try shall end (I7); one that nobody asked AWS for yet is over with it.

        Args:
            outcome: of the attempt, in that case.
        """

        def work(connection: Connection) -> Launch:
            now = time.time()
            unasked = update(launches).where(*_is(launch), launches.c.state.in_(_NOT_ASKED_FOR))
            ended = {"state": LaunchState.ENDED, "ending": outcome["ending"], "outcome": json.dumps(dict(outcome))}
            connection.execute(unasked.values(**ended, stop_requested_at=now))
            running = update(launches).where(*_is(launch), launches.c.state != LaunchState.ENDED)
            connection.execute(running.where(launches.c.stop_requested_at.is_(None)).values(stop_requested_at=now))
            return _one(connection, launch)

        return await self._database.write(work)

    async def seen(self, found: Sequence[Launch]) -> None:
        """Record how tries were last seen."""
        if not found:
            return
        change = (
            update(launches)
            .where(
                launches.c.attempt == bindparam("key"),
                launches.c.number == bindparam("try"),
                launches.c.state != LaunchState.ENDED,
            )
            .values(
                {name: bindparam(f"new_{name}") for name in ("status", "secondary", "modified_at", "interruptions")}
            )
        )
        rows = [
            {"key": each.attempt, "try": each.number} | {f"new_{name}": getattr(each, name) for name in _SEEN}
            for each in found
        ]
        await self._database.write(lambda c: c.execute(change, rows))

    async def end(
        self,
        launch: Launch,
        outcome: Mapping[str, Any],
        further: tuple[Launch, Mapping[str, Any]] | None = None,
    ) -> Launch:
        """Record the end of a try as ``launch`` has it; the newest try of the attempt then.

        Args:
            outcome: of the attempt, if no other try follows; with ``further``, if somebody asked for its end meanwhile.
            further: the try that follows, and what is to be sent to AWS for it.
        """

        def work(connection: Connection) -> Launch:
            query = select(launches.c.state, launches.c.stop_requested_at).where(*_is(launch)).with_for_update()
            state, stop = connection.execute(query).one()
            if state == LaunchState.ENDED:
                return _newest(connection, [launch.attempt])[launch.attempt]
            goes_on = further is not None and stop is None
            values = {
                "state": LaunchState.ENDED,
                "ending": launch.ending,
                "status": launch.status,
                "secondary": launch.secondary,
                "interruptions": launch.interruptions,
                "training_seconds": launch.training_seconds,
                "billable_seconds": launch.billable_seconds,
                "outcome": "" if goes_on else json.dumps(dict(outcome)),
            }
            connection.execute(update(launches).where(*_is(launch)).values(**values))
            if goes_on and further is not None:
                connection.execute(insert(launches).values(**_values(*further)))
            return _newest(connection, [launch.attempt])[launch.attempt]

        return await self._database.write(work)

    async def _change(self, launch: Launch, condition: Any, **values: Any) -> Launch | None:
        def work(connection: Connection) -> Launch | None:
            change = update(launches).where(*_is(launch), condition).values(**values)
            return _one(connection, launch) if connection.execute(change).rowcount else None

        return await self._database.write(work)

    async def _again(self, launch: Launch) -> Launch:
        return await self._database.read(lambda c: _one(c, launch))


def _is(launch: Launch) -> tuple[Any, Any]:
    return launches.c.attempt == launch.attempt, launches.c.number == launch.number


def _one(connection: Connection, launch: Launch) -> Launch:
    return _launch(connection.execute(select(*_COLUMNS).where(*_is(launch))).mappings().one())


def _newest(connection: Connection, attempts: Sequence[str]) -> dict[str, Launch]:
    found: dict[str, Launch] = {}
    for start in range(0, len(attempts), _MOST_IN_A_QUERY):
        chosen = attempts[start : start + _MOST_IN_A_QUERY]
        query = select(*_COLUMNS).where(launches.c.attempt.in_(chosen)).order_by(launches.c.number)
        found |= {row["attempt"]: _launch(row) for row in connection.execute(query).mappings()}
    return found


def _launch(row: Mapping[Any, Any]) -> Launch:
    return Launch(**{**row, "state": LaunchState(row["state"]), "spot": bool(row["spot"])})


def _values(launch: Launch, order: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: getattr(launch, name) for name in Launch.__dataclass_fields__}
    return {**values, "spot": int(launch.spot), "order": json.dumps(dict(order))}
