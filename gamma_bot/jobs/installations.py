"""Keeps what Gamma believes of installations and repositories in step with GitHub.

Deliveries come doubled, late and in any order (I2), so they are taken as hints: where one contradicts what is known of
a repository that has jobs, GitHub is asked, and its answer counts (I6). Of a repository without jobs nothing depends on
it: there the word of the delivery is taken, and asking waits until something is to be done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import structlog

from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.places import InstallationNow, installation_now, installation_on, repository_now
from gamma_bot.store.jobs import Jobs
from gamma_bot.store.projects import Place, Project, Projects, ProjectState

# GitHub's answer to a read that comes right after a delivery can be older than the delivery.
_DOUBT_SECONDS = 1.0

_HINTS = {
    ProjectState.SUSPENDED: "Push again once it is no longer suspended.",
    ProjectState.ARCHIVED: "Push again once it is no longer archived.",
    ProjectState.FORGOTTEN: "Install the App on the repository again and push, to train once more.",
}

log = structlog.get_logger()


@dataclass(frozen=True)
class ProjectNews:
    """A delivery says of repositories that they are there for Gamma, archived, or gone.

    Attributes:
        why: a sentence for people, where nothing can be done there now.
        first: it tells the beginning of an installation: all else that is known of this installation is newer.
    """

    places: Sequence[Place]
    state: ProjectState
    why: str = ""
    first: bool = False


@dataclass(frozen=True)
class InstallationNews:
    """A delivery says of an installation that it was suspended, is no longer, or was removed.

    Attributes:
        places: the repositories that it led to, as far as the delivery lists them.
    """

    installation_id: int
    state: ProjectState
    why: str = ""
    places: Sequence[Place] = ()


@dataclass(frozen=True)
class PermissionsGranted:
    """Somebody granted the permissions that the App asks for by now."""

    installation_id: int


News = ProjectNews | InstallationNews | PermissionsGranted


class Installations:
    """Knows which repositories Gamma can work for, and what follows when that changes.

    Args:
        on_news: called when there may be something to show again.
    """

    def __init__(self, github: GitHubApp, projects: Projects, jobs: Jobs, on_news: Callable[[], None]) -> None:
        self._github = github
        self._projects = projects
        self._jobs = jobs
        self._on_news = on_news

    async def meet(self, place: Place) -> Project:
        """The repository that something is to be done for, as it is now.

        Raises:
            GitHubError: the delivery contradicts what is known, and GitHub can't be asked.
            StoreUnavailable
        """
        known = await self._projects.get(place.repository_id)
        if known is None:
            await self._projects.meet(place)
            return _project(place)
        if known == _project(place):
            return known
        now = await self._look(known, place, ProjectState.ACTIVE)
        await self._settle([now])
        return now

    async def heard(self, news: News) -> str:
        """Act on what a delivery says; what became of it, in a few words.

        Raises:
            GitHubError: something depends on it, and GitHub can't be asked.
            StoreUnavailable
        """
        match news:
            case ProjectNews():
                return await self._heard_of_repositories(news)
            case InstallationNews():
                return await self._heard_of_installation(news)
            case PermissionsGranted(installation_id=installation_id):
                known = await self._projects.of_installation(installation_id)
                if known:
                    self._github.installation(installation_id).renew()
                    await self._show_again(known)
                return f"new permissions for {len(known)} repositories"
            case _:
                assert_never(news)

    async def _heard_of_repositories(self, news: ProjectNews) -> str:
        worked_for = await self._projects.worked_for(place.repository_id for place in news.places)
        projects = await self._projects.of(news.places)
        found: list[Project] = []
        for place in news.places:
            said = _project(place, news.state, news.why)
            known = projects.get(place.repository_id)
            if known is None:
                if news.state is not ProjectState.FORGOTTEN:
                    found.append(said)
            elif known.installation_id == place.installation_id and news.first and known != said:
                continue
            elif known.installation_id != place.installation_id and news.state is not ProjectState.ACTIVE:
                continue  # it is about an installation that no longer leads there
            elif place.repository_id in worked_for and (known.place, known.state) != (place, news.state):
                now = await self._look(known, place, news.state)
                found.append(replace(now, why=news.why) if now.state is news.state else now)
            else:
                found.append(said)
        await self._settle(found)
        return f"{len(found)} of {len(news.places)} repositories: {_states(found)}"

    async def _heard_of_installation(self, news: InstallationNews) -> str:
        known = await self._projects.of_installation(news.installation_id)
        state, why = news.state, news.why
        if await self._projects.worked_for(project.repository_id for project in known):
            now = await installation_now(self._github, news.installation_id)
            if _state(now) is not state:
                await asyncio.sleep(_DOUBT_SECONDS)
                now = await installation_now(self._github, news.installation_id)
            if _state(now) is not state:
                state, why = _state(now), _why(now)
        found = [replace(project, state=state, why=why) for project in known if _follows(project.state, state)]
        if state is ProjectState.FORGOTTEN:
            # Also what was never heard of: the news of its beginning may be yet to come.
            projects = await self._projects.of(news.places)
            found += [_project(place, state, why) for place in news.places if place.repository_id not in projects]
        await self._settle(found)
        return f"installation {news.installation_id}, {len(found)} repositories: {_states(found)}"

    async def _look(self, known: Project, place: Place, said: ProjectState) -> Project:
        now = await self._ask(known, place)
        if now.state is not said:
            await asyncio.sleep(_DOUBT_SECONDS)
            now = await self._ask(known, place)
        log.info("project.asked", repo=now.full_name, repository=now.repository_id, said=said, state=now.state)
        return now

    async def _ask(self, known: Project, place: Place) -> Project:
        """What GitHub says: by the name that is known, which leads to a newer one, then by the one that was told."""
        for name in dict.fromkeys((known.full_name, place.full_name)):
            installation = await installation_on(self._github, name)
            if installation is None:
                continue
            if installation.suspended:  # then there is no token to look with whose name it is now
                return Project(known.repository_id, name, installation.id, _state(installation), _why(installation))
            found = await repository_now(self._github, installation.id, name)
            if found is not None and found.id == known.repository_id:  # else another one has taken the name
                now = Project(known.repository_id, found.full_name, installation.id)
                if found.archived:
                    return replace(now, state=ProjectState.ARCHIVED, why="The repository is archived.")
                return now
        return replace(known, state=ProjectState.FORGOTTEN, why=_why(None))

    async def _settle(self, found: Sequence[Project]) -> None:
        """Write down what was found, and let everything follow from it. Twice: it comes to the same."""
        if not found:
            return
        await self._projects.keep(found)
        closed = {project.repository_id: project for project in found if project.state is not ProjectState.ACTIVE}
        for job in await self._jobs.outlines.unfinished_in(closed) if closed else ():
            project = closed[job.repository_id]
            if await self._jobs.ask_to_stop(job.id, why=project.why, hint=_HINTS[project.state]):
                log.info("project.stops_job", job=job.id, repo=project.full_name, state=project.state)
        await self._show_again([project for project in found if project.state is ProjectState.ACTIVE])

    async def _show_again(self, projects: Sequence[Project]) -> None:
        await self._projects.catch_up(project.repository_id for project in projects)
        self._on_news()


def _project(place: Place, state: ProjectState = ProjectState.ACTIVE, why: str = "") -> Project:
    return Project(place.repository_id, place.full_name, place.installation_id, state, why)


def _state(installation: InstallationNow | None) -> ProjectState:
    if installation is None:
        return ProjectState.FORGOTTEN
    return ProjectState.SUSPENDED if installation.suspended else ProjectState.ACTIVE


def _why(installation: InstallationNow | None) -> str:
    if installation is None:
        return "Gamma is not installed on this repository any more."
    by = f" by `{installation.suspended_by}`" if installation.suspended_by else ""
    return f"The installation was suspended{by}." if installation.suspended else ""


def _follows(project: ProjectState, installation: ProjectState) -> bool:
    """Whether a repository goes the way of its installation: one that is archived or taken from it stays so."""
    return installation is ProjectState.FORGOTTEN or project in (ProjectState.ACTIVE, ProjectState.SUSPENDED)


def _states(found: Sequence[Project]) -> str:
    states = sorted({project.state.value for project in found})
    return ", ".join(states) or "nothing new"
