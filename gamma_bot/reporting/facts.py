"""The facts of a job that a report is made from, and what a report is.

These values are built by ``jobs`` and only read here: a report never fetches anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from pydantic import PlainSerializer


def _as_json(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


# JSON has no NaN, and pydantic's null for it is no number when stored facts are read again; the word "nan" is one.
Number = Annotated[float, PlainSerializer(_as_json, when_used="json")]


class State(StrEnum):
    """What a reader sees of a job."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    HELD = "held"  # it costs more than a budget allows, and trains only if somebody approves

    @property
    def final(self) -> bool:
        """Nothing more will happen to the job."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.SKIPPED, State.HELD)


class Judgement(StrEnum):
    """How a metric compares with the baseline."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"
    CHANGED = "changed"  # it moved, and gamma.yml does not say which way is good
    NO_BASELINE = "no_baseline"
    NOT_FINITE = "not_finite"  # NaN or infinite


@dataclass(frozen=True)
class MetricLine:
    """One metric of the job beside the baseline's.

    Attributes:
        goal: ``maximize``, ``minimize`` or ``None`` (not said in gamma.yml).
        last: the newest finite-or-not value; ``best`` the best finite one by the goal (``None`` without a goal).
        change: ``last - baseline``; ``None`` without a baseline or when one of them is not finite.
        relative: ``change / |baseline|`` (0.1 = 10 %); ``None`` where the baseline is 0.
        history: (step, value) in order, thinned to at most 200 points, finite values only.
        tolerance: a change of at most this much, in the metric's own unit, counts as the same.
    """

    name: str
    last: Number
    step: int
    judgement: Judgement
    goal: str | None = None
    primary: bool = False
    best: float | None = None
    best_step: int | None = None
    baseline: Number | None = None
    change: float | None = None
    relative: float | None = None
    history: tuple[tuple[int, float], ...] = ()  # (tuples are read and written ten times as fast as sequences)
    baseline_history: tuple[tuple[int, float], ...] = ()
    tolerance: float = 0.0


@dataclass(frozen=True)
class BaselineFacts:
    """The run that the metrics are compared with, and where it comes from.

    Attributes:
        champion: somebody promoted it; otherwise it is the newest one of its branch.
        promoted_by: their login; empty if that is not known.
    """

    branch: str
    sha: str
    job: str
    run_id: str | None = None
    url: str | None = None
    champion: bool = False
    promoted_by: str = ""


@dataclass(frozen=True)
class ChampionFacts:
    """That later jobs are compared with this one: who decided it, and since when (Unix seconds)."""

    by: str
    since: float


@dataclass(frozen=True)
class ReusedFacts:
    """That nothing was trained, since an earlier job had the same result to give: which one, of which commit."""

    job: str
    sha: str
    url: str


@dataclass(frozen=True)
class BrokenLine:
    """A place in the repository where the user's own code broke. ``line`` counts from 1."""

    path: str
    line: int
    title: str
    message: str


@dataclass(frozen=True)
class ChangedFile:
    """A file of the diff; ``status`` in GitHub's words (added, modified, removed, renamed)."""

    path: str
    status: str
    additions: int
    deletions: int
    patch: str | None = None


@dataclass(frozen=True)
class CostFacts:
    """What a job costs, in US dollars. All of it is estimated, by one table of prices.

    Attributes:
        instance_types: what it may train on; once it has a machine, only that one's type.
        as_of: the date of the table (``2026-09-24``); empty if no price is known.
        usd_per_hour: the prices that go for this job, by instance type; ``unknown`` are the types without one.
        most: what it costs at most; ``None`` if a price is unknown.
        likely: what jobs like it on its branch have cost; ``None`` before there is one.
        so_far: what it costs by now; on ``spot`` machines it can turn out to be less.
        final: what it has cost; ``None`` before its end, and if nobody can say.
        bound: after an end of which nobody can say what it has cost, the most that it can have been: it counts.
        spot_saved: the share that spot machines saved (0.61 = 61 %).
        interruptions: how often its spot machines were taken away.
        approved_by: who let it train although that is more than a budget allows.
    """

    instance_types: Sequence[str]
    count: int
    spot: bool
    as_of: str
    usd_per_hour: Mapping[str, float]
    unknown: Sequence[str] = ()
    most: float | None = None
    likely: float | None = None
    so_far: float | None = None
    final: float | None = None
    bound: float | None = None
    spot_saved: float | None = None
    interruptions: int = 0
    approved_by: str = ""


@dataclass(frozen=True)
class JobFacts:
    """Everything a report of a job may say.

    Attributes:
        why: for a final state, one plain sentence: what happened (never empty when failed, cancelled, skipped).
        hint: what the reader can do next, if there is something (a file to add, a command to type).
        waits: it may not start yet; ``detail`` says what it waits for.
        gate_failed: the metric whose gate in gamma.yml failed, if one did.
        wall_seconds: how long the command ran; ``None`` if it never did.
        printed_tracebacks: the places that tracebacks in the log of a run that went on to its end point to.
        log_tail: the newest lines of the log (at most 100), untrusted text.
        artifacts_left_out: files that are not among ``artifacts`` because their names can't be printed.
        compared_with: the SHA that ``changed_files`` is the diff from.
        champion: it was promoted, and no other one since.
        reused: its result is that of an earlier job.
        notice: why a button that somebody pressed did nothing; whole sentences, code between backticks.
        cost: what its machines cost; ``None`` where nothing is paid, and where nobody could know.
        details_url: the job's page at Gamma; ``run_url`` its MLflow run; ``check_url`` its check run.
    """

    job: str
    attempt: int
    state: State
    repo: str
    branch: str
    sha: str
    pusher: str
    executor: str
    command: str
    details_url: str
    commit_url: str
    message: str = ""
    why: str = ""
    hint: str = ""
    detail: str = ""
    waits: bool = False
    exit_code: int | None = None
    queued_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    wall_seconds: float | None = None
    metrics: Sequence[MetricLine] = ()
    baseline: BaselineFacts | None = None
    baseline_branch: str = ""
    gate_failed: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    broken_lines: Sequence[BrokenLine] = ()
    printed_tracebacks: Sequence[BrokenLine] = ()
    log_tail: Sequence[str] = ()
    log_dropped_bytes: int = 0
    artifacts: Sequence[tuple[str, int]] = ()
    artifacts_left_out: int = 0
    changed_files: Sequence[ChangedFile] = ()
    compared_with: str | None = None
    run_id: str | None = None
    run_url: str | None = None
    check_url: str | None = None
    champion: ChampionFacts | None = None
    notice: str = ""
    reused: ReusedFacts | None = None
    cost: CostFacts | None = None


@dataclass(frozen=True)
class Annotation:
    """A check-run annotation in GitHub's shape: level is ``notice``, ``warning`` or ``failure``."""

    path: str
    start_line: int
    end_line: int
    level: str
    title: str
    message: str
    start_column: int | None = None
    end_column: int | None = None


@dataclass(frozen=True)
class CheckReport:
    """What a check run shall show. ``conclusion`` is ``None`` while it is not completed.

    Status and conclusion are GitHub's words; summary and text hold at most 65,535 characters each.
    """

    status: str
    title: str
    summary: str
    text: str = ""
    conclusion: str | None = None
    annotations: Sequence[Annotation] = ()
