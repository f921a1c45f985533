"""What a write-up is made from. ``jobs`` builds these values; nothing here is fetched.

Whatever a pusher wrote is untrusted: paths, patches, names, values, the log, the commit's message.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Judged(StrEnum):
    """How a metric compares with the baseline; ``changed``: it moved, and nobody said which way is good."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"
    CHANGED = "changed"
    NO_BASELINE = "no_baseline"
    NOT_FINITE = "not_finite"


@dataclass(frozen=True)
class Metric:
    """One metric of the job beside the baseline's.

    Attributes:
        goal: ``maximize``, ``minimize`` or empty.
        relative: ``delta / |baseline|``; ``None`` where the baseline is 0.
        tolerance: a change of at most this much counts as the same.
        printed: the values as the metrics table shows them, by field (``baseline``, ``current``, ``delta``, ``rel``);
            what is not there can't be referred to.
    """

    name: str
    judged: Judged
    current: float
    printed: Mapping[str, str]
    goal: str = ""
    primary: bool = False
    baseline: float | None = None
    delta: float | None = None
    relative: float | None = None
    tolerance: float = 0.0
    best: float | None = None
    best_step: int | None = None
    step: int = 0

    @property
    def direction(self) -> int:
        """1 if it rose, -1 if it fell, 0 if it did neither or there is nothing to compare it with."""
        if self.delta is None or not math.isfinite(self.delta) or self.delta == 0:
            return 0
        return 1 if self.delta > 0 else -1


@dataclass(frozen=True)
class Param:
    """A parameter of the run; ``before`` is the baseline's, ``None`` where it had none or that is not known."""

    name: str
    value: str | None
    before: str | None = None
    changed: bool = False


@dataclass(frozen=True)
class FileChange:
    """A file of the diff. ``patch`` is ``None`` for what can't be shown as text."""

    path: str
    status: str
    additions: int
    deletions: int
    patch: str | None = None


@dataclass(frozen=True)
class BrokenAt:
    """A place in the repository that a traceback points to."""

    path: str
    line: int
    error: str
    message: str


@dataclass(frozen=True)
class PastRun:
    """An earlier job of the branch or its baseline: what became of it, and the headline that was written then."""

    sha: str
    outcome: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    headline: str = ""


@dataclass(frozen=True)
class MetricRule:
    """What gamma.yml says about a metric."""

    name: str
    goal: str
    primary: bool
    tolerance: float
    gate: str


@dataclass(frozen=True)
class Project:
    """What stays the same from push to push: it becomes the part of a prompt that is cached."""

    repository_id: int
    repository: str
    default_branch: str = ""
    baseline: str = ""
    command: str = ""
    rules: Sequence[MetricRule] = ()
    notes: str = ""


@dataclass(frozen=True)
class Commit:
    """One job that is over, and everything that may be said of it.

    Attributes:
        failed: it did not come to a result; ``why`` says what happened, in our words.
        job: its id, for the ledger; no prompt has it.
        compared_with: the SHA that ``files`` is the diff from.
        url: the repository's page, for links to files.
        log: the end of the log, untrusted.
    """

    project: Project
    job: str
    branch: str
    sha: str
    failed: bool
    why: str
    message: str = ""
    executor: str = ""
    exit_code: int | None = None
    gate_failed: str = ""
    compared_with: str = ""
    metrics: Sequence[Metric] = ()
    params: Sequence[Param] = ()
    files: Sequence[FileChange] = ()
    broken: Sequence[BrokenAt] = ()
    log: Sequence[str] = ()
    past: Sequence[PastRun] = ()
    url: str = ""

    @property
    def primary(self) -> Metric | None:
        """The metric that a run is judged by first."""
        return next((metric for metric in self.metrics if metric.primary), None)
