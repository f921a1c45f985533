"""Which image a job trains in: what the SageMaker SDK knows, and what a registry says about a tag."""

from __future__ import annotations

from typing import Any

import pytest

from gamma_bot.config.errors import Problem
from gamma_bot.config.executors import SageMaker
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.images import Images
from gamma_bot.training.sagemaker.refusals import AwsRefused, Refusal

pytestmark = pytest.mark.thorough

DIGEST = f"sha256:{'a' * 64}"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/train"


class Registry(Aws):
    """Answers for ECR."""

    def __init__(self, answer: dict[str, Any] | None) -> None:
        super().__init__()
        self.answer, self.asked = answer, list[dict[str, Any]]()

    async def call(self, service: str, operation: str, **parameters: Any) -> Any:
        self.asked.append({"service": service, **parameters})
        if self.answer is None:
            raise AwsRefused(Refusal.DENIED, "ecr:DescribeImages", "no")
        return self.answer


async def test_an_image_is_pinned_where_the_registry_tells_its_digest() -> None:
    registry = Registry({"imageDetails": [{"imageDigest": DIGEST}]})
    images = Images(registry)
    assert await images.pinned(f"{IMAGE}:3") == f"{IMAGE}@{DIGEST}"
    assert await images.pinned(f"{IMAGE}:3") == f"{IMAGE}@{DIGEST}"
    asked = {"registryId": "123456789012", "repositoryName": "team/train", "imageIds": [{"imageTag": "3"}]}
    assert registry.asked == [{"service": "ecr", "region": "eu-west-1", **asked}]


@pytest.mark.parametrize("image", [f"{IMAGE}:3", f"{IMAGE}@{DIGEST}", "docker.io/library/python:3.12"])
async def test_an_image_stays_as_it_is_where_nobody_tells(image: str) -> None:
    assert await Images(Registry(None)).pinned(image) == image


async def test_frameworks_are_looked_up_with_the_sdk() -> None:
    images = Images(Registry(None))
    newest = SageMaker(framework="pytorch 2.x", instance=["ml.g5.xlarge"])
    found = await images.find(newest, "us-east-1")
    assert isinstance(found, str)
    assert "/pytorch-training:2." in found
    assert "-gpu-" in found


async def test_what_the_sdk_does_not_know_is_a_mistake_in_gamma_yml(monkeypatch: pytest.MonkeyPatch) -> None:
    images = Images(Registry(None))
    answers = iter(
        [
            {"wrong": "there is no pytorch 9.x; the newest are 2.9.0, 2.10.0"},
            {"missing": "No module named 'sagemaker'"},
            {"images": ["cpu", "gpu"]},
        ]
    )

    async def run(_self: Images, _question: str) -> object:
        return next(answers)

    monkeypatch.setattr(Images, "_run", run)
    for words in (
        "AWS has no image for `pytorch 9.x`",
        "the SageMaker SDK is not installed",
        "pytorch has other images",
    ):
        found = await images.find(SageMaker(framework="pytorch 9.x"), "us-east-1")
        assert isinstance(found, Problem)
        assert words in found.message
        assert found.key_path == ("train", "sagemaker", "framework")
