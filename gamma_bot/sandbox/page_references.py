"""What mentions, numbers and SHAs in a repository's texts point at."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model import Repository


class RepositoryReferences:
    """Links only to what exists, as GitHub does: an unknown ``@name`` or ``#99`` stays a word."""

    def __init__(self, forge: Forge, repository: Repository | None, commits: Sequence[str]) -> None:
        """``commits`` are the full SHAs of the repository."""
        self._forge = forge
        self._repository = repository
        self._commits = sorted(commits)

    def user(self, login: str) -> str | None:
        account = self._forge.state.account(login)
        return self._forge.urls.user_page(account).removeprefix(self._forge.urls.web) if account else None

    def issue(self, repository: str | None, number: int) -> str | None:
        home = self._forge.state.repository(repository) if repository else self._repository
        issue = home.issues.get(number) if home else None
        return self._forge.urls.issue_page(issue).removeprefix(self._forge.urls.web) if issue else None

    def commit(self, repository: str | None, prefix: str) -> str | None:
        # Another repository's commits are not at hand; GitHub would link them.
        if self._repository is None or (repository and repository.lower() != self._repository.full_name.lower()):
            return None
        place = bisect.bisect_left(self._commits, prefix)
        if place < len(self._commits) and self._commits[place].startswith(prefix):
            return f"/{self._repository.full_name}/commit/{self._commits[place]}"
        return None
