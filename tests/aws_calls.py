"""Records what a program asks AWS for, as the IAM actions and resources that a policy has to allow.

``recorded()`` listens in every botocore session that is made while it is open. A presigned link counts as the call that
it stands for: AWS judges it by the rights of who signed it. What AWS's services do on their own, such as KMS for S3, is
not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.iam_policies import allowed, allowed_actions

_ACCOUNT = "123456789012"  # moto's
_LISTENED_TO = "before-parameter-build"

Parameters = Mapping[str, Any]
Context = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class AwsCall:
    """One right that a call needs."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)

    def __str__(self) -> str:
        told = f"{self.action} on {self.resource}"
        return f"{told} with {dict(self.context)}" if self.context else told


@contextmanager
def recorded() -> Iterator[list[AwsCall]]:
    """The rights that all calls need which are made inside, in their order."""
    import botocore.handlers

    calls: list[AwsCall] = []

    def listen(params: Parameters, model: Any, context: Mapping[str, Any], **_: object) -> None:
        service = model.service_model.signing_name
        region = str(
            context.get("client_region", "")
        )  # absent for presigned links; those are S3's, whose ARNs have none
        calls.extend(rights(f"{service}:{model.name}", params, region))

    # Every new session begins with these handlers: the program under test makes its sessions itself.
    handler = (_LISTENED_TO, listen)
    botocore.handlers.BUILTIN_HANDLERS.append(handler)
    try:
        yield calls
    finally:
        botocore.handlers.BUILTIN_HANDLERS.remove(handler)


def rights(call: str, params: Parameters, region: str) -> list[AwsCall]:
    """What a policy must allow for one call. One that is unknown here keeps its name, on a resource that nobody has."""
    known = _RIGHTS.get(call)
    return [AwsCall(call, "arn:of:a:call:that:is:not:known")] if known is None else list(known(params, region))


def refused(policy_documents: Sequence[Mapping[str, Any]], calls: Iterable[AwsCall]) -> list[str]:
    """The calls that the policies don't allow, each once: empty if they allow everything that is used."""
    return list(
        dict.fromkeys(
            str(call) for call in calls if not allowed(policy_documents, call.action, call.resource, call.context)
        )
    )


def unused(policy_documents: Sequence[Mapping[str, Any]], calls: Iterable[AwsCall]) -> set[str]:
    """The actions that the policies allow and no call used."""
    return allowed_actions(policy_documents) - {call.action for call in calls}


Rights = Callable[[Parameters, str], Iterable[AwsCall]]


def _create_training_job(params: Parameters, region: str) -> Iterator[AwsCall]:
    job = _training_job(params["TrainingJobName"], region)
    machines = params.get("ResourceConfig", {})
    types = [
        each["InstanceType"] for each in (*machines.get("InstancePreferences", ()), machines) if "InstanceType" in each
    ]
    yield AwsCall("sagemaker:CreateTrainingJob", job, {"sagemaker:InstanceTypes": types})
    yield AwsCall("iam:PassRole", params["RoleArn"], {"iam:PassedToService": "sagemaker.amazonaws.com"})
    if params.get("Tags"):
        yield AwsCall("sagemaker:AddTags", job)


def _training_job(name: str, region: str) -> str:
    return f"arn:aws:sagemaker:{region}:{_ACCOUNT}:training-job/{name}"


def _of_job(action: str) -> Rights:
    return lambda params, region: [AwsCall(action, _training_job(params["TrainingJobName"], region))]


def _of_arn(action: str, parameter: str) -> Rights:
    return lambda params, _: [AwsCall(action, params[parameter])]


def _of_everything(*actions: str) -> Rights:
    return lambda _, __: [AwsCall(action, "*") for action in actions]


def _of_object(action: str, of_version: str | None = None) -> Rights:
    def needed(params: Parameters, _: str) -> Iterator[AwsCall]:
        name = of_version if of_version and params.get("VersionId") else action
        yield AwsCall(name, f"arn:aws:s3:::{params['Bucket']}/{params['Key']}")

    return needed


def _of_bucket(action: str) -> Rights:
    def needed(params: Parameters, _: str) -> Iterator[AwsCall]:
        # A listing that names no prefix has no such key, and a condition on it does not hold.
        context = {"s3:prefix": params["Prefix"]} if "Prefix" in params else {}
        yield AwsCall(action, f"arn:aws:s3:::{params['Bucket']}", context)

    return needed


def _delete_objects(params: Parameters, _: str) -> Iterator[AwsCall]:
    for each in params["Delete"]["Objects"]:
        yield AwsCall("s3:DeleteObject", f"arn:aws:s3:::{params['Bucket']}/{each['Key']}")


