"""From what is to be trained to the request that SageMaker is sent."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gamma_bot.config.executors import SageMaker
from gamma_bot.training.sagemaker import names
from gamma_bot.training.trainer import Attempt, Hyperparameter, Origin, TrainingSpec

CODE_CHANNEL = "code"
_GIB = 1 << 30
# $ml is /opt/ml but in the stand-in, where several jobs run side by side; $1 is the tarball's name.
_UNPACK = (
    'ml=${GAMMA_ML:-/opt/ml}; tar -xzf "$ml/input/data/code/$1" -C "$ml" || { mkdir -p "$ml/output"; '
    'echo "gamma-source: the code could not be unpacked" >"$ml/output/failure"; exit 1; }; '
    'shift; exec sh "$ml/gamma/entry.sh" "$@"'
)
# Machines with disks of their own, which SageMaker does not let anybody encrypt with another key.
_LOCAL_DISKS = re.compile(r"ml\.(?:[a-z]+\d+[a-z]*d[a-z]*|g5|g6|g6e|gr6|p4de|p5|p5e|p5en|p6.*|trn\d.*)\.")


@dataclass(frozen=True)
class Place:
    """Where jobs go.

    Attributes:
        bucket: for sources, results and checkpoints.
        role: what jobs may do; ``gamma.yml`` can name another one.
    """

    bucket: str
    role: str
    region: str


def section_of(spec: TrainingSpec) -> SageMaker:
    """The section of ``gamma.yml``, or its defaults."""
    return spec.sagemaker or SageMaker()


def origin_of(spec: TrainingSpec) -> Origin:
    """The commit that is trained.

    Raises:
        ValueError: nobody said which.
    """
    if spec.origin is None:
        raise ValueError("SageMaker needs to know the commit that it trains")
    return spec.origin


def training_job(spec: TrainingSpec, place: Place, image: str, source_key: str) -> dict[str, Any]:
    """The request for the first try of an attempt."""
    section, origin = section_of(spec), origin_of(spec)
    request: dict[str, Any] = {
        "TrainingJobName": names.training_job_name(spec.attempt, 1),
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["/bin/sh"],
            "ContainerArguments": ["-c", _UNPACK, "gamma", source_key.rpartition("/")[2], *spec.command],
        },
        "RoleArn": section.role or place.role,
        "InputDataConfig": [_channel(CODE_CHANNEL, f"s3://{place.bucket}/{source_key}")]
        + [_channel(name, address) for name, address in section.inputs.items()],
        "OutputDataConfig": {"S3OutputPath": names.output_folder(place.bucket)},
        "ResourceConfig": _resources(section),
        "StoppingCondition": _limits(spec, section),
        "Environment": environment(spec),
        "Tags": _tag_list(names.tags(spec.attempt, 1, origin)),
    }
    if spec.hyperparameters:
        request["HyperParameters"] = {name: text_of(value) for name, value in spec.hyperparameters.items()}
    if section.kms_key:
        request["OutputDataConfig"]["KmsKeyId"] = section.kms_key
    if section.vpc is not None:
        vpc = section.vpc
        request["VpcConfig"] = {"Subnets": list(vpc.subnets), "SecurityGroupIds": list(vpc.security_groups)}
    if section.spot:
        request["EnableManagedSpotTraining"] = True
    if section.spot or section.resume != "none":
        folder = names.checkpoint_folder(place.bucket, spec.attempt, origin, section.resume)
        request["CheckpointConfig"] = {"S3Uri": folder}
    return request


def further_try(request: Mapping[str, Any], attempt: Attempt, number: int, instances: Sequence[str]) -> dict[str, Any]:
    """The same request for another try; on spot capacity with the next of the instance types.

    Args:
        instances: the types of ``gamma.yml``; for spot capacity SageMaker itself takes no list of them.
    """
    tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    changed = dict(request) | {
        "TrainingJobName": names.training_job_name(attempt, number),
        "Tags": _tag_list({**tags, "gamma:try": str(number)}),
    }
    if request.get("EnableManagedSpotTraining") and len(instances) > 1:
        kind = instances[(number - 1) % len(instances)]
        changed["ResourceConfig"] = dict(request["ResourceConfig"]) | {"InstanceType": kind}
    return changed


def environment(spec: TrainingSpec) -> dict[str, str]:
    """The job's variables. Ours win, since the bot relies on them."""
    section = section_of(spec)
    return {
        **section.environment,
        **{f"{name}_SECRET_ARN": arn for name, arn in section.secrets.items()},
        **spec.environment,
        "GAMMA_JOB_ID": spec.attempt.job,
        "GAMMA_ATTEMPT": str(spec.attempt.number),
    }


def text_of(value: Hyperparameter) -> str:
    """A hyperparameter as text that the container reads back as the same value (``run.py``: ``value_of``)."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value)  # as it is, "0.1" would come back as a number


def _channel(name: str, address: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": address, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "InputMode": "File", "DataSource": {"S3DataSource": source}}


def _resources(section: SageMaker) -> dict[str, Any]:
    resources: dict[str, Any] = {
        "InstanceCount": section.count,
        "VolumeSizeInGB": math.ceil(section.volume / _GIB),
    }
    # SageMaker takes a list of types for capacity on demand only; on spot, the next try takes the next type.
    if len(section.instance) > 1 and not section.spot:
        resources["InstancePreferences"] = [{"InstanceType": kind} for kind in section.instance]
    else:
        resources["InstanceType"] = section.instance[0]
    if section.warm_pool is not None:
        resources["KeepAlivePeriodInSeconds"] = math.ceil(section.warm_pool)
    if section.kms_key and not any(_LOCAL_DISKS.match(kind) for kind in section.instance):
        resources["VolumeKmsKeyId"] = section.kms_key
    return resources


def _limits(spec: TrainingSpec, section: SageMaker) -> dict[str, int]:
    runtime = math.ceil(spec.timeout_seconds)
    if not section.spot:
        return {"MaxRuntimeInSeconds": runtime}
    wait = math.ceil(section.max_wait) if section.max_wait is not None else 2 * runtime
    return {"MaxRuntimeInSeconds": runtime, "MaxWaitTimeInSeconds": wait}


def _tag_list(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": value} for name, value in values.items()]
