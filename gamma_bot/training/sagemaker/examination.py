"""Looks at everything in AWS that training on SageMaker needs; for ``gamma doctor``."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.bucket import BucketCheck
from gamma_bot.training.sagemaker.denials import denied
from gamma_bot.training.sagemaker.logs import GROUP
from gamma_bot.training.sagemaker.names import PREFIX
from gamma_bot.training.sagemaker.refusals import AwsRefused, Refusal


@dataclass(frozen=True)
class Examined:
    """One thing looked at. ``fix`` is what to do, empty where all is well."""

    name: str
    well: bool
    detail: str
    fix: str = ""


async def examine(aws: Aws, *, bucket: str, role: str, queue_url: str) -> AsyncIterator[Examined]:
    """Look at credentials, bucket, role, queue and permissions; without credentials at nothing else."""
    try:
        region = await aws.region()
        who = await aws.call("sts", "GetCallerIdentity")
    except AwsRefused as error:
        fix = "set AWS_REGION" if error.kind is Refusal.NO_REGION else "give Gamma credentials, as for any AWS client"
        yield Examined("AWS", False, error.reason, fix)
        return
    yield Examined("AWS", True, f"account {who['Account']}, {region}")
    problems = await BucketCheck(aws, bucket).problems(region)
    if problems:
        yield Examined("bucket", False, problems[0].message, problems[0].hint)
    else:
        yield Examined("bucket", True, f"s3://{bucket}")
    yield _role(role, who["Account"])
    yield await _queue(aws, queue_url)
    jobs = await _allowed(aws, "sagemaker", "ListTrainingJobs", NameContains=PREFIX, MaxResults=1)
    yield jobs or Examined("training jobs", True, "can be listed")
    logs = await _allowed(aws, "logs", "DescribeLogStreams", logGroupName=GROUP, logStreamNamePrefix=PREFIX, limit=1)
    yield logs or Examined("training logs", True, "can be read")
    has_sdk = importlib.util.find_spec("sagemaker") is not None
    missing = "not installed: `framework:` in gamma.yml needs gamma-bot[sagemaker], `image:` does not"
    yield Examined("SageMaker SDK", True, "installed" if has_sdk else missing)


def _role(role: str, account: str) -> Examined:
    if not role:
        detail = "GAMMA_AWS_ROLE_ARN is not set: each gamma.yml has to name one"
        return Examined("training role", True, detail)
    parts = role.split(":")
    if len(parts) < 6 or not parts[5].startswith("role/"):
        return Examined("training role", False, f"{role} is no role's ARN", "correct GAMMA_AWS_ROLE_ARN")
    if parts[4] != account:
        detail = f"{role} is in another account than Gamma's credentials"
        return Examined("training role", False, detail, "correct GAMMA_AWS_ROLE_ARN, or Gamma's credentials")
    return Examined("training role", True, role)


async def _queue(aws: Aws, queue_url: str) -> Examined:
    if not queue_url:
        detail = "GAMMA_AWS_EVENTS_QUEUE_URL is not set: SageMaker is asked every 20 s instead"
        return Examined("events queue", True, detail)
    problem = await _allowed(
        aws, "sqs", "GetQueueAttributes", QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    if problem is None:
        return Examined("events queue", True, queue_url.rpartition("/")[2])
    return Examined("events queue", False, problem.detail, problem.fix)


async def _allowed(aws: Aws, service: str, operation: str, **parameters: Any) -> Examined | None:
    """What is wrong if this call does not work."""
    try:
        await aws.call(service, operation, **parameters)
    except AwsRefused as error:
        if error.kind is Refusal.DENIED:
            told = denied(error)
            return Examined(f"{service} permission", False, told.message, told.hint)
        if error.kind is Refusal.NOT_FOUND and service == "logs":  # made by SageMaker with the first job
            return None
        fix = "correct GAMMA_AWS_EVENTS_QUEUE_URL" if service == "sqs" else "try again"
        return Examined(service, False, error.reason, fix)
    return None
