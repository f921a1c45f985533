"""What the sandbox remembers of check suites and check runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gamma_bot.sandbox.ids import node_id

if TYPE_CHECKING:
    from gamma_bot.sandbox.model import App, Repository

CheckStatus = Literal["queued", "in_progress", "completed"]


@dataclass(frozen=True)
class Annotation:
    path: str
    start_line: int
    end_line: int
    annotation_level: Literal["notice", "warning", "failure"]
    message: str
    start_column: int | None = None
    end_column: int | None = None
    title: str | None = None
    raw_details: str | None = None


@dataclass(frozen=True)
class CheckAction:
    """A button on a check run."""

    label: str
    description: str
    identifier: str


@dataclass(frozen=True)
class CheckOutput:
    title: str | None = None
    summary: str | None = None
    text: str | None = None


@dataclass(eq=False)
class CheckRun:
    id: int
    suite: CheckSuite
    name: str
    status: CheckStatus
    created_at: str
    conclusion: str | None = None
    external_id: str = ""
    details_url: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    output: CheckOutput = field(default_factory=CheckOutput)
    annotations: list[Annotation] = field(default_factory=list)
    actions: list[CheckAction] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    """One line per create and update, such as ``in_progress: Step 20 of 100``, for tests that tell what went on."""

    @property
    def node_id(self) -> str:
        return node_id("CR", self.id)

    @property
    def head_sha(self) -> str:
        return self.suite.head_sha

    @property
    def app(self) -> App:
        return self.suite.app


@dataclass(eq=False)
class CheckSuite:
    """All runs of one App for one commit."""

    id: int
    repository: Repository
    app: App
    head_sha: str
    head_branch: str | None
    before: str | None
    created_at: str
    updated_at: str
    runs: list[CheckRun] = field(default_factory=list)
    rerequested_after: int = 0
    """Id of the newest run when the suite was last asked for again: until a newer one exists it is queued again."""

    @property
    def node_id(self) -> str:
        return node_id("CS", self.id)

    @property
    def latest_runs(self) -> list[CheckRun]:
        """The newest run of each name."""
        return list({run.name: run for run in self.runs}.values())

    @property
    def status(self) -> CheckStatus:
        latest = [run for run in self.latest_runs if run.id > self.rerequested_after]
        if latest and all(run.status == "completed" for run in latest):
            return "completed"
        if any(run.status == "in_progress" for run in latest) or any(run.status == "completed" for run in latest):
            return "in_progress"
        return "queued"

    @property
    def conclusion(self) -> str | None:
        """The worst conclusion of the newest runs, once all of them are completed."""
        if self.status != "completed":
            return None
        order = ("failure", "timed_out", "cancelled", "action_required", "stale", "success", "neutral", "skipped")
        conclusions = {run.conclusion for run in self.latest_runs}
        return next((conclusion for conclusion in order if conclusion in conclusions), "neutral")
