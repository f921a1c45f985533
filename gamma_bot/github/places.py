"""Where a repository is now, and whether Gamma is installed there: what GitHub says when deliveries contradict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gamma_bot.github.errors import NotFound
from gamma_bot.github.gateway import GitHubApp


@dataclass(frozen=True)
class InstallationNow:
    """An installation as GitHub shows it; ``suspended_by`` is empty where GitHub does not say who did it."""

    id: int
    suspended: bool
    suspended_by: str


@dataclass(frozen=True)
class RepositoryNow:
    """A repository as GitHub shows it, under the name that it has now."""

    id: int
    full_name: str
    archived: bool


async def installation_now(app: GitHubApp, installation_id: int) -> InstallationNow | None:
    """The installation of this id; ``None`` if it was removed.

    Raises:
        GitHubError
    """
    try:
        return _installation(await app.get(f"/app/installations/{installation_id}"))
    except NotFound:
        return None


async def installation_on(app: GitHubApp, full_name: str) -> InstallationNow | None:
    """The installation that covers a repository, suspended or not; an old name of the repository leads to it, too.

    Raises:
        GitHubError
    """
    try:
        return _installation(await app.get(f"/repos/{full_name}/installation"))
    except NotFound:
        return None


async def repository_now(app: GitHubApp, installation_id: int, full_name: str) -> RepositoryNow | None:
    """The repository that has, or had, this name; ``None`` if the installation does not see it.

    Raises:
        GitHubError
    """
    try:
        found = await app.installation(installation_id).get(f"/repos/{full_name}", again=False)
    except NotFound:
        return None
    return RepositoryNow(int(found["id"]), str(found["full_name"]), bool(found.get("archived")))


def _installation(found: Mapping[str, Any]) -> InstallationNow:
    by = (found.get("suspended_by") or {}).get("login") or ""
    return InstallationNow(int(found["id"]), bool(found.get("suspended_at")), str(by))
