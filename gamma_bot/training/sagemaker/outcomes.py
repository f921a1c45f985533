"""The outcome of an attempt over all of its tries, and how it is written down."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from gamma_bot.store.launches import Launch
from gamma_bot.training.sagemaker.description import Description
from gamma_bot.training.trainer import Ending, Outcome, Usage


def written(outcome: Outcome) -> dict[str, Any]:
    """An outcome as plain values."""
    return {**asdict(outcome), "ending": outcome.ending.value}


def read(text: str) -> Outcome:
    """What ``written`` gave, from JSON."""
    values: Mapping[str, Any] = json.loads(text)
    usage = Usage(**values["usage"]) if values.get("usage") else None
    return Outcome(**{**values, "ending": Ending(values["ending"]), "usage": usage})


def stopped_before_it_began(launch: Launch) -> Outcome:
    """The end of an attempt that nothing was paid for yet."""
    words = "Stopped because somebody asked for it, before it had a machine."
    return Outcome(Ending.STOPPED, words, ended_at=time.time(), usage=usage_so_far(launch))


def usage_so_far(launch: Launch) -> Usage:
    """What an attempt under way takes, as far as is known: what it is billed SageMaker says at the end only."""
    return Usage(
        launch.instance_type,
        launch.instance_count,
        launch.spot,
        interruptions=launch.interruptions,
        tries=launch.number,
    )


def usage_at_the_end(tries: Iterable[Launch], job: Description | None) -> Usage:
    """What an attempt took, with all of its tries.

    Args:
        tries: in order; the last one is the one that ``job`` describes.
        job: the last try's training job; ``None`` if there was none.
    """
    *earlier, last = tries
    billable = [each.billable_seconds for each in earlier] + [job.billable_seconds if job is not None else None]
    training = [each.training_seconds for each in earlier] + [job.training_seconds if job is not None else None]
    return Usage(
        job.instance_type if job is not None else last.instance_type,
        job.instance_count if job is not None else last.instance_count,
        last.spot,
        billable_seconds=_sum(billable),
        training_seconds=_sum(training),
        retained_seconds=job.retained_seconds if job is not None else 0.0,
        interruptions=sum(each.interruptions for each in earlier) + (job.interruptions if job is not None else 0),
        tries=last.number,
    )


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(sum(known)) if known else None
