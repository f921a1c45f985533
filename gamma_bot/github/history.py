"""What Gamma reads of a repository's past: commits up to one, their parents, and whether one leads to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from gamma_bot.github.errors import NotFound, Rejected
from gamma_bot.github.repository import Repository


@dataclass(frozen=True)
class PastCommit:
    """A commit; ``author`` as the commit names them, ``at`` in GitHub's notation."""

    sha: str
    message: str
    author: str
    at: str


async def commits(repository: Repository, sha: str, path: str, limit: int) -> Sequence[PastCommit]:
    """The newest commits up to this one (at most 100), of one path or (empty) of all; none if there is no such commit.

    Raises:
        GitHubError
    """
    of_path = f"&path={quote(path, safe='')}" if path else ""
    route = f"/repos/{repository.full_name}/commits?sha={quote(sha)}&per_page={limit}{of_path}"
    try:
        found = await repository.installation.get(route)
    except (NotFound, Rejected):
        return []
    return [
        PastCommit(
            str(item["sha"]),
            str(item["commit"]["message"]),
            str(item["commit"]["author"]["name"]),
            str(item["commit"]["author"]["date"]),
        )
        for item in found
    ]


async def parent_of(repository: Repository, sha: str) -> str | None:
    """The first parent of a commit; ``None`` for the first commit of all.

    Raises:
        GitHubError
    """
    found = await repository.installation.get(f"/repos/{repository.full_name}/commits/{quote(sha)}?per_page=1")
    parents: list[dict[str, Any]] = found["parents"]
    return str(parents[0]["sha"]) if parents else None


async def ancestor(repository: Repository, sha: str, of: str) -> str | None:
    """The whole SHA of a commit, if what ``of`` names contains it.

    A repository's address answers for commits of every fork, too. What counts is what a branch of its own contains.

    Raises:
        GitHubError
    """
    route = f"/repos/{repository.full_name}/compare/{quote(sha)}...{quote(of)}?per_page=1"
    try:
        found = await repository.installation.get(route, again=False)
    except (NotFound, Rejected):
        return None
    whole = str(found["base_commit"]["sha"])
    return whole if found["behind_by"] == 0 and whole.startswith(sha) else None
