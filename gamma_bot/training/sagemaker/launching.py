"""Brings tries into being at SageMaker, each at most once (I3), and asks for their end (I7).

What is to exist is in the table before SageMaker hears of it. The training job's name follows from the try, so asking
again is harmless: "the name exists" means that an earlier answer was lost, if its tags are ours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from gamma_bot.store.launches import Launch, Launches, LaunchState
from gamma_bot.training.sagemaker import names
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.denials import QuotaInUse, explain
from gamma_bot.training.sagemaker.endings import Judgement
from gamma_bot.training.sagemaker.outcomes import stopped_before_it_began, written
from gamma_bot.training.sagemaker.refusals import AwsRefused, Refusal
from gamma_bot.training.trainer import Attempt, Outcome

log = structlog.get_logger()


@dataclass(frozen=True)
class Patience:
    """How long, in seconds, what is tried again waits.

    Attributes:
        answer: for AWS's answer to the wish for a training job, before the wish is sent again.
        quota: while other jobs use up a quota.
        capacity: after SageMaker had no machine; longer after each further time.
        failure: after SageMaker itself failed.
        stop: before a stop that did not help is sent again.
    """

    answer: float = 30.0
    quota: float = 120.0
    capacity: float = 60.0
    failure: float = 30.0
    stop: float = 30.0


class Launching:
    """Asks SageMaker for training jobs."""

    def __init__(self, aws: Aws, launches: Launches, patience: Patience) -> None:
        self._aws, self._launches, self._patience = aws, launches, patience
        self._turns: dict[str, asyncio.Lock] = {}
        self._stops: dict[str, float] = {}

    async def create(self, launch: Launch) -> Launch:
        """Have the training job of a try created, or adopt the one that is there; the try as it is then.

        A try whose creation fails for a passing cause stays as it is, to be asked for again.

        Raises:
            AwsRefused: AWS is out of reach, or can't answer now.
            StoreUnavailable
        """
        turn = self._turns.setdefault(launch.name, asyncio.Lock())
        try:
            async with turn:
                return await self._create(launch)
        finally:
            if not turn.locked():
                self._turns.pop(launch.name, None)

    async def stop(self, launch: Launch) -> Launch:
        """Record that a try shall end and tell SageMaker; it may be repeated as often as one likes.

        Raises:
            AwsRefused: it is recorded, but SageMaker could not be told.
            StoreUnavailable
        """
        if launch.stop_requested_at is None:
            launch = await self._launches.ask_to_stop(launch, written(stopped_before_it_began(launch)))
        # While it is being created it may exist already; if it does not, whoever creates it sees the request.
        if launch.state in (LaunchState.CREATED, LaunchState.CREATING):
            await self._tell_to_stop(launch.name)
        return launch

    async def end_warm_pool(self, name: str) -> None:
        """Give back machines that were kept for a next job: after a stop there is none."""
        try:
            resources = {"KeepAlivePeriodInSeconds": 0}
            await self._aws.call("sagemaker", "UpdateTrainingJob", TrainingJobName=name, ResourceConfig=resources)
        except AwsRefused as error:
            log.warning("training.warm_pool_left", training_job=name, error=str(error))

    async def stop_orphan(self, launch: Launch) -> None:
        """End a training job that was created although its try had ended: its creator was too slow to see that."""
        log.warning("training.orphan_stopped", training_job=launch.name, attempt=launch.attempt)
        await self._tell_to_stop(launch.name)

    async def _create(self, launch: Launch) -> Launch:
        claimed = await self._launches.claim(launch)
        if claimed is None:
            newest = await self._launches.newest([launch.attempt])
            return await self._settle(newest[launch.attempt])
        order = await self._launches.order(claimed)
        request = order["create"]
        try:
            await self._aws.call("sagemaker", "CreateTrainingJob", **request)
        except AwsRefused as error:
            if error.kind is Refusal.IN_USE:
                stranger = await self._stranger(claimed)
                if stranger is not None:
                    return await self._refused(claimed, error, request, stranger)
            elif error.passes_by_itself:
                raise
            else:
                return await self._refused(claimed, error, request)
        created = await self._launches.created(claimed)
        if created.is_over:  # its end was recorded while we were too slow, or it is over already
            await self.stop_orphan(created)
        return await self._settle(created)

    async def _settle(self, launch: Launch) -> Launch:
        """What was asked to end while it was being created ends now."""
        if launch.stop_requested_at is not None:
            if launch.state is LaunchState.CREATING:
                return await self._settle_uncreated(launch)
            if launch.state is LaunchState.CREATED:
                await self._tell_to_stop(launch.name)
        return launch

    async def _settle_uncreated(self, launch: Launch) -> Launch:
        """A try that was being created by somebody, perhaps dead by now, when its end was asked for."""
        try:
            await self._tell_to_stop(launch.name)
        except AwsRefused as error:
            if error.kind is not Refusal.NOT_FOUND:
                raise
        if await self._exists(launch.name):
            return await self._launches.created(launch)
        if time.time() - launch.due_at < self._patience.answer:
            return launch  # whoever creates it may still be at it
        asked = stopped_before_it_began(launch)
        return await self._launches.end(replace(launch, ending=asked.ending.value), written(asked))

    async def _refused(
        self, launch: Launch, error: AwsRefused, request: Mapping[str, Any], stranger: str = ""
    ) -> Launch:
        region = "" if error.kind is Refusal.NO_REGION else await self._aws.region()
        told = explain(error, request, region, stranger)
        if isinstance(told, QuotaInUse):
            due = time.time() + self._patience.quota
            return await self._launches.postpone(launch, LaunchState.WAITING_QUOTA, due, told.detail)
        log.warning("training.refused", attempt=launch.attempt, training_job=launch.name, error=str(error))
        return await self._end_with(launch, told)

    async def _end_with(self, launch: Launch, told: Judgement) -> Launch:
        end = Outcome(told.ending, told.message, ended_at=time.time(), hint=told.hint)
        return await self._launches.end(replace(launch, ending=told.ending.value), written(end))

    async def _stranger(self, launch: Launch) -> str | None:
        """The ARN of the training job that has the name, if it is somebody else's."""
        described = await self._aws.call("sagemaker", "DescribeTrainingJob", TrainingJobName=launch.name)
        arn = str(described["TrainingJobArn"])
        answer = await self._aws.call("sagemaker", "ListTags", ResourceArn=arn)
        found = {tag["Key"]: tag["Value"] for tag in answer.get("Tags", ())}
        if names.is_ours(Attempt(launch.job, launch.job_attempt), launch.number, found):
            log.info("training.adopted", attempt=launch.attempt, training_job=launch.name)
            return None
        return arn

    async def _exists(self, name: str) -> bool:
        try:
            await self._aws.call("sagemaker", "DescribeTrainingJob", TrainingJobName=name)
        except AwsRefused as error:
            if error.kind is Refusal.NOT_FOUND:
                return False
            raise
        return True

    async def _tell_to_stop(self, name: str) -> None:
        if time.monotonic() < self._stops.get(name, 0.0):
            return
        try:
            await self._aws.call("sagemaker", "StopTrainingJob", TrainingJobName=name)
        except AwsRefused as error:
            # It is over, or not there yet: both are not ours to mend.
            if error.kind not in (Refusal.INVALID, Refusal.NOT_FOUND):
                raise
            if error.kind is Refusal.NOT_FOUND:
                return
        if len(self._stops) > 10_000:
            self._stops.clear()
        self._stops[name] = time.monotonic() + self._patience.stop
