"""What follows when a try is over: the end of its attempt, or another try after a lack of capacity."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog

from gamma_bot.store.launches import Launch, Launches, LaunchState
from gamma_bot.training.sagemaker.description import Description
from gamma_bot.training.sagemaker.endings import TRIES, Judgement, after_all_tries, judge, outcome
from gamma_bot.training.sagemaker.launching import Launching, Patience
from gamma_bot.training.sagemaker.outcomes import stopped_before_it_began, usage_at_the_end, written
from gamma_bot.training.sagemaker.request import further_try
from gamma_bot.training.trainer import Attempt, Ending, Outcome

_NO_MACHINE = (Ending.CAPACITY, Ending.NEVER_STARTED)

log = structlog.get_logger()


class Ends:
    """Records how tries ended."""

    def __init__(self, launches: Launches, launching: Launching, patience: Patience) -> None:
        self._launches, self._launching, self._patience = launches, launching, patience

    async def settle(self, name: str, job: Description) -> Launch | None:
        """Record the end of a training job; the newest try of its attempt then.

        Raises:
            StoreUnavailable
        """
        # As it is stored: whether somebody asked for its end may have been recorded by another replica.
        launch = (await self._launches.named([name])).get(name)
        if launch is None:
            return None
        if launch.is_over:
            return (await self._launches.newest([launch.attempt]))[launch.attempt]
        asked = launch.stop_requested_at is not None
        judgement = judge(job, asked=asked)
        tries = await self._launches.tries(launch.attempt)
        alike = 1 + sum(_same(each.ending, judgement.ending) for each in tries[:-1])
        ended = replace(
            launch,
            ending=judgement.ending.value,
            status=job.status,
            secondary=job.secondary,
            interruptions=job.interruptions,
            training_seconds=job.training_seconds,
            billable_seconds=job.billable_seconds,
        )
        if asked and job.warm_pool_seconds:
            await self._launching.end_warm_pool(name)
        usage = usage_at_the_end(tries, job)
        if judgement.again and not asked and alike < TRIES[judgement.ending]:
            further = await self._further(launch, judgement, alike)
            stopped = replace(stopped_before_it_began(launch), usage=usage)
            newest = await self._launches.end(ended, written(stopped), further)
        else:
            last = after_all_tries(judgement, alike, job.instance_type)
            newest = await self._launches.end(ended, written(outcome(last, job, usage)))
        log.info("training.ended", attempt=launch.attempt, training_job=name, ending=judgement.ending.value)
        return newest

    async def lose(self, launch: Launch) -> Launch:
        """Record that SageMaker does not know a training job any more that it had created."""
        words = "SageMaker no longer knows this training job: somebody deleted it."
        usage = usage_at_the_end(await self._launches.tries(launch.attempt), None)
        end = Outcome(Ending.LOST, words, ended_at=time.time(), usage=usage)
        return await self._launches.end(replace(launch, ending=end.ending.value), written(end))

    async def _further(self, launch: Launch, judgement: Judgement, alike: int) -> tuple[Launch, dict[str, Any]]:
        order = await self._launches.order(launch)
        number, instances = launch.number + 1, order["instances"]
        request = further_try(order["create"], Attempt(launch.job, launch.job_attempt), number, instances)
        wait = self._patience.capacity * 4 ** (alike - 1) if judgement.ending in _NO_MACHINE else self._patience.failure
        due = time.time() + wait
        clock = datetime.fromtimestamp(due, UTC).strftime("%H:%M UTC")
        further = Launch(
            attempt=launch.attempt,
            number=number,
            job=launch.job,
            job_attempt=launch.job_attempt,
            name=request["TrainingJobName"],
            state=LaunchState.WAITING,
            instance_type=request["ResourceConfig"].get("InstanceType", launch.instance_type),
            instance_count=launch.instance_count,
            spot=launch.spot,
            limit_seconds=launch.limit_seconds,
            recorded_at=time.time(),
            due_at=due,
            waits_for=f"{judgement.message.rstrip('.')}, tries again at {clock}",
        )
        return further, {**order, "create": request}


def _same(ending: str, other: Ending) -> bool:
    """Whether tries that ended so are counted together."""
    together: Sequence[Ending] = _NO_MACHINE if other in _NO_MACHINE else (other,)
    return ending in {each.value for each in together}
