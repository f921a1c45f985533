"""What an operator or a gamma.yml can get wrong about SageMaker, and what each is told of it."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from gamma_bot.config.errors import dotted
from gamma_bot.sandbox.aws.client import AwsStandIn
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.examination import examine
from gamma_bot.training.sagemaker.trainer import SageMakerTrainer
from gamma_bot.training.trainer import Ending, Outcome, Phase, TrainerUnavailable, TrainingSpec
from tests.sagemaker_stage import BUCKET, ROLE, SageMakerStage, furnish

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1"


@pytest.fixture
async def stage(aws: AwsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SageMakerStage]:
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    stage = SageMakerStage(aws, furnish(aws), tmp_path)
    yield stage
    await stage.close()


async def problems(trainer: SageMakerTrainer, spec: TrainingSpec) -> str:
    """Where, what and what to do, of each problem."""
    found = await trainer.preflight(spec)
    return "\n".join(f"{dotted(each.key_path)}:\n{words(each.message)}\n{words(each.hint)}" for each in found)


def told(end: Outcome) -> str:
    return f"{end.ending}:\n{words(end.message)}\n{words(end.hint)}"


def words(text: str) -> str:
    return textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="  ", break_long_words=False)


async def test_mistakes_in_gamma_yml_are_known_before_anything_is_launched(stage: SageMakerStage) -> None:
    spec = replace(
        stage.spec(
            "j000000000001",
            instance=["ml.g5.xlrage", "ml.g5.xlarge"],
            inputs={"code": "s3://data/x"},
            spot=True,
            max_wait="5m",
        ),
        command=("python", "train.py", "x" * 300),
        hyperparameters={"two lines": "1\n2"},
    )
    assert await problems(stage.trainer, spec) == snapshot("""\
train.sagemaker.max_wait:
  `max_wait` (300 s) is less than `train.timeout` (600 s), and it covers the waiting and the
  training
  Make it longer, or leave it out: then it is twice `train.timeout`.
train.sagemaker.inputs.code:
  the channel `code` brings the repository's code
  Give this channel another name.
train.hyperparameters.two lines:
  the hyperparameter `two lines` (`1 2`) can't be sent to SageMaker: it must be on one line
  Put long values into a file of the repository.
train.command:
  word 3 of the command (`xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…`) can't be
  sent to SageMaker: it must have at most 256 characters, this has 300
  Put long arguments into hyperparameters or a file of the repository.
train.sagemaker.instance[0]:
  SageMaker does not train on `ml.g5.xlrage`
  Did you mean `ml.g5.xlarge`?\
""")
    assert stage.created() == []


async def test_what_is_missing_is_named_with_who_can_add_it(stage: SageMakerStage) -> None:
    spec = stage.spec("j000000000001", image=None)
    assert await problems(stage.another(role=""), spec) == snapshot("""\
train.sagemaker.role:
  no role is set for SageMaker jobs
  Whoever runs Gamma sets GAMMA_AWS_ROLE_ARN; or name one here with `role:`.
train.sagemaker:
  it is not said in which container image SageMaker shall train
  Add `framework: pytorch 2.x`, or `image:` with the address of your own.\
""")


async def test_a_bucket_that_is_missing_denied_or_elsewhere(stage: SageMakerStage) -> None:
    spec = stage.spec("j000000000001")
    assert await problems(stage.trainer, spec) == ""
    assert await problems(stage.another(bucket="no-such-bucket"), spec) == snapshot("""\
train.sagemaker:
  the bucket `no-such-bucket`, for the code and the results of SageMaker jobs, does not exist
  Whoever runs Gamma creates it, or corrects GAMMA_AWS_BUCKET.\
""")
    stage.aws.client("s3", "eu-west-1").create_bucket(
        Bucket="gamma-far", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    assert await problems(stage.another(bucket="gamma-far"), spec) == snapshot("""\
train.sagemaker:
  the bucket `gamma-far` is in eu-west-1, but jobs train in us-east-1; both must be the same
  Whoever runs Gamma corrects AWS_REGION or GAMMA_AWS_BUCKET.\
""")
    stage.aws.plan("denied", action="s3:*")
    assert await problems(stage.another(), spec) == snapshot("""\
train.sagemaker:
  AWS denies Gamma the permission s3:ListBucket on the bucket `gamma-test`
  Whoever runs Gamma adds it to Gamma's policy (see infra/iam.tf), or corrects GAMMA_AWS_BUCKET.\
""")


