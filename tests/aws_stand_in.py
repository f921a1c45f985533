"""What the tests of the AWS stand-in share: requests that AWS would take, and answers checked against its contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from gamma_bot.sandbox.aws.client import AwsStandIn
from gamma_bot.sandbox.aws.contract import Contract, violations

BUCKET = "gamma-bucket"
ROLE = "arn:aws:iam::123456789012:role/gamma-training"
GROUP = "/aws/sagemaker/TrainingJobs"


@contextmanager
def stand_in() -> Iterator[AwsStandIn]:
    """A stand-in with a bucket, whose answers for SageMaker are checked as they come."""
    with AwsStandIn.started() as aws:
        contract, broken = Contract("sagemaker"), list[str]()

        def check(response_dict: dict[str, Any], operation_model: Any, **_: object) -> None:
            if response_dict["status_code"] == 200 and operation_model.output_shape is not None:
                body = json.loads(response_dict["body"])
                shape = contract.output_shape(operation_model.name)
                broken.extend(f"{operation_model.name}: {finding}" for finding in violations(shape, body))

        sagemaker = aws.client("sagemaker")
        sagemaker.meta.events.register("before-parse.sagemaker", check)
        aws.client("s3").create_bucket(Bucket=BUCKET)
        aws.client("s3").put_object(Bucket=BUCKET, Key="src/code.txt", Body=b"the code\n")
        yield aws
        assert not broken, broken


def request(name: str, script: str = "true", **changed: Any) -> dict[str, Any]:
    """A request of CreateTrainingJob that runs a shell script."""
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": f"s3://{BUCKET}/src/code.txt",
        "S3DataDistributionType": "FullyReplicated",
    }
    asked: dict[str, Any] = {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["/bin/sh", "-c"],
            "ContainerArguments": [script],
        },
        "HyperParameters": {"lr": "0.1"},
        "InputDataConfig": [{"ChannelName": "code", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "Environment": {"GREETING": "hello"},
        "Tags": [{"Key": "gamma:job", "Value": "j1"}],
    }
    return asked | changed


def on_spot(checkpoints: str | None = None) -> dict[str, Any]:
    """What makes a request one for spot machines."""
    kept = {"CheckpointConfig": {"S3Uri": checkpoints, "LocalPath": "/opt/ml/checkpoints"}} if checkpoints else {}
    times = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200}
    return {"EnableManagedSpotTraining": True, "StoppingCondition": times} | kept


def preferring(*instances: str, **others: Any) -> dict[str, Any]:
    """A ResourceConfig with instance types in their order of preference."""
    return {"InstancePreferences": [{"InstanceType": name} for name in instances], "InstanceCount": 1} | others


def error(call: Any, **arguments: Any) -> str:
    """`Code: message` of the refusal of a call; it fails if the call is not refused."""
    try:
        call(**arguments)
    except ClientError as refused:
        return f"{refused.response['Error']['Code']}: {refused.response['Error']['Message']}"
    raise AssertionError("the call was not refused")


def refusal(aws: AwsStandIn, name: str, **changed: Any) -> str:
    """How CreateTrainingJob refuses a request with these changes."""
    return error(aws.client("sagemaker").create_training_job, **request(name, **changed))


def log_of(aws: AwsStandIn, job: str) -> list[str]:
    """The lines of all log streams of a job."""
    told = aws.client("logs").filter_log_events(logGroupName=GROUP, logStreamNamePrefix=f"{job}/")
    return [event["message"] for event in told["events"]]


def objects(aws: AwsStandIn, prefix: str) -> list[str]:
    """The keys below a prefix of the bucket."""
    listed = aws.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in listed.get("Contents", [])]


def states(job: dict[str, Any]) -> list[str]:
    return [transition["Status"] for transition in job["SecondaryStatusTransitions"]]
