"""What both stores do to runs in the same way: metric histories, artifact walks, the words of a search."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from gamma_bot.tracking.runs import Point, RunStatus

MAX_METRICS = 500
MAX_POINTS_PER_RUN = 200_000
MAX_FILES = 200
MAX_DEPTH = 6

_MAX_FOLDERS = 200
_LARGEST = 1.7976931348623157e308


def point(step: object, value: object, timestamp_ms: object) -> Point:
    """A point as MLflow stores it. JSON brings NaN as a string, and whole numbers sometimes as strings."""
    number = float(value)  # type: ignore[arg-type]
    if abs(number) >= _LARGEST:
        number = math.copysign(math.inf, number)  # MLflow writes the largest number where infinity was logged
    return Point(int(step or 0), number, int(timestamp_ms or 0) / 1000)  # type: ignore[call-overload]


def points_each(max_points: int, metrics: int) -> int:
    """How many points of each metric are read: a job that logs hundreds of metrics must not fill the memory."""
    return max(2, min(max_points, MAX_POINTS_PER_RUN // max(1, metrics)))


def in_order(points: Iterable[Point], limit: int) -> Sequence[Point]:
    """Sorted by step, then time, and thinned evenly to ``limit`` points; the first and the last are kept."""
    ordered = sorted(points, key=lambda one: (one.step, one.timestamp))
    if len(ordered) <= limit:
        return ordered
    last = len(ordered) - 1
    return [ordered[round(index * last / (limit - 1))] for index in range(limit)]


def same_attempt(tags: Mapping[str, str]) -> str:
    """The search for the run of an attempt, in MLflow's filter language.

    Raises:
        ValueError: the tags don't name the job and the attempt, or hold a quote.
    """
    wanted = {name: tags.get(name, "") for name in ("gamma.job", "gamma.attempt")}
    for name, value in wanted.items():
        if not value or set(value) & set("'\"`\\"):
            raise ValueError(f"the tag {name} must be given, without quotes and backslashes: {value!r}")
    return " AND ".join(f"tags.`{name}` = '{value}'" for name, value in wanted.items())


def running_jobs() -> str:
    """The search for Gamma's runs that nobody has closed."""
    return "attributes.status = 'RUNNING' AND tags.`gamma.job` LIKE '%'"


def must_be_an_end(status: RunStatus) -> None:
    """Raises ValueError for the one state that is not an end."""
    if status is RunStatus.RUNNING:
        raise ValueError("a run can't be closed as RUNNING")


def may_close(now: str, wanted: RunStatus) -> bool:
    """Whether ``wanted`` replaces the state a run has now.

    FAILED and KILLED came from the job and stay. FINISHED may be wrong: MLflow's exit hook says it for a script
    that ends with ``sys.exit(1)``, so the trainer, which saw the exit status, may say otherwise.
    """
    return now not in (RunStatus.FAILED, RunStatus.KILLED, wanted)


class Walk:
    """A bounded walk through a run's artifacts, folder by folder, whoever lists them."""

    def __init__(self) -> None:
        self.files: list[tuple[str, int]] = []
        self._folders = deque([""])
        self._seen = 0

    def next_folder(self) -> str | None:
        """The folder to list next; ``None`` when the walk is over."""
        if not self._folders or len(self.files) >= MAX_FILES or self._seen >= _MAX_FOLDERS:
            return None
        self._seen += 1
        return self._folders.popleft()

    def add(self, folder: str, entries: Iterable[tuple[str, bool, int]]) -> None:
        """Take in what a folder holds: (path, is a folder, bytes)."""
        for path, is_folder, size in sorted(entries):
            if folder and not path.startswith(folder + "/"):
                continue  # a store that answers with the folder itself, or with another one, would never end
            if not is_folder:
                if len(self.files) < MAX_FILES:
                    self.files.append((path, size))
            elif path.count("/") + 1 < MAX_DEPTH and path != folder:
                self._folders.append(path)
