"""The AWS side of Gamma, as Terraform makes it: applied, looked at, and destroyed again.

AWS is moto here, which enforces neither policies nor TLS. So what the stack's policies allow is worked out from the
documents that were applied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from gamma_bot.training.sagemaker import names
from tests.applied_stack import BUCKET, KEY, REGION, SECRET, AppliedStack
from tests.aws_calls import recorded, refused, unused
from tests.iam_policies import allowed

# The stack is applied beside the other tests; alone, its first test waits for it.
pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/gamma-prod-training"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:gamma-prod-events"
DEAD = f"{QUEUE}-dead"
RULE = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/gamma-prod-training-jobs"
OUR_JOB = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{names.PREFIX}j0123456789ab-1"
OTHER_JOB = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/somebody-else-1"
OBJECTS = f"arn:aws:s3:::{BUCKET}/"
# The bot's own words, so that the stack and the bot can't come to mean different folders and jobs.
A_SOURCE = f"{OBJECTS}{names.SOURCES}/1/abc.tar.gz"
A_MODEL = f"{OBJECTS}{names.OUTPUTS}/gamma-j0123456789ab-1/output/model.tar.gz"
A_CHECKPOINT = f"{OBJECTS}{names.CHECKPOINTS}/1/sha/abc/last.pt"
LOG = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/sagemaker/TrainingJobs:log-stream:"
TO_SAGEMAKER = {"iam:PassedToService": "sagemaker.amazonaws.com"}
M5 = {"sagemaker:InstanceTypes": ["ml.m5.xlarge"]}
OVER_TLS = {"aws:SecureTransport": "true"}
BY_RULE = OVER_TLS | {"aws:SourceArn": RULE}
OVER_S3 = {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}

Right = tuple[str, str, Mapping[str, str | Sequence[str]], bool]

THE_BOT: list[Right] = [
    ("sagemaker:CreateTrainingJob", OUR_JOB, M5, True),
    ("sagemaker:CreateTrainingJob", OUR_JOB, {"sagemaker:InstanceTypes": ["ml.p4d.24xlarge"]}, False),
    ("sagemaker:CreateTrainingJob", OUR_JOB, {"sagemaker:InstanceTypes": ["ml.g5.xlarge", "ml.p5.48xlarge"]}, False),
    ("sagemaker:CreateTrainingJob", OTHER_JOB, M5, False),
    ("sagemaker:CreateProcessingJob", OUR_JOB, M5, False),
    ("sagemaker:StopTrainingJob", OUR_JOB, {}, True),
    ("sagemaker:StopTrainingJob", OTHER_JOB, {}, False),
    ("sagemaker:DeleteTrainingJob", OUR_JOB, {}, False),
    ("sagemaker:UpdateTrainingJob", OUR_JOB, {}, True),
    ("sagemaker:DescribeTrainingJob", OTHER_JOB, {}, False),
    ("sagemaker:ListTrainingJobs", "*", {}, True),
    ("sagemaker:ListTags", OUR_JOB, {}, True),
    ("iam:PassRole", ROLE, TO_SAGEMAKER, True),
    ("iam:PassRole", ROLE, {"iam:PassedToService": "ec2.amazonaws.com"}, False),
    ("iam:PassRole", ROLE, {}, False),
    ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin", TO_SAGEMAKER, False),
    ("iam:CreateRole", ROLE, {}, False),
    ("s3:PutObject", A_SOURCE, {}, True),
    ("s3:PutObject", A_MODEL, {}, False),
    ("s3:GetObject", A_MODEL, {}, True),
    ("s3:GetObject", f"{OBJECTS}elsewhere/model.tar.gz", {}, False),
    ("s3:GetObject", "arn:aws:s3:::my-data/mnist/train.csv", {}, False),
    ("s3:DeleteObject", A_SOURCE, {}, False),
    ("s3:PutBucketPolicy", f"arn:aws:s3:::{BUCKET}", {}, False),
    ("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", {}, True),
    ("s3:ListBucket", "arn:aws:s3:::my-data", {"s3:prefix": "mnist/"}, True),
    ("s3:ListBucket", "arn:aws:s3:::my-data", {"s3:prefix": "payroll/"}, False),
    ("s3:ListBucket", "arn:aws:s3:::my-data", {}, False),
    ("sqs:ReceiveMessage", QUEUE, {}, True),
    ("sqs:DeleteMessage", QUEUE, {}, True),
    ("sqs:SendMessage", QUEUE, {}, False),
    ("sqs:ReceiveMessage", DEAD, {}, False),
    ("logs:DescribeLogStreams", LOG, {}, True),
    ("logs:GetLogEvents", f"{LOG}gamma-j0123456789ab-1/algo-1-1700000000", {}, True),
    ("logs:GetLogEvents", f"{LOG}somebody-else-1/algo-1-1700000000", {}, False),
    ("ecr:DescribeImages", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/train-torch", {}, True),
    ("ecr:DescribeImages", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/website", {}, False),
    ("kms:Decrypt", KEY, OVER_S3, True),
    ("kms:Decrypt", KEY, {}, False),
    ("secretsmanager:GetSecretValue", SECRET, {}, False),
    ("pricing:GetProducts", "*", {}, True),
    ("servicequotas:ListServiceQuotas", "*", {}, True),
]

A_JOB: list[Right] = [
    ("s3:GetObject", A_SOURCE, {}, True),
    ("s3:GetObject", A_CHECKPOINT, {}, True),
    ("s3:PutObject", A_MODEL, {}, True),
    ("s3:PutObject", A_CHECKPOINT, {}, True),
    ("s3:PutObject", A_SOURCE, {}, False),
    ("s3:DeleteObject", A_MODEL, {}, False),
    ("s3:GetObject", "arn:aws:s3:::my-data/mnist/train.csv", {}, True),
    ("s3:GetObject", "arn:aws:s3:::other-data/a.csv", {}, True),
    ("s3:GetObject", "arn:aws:s3:::my-data/payroll/2026.csv", {}, False),
    ("s3:PutObject", "arn:aws:s3:::my-data/mnist/train.csv", {}, False),
    ("logs:PutLogEvents", f"{LOG}gamma-j0123456789ab-1/algo-1-1700000000", {}, True),
    ("logs:PutLogEvents", f"{LOG}somebody-else-1/algo-1-1700000000", {}, False),
    ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "/aws/sagemaker/TrainingJobs"}, True),
    ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "billing"}, False),
    ("ecr:GetAuthorizationToken", "*", {}, True),
    ("ecr:BatchGetImage", f"arn:aws:ecr:{REGION}:763104351884:repository/pytorch-training", {}, True),
    ("ecr:BatchGetImage", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/website", {}, False),
    ("ecr:PutImage", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/train-torch", {}, False),
    ("secretsmanager:GetSecretValue", SECRET, {}, True),
    ("secretsmanager:GetSecretValue", SECRET.replace("wandb", "payroll"), {}, False),
    ("kms:Decrypt", KEY, {}, True),
    ("kms:CreateGrant", KEY, {"kms:GrantIsForAWSResource": "true"}, True),
    ("kms:CreateGrant", KEY, {}, False),
    ("kms:ScheduleKeyDeletion", KEY, {}, False),
    ("ec2:CreateNetworkInterface", f"arn:aws:ec2:{REGION}:{ACCOUNT}:subnet/subnet-0123456789abcdef0", {}, True),
    ("ec2:CreateNetworkInterface", f"arn:aws:ec2:{REGION}:{ACCOUNT}:subnet/subnet-0fedcba9876543210", {}, False),
    ("ec2:RunInstances", "*", {}, False),
    ("sagemaker:CreateTrainingJob", OUR_JOB, M5, False),
    ("iam:PassRole", ROLE, TO_SAGEMAKER, False),
    ("sqs:ReceiveMessage", QUEUE, {}, False),
]


def _name(right: Right) -> str:
    action, resource, context, may = right
    where = resource.rsplit(":", 1)[-1] + "".join(f" {value}" for value in context.values())
    return f"{action} on {where}: {'yes' if may else 'no'}"


def test_the_code_is_formatted_and_valid(applied_stack: AppliedStack) -> None:
    for step in ("fmt", "init", "validate"):
        result = applied_stack.result(step)
        assert result.exit_code == 0, f"{result.command}\n{result.output}"


def test_what_a_plan_says_without_aws(applied_stack: AppliedStack) -> None:
    result = applied_stack.result("test")

    assert result.exit_code == 0, result.output
    assert "0 failed" in result.output


def test_the_stack_is_applied_stays_and_goes_without_a_trace(applied_stack: AppliedStack) -> None:
    assert applied_stack.state()["resources"]
    # moto gives the redrive policy back with other spaces, which the provider takes for a change.
    assert applied_stack.second_plan() == {"aws_sqs_queue.events": "update"}

    destroyed = applied_stack.result("destroy")
    assert destroyed.exit_code == 0, destroyed.output
    assert json.loads(applied_stack.result("what is left").output)["resources"] == []


def test_what_the_bot_is_told_is_what_was_made(applied_stack: AppliedStack) -> None:
    outputs = {name: each["value"] for name, each in applied_stack.state()["outputs"].items()}

    assert outputs["GAMMA_AWS_BUCKET"] == applied_stack.resource("aws_s3_bucket.training")["bucket"] == BUCKET
    assert outputs["GAMMA_AWS_ROLE_ARN"] == applied_stack.resource("aws_iam_role.training")["arn"] == ROLE
    assert outputs["GAMMA_AWS_EVENTS_QUEUE_URL"] == applied_stack.resource("aws_sqs_queue.events")["url"]
    assert dict(line.split("=", 1) for line in outputs["env"].splitlines()) == {
        name: outputs[name]
        for name in ("AWS_REGION", "GAMMA_AWS_BUCKET", "GAMMA_AWS_ROLE_ARN", "GAMMA_AWS_EVENTS_QUEUE_URL")
    }


def test_models_are_private_encrypted_and_kept(applied_stack: AppliedStack) -> None:
    blocked = applied_stack.resource("aws_s3_bucket_public_access_block.training")
    encryption = applied_stack.resource("aws_s3_bucket_server_side_encryption_configuration.training")["rule"][0]
    rules = {
        each["id"]: each for each in applied_stack.resource("aws_s3_bucket_lifecycle_configuration.training")["rule"]
    }

    assert all(blocked[each] for each in blocked if each.startswith(("block_", "ignore_", "restrict_")))
    assert encryption["apply_server_side_encryption_by_default"][0]["sse_algorithm"] == "aws:kms"
    assert applied_stack.resource("aws_kms_key.bucket")["enable_key_rotation"]
    assert not applied_stack.resource("aws_s3_bucket.training")["force_destroy"]
    assert {name: [each["days"] for each in rule["expiration"]] for name, rule in rules.items()} == {
        "sources": [90],
        "outputs": [],
        "checkpoints": [30],
    }
    policy = [applied_stack.policy("aws_s3_bucket_policy.training")]
    anybody: dict[str, Any] = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
    }
    assert not allowed([*policy, anybody], "s3:GetObject", f"{OBJECTS}outputs/x", {"aws:SecureTransport": "false"})
    assert allowed([*policy, anybody], "s3:GetObject", f"{OBJECTS}outputs/x", OVER_TLS)


def test_the_queue_hears_of_our_jobs_only_and_from_our_rule_only(applied_stack: AppliedStack) -> None:
    assert json.loads(applied_stack.result("events").output) == ["gamma-j0123456789ab-1"]

    for address, queue in (("aws_sqs_queue.events", QUEUE), ("aws_sqs_queue.dead", DEAD)):
        policy = [applied_stack.policy(address)]
        events = "events.amazonaws.com"
        assert applied_stack.resource(address)["sqs_managed_sse_enabled"]
        assert allowed(policy, "sqs:SendMessage", queue, BY_RULE, events)
        assert not allowed(policy, "sqs:SendMessage", queue, BY_RULE | {"aws:SourceArn": f"{RULE}-2"}, events)
        assert not allowed(policy, "sqs:SendMessage", queue, BY_RULE, "sns.amazonaws.com")
        assert not allowed(policy, "sqs:SendMessage", queue, BY_RULE | {"aws:SecureTransport": "false"}, events)
        assert not allowed(policy, "sqs:ReceiveMessage", queue, BY_RULE, events)


def test_only_sagemaker_in_this_account_takes_on_the_role(applied_stack: AppliedStack) -> None:
    trust = [applied_stack.policy("aws_iam_role.training", "assume_role_policy")]
    sagemaker = "sagemaker.amazonaws.com"

    assert allowed(trust, "sts:AssumeRole", ROLE, {"aws:SourceAccount": ACCOUNT}, sagemaker)
    assert not allowed(trust, "sts:AssumeRole", ROLE, {"aws:SourceAccount": "999999999999"}, sagemaker)
    assert not allowed(trust, "sts:AssumeRole", ROLE, {}, sagemaker)
    assert not allowed(trust, "sts:AssumeRole", ROLE, {"aws:SourceAccount": ACCOUNT}, "ec2.amazonaws.com")


def test_what_the_bot_may_do(applied_stack: AppliedStack) -> None:
    policy = [applied_stack.policy("aws_iam_policy.bot")]
    assert _wrong(policy, THE_BOT) == []


def test_what_a_job_may_do(applied_stack: AppliedStack) -> None:
    policy = [applied_stack.policy("aws_iam_role_policy.training")]
    assert _wrong(policy, A_JOB) == []


def _wrong(policy: list[Any], table: Sequence[Right]) -> list[str]:
    return [_name(right) for right in table if allowed(policy, *right[:3]) is not right[3]]


def test_calls_of_a_program_are_compared_with_what_is_allowed() -> None:
    policies = [
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"{OBJECTS}sources/*"},
                {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"},
            ],
        }
    ]
    import boto3

    with recorded() as calls:
        client = boto3.Session("testing", "testing", region_name=REGION).client("s3", endpoint_url="http://127.0.0.1:9")
        for key in ("sources/a", "outputs/b"):
            client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})
        client.generate_presigned_url("delete_object", Params={"Bucket": BUCKET, "Key": "sources/a"})
        client.generate_presigned_url("get_bucket_acl", Params={"Bucket": BUCKET})

    assert refused(policies, calls) == [
        f"s3:GetObject on {OBJECTS}outputs/b",
        f"s3:DeleteObject on {OBJECTS}sources/a",
        "s3:GetBucketAcl on arn:of:a:call:that:is:not:known",
    ]
    assert unused(policies, calls) == {"s3:PutObject", "s3:ListBucket"}
