"""What SageMaker checks of a new training job beyond its service model: role, data, spot, instances, quotas."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from gamma_bot.sandbox.aws import images, storage
from gamma_bot.sandbox.aws.calls import ACCOUNT
from gamma_bot.sandbox.aws.errors import Refused, invalid
from gamma_bot.sandbox.aws.job import TrainingJob, wanted_instances

if TYPE_CHECKING:
    from gamma_bot.sandbox.aws.world import World

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/(?:[\w+=,.@/-]*/)?([\w+=,.@-]+)")
_LONGEST_RUNTIME_SECONDS = 28 * 86_400
_SERVICE = "sagemaker.amazonaws.com"


def check(request: dict[str, Any], region: str) -> None:
    """Refuse what SageMaker refuses at once.

    Raises:
        Refused: ``ValidationException``.
    """
    _check_required(request)
    _check_instances(request["ResourceConfig"], spot=bool(request.get("EnableManagedSpotTraining")))
    _check_times(request)
    _check_role(request["RoleArn"])
    images.check(request["AlgorithmSpecification"], request["RoleArn"], region)
    _check_inputs(request, region)


def check_quota(job: TrainingJob, world: World) -> None:
    """Refuse a job for which the account has no room.

    Raises:
        Refused: ``ResourceLimitExceeded``: none of the instance types that would do has room.
    """
    refusals = [refusal for wanted in wanted_instances(job.resources) if (refusal := _over_quota(job, wanted, world))]
    if len(refusals) == len(wanted_instances(job.resources)):
        raise refusals[0]


def _over_quota(job: TrainingJob, wanted: tuple[str, int], world: World) -> Refused | None:
    instance, count = wanted
    usage = "spot training job" if job.spot else "training job"
    limit = world.faults.setting("quota", instance_type=instance, usage=usage).get("limit")
    if limit is None:
        return None
    used = sum(
        other.instances[1]
        for other in world.of_region(job.region)
        if not other.over and other.spot == job.spot and other.instances[0] == instance
    )
    if used + count <= int(limit):
        return None
    return Refused(
        "ResourceLimitExceeded",
        f"The account-level service limit '{instance} for {usage} usage' is {limit} Instances, with current "
        f"utilization of {used} Instances and a request delta of {count} Instances. "
        "Please use AWS Service Quotas to request an increase for this quota. If AWS Service Quotas is not available, "
        "contact AWS support to request an increase for this quota.",
    )


def _check_required(request: dict[str, Any]) -> None:
    # The service model lets these out, since serverless jobs do without.
    for name in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition"):
        if name not in request:
            where = name[0].lower() + name[1:]
            raise invalid(
                f"1 validation error detected: Value null at '{where}' failed to satisfy constraint: "
                "Member must not be null"
            )
    algorithm = request["AlgorithmSpecification"]
    if ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
        raise invalid("You must specify exactly one of TrainingImage and AlgorithmName in AlgorithmSpecification.")
    if not request["OutputDataConfig"]["S3OutputPath"].startswith("s3://"):
        raise invalid("The S3OutputPath must be an S3 URI.")
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", [])]
    if len(set(names)) != len(names):
        raise invalid("Channel names must be unique within a training job.")
    keys = [tag["Key"] for tag in request.get("Tags", [])]
    if len(set(keys)) != len(keys):
        raise invalid("Tag keys must be unique per resource.")
    if any(key.lower().startswith("aws:") for key in keys):
        raise invalid("aws: prefixed tag key names are not allowed for external use.")


def _check_instances(resources: dict[str, Any], *, spot: bool) -> None:
    preferences = resources.get("InstancePreferences")
    if "SelectedInstanceType" in resources or "SelectedInstanceCount" in resources:
        raise invalid("SelectedInstanceType and SelectedInstanceCount are read-only.")
    if preferences is None:
        if "InstanceType" not in resources and "InstanceGroups" not in resources:
            raise invalid("InstanceType, InstanceGroups or InstancePreferences must be specified in ResourceConfig.")
        if "InstanceGroups" not in resources and not resources.get("InstanceCount"):
            raise invalid("InstanceCount in ResourceConfig must be at least 1.")
    else:
        _check_preferences(resources, preferences, spot=spot)
    if spot and resources.get("KeepAlivePeriodInSeconds"):
        raise invalid("KeepAlivePeriodInSeconds is not supported with managed spot training.")


def _check_preferences(resources: dict[str, Any], preferences: list[dict[str, Any]], *, spot: bool) -> None:
    for other in ("InstanceType", "InstanceGroups", "InstancePlacementConfig"):
        if other in resources:
            raise invalid(f"InstancePreferences and {other} are mutually exclusive.")
    if spot:
        raise invalid("InstancePreferences and EnableManagedSpotTraining are mutually exclusive.")
    types = [preference["InstanceType"] for preference in preferences]
    if len(set(types)) != len(types):
        raise invalid("An instance type can appear only once in InstancePreferences.")
    counted = sum(bool(preference.get("InstanceCount")) for preference in preferences)
    everyone = bool(resources.get("InstanceCount"))
    if counted not in (0, len(preferences)) or everyone == (counted > 0):
        raise invalid("InstanceCount must be set either on every instance preference or once in ResourceConfig.")


def _check_times(request: dict[str, Any]) -> None:
    condition = request["StoppingCondition"]
    runtime, wait = condition.get("MaxRuntimeInSeconds"), condition.get("MaxWaitTimeInSeconds")
    if runtime is not None and runtime > _LONGEST_RUNTIME_SECONDS:
        raise invalid(f"Invalid MaxRuntimeInSeconds. It must be at most {_LONGEST_RUNTIME_SECONDS}.")
    if request.get("EnableManagedSpotTraining"):
        if wait is None or wait < (runtime or 86_400):
            message = "It must be present and be greater than or equal to MaxRuntimeInSeconds"
            raise invalid(f"Invalid MaxWaitTimeInSeconds. {message}")
    elif wait is not None:
        raise invalid(
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
        )
    place = request.get("CheckpointConfig", {}).get("LocalPath", "/opt/ml/checkpoints")
    if not place.startswith("/opt/ml/"):
        raise invalid(f"The stand-in keeps checkpoints only below /opt/ml, not in {place}.")


def _check_role(arn: str) -> None:
    found = _ROLE.fullmatch(arn)
    if found is None or found[1] != ACCOUNT:
        raise Refused("ValidationException", "Cross-account pass role is not allowed.")
    from moto.iam.models import iam_backends

    roles = {role.name: role for role in iam_backends[ACCOUNT]["aws"].roles.values()}
    # A stand-in without any role takes every name; with roles, it is as strict as AWS.
    if roles and not (found[2] in roles and _SERVICE in _trusted(roles[found[2]])):
        raise invalid(
            f"Could not assume role {arn}. Please ensure that the role exists and allows principal '{_SERVICE}' to "
            "assume the role."
        )


def _trusted(role: Any) -> str:
    policy = role.assume_role_policy_document
    return policy if isinstance(policy, str) else json.dumps(policy)


def _check_inputs(request: dict[str, Any], region: str) -> None:
    for channel in request.get("InputDataConfig", []):
        source = channel["DataSource"].get("S3DataSource")
        if source is None:
            raise invalid("The stand-in reads channels only from S3.")
        if source["S3DataType"] != "S3Prefix":
            raise invalid(f"The stand-in knows only channels of S3DataType S3Prefix, not {source['S3DataType']}.")
        uri = source["S3Uri"]
        bucket = storage.parted(uri)[0]
        elsewhere = storage.bucket_problem(bucket, region) is not None
        if elsewhere or not storage.keys_under(uri):
            raise invalid(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
                f"exists in the selected region ({region}), that objects exist under that S3 prefix, and that the role "
                f'"{request["RoleArn"]}" has "s3:ListBucket" permissions on bucket "{bucket}".'
            )
