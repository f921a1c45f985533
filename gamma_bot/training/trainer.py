"""What every executor can do, and the values it speaks in.

A trainer is told to run a job and is asked, in one batch, how its jobs are. It is never awaited: a job may
take days, and the bot may die and come back in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

if TYPE_CHECKING:  # a local job's supervisor speaks these values too, and shall not load pydantic for them
    from gamma_bot.config.errors import Problem
    from gamma_bot.config.executors import Actions, SageMaker

# Where below the artifact root a job leaves what is no model.
OUTPUT_DATA = "output/data/"

Hyperparameter = str | int | float | bool | None


class TrainerUnavailable(Exception):
    """What the trainer works with is out of reach; the same call can work later."""


@dataclass(frozen=True)
class Attempt:
    """One try at one job: the unit that exists at most once in the outside world (I3)."""

    job: str
    number: int = 1

    @property
    def key(self) -> str:
        """A name for the outside world: letters, digits and hyphens (``job-1``)."""
        return f"{self.job}-{self.number}"


@dataclass(frozen=True)
class Origin:
    """Where an attempt comes from. The repository's id stays when its name changes."""

    repository_id: int
    repository: str
    branch: str
    sha: str
    default_branch: str = ""


@dataclass(frozen=True)
class TrainingSpec:
    """All a trainer needs to run an attempt; it can be written down and read again.

    Attributes:
        origin: the commit that is trained; ``None`` only where a trainer has no use for it.
        sagemaker, actions: the sections of ``gamma.yml`` that count for this job.
        source: gzipped tarball of the tree at the head SHA, with GitHub's one top-level folder.
        command: what to run, split as a shell would, without a shell (``["python", "train.py"]``).
        hyperparameters: what the job finds in ``hyperparameters.json``.
        environment: extra variables (``MLFLOW_TRACKING_URI``, ``MLFLOW_RUN_ID``, ``GAMMA_SHA`` …). No secret.
        timeout_seconds: how long the command may run, preparation not counted.
        memory_bytes: resident memory of the job's processes together; ``None`` for no limit.
    """

    attempt: Attempt
    source: Path
    command: Sequence[str]
    hyperparameters: Mapping[str, Hyperparameter] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 7200.0
    memory_bytes: int | None = None
    origin: Origin | None = None
    sagemaker: SageMaker | None = None
    actions: Actions | None = None


class Phase(StrEnum):
    """Where an attempt is."""

    QUEUED = "queued"  # accepted, waits for a free slot
    PREPARING = "preparing"  # unpacking, installing requirements
    RUNNING = "running"
    ENDED = "ended"


class Ending(StrEnum):
    """Why an attempt is over."""

    COMPLETED = "completed"
    USER_CODE = "user_code"  # the command exited with another status than 0, or died of a signal of its own
    COMMAND = "command"  # the command could not be started (not found, not executable)
    SOURCE = "source"  # the tree could not be unpacked (escape, bomb, damaged)
    REQUIREMENTS = "requirements"  # requirements.txt could not be installed
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    STOPPED = "stopped"  # somebody asked for it
    LOST = "lost"  # the machine went down under it; it is known not to run any more
    CONFIG = "config"  # what gamma.yml or the operator set can't work: an image, a bucket, a role, a permission
    QUOTA = "quota"  # the account may not use such a machine at all
    CAPACITY = "capacity"  # no machine was free, each time that it was tried
    PLATFORM = "platform"  # the executor's own fault, each time that it was tried
    NEVER_STARTED = "never_started"  # it waited for a machine as long as it may


