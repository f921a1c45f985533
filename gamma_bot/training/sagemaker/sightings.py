"""What was last seen of a training job, from whatever told it: an event, a listing, a description.

Events come twice and in any order. Merging sightings gives the same whatever the order and however often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gamma_bot.training.trainer import Phase

ENDED = frozenset({"Completed", "Failed", "Stopped"})
INTERRUPTED = "Interrupted"
_STATUS_RANK = {"InProgress": 0, "Stopping": 1, "Completed": 2, "Failed": 2, "Stopped": 2, "Deleting": 2}
_SECONDARY = ("Starting", "Pending", "Downloading", "Training", "Interrupted", "Restarting", "Uploading", "Stopping")
_SECONDARY_RANK = {name: rank for rank, name in enumerate(_SECONDARY)}
_WAITING = frozenset({"Starting", "Pending", "LaunchingMLInstances", "PreparingTrainingStack", INTERRUPTED})
_MESSAGE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Sighting:
    """A training job at a moment of AWS's clock.

    Attributes:
        modified_at: when it came to be so (Unix seconds).
        interruptions: how often its spot capacity had been taken away, as far as the teller knew.
        message: SageMaker's words about it, if it waits for capacity.
    """

    status: str
    secondary: str
    modified_at: float
    interruptions: int = 0
    message: str = ""

    @property
    def ended(self) -> bool:
        """It is over."""
        return self.status in ENDED


def merged(first: Sighting, second: Sighting) -> Sighting:
    """What is known from both: an end stays an end, else the later one counts."""
    newer = max(first, second, key=_order)
    return replace(newer, interruptions=max(first.interruptions, second.interruptions))


def seen_in_event(body: Mapping[str, Any]) -> tuple[str, Sighting] | None:
    """The training job of an EventBridge event and how it was; ``None`` if the event is about something else."""
    detail = body.get("detail")
    if body.get("source") != "aws.sagemaker" or not isinstance(detail, Mapping):
        return None
    # The documentation's own sample has another name beside the ARN, which is the one to trust.
    name = str(detail.get("TrainingJobArn") or "").rpartition("/")[2] or str(detail.get("TrainingJobName") or "")
    status, secondary = detail.get("TrainingJobStatus"), detail.get("SecondaryStatus")
    if not name or not isinstance(status, str):
        return None
    modified = moment(detail.get("LastModifiedTime")) or moment(body.get("time")) or 0.0
    transitions = detail.get("SecondaryStatusTransitions")
    return name, _sighting(status, secondary, modified, transitions if isinstance(transitions, list) else ())


def seen_in_answer(answer: Mapping[str, Any]) -> Sighting:
    """How a training job is by DescribeTrainingJob, or by an entry of ListTrainingJobs."""
    modified = moment(answer.get("LastModifiedTime")) or moment(answer.get("CreationTime")) or 0.0
    transitions = answer.get("SecondaryStatusTransitions", ())
    return _sighting(str(answer["TrainingJobStatus"]), answer.get("SecondaryStatus"), modified, transitions)


def phase_of(sighting: Sighting) -> Phase:
    """Where a training job is. States that are new to us count as running."""
    if sighting.status == "InProgress" and sighting.secondary in _WAITING:
        return Phase.PREPARING
    if sighting.secondary in ("Downloading", "DownloadingTrainingImage", "Restarting"):
        return Phase.PREPARING
    return Phase.RUNNING


def detail_of(sighting: Sighting) -> str:
    """What it is doing, for a person."""
    if sighting.status == "Stopping":
        return "stopping: it has two minutes to save what it has"
    if sighting.secondary in _WAITING and sighting.interruptions:
        again = f" ({ordinal(sighting.interruptions)} time)" if sighting.interruptions > 1 else ""
        return f"spot capacity was taken back, waits for a new machine{again}"
    match sighting.secondary:
        case "Starting" | "Pending" | "LaunchingMLInstances" | "PreparingTrainingStack":
            return f"waits for a machine: {sighting.message}" if sighting.message else "waits for a machine"
        case "Downloading" | "DownloadingTrainingImage":
            return "fetching the image and the data"
        case "Training" if sighting.interruptions:
            times = f"{sighting.interruptions} interruption{'s' if sighting.interruptions > 1 else ''}"
            return f"training again after {times} of spot capacity"
        case "Uploading":
            return "uploading the results"
        case _:
            return ""


def moment(value: object) -> float | None:
    """A time as AWS writes it somewhere: a date, seconds, milliseconds, as number or text."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
        except ValueError:
            pass
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e14:
        return None
    return value / 1000 if value > 1e11 else float(value)


def interruptions_in(transitions: Sequence[Any]) -> int:
    """How often spot capacity was taken away."""
    return sum(isinstance(each, Mapping) and each.get("Status") == INTERRUPTED for each in transitions)


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th …"""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _sighting(status: str, secondary: object, modified: float, transitions: Sequence[Any]) -> Sighting:
    last = transitions[-1] if transitions and isinstance(transitions[-1], Mapping) else {}
    said = str(last.get("StatusMessage") or "")
    message = said[:_MESSAGE_CHARACTERS] if "capacity" in said.lower() else ""
    interruptions = interruptions_in(transitions)
    # A listing names the state only; that it is this one says that there was one interruption at least.
    interruptions = max(interruptions, int(secondary == INTERRUPTED))
    return Sighting(status, str(secondary or status), modified, interruptions, message)


def _order(sighting: Sighting) -> tuple[int, float, int, int, str, str, str]:
    status = _STATUS_RANK.get(sighting.status, 0)
    secondary = _SECONDARY_RANK.get(sighting.secondary, -1)
    ended = int(status == 2)
    return ended, sighting.modified_at, status, secondary, sighting.secondary, sighting.status, sighting.message