async def test_without_a_region_nothing_is_guessed(stage: SageMakerStage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    trainer = SageMakerTrainer(Aws(endpoint_url=stage.aws.url), stage.launches, bucket=BUCKET)
    assert await problems(trainer, stage.spec("j000000000001")) == snapshot("""\
train.sagemaker:
  Gamma does not know which AWS region to train in
  Set AWS_REGION.\
""")
    await trainer.close()


async def test_a_role_that_sagemaker_can_not_take_on(stage: SageMakerStage) -> None:
    role = "arn:aws:iam::999999999999:role/elsewhere"
    assert told(await stage.end_of(stage.spec("j000000000001", role=role))) == snapshot("""\
config:
  SageMaker can't take on the role `arn:aws:iam::999999999999:role/elsewhere`: Cross-account pass
  role is not allowed.
  Correct GAMMA_AWS_ROLE_ARN (or `train.sagemaker.role`): the role must be in this AWS account and
  trust sagemaker.amazonaws.com.\
""")


async def test_a_permission_that_is_missing_is_named(stage: SageMakerStage) -> None:
    fault = stage.aws.plan("denied", action="sagemaker:CreateTrainingJob")
    assert told(await stage.end_of(stage.spec("j000000000001"))) == snapshot("""\
config:
  AWS denies Gamma the permission `sagemaker:CreateTrainingJob` on `arn:aws:sagemaker:us-
  east-1:123456789012:training-job/gamma-j000000000001-1`.
  Add sagemaker:CreateTrainingJob to the policy of the identity that Gamma runs as (infra/iam.tf has
  it). AWS says: no identity-based policy allows the sagemaker:CreateTrainingJob action.\
""")
    stage.aws.forget(fault)
    fault = stage.aws.plan("denied", action="iam:PassRole")
    assert told(await stage.end_of(stage.spec("j000000000002"))) == snapshot("""\
config:
  AWS denies Gamma the permission `iam:PassRole` on `arn:aws:iam::123456789012:role/gamma-training`.
  Add iam:PassRole for `arn:aws:iam::123456789012:role/gamma-training` to the policy of the identity
  that Gamma runs as (infra/iam.tf has it), or name a role that it may hand on in
  GAMMA_AWS_ROLE_ARN. AWS says: no identity-based policy allows the iam:PassRole action.\
""")
    stage.aws.forget(fault)
    stage.aws.plan("denied", action="s3:PutObject")
    assert told(await stage.end_of(stage.spec("j000000000003", "print(3)"))) == snapshot("""\
config:
  AWS denies Gamma the permission `s3:PutObject`.
  Add s3:PutObject to the policy of the identity that Gamma runs as (infra/iam.tf has it).\
""")
    assert stage.created() == []


async def test_a_quota_of_nothing_is_no_reason_to_wait(stage: SageMakerStage) -> None:
    stage.aws.plan("quota", instance_type="ml.m5.xlarge", usage="training job", limit=0)
    assert told(await stage.end_of(stage.spec("j000000000001"))) == snapshot("""\
quota:
  The AWS account's quota “ml.m5.xlarge for training job usage” is 0.
  Ask for more at https://us-
  east-1.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas, or use another
  `instance` in gamma.yml (spot has a quota of its own).\
""")
    stage.aws.plan("quota", instance_type="ml.c5.xlarge", usage="training job", limit=2)
    assert told(await stage.end_of(stage.spec("j000000000002", instance="ml.c5.xlarge", count=3))) == snapshot("""\
quota:
  The AWS account's quota “ml.c5.xlarge for training job usage” is 2; this job needs 3.
  Ask for more at https://us-
  east-1.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas, or use another
  `instance` in gamma.yml (spot has a quota of its own).\
""")


async def test_data_that_is_not_there(stage: SageMakerStage) -> None:
    end = await stage.end_of(stage.spec("j000000000001", inputs={"train": f"s3://{BUCKET}/nothing"}))
    assert told(end) == snapshot("""\
config:
  SageMaker does not find the data: No S3 objects found under S3 URL "s3://gamma-test/nothing" given
  in input data source. Please ensure that the bucket exists in the selected region (us-east-1),
  that objects exist under that S3 prefix, and that the role "arn:aws:iam::123456789012:role/gamma-
  training" has "s3:ListBucket" permissions on bucket "gamma-test".
  Check the addresses under `train.sagemaker.inputs`; their buckets, and GAMMA_AWS_BUCKET, must be
  in us-east-1, and the job's role must be allowed to list them.\
""")


async def test_an_image_that_can_not_be_pulled(stage: SageMakerStage) -> None:
    stage.aws.plan("image", job="gamma-*")
    assert told(await stage.end_of(stage.spec("j000000000001"))) == snapshot("""\
config:
  SageMaker could not run the job: Cannot pull algorithm container. Either the image does not exist
  or its permissions are incorrect.
  Check `train.sagemaker.image`: does this image exist, and may the job's role pull it?\
""")


async def test_memory_that_did_not_suffice(stage: SageMakerStage) -> None:
    stage.aws.plan("client-error", job="gamma-*", message="Please use an instance type with more memory.")
    assert told(await stage.end_of(stage.spec("j000000000001"))) == snapshot("""\
memory_limit:
  The machine (ml.m5.xlarge) ran out of memory.
  Use one with more memory: `/gamma retry instance=…`, or `train.sagemaker.instance` in gamma.yml.\
""")
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert told(await stage.end_of(stage.spec("j000000000002", killed))) == snapshot("""\
user_code:
  The command was killed (exit status 137), which is nearly always the machine running out of
  memory.
  Use a machine with more memory (`/gamma retry instance=…`), or let the script hold less at once.\
""")


async def test_a_tree_that_can_not_be_unpacked(stage: SageMakerStage) -> None:
    spec = stage.spec("j000000000001")
    spec.source.write_bytes(b"no tarball")
    assert told(await stage.end_of(spec)) == snapshot("""\
source:
  The tarball is damaged: Not a gzipped file (b'no').
""")


async def test_the_name_of_somebody_elses_job_is_not_taken_over(stage: SageMakerStage) -> None:
    stage.aws.plan("frozen", job="gamma-*")
    spec = stage.spec("j000000000001")
    await stage.another().submit(spec)
    stage.aws.client("sagemaker").add_tags(
        ResourceArn="arn:aws:sagemaker:us-east-1:123456789012:training-job/gamma-j000000000001-1",
        Tags=[{"Key": "gamma:job", "Value": "another"}],
    )
    other = SageMakerStage(stage.aws, stage.queue, stage.folder / "other")
    assert told(await other.end_of(spec)) == snapshot("""\
config:
  A training job of this name is there already and it is not this one's: arn:aws:sagemaker:us-
  east-1:123456789012:training-job/gamma-j000000000001-1.
  Two Gammas must not share an AWS account and region with the same jobs. Nothing was launched.\
""")
    await other.close()
    assert stage.aws.calls("sagemaker:StopTrainingJob") == []


async def test_credentials_that_expire_lose_no_job(stage: SageMakerStage) -> None:
    stage.aws.plan("frozen", job="gamma-*")
    stage.trainer = stage.another(queue_url=None)
    spec = stage.spec("j000000000001")
    await stage.trainer.submit(spec)
    await stage.until(spec.attempt, lambda seen: bool(seen.detail))
    fault = stage.aws.plan("expired", action="*")
    seen = await stage.until(spec.attempt, lambda seen: "AWS" in seen.detail)
    assert "AWS can't be asked since" in seen.detail
    assert "(Gamma's credentials have expired)" in seen.detail
    assert seen.phase is not Phase.ENDED
    with pytest.raises(TrainerUnavailable, match="expired"):
        await stage.trainer.submit(stage.spec("j000000000002"))
    stage.aws.move("gamma-*", to="Completed", training_seconds=3600, billable_seconds=3600)
    stage.aws.forget(fault)
    end = await stage.ended(spec.attempt)
    assert end.ending is Ending.COMPLETED
    assert end.usage is not None
    assert end.usage.billable_seconds == 3600


async def test_the_doctor_names_what_is_missing_in_aws(stage: SageMakerStage) -> None:
    async def findings(**changes: str) -> dict[str, tuple[bool, str, str]]:
        asked = {"bucket": BUCKET, "role": ROLE, "queue_url": stage.queue, **changes}
        aws = Aws(region="us-east-1", endpoint_url=stage.aws.url)
        return {each.name: (each.well, each.detail, each.fix) async for each in examine(aws, **asked)}

    well = await findings()
    assert [name for name, found in well.items() if not found[0]] == []
    assert well["AWS"][1] == "account 123456789012, us-east-1"
    elsewhere = await findings(role="arn:aws:iam::999999999999:role/x", queue_url=f"{stage.queue}-not")
    assert {name for name, found in elsewhere.items() if not found[0]} == {"training role", "events queue"}
    stage.aws.plan("denied", action="sqs:*")
    stage.aws.plan("denied", action="sagemaker:ListTrainingJobs")
    denied = [found[1:] for found in (await findings()).values() if not found[0]]
    told = "\n".join(f"{words(what)}\n{words(fix)}" for what, fix in denied)
    assert told.replace(stage.queue.rpartition("/")[2], "events") == snapshot("""\
  AWS denies Gamma the permission `sqs:GetQueueAttributes` on `arn:aws:sqs:us-
  east-1:123456789012:events`.
  Add sqs:GetQueueAttributes to the policy of the identity that Gamma runs as (infra/iam.tf has it).
  AWS says: no identity-based policy allows the sqs:GetQueueAttributes action.
  AWS denies Gamma the permission `sagemaker:ListTrainingJobs`.
  Add sagemaker:ListTrainingJobs to the policy of the identity that Gamma runs as (infra/iam.tf has
  it). AWS says: no identity-based policy allows the sagemaker:ListTrainingJobs action.\
""")


async def test_what_a_result_depends_on_changes_with_the_data(stage: SageMakerStage) -> None:
    s3 = stage.aws.client("s3")
    s3.put_object(Bucket=BUCKET, Key="data/a", Body=b"1")
    image = f"{IMAGE.partition(':')[0]}@sha256:{'a' * 64}"
    spec = stage.spec("j000000000001", image=image, inputs={"train": f"s3://{BUCKET}/data"})
    first = await stage.trainer.conditions(spec)
    assert first is not None
    assert first["image"] == image
    assert await stage.trainer.conditions(spec) == first
    s3.put_object(Bucket=BUCKET, Key="data/a", Body=b"2")
    second = await stage.trainer.conditions(spec)
    assert second is not None
    assert second["input train"] != first["input train"]
    # A tag can mean another image tomorrow.
    assert await stage.trainer.conditions(stage.spec("j000000000002")) is None
