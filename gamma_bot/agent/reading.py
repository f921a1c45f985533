"""What the agent may read of a project, in values of its own; ``jobs`` implements it, bound to one project.

A reader answers only for its project: what belongs to another one is to it as if it did not exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gamma_bot.agent.facts import FileChange, Metric


class CannotRead(Exception):
    """What holds it is out of reach now. The text is for the log; the model is told a fixed sentence."""


@dataclass(frozen=True)
class RunView:
    """A job and its MLflow run.

    Attributes:
        id: the job's name, as people see it.
        mlflow_id: the run's id at MLflow; empty before there is one.
        state: ``queued``, ``running``, ``succeeded``, ``failed`` …
        why: for an end that is no success, what happened.
        compared_with: the job that its metrics are compared with; empty without one.
        url: the job's page.
    """

    id: str
    mlflow_id: str
    state: str
    branch: str
    sha: str
    attempt: int = 1
    executor: str = ""
    message: str = ""
    why: str = ""
    queued_at: float = 0.0
    seconds: float | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()
    artifacts: Sequence[tuple[str, int]] = ()
    compared_with: str = ""
    url: str = ""


@dataclass(frozen=True)
class CommitView:
    """A commit; ``at`` in GitHub's notation."""

    sha: str
    message: str
    author: str
    at: str


@dataclass(frozen=True)
class Diff:
    """What changed between two commits, by their whole SHAs."""

    from_sha: str
    to_sha: str
    files: Sequence[FileChange]


@dataclass(frozen=True)
class FileView:
    """A file at a commit, by its whole SHA."""

    sha: str
    content: bytes


class ProjectReader(Protocol):
    """Reads one project. ``None`` stands for what the project does not have, or what is another one's.

    Every call can raise ``CannotRead``.

    Attributes:
        repository: the project's address for people, without a slash at its end.
        head: the SHA that is meant where none is named.
    """

    repository: str
    head: str

    async def runs(self, limit: int, state: str) -> Sequence[RunView]:
        """The newest runs, of one state or (empty) of any."""

    async def run(self, run_id: str) -> RunView | None:
        """One run, by the job's name or by MLflow's id."""

    async def history(self, run: RunView, metric: str) -> Sequence[tuple[int, float]] | None:
        """All (step, value) of a metric in their order; values may be NaN or infinite."""

    async def log(self, run: RunView) -> Sequence[str]:
        """The log's newest lines, oldest first."""

    async def artifact(self, run: RunView, path: str, most_bytes: int) -> bytes | None:
        """The beginning of a file that the run left: one byte more than ``most_bytes`` tells that there is more."""

    async def commits(self, path: str, limit: int) -> Sequence[CommitView]:
        """The newest commits up to ``head``, of one path or (empty) of all."""

    async def diff(self, from_sha: str, to_sha: str) -> Diff | None:
        """The changes between two commits; with an empty ``from_sha``, what the push of ``to_sha`` changed."""

    async def file(self, sha: str, path: str) -> FileView | None:
        """A file at a commit."""
