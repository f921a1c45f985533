"""The values that tracking speaks in, and what a tracking store can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from gamma_bot.tracking.registry import Champion


class RunStatus(StrEnum):
    """MLflow's run states that Gamma sets."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(frozen=True)
class Point:
    """One logged value. ``value`` may be NaN or infinite. ``timestamp`` in seconds since 1970."""

    step: int
    value: float
    timestamp: float


@dataclass(frozen=True)
class Run:
    """A run as read: its metrics with their whole history (ordered by step, then time) and its artifacts."""

    run_id: str
    experiment_id: str
    status: str
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    artifacts: Sequence[tuple[str, int]] = ()


class TrackingError(Exception):
    """MLflow could not be reached or refused. The text is fit for a person and holds no SQL and no secret."""


class Tracking(Protocol):
    """A store of runs. No call blocks the event loop."""

    uri: str

    async def open_run(self, experiment: str, run_name: str, tags: Mapping[str, str]) -> str:
        """Create the run of an attempt, or find it again by its ``gamma.job`` and ``gamma.attempt`` tags.

        Returns:
            The run's id.

        Raises:
            TrackingError
        """

    async def find_run(self, tags: Mapping[str, str]) -> str | None:
        """The first run of an attempt, in whatever experiment it was made, by the same tags; ``None`` if there is none.

        Raises:
            TrackingError
        """

    async def read_run(self, run_id: str, *, max_points: int = 5000) -> Run:
        """The run with metric histories and the list of its artifacts (path, bytes).

        Raises:
            TrackingError
        """

    async def last_values(self, run_id: str) -> Mapping[str, Point]:
        """The newest point of every metric: cheap enough for progress.

        Raises:
            TrackingError
        """

    async def close_run(self, run_id: str, status: RunStatus) -> None:
        """Set the end state, but never over one the job itself set to FAILED or KILLED.

        Raises:
            TrackingError
        """

    async def open_runs(self) -> Mapping[str, str]:
        """Gamma's runs that MLflow still calls RUNNING: run id → job id. For closing orphans."""

    async def promote(self, repository: str, run_id: str, tags: Mapping[str, str]) -> Champion:
        """Make a run the champion of its repository; a run that is it already stays as it is.

        Args:
            tags: what to remember of the promotion.

        Returns:
            The champion with the tags of its own promotion.

        Raises:
            TrackingError
        """

    async def champion(self, repository: str) -> Champion | None:
        """The run that later ones are compared with; ``None`` if nobody promoted one.

        Raises:
            TrackingError
        """

    def run_url(self, experiment_id: str, run_id: str) -> str | None:
        """Where a person can look at the run; ``None`` if no MLflow address is configured."""

    async def close(self) -> None:
        """Give back threads and sessions."""
