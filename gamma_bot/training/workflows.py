"""What the Actions executor asks of GitHub, as a protocol: training knows neither GitHub's API nor its client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol


class Refused(Exception):
    """GitHub understood what was asked and did not do it. The words are fit for a person.

    Attributes:
        hint: what to do about it.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class NoAnswer(Exception):
    """Nobody knows whether GitHub did what was asked: the answer never came, or it was a fault of GitHub's own."""


@dataclass(frozen=True)
class WorkflowPlace:
    """A workflow of a repository. It is run as it stands on ``ref``."""

    repository_id: int
    file: str
    ref: str


@dataclass(frozen=True)
class WorkflowRun:
    """A run as GitHub shows it.

    Attributes:
        name: what the workflow's ``run-name`` came to.
        status: ``queued``, ``in_progress``, ``completed`` … in GitHub's words.
        conclusion: ``success``, ``failure``, ``cancelled`` …; empty until it is completed.
        again: somebody ran it again at GitHub, and all of this is of that time.
    """

    id: int
    name: str
    status: str
    conclusion: str
    url: str
    again: bool = False

    @property
    def is_over(self) -> bool:
        return self.status == "completed"


@dataclass(frozen=True)
class WorkflowStep:
    """A step of a job. Times are Unix seconds; ``None`` for what did not begin or end."""

    name: str
    conclusion: str
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class WorkflowJob:
    """A job of a run."""

    id: int
    conclusion: str
    started_at: float | None
    ended_at: float | None
    steps: Sequence[WorkflowStep] = ()


@dataclass(frozen=True)
class KeptFile:
    """An artifact of a run: a zip."""

    id: int
    name: str
    size: int


class Workflows(Protocol):
    """GitHub Actions. Everything may raise an error of the client's own where GitHub can't be asked now."""

    async def dispatch(self, place: WorkflowPlace, inputs: Mapping[str, str]) -> WorkflowRun | None:
        """Start a run; ``None`` where this GitHub does not say which one it is.

        Raises:
            Refused, NoAnswer
        """

    async def runs(self, place: WorkflowPlace, *, since: float, until: float | None = None) -> Sequence[WorkflowRun]:
        """The dispatched runs of a workflow of a time; without its end only the newest hundred."""

    async def run(self, repository_id: int, run_id: int) -> WorkflowRun | None:
        """One run as it was the first time; ``None`` if it is gone."""

    async def jobs(self, repository_id: int, run_id: int) -> Sequence[WorkflowJob]:
        """The jobs of a run, of its first time."""

    async def cancel(self, repository_id: int, run_id: int, *, force: bool) -> None:
        """Ask a run to end; one that is over stays as it is."""

    async def log(self, repository_id: int, job_id: int, *, just_ended: bool) -> bytes:
        """The log of a job that is over, as GitHub keeps it; only the end of a very long one.

        Args:
            just_ended: GitHub may need some seconds more until it has the log.
        """

    async def kept_files(self, repository_id: int, run_id: int) -> Sequence[KeptFile]:
        """The artifacts of a run."""

    async def open_kept_file(self, repository_id: int, file_id: int) -> BinaryIO:
        """Download an artifact.

        Raises:
            OSError: it is gone, or too large.
        """
