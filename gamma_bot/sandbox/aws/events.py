"""EventBridge: one event for each change of a job, through moto's rules into moto's queues, in the documented shape."""

from __future__ import annotations

import contextlib
import copy
import heapq
import itertools
import json
import random
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from gamma_bot.sandbox.aws.calls import ACCOUNT
from gamma_bot.sandbox.aws.faults import Faults
from gamma_bot.sandbox.aws.job import TrainingJob

DETAIL_TYPE = "SageMaker Training Job State Change"
_LATEST_SECONDS = 0.3
_COPIED = (
    "TrainingJobName",
    "TrainingJobArn",
    "TrainingJobStatus",
    "SecondaryStatus",
    "FailureReason",
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "Environment",
)
_TIMES = ("CreationTime", "TrainingStartTime", "TrainingEndTime", "LastModifiedTime")


class Events:
    """Sends events in their order from a thread of its own; faults drop, double and shuffle them."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._due: list[tuple[float, int, str, dict[str, Any]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._sending = False
        self._dice = random.Random(7)  # noqa: S311 (the same disorder in every run)
        threading.Thread(target=self._send_when_due, daemon=True, name="EventBridge").start()

    def changed(self, job: TrainingJob) -> None:
        """Tell of the job's state as it is now."""
        setting = self._faults.setting("events")
        mode = str(setting.get("mode", "in order"))
        if mode == "off":
            return
        event = _event(job, as_text=setting.get("times", "string") == "string")
        latest = float(setting.get("seconds", _LATEST_SECONDS))
        with self._changed:
            for _ in range(2 if mode in ("doubled", "both") else 1):
                late = self._dice.uniform(0, latest) if mode in ("shuffled", "both") else 0.0
                heapq.heappush(self._due, (time.monotonic() + late, next(self._numbers), job.region, event))
            self._changed.notify_all()

    def forget(self) -> None:
        with self._changed:
            self._due.clear()

    def settled(self, seconds: float) -> bool:
        """Wait until every event so far was delivered."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._due and not self._sending, seconds)

    def _send_when_due(self) -> None:
        while True:
            with self._changed:
                self._sending = False
                self._changed.notify_all()
                while not self._due or self._due[0][0] > time.monotonic():
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                _, _, region, event = heapq.heappop(self._due)
                self._sending = True
            # Like EventBridge: what a target does not take is gone, and nobody is told.
            with contextlib.suppress(Exception):
                _deliver(region, event)


def _deliver(region: str, event: dict[str, Any]) -> None:
    """Bring an event to the targets of the rules that match it."""
    from moto.events.models import events_backends

    for rule in list(events_backends[ACCOUNT][region].event_buses["default"].rules.values()):
        if rule.state != "ENABLED" or rule.scheduled_expression or not rule.event_pattern.matches_event(event):
            continue
        plain = [target for target in rule.targets if _is_plain_queue(target)]
        for target in plain:
            _send(target, json.dumps(event))
        if others := [target for target in rule.targets if target not in plain]:
            rest = copy.copy(rule)
            rest.targets = others
            moment = datetime.fromisoformat(event["time"]).timestamp()
            rest.send_to_targets(json.loads(json.dumps(event)) | {"time": moment, "ingestion-time": moment})


def _is_plain_queue(target: dict[str, Any]) -> bool:
    return ":sqs:" in target["Arn"] and not {"Input", "InputPath", "InputTransformer"} & target.keys()


def _send(target: dict[str, Any], body: str) -> None:
    # Not by moto's way: it builds the message from a template, slowly, and leaves `account` out.
    from moto.sqs.models import sqs_backends

    *_, region, account, name = target["Arn"].split(":")
    group = target.get("SqsParameters", {}).get("MessageGroupId")
    sqs_backends[account][region].send_message(queue_name=name, message_body=body, group_id=group)


def _event(job: TrainingJob, *, as_text: bool) -> dict[str, Any]:
    told = job.describe()
    detail = {name: told[name] for name in _COPIED if name in told}
    moments = {name: int(told[name] * 1000) for name in _TIMES if name in told}
    # The documented sample has strings, what people's handlers read are numbers: consumers must take both.
    detail |= {name: str(moment) if as_text else moment for name, moment in moments.items()}
    detail["VpcConfig"] = told.get("VpcConfig", {})
    detail["SecondaryStatusTransitions"] = [
        {name: int(value * 1000) if name.endswith("Time") else value for name, value in transition.items()}
        for transition in told["SecondaryStatusTransitions"]
    ]
    detail["Tags"] = dict(job.tags)
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": DETAIL_TYPE,
        "source": "aws.sagemaker",
        "account": ACCOUNT,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": job.region,
        "resources": [job.arn],
        "detail": detail,
    }
