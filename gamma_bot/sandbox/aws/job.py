"""A training job as SageMaker tells of it: what was asked for, its states with their times, its description."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import Any

from gamma_bot.sandbox.aws.calls import ACCOUNT

# Which status a secondary status belongs to.
STATUS_OF = {
    "Starting": "InProgress",
    "Pending": "InProgress",
    "Downloading": "InProgress",
    "Training": "InProgress",
    "Interrupted": "InProgress",
    "Restarting": "InProgress",
    "Uploading": "InProgress",
    "Stopping": "Stopping",
    "Completed": "Completed",
    "Failed": "Failed",
    "Stopped": "Stopped",
    "MaxRuntimeExceeded": "Stopped",
    "MaxWaitTimeExceeded": "Stopped",
}
FINAL = frozenset({"Completed", "Failed", "Stopped"})
_MESSAGES = {
    "Starting": "Starting the training job",
    "Pending": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Interrupted": "Managed spot instances were interrupted. Waiting for capacity.",
    "Restarting": "Restarting the training job",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job waiting time exceeded MaxWaitTimeInSeconds provided",
}
# What CreateTrainingJob takes and DescribeTrainingJob gives back as it was. Tags are not among it, as on AWS.
_ECHOED = (
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "VpcConfig",
    "StoppingCondition",
    "CheckpointConfig",
    "ExperimentConfig",
    "ProfilerConfig",
    "DebugHookConfig",
    "TensorBoardOutputConfig",
    "Environment",
    "RetryStrategy",
    "RemoteDebugConfig",
    "InfraCheckConfig",
    "MlflowConfig",
)
_WITH_MACHINES = frozenset({"Downloading", "Training", "Interrupted", "Uploading", "Completed", "MaxRuntimeExceeded"})
_ONE_DAY_SECONDS = 86_400
_LONGEST_REASON = 1024
# Spot capacity costs about a third; SageMaker shows that as fewer billable seconds at the full price.
SPOT_BILLED_SHARE = 0.3


@dataclass
class Transition:
    status: str
    message: str
    start: float
    end: float | None = None


class TrainingJob:
    """One training job of the stand-in.

    Attributes:
        stopping: somebody asked for its end; it is set once.
        wake: set whenever the thread that lives the job's life has something to look at.
        folders: the ``/opt/ml`` of each host, while it runs.
        frozen: no process runs; only the control API moves it.
        number: its place in the order of creation.
    """

    def __init__(self, request: dict[str, Any], region: str) -> None:
        now = _now()
        self.request, self.region = request, region
        self.name: str = request["TrainingJobName"]
        self.arn = f"arn:aws:sagemaker:{region}:{ACCOUNT}:training-job/{self.name}"
        self.tags: dict[str, str] = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
        self.created = self.modified = now
        self.keep_alive_seconds = int(request["ResourceConfig"].get("KeepAlivePeriodInSeconds") or 0)
        self.number = 0
        self.transitions = [Transition("Starting", _MESSAGES["Starting"], now)]
        self.training_started: float | None = None
        self.ended: float | None = None
        self.training_seconds: int | None = None
        self.billable_seconds: int | None = None
        self.failure_reason: str | None = None
        self.selected: tuple[str, int] | None = None
        self.warm_pool: dict[str, Any] | None = None
        self.stopping = threading.Event()
        self.wake = threading.Event()
        self.interruption = False
        self.frozen = False
        self.folders: list[str] = []
        self.process_ids: list[int] = []

    @property
    def secondary(self) -> str:
        return self.transitions[-1].status

    @property
    def status(self) -> str:
        if self.secondary == "Uploading" and self.stopping.is_set():
            return "Stopping"
        return STATUS_OF[self.secondary]

    @property
    def over(self) -> bool:
        return self.ended is not None

    @property
    def spot(self) -> bool:
        return bool(self.request.get("EnableManagedSpotTraining"))

    @property
    def resources(self) -> dict[str, Any]:
        asked: dict[str, Any] = self.request["ResourceConfig"]
        return asked

    @property
    def instances(self) -> tuple[str, int]:
        """Type and number of the machines; the first preference as long as none is selected."""
        if self.selected is not None:
            return self.selected
        return wanted_instances(self.resources)[0]

    @property
    def output_prefix(self) -> str:
        return f"{self.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}/output"

    @property
    def model_artifacts(self) -> str:
        compressed = self.request["OutputDataConfig"].get("CompressionType", "GZIP") == "GZIP"
        return f"{self.output_prefix}/{'model.tar.gz' if compressed else 'model/'}"

    def maximum_runtime_seconds(self) -> int:
        return int(self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _ONE_DAY_SECONDS))

    def maximum_wait_seconds(self) -> float:
        """How long a spot job may take in all, waiting for machines included; others may wait for ever."""
        wait = self.request.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
        return float(wait) if self.spot and wait is not None else math.inf

    def move(self, secondary: str, message: str = "") -> bool:
        """Go to a state; a final one ends the job and settles what is billed. Whether it is another than before."""
        now = _now()
        current, text = self.transitions[-1], message or _MESSAGES[secondary]
        self.modified = now
        if current.status == secondary:
            current.message = text
            return False
        current.end = now
        self.transitions.append(Transition(secondary, text, now))
        if secondary in _WITH_MACHINES and self.training_started is None:
            self.training_started = now
        if STATUS_OF[secondary] in FINAL:
            self.transitions[-1].end = self.ended = now
            self._settle(now)
        return True

    def fail(self, reason: str | None) -> None:
        """Why it is going to end as it will."""
        self.failure_reason = reason[:_LONGEST_REASON] if reason else None

    def bill(self, training_seconds: int | None, billable_seconds: int | None) -> None:
        """Let the job say in the end that it took so long and cost so much."""
        self.training_seconds, self.billable_seconds = training_seconds, billable_seconds
        if training_seconds is not None and self.training_started is None:
            self.training_started = _now() - training_seconds

    def _settle(self, now: float) -> None:
        if self.training_seconds is None and self.training_started is not None:
            # Whole seconds for each time it was started, so that an interruption costs time even in a quick test.
            starts = sum(transition.status == "Training" for transition in self.transitions)
            self.training_seconds = max(math.ceil(now - self.training_started), starts, 1)
        if self.billable_seconds is None:
            share = SPOT_BILLED_SHARE if self.spot else 1
            self.billable_seconds = math.ceil((self.training_seconds or 0) * share)

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeTrainingJob."""
        told = {name: self.request[name] for name in _ECHOED if name in self.request}
        told |= {
            "TrainingJobName": self.name,
            "TrainingJobArn": self.arn,
            "ModelArtifacts": {"S3ModelArtifacts": self.model_artifacts},
            "TrainingJobStatus": self.status,
            "SecondaryStatus": self.secondary,
            "ResourceConfig": self._resource_config(),
            "StoppingCondition": {"MaxRuntimeInSeconds": _ONE_DAY_SECONDS} | self.request.get("StoppingCondition", {}),
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "SecondaryStatusTransitions": [_told(transition) for transition in self.transitions],
        }
        for flag in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"):
            told[flag] = bool(self.request.get(flag))
        optional = {
            "FailureReason": self.failure_reason,
            "TrainingStartTime": self.training_started,
            "TrainingEndTime": self.ended,
            "TrainingTimeInSeconds": self.training_seconds if self.training_started is not None else None,
            # The model knows no 0: of a job that never had machines this is not said.
            "BillableTimeInSeconds": self.billable_seconds or None if self.over else None,
            "WarmPoolStatus": self.warm_pool,
        }
        return told | {name: value for name, value in optional.items() if value is not None}

    def summary(self) -> dict[str, Any]:
        """One entry of ListTrainingJobs."""
        told: dict[str, Any] = {
            "TrainingJobName": self.name,
            "TrainingJobArn": self.arn,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "TrainingJobStatus": self.status,
            "SecondaryStatus": self.secondary,
        }
        if self.ended is not None:
            told["TrainingEndTime"] = self.ended
        if self.warm_pool is not None:
            told["WarmPoolStatus"] = self.warm_pool
        return told

    def _resource_config(self) -> dict[str, Any]:
        told = self.resources
        if "KeepAlivePeriodInSeconds" in told:
            told = told | {"KeepAlivePeriodInSeconds": self.keep_alive_seconds}
        if self.selected is None or "InstancePreferences" not in told:
            return told
        instance, count = self.selected
        return told | {"SelectedInstanceType": instance, "SelectedInstanceCount": count}


def wanted_instances(resources: dict[str, Any]) -> list[tuple[str, int]]:
    """The machines that would do, the preferred ones first."""
    everyone = int(resources.get("InstanceCount") or 0)
    if preferences := resources.get("InstancePreferences"):
        return [(item["InstanceType"], int(item.get("InstanceCount") or everyone)) for item in preferences]
    return [(resources.get("InstanceType", ""), everyone)]


def _told(transition: Transition) -> dict[str, Any]:
    told: dict[str, Any] = {
        "Status": transition.status,
        "StartTime": transition.start,
        "StatusMessage": transition.message,
    }
    if transition.end is not None:
        told["EndTime"] = transition.end
    return told


def _now() -> float:
    # SageMaker keeps milliseconds; who asks for what changed after a time it was told must not meet the same job again.
    return round(time.time(), 3)
