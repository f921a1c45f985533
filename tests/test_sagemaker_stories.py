"""Attempts on SageMaker from their launch to their end, and what a person is told of each."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from gamma_bot.sandbox.aws.client import AwsStandIn
from gamma_bot.training.trainer import Attempt, Ending, Phase
from tests.sagemaker_stage import BUCKET, SageMakerStage, again, furnish

PLAIN_SCRIPT = """\
import json, os, pathlib
print("rate", json.loads(os.environ["SM_HPS"])["lr"] * 2, os.environ["SM_HP_LR"], os.environ["GAMMA_JOB_ID"])
pathlib.Path(os.environ["SM_MODEL_DIR"], "weights").write_text("42")
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "curve.csv").write_text("1,2")
"""
PATIENT_SCRIPT = """\
import os, pathlib, signal, sys, time
def stop(*_):
    pathlib.Path(os.environ["SM_MODEL_DIR"], "half").write_text("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
print("waiting", flush=True)
time.sleep(60)
"""


@pytest.fixture
async def stage(aws: AwsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SageMakerStage]:
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    stage = SageMakerStage(aws, furnish(aws), tmp_path)
    yield stage
    await stage.close()


async def test_a_job_trains_and_what_it_made_can_be_fetched(stage: SageMakerStage) -> None:
    spec = replace(stage.spec("j000000000001", PLAIN_SCRIPT), hyperparameters={"lr": 0.25})
    end = await stage.end_of(spec)

    assert (end.ending, end.exit_code) == (Ending.COMPLETED, 0)
    assert end.usage is not None
    assert (end.usage.instance_type, end.usage.tries, end.usage.billable_seconds) == ("ml.m5.xlarge", 1, 1.0)
    assert await stage.trainer.log_tail(spec.attempt, 10) == ["rate 0.5 0.25 j000000000001"]
    assert sorted(each.path for each in await stage.trainer.artifacts(spec.attempt)) == [
        "model.tar.gz",
        "output.tar.gz",
    ]
    with await stage.trainer.open_artifact(spec.attempt, "model.tar.gz") as file, tarfile.open(fileobj=file) as model:
        assert model.getnames() == ["weights"]
    link = await stage.trainer.artifact_link(spec.attempt, "model.tar.gz")
    assert f"/{BUCKET}/outputs/gamma-j000000000001-1/output/model.tar.gz?" in link
    assert "X-Amz-Expires=300" in link
    with pytest.raises(OSError, match="other"):
        await stage.trainer.open_artifact(spec.attempt, "../../other")


async def test_the_code_is_brought_once_for_all_attempts(stage: SageMakerStage) -> None:
    first = stage.spec("j000000000001")
    await stage.end_of(first)
    await stage.end_of(again(first, 2))
    puts = [call for call in stage.aws.calls("s3:PutObject") if "/sources/" in call["resource"]]
    assert len(puts) == 1
    assert stage.created() == ["gamma-j000000000001-1", "gamma-j000000000001-2"]


async def test_a_failure_of_the_code_tells_the_line(stage: SageMakerStage) -> None:
    spec = stage.spec("j000000000001", "def model():\n    return 1 / 0\n\nmodel()\n")
    end = await stage.end_of(spec)

    assert (end.ending, end.exit_code) == (Ending.USER_CODE, 1)
    assert end.message == snapshot("The command ended with exit status 1: ZeroDivisionError: division by zero")
    (root, *_) = await stage.trainer.source_roots(spec.attempt)
    lines = await stage.trainer.log_tail(spec.attempt, 50)
    roots = await stage.trainer.source_roots(spec.attempt)
    assert any(f'File "{roots[0]}/train.py", line 2, in model' in line for line in lines), (root, lines)


async def test_a_command_that_is_not_there_is_no_failure_of_the_code(stage: SageMakerStage) -> None:
    spec = replace(stage.spec("j000000000001"), command=("trian", "--fast"))
    end = await stage.end_of(spec)
    assert (end.ending, end.message) == snapshot(
        (Ending.COMMAND, "The image has no program trian."),
    )


async def test_a_stop_keeps_what_was_saved_and_is_no_success(stage: SageMakerStage) -> None:
    spec = stage.spec("j000000000001", PATIENT_SCRIPT)
    await stage.trainer.submit(spec)
    await stage.until(spec.attempt, lambda seen: seen.phase is Phase.RUNNING)
    await stage.printed(spec.attempt, "waiting")
    for _ in range(3):
        await stage.trainer.stop(spec.attempt)
    end = await stage.ended(spec.attempt)
    await stage.trainer.stop(spec.attempt)

    assert (end.ending, end.message) == snapshot((Ending.STOPPED, "Stopped because somebody asked for it."))
    assert [each.path for each in await stage.trainer.artifacts(spec.attempt)] == ["model.tar.gz"]
    assert len(stage.aws.calls("sagemaker:StopTrainingJob")) == 1


async def test_a_stop_from_outside_is_told_as_such(stage: SageMakerStage) -> None:
    spec = stage.spec("j000000000001", PATIENT_SCRIPT)
    await stage.trainer.submit(spec)
    await stage.until(spec.attempt, lambda seen: seen.phase is Phase.RUNNING)
    stage.aws.client("sagemaker").stop_training_job(TrainingJobName="gamma-j000000000001-1")
    end = await stage.ended(spec.attempt)
    assert (end.ending, end.message, end.hint) == snapshot(
        (
            Ending.STOPPED,
            "Stopped by somebody outside of Gamma, with access to the AWS account.",
            "`/gamma retry` trains it again.",
        )
    )


async def test_the_time_limit_is_the_one_of_gamma_yml(stage: SageMakerStage) -> None:
    end = await stage.end_of(replace(stage.spec("j000000000001", PATIENT_SCRIPT), timeout_seconds=1))
    assert (end.ending, end.message) == snapshot(
        (Ending.TIME_LIMIT, "Ended because it ran longer than its time limit of 1 s.")
    )


async def test_a_lack_of_machines_is_waited_out(stage: SageMakerStage) -> None:
    stage.aws.plan("capacity", job="gamma-*", times=2)
    end = await stage.end_of(stage.spec("j000000000001"))
    assert end.ending is Ending.COMPLETED
    assert end.usage is not None
    assert end.usage.tries == 3
    assert stage.created() == [f"gamma-j000000000001-1{more}" for more in ("", "-r2", "-r3")]


async def test_a_lasting_lack_of_machines_is_told(stage: SageMakerStage) -> None:
    stage.aws.plan("capacity", job="gamma-*", times=9)
    end = await stage.end_of(stage.spec("j000000000001"))
    assert len(stage.created()) == 3
    assert (end.ending, end.message, end.hint) == snapshot(
        (
            Ending.CAPACITY,
            "SageMaker had no free ml.m5.xlarge machine, each of the 3 times that it was asked.",
            "`/gamma retry` tries again. Or name several types under `train.sagemaker.instance`.",
        )
    )


async def test_of_several_types_the_one_with_machines_is_taken(stage: SageMakerStage) -> None:
    stage.aws.plan("capacity", job="gamma-*", instance_types=["ml.g5.xlarge"], times=5)
    on_demand = stage.spec("j000000000001", instance=["ml.g5.xlarge", "ml.g5.2xlarge"])
    on_spot = stage.spec("j000000000002", instance=["ml.g5.xlarge", "ml.g5.2xlarge"], spot=True)
    ends = await asyncio.gather(stage.end_of(on_demand), stage.end_of(on_spot))
    assert [end.ending for end in ends] == [Ending.COMPLETED, Ending.COMPLETED]
    found = [(end.usage.instance_type, end.usage.tries) for end in ends if end.usage is not None]
    assert found == [("ml.g5.2xlarge", 1), ("ml.g5.2xlarge", 2)]


async def test_an_error_of_sagemaker_is_tried_once_more(stage: SageMakerStage) -> None:
    stage.aws.plan("internal-error", job="gamma-*", times=2)
    end = await stage.end_of(stage.spec("j000000000001"))
    assert (end.ending, end.message) == snapshot(
        (Ending.PLATFORM, "SageMaker itself failed, 2 times: An internal error of SageMaker.")
    )
    assert len(stage.created()) == 2


async def test_a_spot_job_that_never_got_a_machine(stage: SageMakerStage) -> None:
    stage.aws.plan("never-started", job="gamma-*", times=9)
    end = await stage.end_of(stage.spec("j000000000001", spot=True, max_wait="1h"))
    assert len(stage.created()) == 1
    assert (end.ending, end.message) == snapshot(
        (
            Ending.NEVER_STARTED,
            "No spot machine (ml.m5.xlarge) was free in 60 min, as long as it may wait (`max_wait`).",
        )
    )


async def test_an_interruption_is_shown_and_checkpoints_are_gone_on_with(stage: SageMakerStage) -> None:
    script = """\
import os, pathlib, sys, time
mark = pathlib.Path(os.environ["SM_CHECKPOINT_DIR"], "epoch")
if mark.exists():
    print("goes on after", mark.read_text(), flush=True)
    sys.exit(0)
mark.write_text("3")
print("first start", flush=True)
time.sleep(60)
"""
    spec = stage.spec("j000000000001", script, spot=True, resume="branch")
    stage.aws.plan("slow", job="gamma-*", state="Starting", seconds=0.3)
    await stage.trainer.submit(spec)
    await stage.printed(spec.attempt, "first start")
    stage.aws.interrupt("gamma-j000000000001-1")
    seen = await stage.until(spec.attempt, lambda seen: "spot" in seen.detail)
    assert seen.detail == snapshot("spot capacity was taken back, waits for a new machine")
    end = await stage.ended(spec.attempt)
    assert end.ending is Ending.COMPLETED
    assert end.usage is not None
    assert (end.usage.interruptions, end.usage.spot) == (1, True)
    lines = await stage.trainer.log_tail(spec.attempt, 50)
    assert [line for line in lines if not line.startswith("──")] == ["first start", "goes on after 3"]


async def test_a_quota_in_use_is_waited_for(stage: SageMakerStage) -> None:
    stage.aws.plan("quota", instance_type="ml.m5.xlarge", usage="training job", limit=1)
    first, second = stage.spec("j000000000001", PATIENT_SCRIPT), stage.spec("j000000000002")
    await stage.trainer.submit(first)
    await stage.trainer.submit(second)
    seen = await stage.until(second.attempt, lambda seen: bool(seen.detail))
    assert (seen.phase, seen.detail) == snapshot(
        (Phase.QUEUED, "waits for quota: 1 of 1 in use (ml.m5.xlarge for training job usage)")
    )
    await stage.until(first.attempt, lambda seen: seen.phase is Phase.RUNNING)
    await stage.trainer.stop(first.attempt)
    assert (await stage.ended(first.attempt)).ending is Ending.STOPPED
    assert (await stage.ended(second.attempt)).ending is Ending.COMPLETED


async def test_a_job_that_waits_can_be_stopped_and_costs_nothing(stage: SageMakerStage) -> None:
    stage.aws.plan("quota", instance_type="ml.m5.xlarge", usage="training job", limit=1)
    first, second = stage.spec("j000000000001", PATIENT_SCRIPT), stage.spec("j000000000002")
    await stage.trainer.submit(first)
    await stage.trainer.submit(second)
    await stage.trainer.stop(second.attempt)
    end = await stage.ended(second.attempt)
    assert (end.ending, end.message) == snapshot(
        (Ending.STOPPED, "Stopped because somebody asked for it, before it had a machine.")
    )
    await stage.trainer.stop(first.attempt)
    await stage.ended(first.attempt)
    assert stage.created() == ["gamma-j000000000001-1"]


async def test_a_warm_pool_that_a_stop_left_is_given_back(stage: SageMakerStage) -> None:
    spec = stage.spec("j000000000001", PATIENT_SCRIPT, warm_pool="30m")
    await stage.trainer.submit(spec)
    await stage.until(spec.attempt, lambda seen: seen.phase is Phase.RUNNING)
    await stage.trainer.stop(spec.attempt)
    await stage.ended(spec.attempt)
    told = stage.aws.client("sagemaker").describe_training_job(TrainingJobName="gamma-j000000000001-1")
    assert told["WarmPoolStatus"]["Status"] == "Terminated"


async def test_without_events_the_sweep_finds_every_end(stage: SageMakerStage) -> None:
    stage.aws.plan("events", mode="off")
    stage.trainer = stage.another(queue_url=None)
    assert (await stage.end_of(stage.spec("j000000000001"))).ending is Ending.COMPLETED


async def test_a_new_process_goes_on_where_the_old_one_was(stage: SageMakerStage) -> None:
    spec = stage.spec("j000000000001", PATIENT_SCRIPT)
    await stage.trainer.submit(spec)
    await stage.until(spec.attempt, lambda seen: seen.phase is Phase.RUNNING)
    await stage.trainer.close()
    stage.trainer = stage.another()
    await stage.until(spec.attempt, lambda seen: seen.phase is Phase.RUNNING)
    await stage.trainer.stop(spec.attempt)
    assert (await stage.ended(spec.attempt)).ending is Ending.STOPPED
    assert await stage.trainer.observe([Attempt("j999999999999")]) == []
