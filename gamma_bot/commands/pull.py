"""The pull request that a command was written in, as read from GitHub when the command is carried out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PullContext:
    """A pull request.

    Attributes:
        repository: ``owner/name`` of the repository that the pull request is in.
        head_branch: in the fork, for a pull request ``from_fork``.
        private: not everybody can see the repository.
    """

    installation_id: int
    repository_id: int
    repository: str
    number: int
    head_branch: str
    head_sha: str
    base_branch: str
    from_fork: bool
    private: bool
    default_branch: str = "main"
