"""The bot's policy in AWS allows every call that the bot makes there, and hardly anything else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gamma_bot.sandbox.aws.client import AwsStandIn
from gamma_bot.store.database import Database
from gamma_bot.store.launches import Launches
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.trainer import SageMakerTrainer
from gamma_bot.training.trainer import Attempt, Ending, Outcome, Phase, TrainingSpec
from tests.applied_stack import BUCKET, REGION, AppliedStack
from tests.aws_calls import recorded, refused, unused
from tests.sagemaker_stage import QUICK, SOON, SageMakerStage

pytestmark = pytest.mark.thorough

ROLE = "arn:aws:iam::123456789012:role/gamma-prod-training"
QUEUE = "gamma-prod-events"
IMAGE = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/train-torch:1"

# What the policy allows and these stories do not come to, each with what it is there for.
NOT_SEEN_HERE = {
    "kms:Decrypt": "S3 asks with the bot's rights where the bucket has a key of its own",
    "kms:GenerateDataKey": "the same",
    "sqs:GetQueueAttributes": "gamma doctor looks whether the queue is there",
    "pricing:GetProducts": "gamma prices refresh",
    "servicequotas:GetServiceQuota": "for people: the hint of a quota card leads to it",
    "servicequotas:ListServiceQuotas": "for people: the hint of a quota card leads to it",
}


def furnish(aws: AwsStandIn) -> str:
    """What Terraform would make, in its region; the queue's address."""
    s3, sqs = aws.client("s3", REGION), aws.client("sqs", REGION)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=BUCKET, Key="inputs/rows.csv", Body=b"1")
    queue = str(sqs.create_queue(QueueName=QUEUE)["QueueUrl"])
    pattern = {"source": ["aws.sagemaker"], "detail": {"TrainingJobName": [{"prefix": "gamma-"}]}}
    aws.client("events", REGION).put_rule(Name=QUEUE, EventPattern=json.dumps(pattern))
    target = {"Id": "queue", "Arn": f"arn:aws:sqs:{REGION}:123456789012:{QUEUE}"}
    aws.client("events", REGION).put_targets(Rule=QUEUE, Targets=[target])
    aws.client("ecr", REGION).create_repository(repositoryName="train-torch")
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": []}
    aws.client("ecr", REGION).put_image(
        repositoryName="train-torch",
        imageManifest=json.dumps(manifest | {"config": {"digest": "sha256:" + "0" * 64}}),
        imageTag="1",
    )
    return queue


async def end_of(trainer: SageMakerTrainer, attempt: Attempt) -> Outcome:
    """Look until an attempt is over."""
    while True:
        for seen in await trainer.observe([attempt]):
            if seen.phase is Phase.ENDED and seen.outcome is not None:
                return seen.outcome
        await asyncio.sleep(0.02)


@pytest.mark.timeout(300)
async def test_the_policy_allows_what_the_bot_does_and_hardly_more(
    applied_stack: AppliedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AwsStandIn.started() as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        queue = furnish(aws)
        database = Database(f"sqlite:///{tmp_path / 'gamma.db'}")
        database.create_tables()
        maker = SageMakerStage(aws, queue, tmp_path)

        def spec(job: str, script: str = "print('trained')", **section: object) -> TrainingSpec:
            inputs = {"train": f"s3://{BUCKET}/inputs/"}
            return maker.spec(job, script, **{"image": IMAGE, "inputs": inputs, "instance": "ml.m5.xlarge", **section})

        with recorded() as calls:
            trainer = SageMakerTrainer(
                Aws(region=REGION, endpoint_url=aws.url),
                Launches(database),
                bucket=BUCKET,
                role=ROLE,
                queue_url=queue,
                patience=SOON,
                pace=QUICK,
            )
            good = spec("j1", "import os\nopen(os.environ['SM_MODEL_DIR'] + '/weights', 'w').write('1')")
            assert await trainer.preflight(good) == []
            assert await trainer.conditions(good)
            await trainer.submit(good)
            ended = await end_of(trainer, good.attempt)
            assert ended.ending is Ending.COMPLETED, ended
            await trainer.log_tail(good.attempt, 20)
            left = await trainer.artifacts(good.attempt)
            assert left
            for artifact in left:
                await trainer.artifact_link(good.attempt, artifact.path)
                (await trainer.open_artifact(good.attempt, artifact.path)).close()

            aws.plan("lost", action="sagemaker:CreateTrainingJob")  # then it is looked for, and adopted by its tags
            aws.plan("capacity", job="gamma-j2-1")
            again = spec("j2", instance=["ml.m5.xlarge", "ml.g5.xlarge"])
            await trainer.submit(again)
            assert (await end_of(trainer, again.attempt)).ending is Ending.COMPLETED

            long = spec("j3", "import time\ntime.sleep(600)", warm_pool="30m")
            await trainer.submit(long)
            while not any(seen.phase is Phase.RUNNING for seen in await trainer.observe([long.attempt])):
                await asyncio.sleep(0.02)
            await trainer.stop(long.attempt)
            assert (await end_of(trainer, long.attempt)).ending is Ending.STOPPED
            await trainer.close()
        await maker.close()
        database.close()

    policy = [applied_stack.policy("aws_iam_policy.bot")]
    assert refused(policy, calls) == []
    idle = unused(policy, calls)
    print("allowed, and not used here:", *sorted(idle))
    assert idle <= set(NOT_SEEN_HERE)
