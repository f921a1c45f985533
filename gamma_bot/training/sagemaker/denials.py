"""What AWS refused when a training job was asked for, as an ending: what happened and who has to change what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gamma_bot.training.sagemaker.endings import Judgement
from gamma_bot.training.sagemaker.refusals import AwsRefused, Refusal
from gamma_bot.training.trainer import Ending


@dataclass(frozen=True)
class QuotaInUse:
    """The quota would do, but other jobs use it now: it is worth waiting. ``detail`` says for what."""

    detail: str


def explain(error: AwsRefused, request: Mapping[str, Any], region: str, arn: str = "") -> Judgement | QuotaInUse:
    """The ending of a try that was never created, or that it has to wait.

    Args:
        request: what CreateTrainingJob was sent; for a refusal of another call, what was going to be sent.
        arn: the training job of somebody else that has the name.
    """
    match error.kind:
        case Refusal.DENIED:
            return denied(error, str(request.get("RoleArn", "")))
        case Refusal.LIMIT:
            return _quota(error, region)
        case Refusal.IN_USE:
            taken = arn or error.clashing_arn or str(request["TrainingJobName"])
            return Judgement(
                Ending.CONFIG,
                f"A training job of this name is there already and it is not this one's: {taken}.",
                "Two Gammas must not share an AWS account and region with the same jobs. Nothing was launched.",
            )
        case Refusal.NO_REGION:
            return Judgement(Ending.CONFIG, "Gamma does not know which AWS region to train in.", "Set AWS_REGION.")
        case _:
            return _invalid(error, request, region)


def denied(error: AwsRefused, role: str = "") -> Judgement:
    """A permission that is missing: which, on what, and which policy to look at."""
    action, resource = error.denied_action, error.denied_resource
    place = f" on `{resource}`" if resource not in ("", "*") else ""
    because = f" AWS says: {error.denied_because}." if error.denied_because else ""
    if action == "iam:PassRole":
        hint = (
            f"Add iam:PassRole for `{resource or role}` to the policy of the identity that Gamma runs as "
            f"(infra/iam.tf has it), or name a role that it may hand on in GAMMA_AWS_ROLE_ARN.{because}"
        )
    else:
        hint = f"Add {action} to the policy of the identity that Gamma runs as (infra/iam.tf has it).{because}"
    return Judgement(Ending.CONFIG, f"AWS denies Gamma the permission `{action}`{place}.", hint)


def _quota(error: AwsRefused, region: str) -> Judgement | QuotaInUse:
    page = f"https://{region}.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"
    limit = error.limit
    if limit is None:
        return Judgement(Ending.QUOTA, f"A quota of the AWS account does not allow it: {error.reason}", page)
    name, value, used, wanted = limit
    if wanted <= value:
        return QuotaInUse(f"waits for quota: {used} of {value} in use ({name})")
    asked = f"; this job needs {wanted}" if value else ""
    return Judgement(
        Ending.QUOTA,
        f"The AWS account's quota “{name}” is {value}{asked}.",
        f"Ask for more at {page}, or use another `instance` in gamma.yml (spot has a quota of its own).",
    )


def _invalid(error: AwsRefused, request: Mapping[str, Any], region: str) -> Judgement:
    reason, role = error.reason, str(request.get("RoleArn", ""))
    lowered = reason.lower()
    if "assume role" in lowered or "pass role" in lowered or "could not assume" in lowered:
        message = f"SageMaker can't take on the role `{role}`: {reason}"
        hint = (
            "Correct GAMMA_AWS_ROLE_ARN (or `train.sagemaker.role`): the role must be in this AWS account and trust "
            "sagemaker.amazonaws.com."
        )
        return Judgement(Ending.CONFIG, message, hint)
    if error.kind is Refusal.NOT_FOUND and "s3" in error.operation:
        message = "The bucket that Gamma puts code into does not exist."
        return Judgement(Ending.CONFIG, message, "Create it, or correct GAMMA_AWS_BUCKET.")
    if "No S3 objects found" in reason or ("region" in lowered and "bucket" in lowered):
        message = f"SageMaker does not find the data: {reason}"
        hint = (
            f"Check the addresses under `train.sagemaker.inputs`; their buckets, and GAMMA_AWS_BUCKET, must be in "
            f"{region}, and the job's role must be allowed to list them."
        )
        return Judgement(Ending.CONFIG, message, hint)
    if "instance type" in lowered or "instancetype" in lowered:
        message = f"SageMaker refuses the instance type: {reason}"
        return Judgement(
            Ending.CONFIG, message, f"Is it offered for training in {region}? Correct `train.sagemaker.instance`."
        )
    where = f"{error.operation.partition(':')[2]}: {error.code}" if error.code else error.operation
    return Judgement(Ending.CONFIG, f"AWS refused the job ({where}): {reason}", "Correct gamma.yml and push again.")