@dataclass(frozen=True)
class Usage:
    """What an attempt takes of machines that cost money; all its tries together.

    Attributes:
        billable_seconds: per instance, as the executor bills them; ``None`` while it has not said.
        training_seconds: per instance, from the begin of the download to the end of the upload.
        retained_seconds: billed for keeping the machine warm afterwards.
        interruptions: how often spot capacity was taken away.
        tries: how often it was launched: further ones after a lack of capacity or a fault of the executor.
    """

    instance_type: str
    instance_count: int = 1
    spot: bool = False
    billable_seconds: float | None = None
    training_seconds: float | None = None
    retained_seconds: float = 0.0
    interruptions: int = 0
    tries: int = 1


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        message: one plain sentence for a person: what happened, with the figure that matters.
        hint: what to do next, where the trainer knows better than its ending alone tells.
        exit_code: the command's exit status; ``None`` if it never ran or died of a signal.
        signal: the signal's name (``SIGKILL``) if it died of one.
        started_at: Unix time at which the command began; ``None`` if it never did.
        ended_at: Unix time of the end.
    """

    ending: Ending
    message: str
    exit_code: int | None = None
    signal: str | None = None
    started_at: float | None = None
    ended_at: float = 0.0
    hint: str = ""
    usage: Usage | None = None


@dataclass(frozen=True)
class Observation:
    """What a trainer sees of an attempt now.

    Attributes:
        detail: what it is doing, for a person.
        usage: what it takes of paid machines so far, where it does.
        url: the executor's own page of it, for those who have access there.
    """

    attempt: Attempt
    phase: Phase
    detail: str = ""
    outcome: Outcome | None = None
    usage: Usage | None = None
    url: str = ""


@dataclass(frozen=True)
class Artifact:
    """A file that a job left: its path below the artifact root, and its size in bytes."""

    path: str
    size: int


class Trainer(Protocol):
    """Runs attempts somewhere. Every call may be repeated without doing anything twice.

    Attributes:
        look_seconds: how often it is worth asking how attempts are.
        tells_cheaply: reading a log's newest lines costs nothing, so that they are shown while a job runs.
    """

    name: str
    look_seconds: float
    tells_cheaply: bool

    async def preflight(self, spec: TrainingSpec) -> Sequence[Problem]:
        """What stands against an attempt, known before anything is launched; the source is not there yet.

        Each problem names its key in ``gamma.yml`` (``key_path``), if it has one.
        """

    async def conditions(self, spec: TrainingSpec) -> Mapping[str, str] | None:
        """What a result depends on here beside code and configuration: the image's digest, the inputs' versions …

        With equal code, configuration and conditions a job would come to the same result. ``None`` if they can't be
        known now: then nothing is taken for a repetition.
        """

    async def submit(self, spec: TrainingSpec) -> None:
        """Accept an attempt. A second call for the same attempt changes nothing (I3)."""

    async def observe(self, attempts: Sequence[Attempt]) -> Sequence[Observation]:
        """How these attempts are now. An attempt never submitted here is absent from the answer."""

    async def stop(self, attempt: Attempt) -> None:
        """Ask an attempt to end: recorded first, then SIGTERM, a grace time, SIGKILL (I7)."""

    async def log_tail(self, attempt: Attempt, lines: int) -> Sequence[str]:
        """The newest lines of the log, oldest first, without line ends."""

    async def log_dropped(self, attempt: Attempt) -> int:
        """Bytes that the job printed and the bounded log no longer holds."""

    async def source_roots(self, attempt: Attempt) -> Sequence[str]:
        """The folders that the repository's tree was in where the job ran, as a traceback would name them."""

    async def artifacts(self, attempt: Attempt) -> Sequence[Artifact]:
        """The files in the attempt's model and output folders."""

    async def open_artifact(self, attempt: Attempt, path: str) -> BinaryIO:
        """Open one of them for reading.

        Raises:
            OSError: there is no such artifact any more, or it can't be read.
        """

    async def forget(self, attempt: Attempt) -> None:
        """Free the disk that an ended attempt takes, but for its log and its artifacts."""


@runtime_checkable
class HoldsConnections(Protocol):
    """A trainer with something to let go of when Gamma stops; what trains goes on."""

    async def close(self) -> None:
        """End what works in the background."""


@runtime_checkable
class LinksArtifacts(Protocol):
    """A trainer whose artifacts are fetched from where they are, and not through Gamma."""

    async def artifact_link(self, attempt: Attempt, path: str) -> str:
        """An address that gives an artifact to anybody for a few minutes: not to be shown where many read.

        Raises:
            OSError: there is no such artifact, or it can't be given.
        """
