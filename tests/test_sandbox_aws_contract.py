"""The AWS stand-in refuses what AWS's published service model refuses, member by member, in AWS's words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from gamma_bot.sandbox.aws.contract import Contract, violations
from gamma_bot.sandbox.aws.errors import Refused
from tests.aws_stand_in import ROLE, request

pytestmark = pytest.mark.thorough

OPERATIONS = (
    "CreateTrainingJob",
    "DescribeTrainingJob",
    "StopTrainingJob",
    "UpdateTrainingJob",
    "DeleteTrainingJob",
    "ListTrainingJobs",
    "AddTags",
    "ListTags",
    "DeleteTags",
)


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract("sagemaker")


def refusal(contract: Contract, asked: dict[str, Any], operation: str = "CreateTrainingJob") -> str:
    with pytest.raises(Refused) as refused:
        contract.check(operation, asked)
    return f"{refused.value.code}: {refused.value.message}"


def test_a_request_that_aws_took_is_taken(contract: Contract) -> None:
    contract.check("CreateTrainingJob", request("gamma-j0123456789ab-1"))
    contract.check("CreateTrainingJob", request("a", Tags=[{"Key": "größe: x/y=z+1-@", "Value": ""}]))


def test_every_constraint_of_the_model_is_enforced(contract: Contract) -> None:
    kinds = Counter[str]()
    for operation in OPERATIONS:
        shape = contract.input_shape(operation)
        for kind, path, asked in broken_requests(shape):
            findings = list(violations(shape, asked))
            assert any(f"'{path}'" in finding for finding in findings), (operation, kind, path, findings)
            kinds[kind] += 1
    least = {"required": 50, "too long": 100, "too short": 40, "pattern": 40, "enum": 20, "too small": 10, "too big": 4}
    assert {kind: kinds[kind] for kind in least if kinds[kind] < least[kind]} == {}


def test_the_words_are_those_of_the_service(contract: Contract) -> None:
    member = "failed to satisfy constraint: Member must"
    assert refusal(contract, request("bad name!")) == (
        f"ValidationException: 1 validation error detected: Value 'bad name!' at 'trainingJobName' {member} satisfy "
        "regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    )
    twice = request("gamma--1", RoleArn="xxxx") | {"OutputDataConfig": {}}
    assert refusal(contract, twice) == (
        f"ValidationException: 2 validation errors detected: Value 'xxxx' at 'roleArn' {member} have length greater "
        f"than or equal to 20; Value null at 'outputDataConfig.s3OutputPath' {member} not be null"
    )
    assert refusal(contract, request("a", Environment={"A": "x" * 513, "B": "y"})).endswith(
        ", B=y}' at 'environment' failed to satisfy constraint: Map value must satisfy constraint: [Member must have "
        r"length less than or equal to 512, Member must have length greater than or equal to 0, Member must satisfy "
        r"regular expression pattern: [\S\s]*]"
    )
    # `.` matches no line break: a script of several lines can't be an argument.
    algorithm = request("a")["AlgorithmSpecification"] | {"ContainerArguments": ["one\ntwo"]}
    assert "algorithmSpecification.containerArguments" in refusal(
        contract, request("a", AlgorithmSpecification=algorithm)
    )
    tags = [{"Key": "ok", "Value": "no;semicolons"}]
    assert "'tags.1.member.value'" in refusal(contract, request("a", Tags=tags))
    unknown = {"InstanceType": "ml.huge.9xlarge", "InstanceCount": 1}
    assert f"'resourceConfig.instanceType' {member} satisfy enum value set: [ml.m4.xlarge, " in refusal(
        contract, request("a", ResourceConfig=unknown)
    )
    counted = {"InstanceType": "ml.g5.xlarge", "InstanceCount": "1"}
    assert refusal(contract, request("a", ResourceConfig=counted)) == (
        "SerializationException: STR_VALUE can not be converted to Integer"
    )
    assert refusal(contract, {"MaxResults": 101}, "ListTrainingJobs").endswith("value less than or equal to 100")
    contract.check("CreateTrainingJob", request("a", RoleArn=ROLE))


def broken_requests(shape: Any, names: tuple[str, ...] = (), depth: int = 0) -> Iterator[tuple[str, str, Any]]:
    """Every way to break one constraint below a shape: its kind, the path that AWS would name, and the value."""
    path = ".".join(name[0].lower() + name[1:] if name != "member" else name for name in names)
    limits = shape.metadata
    match shape.type_name:
        case "structure":
            for member in shape.required_members:
                yield "required", f"{path}.{member[0].lower()}{member[1:]}".lstrip("."), {}
            for member, below in shape.members.items() if depth < 6 else ():
                for kind, where, value in broken_requests(below, (*names, member), depth + 1):
                    yield kind, where, {member: value}
        case "list":
            if 0 < limits.get("max", 0) <= 100:
                yield "too long", path, [_sample(shape.member)] * (limits["max"] + 1)
            if limits.get("min", 0) > 0:
                yield "too short", path, []
            simple = shape.member.type_name not in ("structure", "list", "map")
            inside = names if simple else (*names, "1", "member")
            for kind, where, value in broken_requests(shape.member, inside, depth + 1):
                yield kind, where, [value]
        case "map":
            if 0 < limits.get("max", 0) <= 100:
                yield "too long", path, {f"k{number}": "v" for number in range(limits["max"] + 1)}
            for kind, where, value in broken_requests(shape.key, names, depth + 1):
                yield kind, where, {value: "v"}
            for kind, where, value in broken_requests(shape.value, names, depth + 1):
                yield kind, where, {"k": value}
        case "string":
            if shape.enum:
                yield "enum", path, "Neverland"
            if limits.get("max", 10**6) < 10**5:
                yield "too long", path, "a" * (limits["max"] + 1)
            if limits.get("min", 0) > 0:
                yield "too short", path, ""
            if limits.get("pattern", ".*") not in (".*", r"[\S\s]*", ".+"):
                yield "pattern", path, "\u0000;\n"
        case "integer" | "long" | "float" | "double":
            if "max" in limits:
                yield "too big", path, limits["max"] + 1
            if "min" in limits:
                yield "too small", path, limits["min"] - 1


def _sample(shape: Any) -> Any:
    """Something of the right type."""
    return {"structure": {}, "list": [], "map": {}, "string": "a", "integer": 1}.get(shape.type_name, 1)
