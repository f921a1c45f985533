"""The attempts that GitHub Actions trains: each is written down before GitHub is asked for its run (I3)."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gamma_bot.store.database import Database
from gamma_bot.store.tables import actions_runs

_MOST_IN_A_QUERY = 500


@dataclass(frozen=True)
class ActionsRun:
    """An attempt and its run at GitHub.

    Attributes:
        attempt: the attempt's key, which the run carries in its name.
        inputs: what the run is started with.
        tried_at: when GitHub was last asked for the run; ``None`` if it surely never was.
        run_id: the run at GitHub, once it is known.
        hinted: GitHub told of news that nobody has looked at.
        stop_at: when somebody asked for its end; recorded before GitHub is (I7).
        cancelled_at: when GitHub was last asked to cancel it.
        outcome: how it ended; empty until then.
    """

    attempt: str
    repository_id: int
    repository: str
    workflow: str
    ref: str
    inputs: Mapping[str, str]
    timeout_seconds: float
    recorded_at: float
    tried_at: float | None = None
    tries: int = 0
    run_id: int | None = None
    url: str = ""
    status: str = ""
    hinted: bool = False
    stop_at: float | None = None
    cancelled_at: float | None = None
    outcome: Mapping[str, Any] | None = None


class ActionsRuns:
    """The table of these attempts. Times are Unix seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, run: ActionsRun) -> ActionsRun:
        """Write an attempt down; one that is there already stays, and is returned.

        Raises:
            StoreUnavailable
        """
        values = {
            "attempt": run.attempt,
            "repository_id": run.repository_id,
            "repository": run.repository,
            "workflow": run.workflow,
            "ref": run.ref,
            "inputs": json.dumps(dict(run.inputs)),
            "timeout_seconds": run.timeout_seconds,
            "recorded_at": run.recorded_at,
        }

        def work(connection: Connection) -> ActionsRun:
            dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
            connection.execute(dialect.insert(actions_runs).values(**values).on_conflict_do_nothing())
            return _of(connection, (run.attempt,))[0]

        return await self._database.write(work)

    async def claim(self, run: ActionsRun) -> ActionsRun | None:
        """Take it upon oneself to ask GitHub for the run; ``None`` if somebody else did, or it has come or ended.

        Raises:
            StoreUnavailable
        """
        seen = actions_runs.c.tried_at.is_(None) if run.tried_at is None else actions_runs.c.tried_at == run.tried_at
        free = (actions_runs.c.run_id.is_(None)) & (actions_runs.c.outcome == "") & (actions_runs.c.stop_at.is_(None))

        def work(connection: Connection) -> ActionsRun | None:
            done = connection.execute(
                update(actions_runs)
                .where(actions_runs.c.attempt == run.attempt, seen, free)
                .values(tried_at=time.time(), tries=actions_runs.c.tries + 1)
            )
            return _of(connection, (run.attempt,))[0] if done.rowcount else None

        return await self._database.write(work)

    async def change(self, attempt: str, **values: Any) -> None:
        """Write down what is new of an attempt. An outcome is written once: the first one stays.

        Raises:
            StoreUnavailable
        """
        if "outcome" in values:
            values["outcome"] = json.dumps(values["outcome"])
        change = update(actions_runs).where(actions_runs.c.attempt == attempt, actions_runs.c.outcome == "")
        await self._database.write(lambda connection: connection.execute(change.values(**values)))

    async def ask_to_stop(self, attempt: str) -> ActionsRun | None:
        """Record that somebody wants its end; ``None`` if there is no such attempt.

        Raises:
            StoreUnavailable
        """

        def work(connection: Connection) -> ActionsRun | None:
            connection.execute(
                update(actions_runs)
                .where(actions_runs.c.attempt == attempt, actions_runs.c.stop_at.is_(None))
                .where(actions_runs.c.outcome == "")
                .values(stop_at=time.time())
            )
            return next(iter(_of(connection, (attempt,))), None)

        return await self._database.write(work)

    async def hint(self, attempt: str, repository_id: int) -> bool:
        """Note that there is news of an attempt in a repository; whether it is one there that has not ended.

        Raises:
            StoreUnavailable
        """
        own = (actions_runs.c.attempt == attempt) & (actions_runs.c.repository_id == repository_id)
        change = update(actions_runs).where(own, actions_runs.c.outcome == "")
        done = await self._database.write(lambda connection: connection.execute(change.values(hinted=1)).rowcount)
        return bool(done)

    async def looked(self, attempts: Collection[str]) -> None:
        """The hints of these attempts have been followed.

        Raises:
            StoreUnavailable
        """
        change = update(actions_runs).where(actions_runs.c.attempt.in_(attempts), actions_runs.c.hinted == 1)
        await self._database.write(lambda connection: connection.execute(change.values(hinted=0)))

    async def open(self) -> Sequence[ActionsRun]:
        """All attempts that have not ended.

        Raises:
            StoreUnavailable
        """
        query = select(actions_runs).where(actions_runs.c.outcome == "")
        return await self._database.read(lambda c: [_run(row) for row in c.execute(query).mappings()])

    async def of(self, attempts: Sequence[str]) -> Mapping[str, ActionsRun]:
        """These attempts, as far as they are known.

        Raises:
            StoreUnavailable
        """
        found: dict[str, ActionsRun] = {}
        for begin in range(0, len(attempts), _MOST_IN_A_QUERY):
            some = tuple(attempts[begin : begin + _MOST_IN_A_QUERY])
            found |= await self._database.read(partial(_by_attempt, attempts=some))
        return found


def _of(connection: Connection, attempts: Sequence[str]) -> list[ActionsRun]:
    query = select(actions_runs).where(actions_runs.c.attempt.in_(attempts))
    return [_run(row) for row in connection.execute(query).mappings()]


def _by_attempt(connection: Connection, attempts: Sequence[str]) -> dict[str, ActionsRun]:
    return {run.attempt: run for run in _of(connection, attempts)}


def _run(row: Any) -> ActionsRun:
    values = dict(row)
    values["inputs"] = json.loads(values["inputs"])
    values["outcome"] = json.loads(values["outcome"]) if values["outcome"] else None
    values["hinted"] = bool(values["hinted"])
    return ActionsRun(**values)
