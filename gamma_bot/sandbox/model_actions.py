"""What the sandbox remembers of GitHub Actions: workflows, their runs with jobs and steps, and what runs left."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gamma_bot.sandbox.ids import node_id

if TYPE_CHECKING:
    from gamma_bot.sandbox.model import Account, Repository

RunStatus = Literal["queued", "pending", "in_progress", "completed"]
StepStatus = Literal["queued", "in_progress", "completed"]


@dataclass(eq=False)
class Workflow:
    """A file in ``.github/workflows``; it gets its id when it is first seen on the default branch."""

    id: int
    repository: Repository
    path: str
    name: str
    created_at: str
    state: Literal["active", "disabled_manually", "disabled_inactivity"] = "active"

    @property
    def node_id(self) -> str:
        return node_id("W", self.id)

    @property
    def file_name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(eq=False)
class Step:
    name: str
    number: int
    status: StepStatus = "queued"
    conclusion: str | None = None
    started_at: str | None = None
    completed_at: str | None = None


@dataclass(eq=False)
class WorkflowJob:
    """A job of a run. Its id is that of its check run, too."""

    id: int
    run: WorkflowRun
    name: str
    created_at: str
    started_at: str
    labels: list[str]
    status: StepStatus = "queued"
    conclusion: str | None = None
    completed_at: str | None = None
    steps: list[Step] = field(default_factory=list)
    attempt: int = 1
    log: list[str] = field(default_factory=list)
    """Lines as GitHub keeps them, each with its time in front."""

    @property
    def node_id(self) -> str:
        return node_id("CR", self.id)


@dataclass(eq=False)
class WorkflowArtifact:
    """What ``actions/upload-artifact`` keeps: one zip."""

    id: int
    run: WorkflowRun
    name: str
    content: bytes
    created_at: str

    @property
    def node_id(self) -> str:
        return node_id("MDg6QXJ0aWZhY3Q", self.id)


@dataclass(eq=False)
class WorkflowRun:
    """One run of a workflow, as the file was at ``head_sha``."""

    id: int
    workflow: Workflow
    number: int
    name: str
    """What ``run-name`` came to: GitHub's ``display_title``."""
    actor: Account
    head_branch: str
    head_sha: str
    inputs: dict[str, object]
    created_at: str
    updated_at: str
    event: str = "workflow_dispatch"
    status: RunStatus = "queued"
    conclusion: str | None = None
    started_at: str | None = None
    group: str = ""
    """Its concurrency group: of each, one run goes on at a time."""
    cancel: Literal["", "asked", "forced"] = ""
    attempt: int = 1
    earlier: list[WorkflowRun] = field(default_factory=list)
    """What it was at the end of each attempt before this one."""
    jobs: list[WorkflowJob] = field(default_factory=list)
    artifacts: list[WorkflowArtifact] = field(default_factory=list)

    @property
    def repository(self) -> Repository:
        return self.workflow.repository

    @property
    def node_id(self) -> str:
        return node_id("WFR", self.id)


@dataclass
class Machines:
    """The machines that run workflows, and what every repository here gives its runs.

    Attributes:
        secrets, variables: what ``secrets.NAME`` and ``vars.NAME`` are.
        held: nothing leaves the queue while it is set.
        interrupt_seconds: what a step has between SIGINT and SIGTERM when its run is cancelled.
        terminate_seconds: what it has then until it is killed.
    """

    secrets: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    held: bool = False
    interrupt_seconds: float = 7.5
    terminate_seconds: float = 2.5
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