def _of_queue(action: str) -> Rights:
    def needed(params: Parameters, region: str) -> Iterator[AwsCall]:
        name = params.get("QueueName") or params["QueueUrl"].rsplit("/", 1)[1]
        yield AwsCall(action, f"arn:aws:sqs:{region}:{_ACCOUNT}:{name}")

    return needed


def _of_log(action: str, of_stream: bool = False) -> Rights:
    def needed(params: Parameters, region: str) -> Iterator[AwsCall]:
        group = params.get("logGroupIdentifier") or params["logGroupName"]
        arn = group if group.startswith("arn:") else f"arn:aws:logs:{region}:{_ACCOUNT}:log-group:{group}"
        yield AwsCall(action, f"{arn}:log-stream:{params['logStreamName'] if of_stream else ''}")

    return needed


def _of_image(action: str) -> Rights:
    def needed(params: Parameters, region: str) -> Iterator[AwsCall]:
        account = params.get("registryId", _ACCOUNT)
        yield AwsCall(action, f"arn:aws:ecr:{region}:{account}:repository/{params['repositoryName']}")

    return needed


_RIGHTS: dict[str, Rights] = {
    "sagemaker:CreateTrainingJob": _create_training_job,
    "sagemaker:DescribeTrainingJob": _of_job("sagemaker:DescribeTrainingJob"),
    "sagemaker:StopTrainingJob": _of_job("sagemaker:StopTrainingJob"),
    "sagemaker:UpdateTrainingJob": _of_job("sagemaker:UpdateTrainingJob"),
    "sagemaker:DeleteTrainingJob": _of_job("sagemaker:DeleteTrainingJob"),
    "sagemaker:ListTrainingJobs": _of_everything("sagemaker:ListTrainingJobs"),
    "sagemaker:Search": _of_everything("sagemaker:Search"),
    "sagemaker:AddTags": _of_arn("sagemaker:AddTags", "ResourceArn"),
    "sagemaker:ListTags": _of_arn("sagemaker:ListTags", "ResourceArn"),
    "s3:HeadObject": _of_object("s3:GetObject", "s3:GetObjectVersion"),
    "s3:GetObject": _of_object("s3:GetObject", "s3:GetObjectVersion"),
    "s3:PutObject": _of_object("s3:PutObject"),
    "s3:CreateMultipartUpload": _of_object("s3:PutObject"),
    "s3:UploadPart": _of_object("s3:PutObject"),
    "s3:CompleteMultipartUpload": _of_object("s3:PutObject"),
    "s3:AbortMultipartUpload": _of_object("s3:AbortMultipartUpload"),
    "s3:DeleteObject": _of_object("s3:DeleteObject", "s3:DeleteObjectVersion"),
    "s3:DeleteObjects": _delete_objects,
    "s3:HeadBucket": _of_bucket("s3:ListBucket"),
    "s3:ListObjects": _of_bucket("s3:ListBucket"),
    "s3:ListObjectsV2": _of_bucket("s3:ListBucket"),
    "s3:ListObjectVersions": _of_bucket("s3:ListBucketVersions"),
    "s3:GetBucketLocation": _of_bucket("s3:GetBucketLocation"),
    "s3:CreateBucket": _of_bucket("s3:CreateBucket"),
    "sqs:ReceiveMessage": _of_queue("sqs:ReceiveMessage"),
    "sqs:DeleteMessage": _of_queue("sqs:DeleteMessage"),
    "sqs:DeleteMessageBatch": _of_queue("sqs:DeleteMessage"),
    "sqs:ChangeMessageVisibility": _of_queue("sqs:ChangeMessageVisibility"),
    "sqs:ChangeMessageVisibilityBatch": _of_queue("sqs:ChangeMessageVisibility"),
    "sqs:GetQueueAttributes": _of_queue("sqs:GetQueueAttributes"),
    "sqs:GetQueueUrl": _of_queue("sqs:GetQueueUrl"),
    "sqs:SendMessage": _of_queue("sqs:SendMessage"),
    "logs:DescribeLogStreams": _of_log("logs:DescribeLogStreams"),
    "logs:GetLogEvents": _of_log("logs:GetLogEvents", of_stream=True),
    "logs:FilterLogEvents": _of_log("logs:FilterLogEvents"),
    "ecr:DescribeImages": _of_image("ecr:DescribeImages"),
    "ecr:BatchGetImage": _of_image("ecr:BatchGetImage"),
    "iam:GetRole": lambda params, _: [AwsCall("iam:GetRole", f"arn:aws:iam::{_ACCOUNT}:role/{params['RoleName']}")],
    "pricing:GetProducts": _of_everything("pricing:GetProducts"),
    "servicequotas:GetServiceQuota": _of_everything("servicequotas:GetServiceQuota"),
    "servicequotas:ListServiceQuotas": _of_everything("servicequotas:ListServiceQuotas"),
    # Who has credentials may ask whose they are; no policy is needed.
    "sts:GetCallerIdentity": lambda _, __: [],
}
