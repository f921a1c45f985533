"""I3 on SageMaker: one attempt is one training job, whoever asks how often, and whatever dies where."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gamma_bot.sandbox.aws.client import AwsStandIn
from gamma_bot.store.launches import Launch, Launches
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.trainer import Ending
from tests.sagemaker_stage import SageMakerStage, furnish

pytestmark = pytest.mark.thorough

JOB = "gamma-j000000000001-1"


@pytest.fixture
async def stage(
    aws: AwsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[SageMakerStage]:
    # Tests that name it run on both databases.
    database_url = request.getfixturevalue("database_url") if "database_url" in request.fixturenames else None
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    stage = SageMakerStage(aws, furnish(aws), tmp_path, database_url)
    aws.plan("frozen", job="gamma-*")
    yield stage
    await stage.close()


def creations(stage: SageMakerStage) -> list[str]:
    """The calls for a training job that AWS did not refuse."""
    return [call["resource"] for call in stage.aws.calls("sagemaker:CreateTrainingJob") if call["refused"] is None]


class Dying(Exception):
    """Stands for ``kill -9``: nothing of ours runs after it."""


async def test_eight_who_submit_at_once_get_one_job(stage: SageMakerStage, database_url: str | None) -> None:
    spec = stage.spec("j000000000001")
    replicas = [stage.another() for _ in range(8)]
    await asyncio.gather(*(replica.submit(spec) for replica in replicas))
    assert stage.created() == [JOB]
    stage.aws.move("gamma-*", to="Completed")
    assert (await stage.ended(spec.attempt)).ending is Ending.COMPLETED


@pytest.mark.parametrize("point", ["record", "claim", "before CreateTrainingJob", "after CreateTrainingJob", "created"])
async def test_a_death_at_any_point_is_made_good(
    stage: SageMakerStage, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = stage.spec("j000000000001")
    with monkeypatch.context() as patch:
        _die_at(point, patch)
        with pytest.raises(Dying):
            await stage.another().submit(spec)
    await asyncio.gather(stage.trainer.submit(spec), stage.another().submit(spec))
    stage.aws.move("gamma-*", to="Completed")
    assert (await stage.ended(spec.attempt)).ending is Ending.COMPLETED
    assert stage.created() == [JOB]
    assert len(creations(stage)) == 1


async def test_what_nobody_submits_again_is_created_by_the_watcher(
    stage: SageMakerStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = stage.spec("j000000000001")
    with monkeypatch.context() as patch:
        _die_at("before CreateTrainingJob", patch)
        with pytest.raises(Dying):
            await stage.another().submit(spec)
    await stage.until(spec.attempt, lambda seen: seen.detail == "waits for a machine")
    assert stage.created() == [JOB]


async def test_a_lost_answer_is_no_second_job(stage: SageMakerStage) -> None:
    spec = stage.spec("j000000000001")
    stage.aws.plan("lost", action="sagemaker:CreateTrainingJob")
    await stage.trainer.submit(spec)
    await stage.trainer.submit(spec)
    stage.aws.move("gamma-*", to="Completed")
    assert (await stage.ended(spec.attempt)).ending is Ending.COMPLETED
    assert stage.created() == [JOB]


async def test_a_stop_during_the_creation_ends_what_was_created(
    stage: SageMakerStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = stage.spec("j000000000001")
    stage.aws.plan("delay", action="sagemaker:CreateTrainingJob", seconds=0.5, when="before")
    submitting = asyncio.create_task(stage.trainer.submit(spec))
    while not await stage.launches.newest([spec.attempt.key]):
        await asyncio.sleep(0.01)
    await stage.another().stop(spec.attempt)
    await submitting
    if stage.created():  # the stop came while AWS was being asked
        assert len(stage.aws.calls("sagemaker:StopTrainingJob")) >= 1
        stage.aws.move("gamma-*", to="Stopped")
    assert (await stage.ended(spec.attempt)).ending is Ending.STOPPED


async def test_an_orphan_of_a_creator_that_was_too_slow_is_ended(
    stage: SageMakerStage, monkeypatch: pytest.MonkeyPatch, database_url: str | None
) -> None:
    spec = stage.spec("j000000000001")
    slow, held = asyncio.Event(), asyncio.Event()
    call = Aws.call

    async def hold(self: Aws, service: str, operation: str, **parameters: Any) -> Any:
        if operation == "CreateTrainingJob":
            held.set()
            await slow.wait()
        return await call(self, service, operation, **parameters)

    with monkeypatch.context() as patch:
        patch.setattr(Aws, "call", hold)
        submitting = asyncio.create_task(stage.another().submit(spec))
        await held.wait()
    await stage.trainer.stop(spec.attempt)
    assert (await stage.ended(spec.attempt)).ending is Ending.STOPPED
    slow.set()
    await submitting
    assert stage.created() == [JOB]
    assert stage.aws.jobs()[0]["status"] == "Stopping"


async def test_an_orphan_of_a_creator_that_died_is_found_and_ended(
    stage: SageMakerStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = stage.spec("j000000000001")
    with monkeypatch.context() as patch:
        _die_at("before CreateTrainingJob", patch)
        with pytest.raises(Dying):
            await stage.another().submit(spec)
    order = await stage.launches.order((await stage.launches.newest([spec.attempt.key]))[spec.attempt.key])
    await stage.trainer.stop(spec.attempt)
    assert (await stage.ended(spec.attempt)).ending is Ending.STOPPED
    # The dead one's call arrives late.
    stage.aws.client("sagemaker").create_training_job(**order["create"])
    stage.trainer = stage.another(queue_url=None)
    await stage.trainer.observe([])
    for _ in range(500):
        if stage.aws.jobs()[0]["status"] == "Stopping":
            break
        await asyncio.sleep(0.02)
    assert stage.aws.jobs()[0]["status"] == "Stopping"


def _die_at(point: str, patch: pytest.MonkeyPatch) -> None:
    match point.split():
        case ["before" | "after" as moment, operation]:
            call = Aws.call

            async def dying(self: Aws, service: str, name: str, **parameters: Any) -> Any:
                if name != operation:
                    return await call(self, service, name, **parameters)
                if moment == "after":
                    await call(self, service, name, **parameters)
                raise Dying

            patch.setattr(Aws, "call", dying)
        case [method]:
            work = getattr(Launches, method)

            async def dying_after(self: Launches, launch: Launch, *more: Mapping[str, Any]) -> Any:
                if method != "created":
                    await work(self, launch, *more)
                raise Dying

            patch.setattr(Launches, method, dying_after)
