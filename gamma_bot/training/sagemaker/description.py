"""What DescribeTrainingJob says of a training job, as far as its end and its price depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gamma_bot.training.sagemaker.sightings import interruptions_in, moment


@dataclass(frozen=True)
class Description:
    """A training job as SageMaker describes it. Times are Unix seconds, durations seconds per machine.

    Attributes:
        was_asked_to_stop: SageMaker went through a stop: somebody called StopTrainingJob.
        warm_pool_seconds: how long its machines are kept afterwards; 0 if they are not.
    """

    name: str
    arn: str
    status: str
    secondary: str
    failure_reason: str
    started_at: float | None
    ended_at: float | None
    training_seconds: float | None
    billable_seconds: float | None
    retained_seconds: float
    interruptions: int
    was_asked_to_stop: bool
    instance_type: str
    instance_count: int
    spot: bool
    max_runtime_seconds: int
    max_wait_seconds: int
    warm_pool_seconds: int
    warm_pool_status: str

    @property
    def never_ran(self) -> bool:
        """No machine ever worked for it."""
        return self.started_at is None and not self.billable_seconds

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Description:
        """From boto3's answer."""
        resources = answer.get("ResourceConfig", {})
        preferences = resources.get("InstancePreferences") or [{}]
        kind = resources.get("SelectedInstanceType") or resources.get("InstanceType")
        count = resources.get("SelectedInstanceCount") or resources.get("InstanceCount")
        limits = answer.get("StoppingCondition", {})
        pool = answer.get("WarmPoolStatus", {})
        transitions = answer.get("SecondaryStatusTransitions", ())
        return cls(
            name=answer["TrainingJobName"],
            arn=answer["TrainingJobArn"],
            status=answer["TrainingJobStatus"],
            secondary=answer["SecondaryStatus"],
            failure_reason=answer.get("FailureReason", ""),
            started_at=moment(answer.get("TrainingStartTime")),
            ended_at=moment(answer.get("TrainingEndTime")),
            training_seconds=answer.get("TrainingTimeInSeconds"),
            billable_seconds=answer.get("BillableTimeInSeconds"),
            retained_seconds=float(pool.get("ResourceRetainedBillableTimeInSeconds", 0)),
            interruptions=interruptions_in(transitions),
            was_asked_to_stop=any(each.get("Status") == "Stopping" for each in transitions),
            instance_type=str(kind or preferences[0].get("InstanceType", "")),
            instance_count=int(count or preferences[0].get("InstanceCount") or 1),
            spot=bool(answer.get("EnableManagedSpotTraining")),
            max_runtime_seconds=int(limits.get("MaxRuntimeInSeconds", 0)),
            max_wait_seconds=int(limits.get("MaxWaitTimeInSeconds", 0)),
            warm_pool_seconds=int(resources.get("KeepAlivePeriodInSeconds", 0)),
            warm_pool_status=str(pool.get("Status", "")),
        )
