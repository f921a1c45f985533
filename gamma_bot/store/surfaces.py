"""Desired and flushed state of everything that Gamma shows on GitHub.

A surface is one check run or one comment. Setting what it should show is a local write; making GitHub show it is
repeated until it worked. Versions keep the two apart: a surface is dirty while ``desired > flushed``. Where its
repository is, the project says: of one that is out of reach, nothing is due.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Select, bindparam, func, insert, select, update

from gamma_bot.redaction import redacted
from gamma_bot.store.database import Database
from gamma_bot.store.projects import ProjectState
from gamma_bot.store.tables import projects, surfaces

Kind = Literal["check", "comment", "reply", "reaction"]


@dataclass(frozen=True)
class Surface:
    """A check run or a comment: what it should show, and how far GitHub is.

    Attributes:
        installation_id, repository: the way to its repository as it is now.
    """

    key: str
    kind: str
    job: str
    repository_id: int
    installation_id: int
    repository: str
    subject: str
    body: Mapping[str, Any]
    as_of: float
    urgency: int
    desired: int
    flushed: int
    github_id: int | None
    tried: int
    failures: int
    due_at: float
    flushed_at: float | None
    error: str


class Surfaces:
    """The table of surfaces.

    Args:
        redact: takes secrets out of errors before they are kept.
    """

    def __init__(self, database: Database, *, redact: Callable[[str], str] = redacted) -> None:
        self._database = database
        self._redact = redact

    async def want(
        self,
        key: str,
        *,
        kind: Kind,
        job: str,
        repository_id: int,
        subject: str,
        body: Mapping[str, Any],
        as_of: float,
        urgency: int,
        not_before: float = 0.0,
    ) -> bool:
        """Record what a surface should show. False if it was told so already, or has newer news than ``as_of``.

        Args:
            urgency: the smaller number goes first when many wait.
        """
        text = json.dumps(body, sort_keys=True)

        def work(connection: Connection) -> bool:
            row = connection.execute(
                select(surfaces.c.body, surfaces.c.as_of, surfaces.c.urgency, surfaces.c.desired, surfaces.c.flushed)
                .where(surfaces.c.key == key)
                .with_for_update()
            ).first()
            if row is None:
                connection.execute(
                    insert(surfaces).values(
                        key=key,
                        kind=kind,
                        job=job,
                        repository_id=repository_id,
                        subject=subject,
                        body=text,
                        as_of=as_of,
                        urgency=urgency,
                        desired=1,
                        flushed=0,
                        due_at=max(not_before, time.time()),
                    )
                )
                return True
            if row.body == text or row.as_of > as_of:
                return False
            connection.execute(
                update(surfaces)
                .where(surfaces.c.key == key)
                .values(
                    body=text,
                    job=job,
                    subject=subject,
                    as_of=as_of,
                    # Progress that takes the place of a change nobody has seen yet is as urgent as that one.
                    urgency=min(urgency, row.urgency) if row.desired > row.flushed else urgency,
                    desired=surfaces.c.desired + 1,
                    failures=0,
                    due_at=max(not_before, time.time()),
                )
            )
            return True

        return await self._database.write(work)

    async def get(self, key: str) -> Surface | None:
        """The surface of this key."""
        return await self._database.read(
            lambda c: next(map(_surface, c.execute(_OF_KEY, {"wanted": key}).mappings()), None)
        )

    async def dirty(self, now: float) -> Sequence[tuple[str, int]]:
        """The keys of surfaces that GitHub does not show as desired and whose next try is due, oldest first.

        Each with the version that it should show.
        """
        query = _dirty(select(surfaces.c.key, surfaces.c.desired).join(projects, _SAME_REPOSITORY))
        query = query.where(surfaces.c.due_at <= now).order_by(surfaces.c.due_at)
        return await self._database.read(lambda c: [(row[0], row[1]) for row in c.execute(query)])

    async def next_due(self) -> float | None:
        """When the next try of a dirty surface is due; ``None`` if GitHub shows all that we want."""
        query = _dirty(select(func.min(surfaces.c.due_at)).join(projects, _SAME_REPOSITORY))
        return await self._database.read(lambda c: c.execute(query).scalar())

    async def count_dirty(self) -> int:
        """How many surfaces GitHub does not show as desired."""
        query = _dirty(select(func.count()).select_from(surfaces).join(projects, _SAME_REPOSITORY))
        return await self._database.read(lambda c: c.execute(query).scalar_one())

    async def trying(self, surface: Surface) -> None:
        """Written before the call: after a crash it tells that GitHub may have applied it."""
        await self._update(surface.key, tried=surface.desired)

    async def not_tried(self, surface: Surface) -> None:
        """The call that ``trying`` announced was not made: there is nothing to look up."""
        await self._update(surface.key, tried=surface.tried)

    async def flushed(self, surface: Surface, github_id: int | None) -> None:
        """GitHub shows the version that ``surface`` was read with."""
        await self._update(
            surface.key, flushed=surface.desired, github_id=github_id, failures=0, flushed_at=time.time(), error=""
        )

    async def adopted(self, surface: Surface, github_id: int) -> None:
        """The surface exists on GitHub under this id; it may still show something older."""
        await self._update(surface.key, github_id=github_id)

    async def lost(self, surface: Surface) -> None:
        """GitHub no longer finds it: it is to be looked up, and made again if it is gone."""
        await self._update(surface.key, github_id=None, tried=max(1, surface.tried))

    async def failed(self, surface: Surface, error: str, retry_at: float, *, counts: bool = True) -> None:
        """The call failed; it is repeated at ``retry_at`` (Unix seconds), unless there is newer news already.

        Args:
            counts: the more failures, the longer the wait after the next one.
        """
        change = (
            update(surfaces)
            .where(surfaces.c.key == surface.key, surfaces.c.desired == surface.desired)
            .values(failures=surface.failures + counts, due_at=retry_at, error=self._redact(error)[:1000])
        )
        await self._database.write(lambda c: c.execute(change))

    async def of_job(self, job: str) -> Sequence[Surface]:
        """All surfaces that tell of a job now."""
        query = _surfaces().where(surfaces.c.job == job)
        return await self._database.read(lambda c: [_surface(row) for row in c.execute(query).mappings()])

    async def _update(self, key: str, **values: Any) -> None:
        change = update(surfaces).where(surfaces.c.key == key).values(**values)
        await self._database.write(lambda c: c.execute(change))


_SAME_REPOSITORY = projects.c.repository_id == surfaces.c.repository_id


def _surfaces() -> Select[Any]:
    way = (projects.c.installation_id, projects.c.full_name.label("repository"))
    return select(surfaces, *way).join(projects, _SAME_REPOSITORY)


_OF_KEY = _surfaces().where(surfaces.c.key == bindparam("wanted"))  # to build it takes longer than its answer


def _dirty(query: Select[Any]) -> Select[Any]:
    return query.where(surfaces.c.desired > surfaces.c.flushed, projects.c.state == ProjectState.ACTIVE.value)


def _surface(row: Any) -> Surface:
    values = dict(row)
    values["body"] = json.loads(values["body"])
    return Surface(**values)
