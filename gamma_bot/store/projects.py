"""The repositories that Gamma works for: what each is called, which installation leads to it, whether it is in reach.

Everything else is keyed by the repository's id, which stays through renaming, transfer and a new installation.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gamma_bot.store.database import Database
from gamma_bot.store.tables import jobs, projects, surfaces

_MOST_IN_A_QUERY = 500
_OF_ID = select(projects).where(projects.c.repository_id == bindparam("repository"))  # to build it takes longer


class ProjectState(StrEnum):
    """Whether Gamma can work for a repository."""

    ACTIVE = "active"
    SUSPENDED = "suspended"  # the whole installation is, until its owner lifts it
    ARCHIVED = "archived"  # GitHub takes no writes
    FORGOTTEN = "forgotten"  # uninstalled, taken from the installation, or deleted


@dataclass(frozen=True)
class Place:
    """A repository and the way to it, as a delivery tells them."""

    repository_id: int
    full_name: str
    installation_id: int


@dataclass(frozen=True)
class Project:
    """A repository as Gamma knows it.

    Attributes:
        why: a sentence for people, why nothing can be done there now; empty while it is active.
    """

    repository_id: int
    full_name: str
    installation_id: int
    state: ProjectState = ProjectState.ACTIVE
    why: str = ""

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(self.repository_id, self.full_name, self.installation_id)


class Projects:
    """The table of projects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, repository_id: int) -> Project | None:
        """The project of this repository."""
        values = {"repository": repository_id}
        return await self._database.read(lambda c: next(map(_project, c.execute(_OF_ID, values).mappings()), None))

    async def of(self, places: Iterable[Place]) -> dict[int, Project]:
        """The projects of these repositories, by the repositories' ids."""
        wanted = {place.repository_id for place in places}
        query = select(projects)
        if len(wanted) <= _MOST_IN_A_QUERY:  # else it is an account with so many that reading all is cheaper
            query = query.where(projects.c.repository_id.in_(wanted))
        rows = await self._database.read(lambda c: [_project(row) for row in c.execute(query).mappings()])
        return {project.repository_id: project for project in rows if project.repository_id in wanted}

    async def of_installation(self, installation_id: int) -> Sequence[Project]:
        """The projects that this installation leads to, as far as is known."""
        query = select(projects).where(projects.c.installation_id == installation_id)
        query = query.order_by(projects.c.repository_id)
        return await self._database.read(lambda c: [_project(row) for row in c.execute(query).mappings()])

    async def worked_for(self, repository_ids: Iterable[int]) -> set[int]:
        """Those of the repositories that have jobs: what is believed of them has consequences."""
        query = select(jobs.c.repository_id).distinct()
        return set(repository_ids) & await self._database.read(lambda c: set(c.execute(query).scalars()))

    async def keep(self, found: Iterable[Project]) -> None:
        """Write down how these projects are now; their jobs follow to the name and the installation they have."""
        rows = list(found)

        def work(connection: Connection) -> None:
            for project in rows:
                _keep(connection, project)

        await self._database.write(work)

    async def meet(self, place: Place) -> None:
        """Know a repository that something is to be said in; what is known of it already stays."""
        await self._database.write(lambda c: place_of_new_job(c, place))

    async def catch_up(self, repository_ids: Iterable[int]) -> None:
        """What GitHub does not show of these repositories is tried again at once, however often it has failed."""
        wanted = list(repository_ids)

        def work(connection: Connection) -> None:
            for repository_id in wanted:
                connection.execute(
                    update(surfaces)
                    .where(surfaces.c.repository_id == repository_id, surfaces.c.desired > surfaces.c.flushed)
                    .values(due_at=time.time(), failures=0)
                )

        await self._database.write(work)

    async def counts(self) -> dict[str, int]:
        """How many projects are in which state."""
        query = select(projects.c.state, func.count()).group_by(projects.c.state)
        return await self._database.read(lambda c: {row[0]: row[1] for row in c.execute(query)})


def place_of_new_job(connection: Connection, place: Place) -> Place:
    """Where a repository is now, by its project; the project is made if this is the first that is heard of it.

    The row stays locked until the transaction ends: a new name that comes meanwhile then finds the new job, too.
    """
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    values = {**asdict(place), "state": ProjectState.ACTIVE.value, "changed_at": time.time()}
    connection.execute(
        dialect.insert(projects).values(**values).on_conflict_do_nothing(index_elements=["repository_id"])
    )
    query = select(projects).where(projects.c.repository_id == place.repository_id).with_for_update(read=True)
    return _project(connection.execute(query).mappings().one()).place


def _keep(connection: Connection, project: Project) -> None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    values = {**asdict(project), "state": project.state.value, "changed_at": time.time()}
    statement = dialect.insert(projects).values(**values)
    connection.execute(statement.on_conflict_do_update(index_elements=["repository_id"], set_=values))
    connection.execute(
        update(jobs)
        .where(jobs.c.repository_id == project.repository_id)
        .where((jobs.c.repository != project.full_name) | (jobs.c.installation_id != project.installation_id))
        .values(repository=project.full_name, installation_id=project.installation_id)
    )


def _project(row: Any) -> Project:
    return Project(
        row["repository_id"], row["full_name"], row["installation_id"], ProjectState(row["state"]), row["why"]
    )
