"""What stands against a request, before anything is launched: each mistake with the key of ``gamma.yml`` to change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from gamma_bot.config.errors import KeyPath, Problem, clipped
from gamma_bot.config.executors import SageMaker
from gamma_bot.training.sagemaker.contract import Violation, violations
from gamma_bot.training.sagemaker.request import Place, section_of, training_job
from gamma_bot.training.trainer import TrainingSpec

_SECTION: KeyPath = ("train", "sagemaker")
_OWN_ARGUMENTS = 4  # what stands before the command in ContainerArguments
_OWN_VARIABLES = 20  # what the job is given besides: MLflow's and our own
_MOST_VARIABLES = 100
_PROBABLE_DIGEST = "0" * 64

# The place of a part of the request in gamma.yml.
_KEYS: Mapping[str, KeyPath] = {
    "RoleArn": (*_SECTION, "role"),
    "VpcConfig": (*_SECTION, "vpc"),
    "CheckpointConfig": (*_SECTION, "resume"),
    "EnableManagedSpotTraining": (*_SECTION, "spot"),
    "MaxRuntimeInSeconds": ("train", "timeout"),
    "MaxWaitTimeInSeconds": (*_SECTION, "max_wait"),
    "InstanceCount": (*_SECTION, "count"),
    "VolumeSizeInGB": (*_SECTION, "volume"),
    "KeepAlivePeriodInSeconds": (*_SECTION, "warm_pool"),
    "VolumeKmsKeyId": (*_SECTION, "kms_key"),
    "KmsKeyId": (*_SECTION, "kms_key"),
    "TrainingImage": (*_SECTION, "image"),
}


def problems_of(spec: TrainingSpec, place: Place, image: str, shape: Any) -> list[Problem]:
    """The mistakes in what is asked for.

    Args:
        image: as far as it is known now; empty if there is none.
        shape: botocore's description of CreateTrainingJob's input.
    """
    section = section_of(spec)
    found = list(_missing(section, place)) + list(_contradictions(spec, section))
    request = training_job(spec, place, image or "unknown", f"sources/0/{_PROBABLE_DIGEST}.tar.gz")
    if not request["RoleArn"]:
        del request["RoleArn"]  # said already, in better words
    for violation in violations(shape, request):
        if violation.value is not None or violation.path != ("RoleArn",):
            found.append(_explained(violation, spec, section))
    return found


def unknown_instance(kind: str, known: tuple[str, ...], key_path: KeyPath) -> Problem:
    """A type that SageMaker does not train on."""
    close = get_close_matches(kind, known, n=1, cutoff=0.6)
    hint = f"Did you mean `{close[0]}`?" if close else "Write a type such as `ml.m5.xlarge` or `ml.g5.xlarge`."
    return Problem(f"SageMaker does not train on `{clipped(kind)}`", hint, key_path)


def _missing(section: SageMaker, place: Place) -> Iterator[Problem]:
    if not place.bucket:
        yield Problem(
            "no bucket is set for the code and the results of SageMaker jobs",
            "Whoever runs Gamma sets GAMMA_AWS_BUCKET.",
            _SECTION,
        )
    if not (section.role or place.role):
        yield Problem(
            "no role is set for SageMaker jobs",
            "Whoever runs Gamma sets GAMMA_AWS_ROLE_ARN; or name one here with `role:`.",
            (*_SECTION, "role"),
        )
    if section.image is None and section.framework is None:
        yield Problem(
            "it is not said in which container image SageMaker shall train",
            "Add `framework: pytorch 2.x`, or `image:` with the address of your own.",
            _SECTION,
        )


def _contradictions(spec: TrainingSpec, section: SageMaker) -> Iterator[Problem]:
    if section.spot and section.max_wait is not None and section.max_wait < spec.timeout_seconds:
        yield Problem(
            f"`max_wait` ({section.max_wait:g} s) is less than `train.timeout` ({spec.timeout_seconds:g} s), and it "
            "covers the waiting and the training",
            "Make it longer, or leave it out: then it is twice `train.timeout`.",
            (*_SECTION, "max_wait"),
        )
    if "code" in section.inputs:
        yield Problem(
            "the channel `code` brings the repository's code",
            "Give this channel another name.",
            (*_SECTION, "inputs", "code"),
        )
    for index, kind in enumerate(section.instance):
        if kind in section.instance[:index]:
            yield Problem(f"`{kind}` is in the list twice", "Name each type once.", (*_SECTION, "instance", index))
    if not section.instance:
        yield Problem("no instance type is named", "Write one such as `ml.m5.xlarge`.", (*_SECTION, "instance"))
    given = len(section.environment) + len(section.secrets)
    if given > _MOST_VARIABLES - _OWN_VARIABLES:
        yield Problem(
            f"`environment` and `secrets` name {given} variables, and SageMaker has room for "
            f"{_MOST_VARIABLES - _OWN_VARIABLES} of them beside Gamma's own",
            "Put some of them into a file of the repository.",
            (*_SECTION, "environment"),
        )


def _explained(violation: Violation, spec: TrainingSpec, section: SageMaker) -> Problem:
    key_path, what = _place(violation, spec, section)
    if violation.allowed and "InstanceType" in violation.path:
        return unknown_instance(str(violation.value), violation.allowed, key_path)
    shown = f" (`{clipped(' '.join(str(violation.value).split()))}`)" if isinstance(violation.value, str | int) else ""
    return Problem(f"{what}{shown} can't be sent to SageMaker: it must {violation.rule}", _hint(key_path), key_path)


def _place(violation: Violation, spec: TrainingSpec, section: SageMaker) -> tuple[KeyPath, str]:
    """Where in gamma.yml a part of the request comes from, and what to call it."""
    path = violation.path
    match path:
        case ("HyperParameters", str(name), *_):
            return ("train", "hyperparameters", name), f"the hyperparameter `{clipped(name)}`"
        case ("HyperParameters",):
            return ("train", "hyperparameters"), "the list of hyperparameters"
        case ("Environment", str(name), *_):
            return _variable(name, section), f"the variable `{clipped(name)}`"
        case ("Environment",):
            return (*_SECTION, "environment"), "the list of variables"
        case ("AlgorithmSpecification", "ContainerArguments", int(index)):
            return ("train", "command"), f"word {index - _OWN_ARGUMENTS + 1} of the command"
        case ("AlgorithmSpecification", "ContainerArguments"):
            return ("train", "command"), "the command"
        case ("AlgorithmSpecification", "TrainingImage") if section.framework is not None:
            return (*_SECTION, "framework"), "the framework's image"
        case ("InputDataConfig", int(index), *_) if 0 < index <= len(section.inputs):
            name = list(section.inputs)[index - 1]
            return (*_SECTION, "inputs", name), f"the input `{clipped(name)}`"
        case ("InputDataConfig", *_):
            return (*_SECTION, "inputs"), "the list of inputs"
        case ("ResourceConfig", "InstanceType"):
            return (*_SECTION, "instance", 0), "the instance type"
        case ("ResourceConfig", "InstancePreferences", int(index), *_):
            return (*_SECTION, "instance", index), "the instance type"
        case ("VpcConfig", "Subnets", int(index)):
            return (*_SECTION, "vpc", "subnets", index), "the subnet"
        case ("VpcConfig", "SecurityGroupIds", int(index)):
            return (*_SECTION, "vpc", "security_groups", index), "the security group"
        case ("OutputDataConfig", "S3OutputPath"):
            return _SECTION, "the bucket that GAMMA_AWS_BUCKET names"
        case _:
            known = next((_KEYS[part] for part in reversed(path) if isinstance(part, str) and part in _KEYS), _SECTION)
            return known, f"`{'.'.join(map(str, known[1:]))}`"


def _variable(name: str, section: SageMaker) -> KeyPath:
    secret = name.removesuffix("_SECRET_ARN")
    if secret in section.secrets:
        return (*_SECTION, "secrets", secret)
    return (*_SECTION, "environment", name) if name in section.environment else _SECTION


def _hint(key_path: KeyPath) -> str:
    match key_path:
        case ("train", "command"):
            return "Put long arguments into hyperparameters or a file of the repository."
        case ("train", "hyperparameters", *_):
            return "Put long values into a file of the repository."
        case _:
            return ""
