"""The way to a repository at GitHub, by its id: under the name and through the installation that it has now."""

from __future__ import annotations

from gamma_bot.github.errors import Forbidden
from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.repository import Repository
from gamma_bot.store.projects import Projects, ProjectState


class OutOfReach(Forbidden):
    """Gamma can't work for this repository now, and GitHub was not asked."""

    def __init__(self, why: str) -> None:
        super().__init__(403, why, "")

    def __str__(self) -> str:
        return self.message


class Reach:
    """Finds repositories. A job can outlive a name, an owner and an installation: it asks here each time."""

    def __init__(self, github: GitHubApp, projects: Projects) -> None:
        self._github = github
        self._projects = projects

    async def repository(self, repository_id: int) -> Repository:
        """The repository of this id.

        Raises:
            OutOfReach: it is suspended, archived or forgotten; the text says which.
        """
        project = await self._projects.get(repository_id)
        if project is None:
            raise OutOfReach("Gamma does not know this repository.")
        if project.state is not ProjectState.ACTIVE:
            raise OutOfReach(project.why)
        return Repository(self._github.installation(project.installation_id), project.full_name)
