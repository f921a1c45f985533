"""Which container image a job trains in: the named one or a framework's, by its digest where ECR says it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from gamma_bot.config.errors import Problem
from gamma_bot.config.executors import SageMaker
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.refusals import AwsRefused

_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)(?::([^:@]+))?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DIGEST_SECONDS = 600.0
_SDK_SECONDS = 120.0
_REMEMBERED = 64

log = structlog.get_logger()


@dataclass(frozen=True)
class _Framework:
    name: str
    version: str
    region: str
    instances: tuple[str, ...]


class Images:
    """Finds images, and remembers what it found."""

    def __init__(self, aws: Aws, *, python: str = sys.executable) -> None:
        self._aws, self._python = aws, python
        self._frameworks: dict[_Framework, str] = {}
        self._digests: dict[str, tuple[float, str]] = {}
        self._turn = asyncio.Lock()

    async def find(self, section: SageMaker, region: str) -> str | Problem:
        """The image's address as ``gamma.yml`` means it; empty if it names none."""
        if section.framework is None:
            return section.image or ""
        name, _, version = section.framework.partition(" ")
        wanted = _Framework(name, version, region, tuple(section.instance))
        async with self._turn:  # the SDK takes seconds of a processor
            if wanted not in self._frameworks:
                found = await self._ask_the_sdk(wanted)
                if isinstance(found, Problem):
                    return found
                if len(self._frameworks) >= _REMEMBERED:
                    self._frameworks.clear()
                self._frameworks[wanted] = found
            return self._frameworks[wanted]

    async def pinned(self, image: str) -> str:
        """The image by its digest, so that every try runs the same one; as it is where ECR does not tell it to us."""
        match = _ECR.fullmatch(image)
        if match is None:
            return image
        due, known = self._digests.get(image, (0.0, ""))
        if due > time.monotonic():
            return known
        registry, region, repository, tag = match.groups()
        try:
            answer = await self._aws.call(
                "ecr",
                "DescribeImages",
                region=region,
                registryId=registry,
                repositoryName=repository,
                imageIds=[{"imageTag": tag or "latest"}],
            )
            digest = str(answer["imageDetails"][0]["imageDigest"])
        except (AwsRefused, KeyError, IndexError) as error:
            # Registries of AWS itself don't answer everybody. Whether the image exists is SageMaker's to say.
            log.debug("image.not_pinned", image=image, error=str(error))
            digest = ""
        found = image if not _DIGEST.fullmatch(digest) else f"{image.rpartition('/')[0]}/{_last(image)}@{digest}"
        if len(self._digests) >= _REMEMBERED:
            self._digests.clear()
        self._digests[image] = (time.monotonic() + _DIGEST_SECONDS, found)
        return found

    async def _ask_the_sdk(self, wanted: _Framework) -> str | Problem:
        question = {"framework": wanted.name, "version": wanted.version, "region": wanted.region}
        answer = await self._run(json.dumps({**question, "instances": list(wanted.instances)}))
        key_path = ("train", "sagemaker", "framework")
        match answer:
            case {"images": [str(first), *others]}:
                if any(other != first for other in others):
                    return Problem(
                        f"{wanted.name} has other images for some of the instance types than for the others",
                        "Name types of one kind, with or without graphics processors, or one `image:`.",
                        key_path,
                    )
                return first
            case {"missing": _}:
                return Problem(
                    "this Gamma can't look up the image of a framework: the SageMaker SDK is not installed",
                    'Whoever runs Gamma installs "gamma-bot[sagemaker]"; or write `image:` instead.',
                    key_path,
                )
            case {"wrong": str(words)}:
                message = f"AWS has no image for `{wanted.name} {wanted.version}`: {words.rstrip('.')}"
                return Problem(message, "Name a version that it has, or write `image:` instead.", key_path)
            case _:
                return Problem("the SageMaker SDK could not be asked", "Write `image:` instead.", key_path)

    async def _run(self, question: str) -> object:
        module = "gamma_bot.training.sagemaker.framework_image"
        process = await asyncio.create_subprocess_exec(
            *(self._python, "-W", "ignore", "-m", module),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            said, _ = await asyncio.wait_for(process.communicate(question.encode()), _SDK_SECONDS)
            return json.loads(said)
        except (TimeoutError, ValueError):
            return None
        finally:
            if process.returncode is None:
                process.kill()


def _last(image: str) -> str:
    """The repository's last part without its tag."""
    parts: Sequence[str] = image.rpartition("/")[2].split(":")
    return parts[0]
