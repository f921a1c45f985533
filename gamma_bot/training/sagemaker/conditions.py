"""What a job's result depends on in AWS: which image, which state of its inputs. Nothing of the data is read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from gamma_bot.config.executors import SageMaker
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.refusals import AwsRefused

_MOST_PAGES = 20


async def conditions(aws: Aws, section: SageMaker, image: str) -> Mapping[str, str] | None:
    """The image and a digest of each input; ``None`` where that can't be told.

    Args:
        image: as it will run; only a digest says which one that is.
    """
    if "@sha256:" not in image and section.framework is None:
        return None
    if section.resume == "branch":  # it goes on from what the branch's last job had learnt
        return None
    found = {"image": image}
    for name, address in section.inputs.items():
        digest = await _state_of(aws, address)
        if digest is None:
            return None
        found[f"input {name}"] = digest
    return found


async def _state_of(aws: Aws, address: str) -> str | None:
    """A digest over the names and ETags of all objects of an input."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    digest = hashlib.sha256(address.encode())
    more: dict[str, str] = {}
    for _page in range(_MOST_PAGES):
        try:
            answer = await aws.call("s3", "ListObjectsV2", Bucket=bucket, Prefix=prefix, **more)
        except AwsRefused:
            return None
        for each in answer.get("Contents", ()):
            digest.update(f"{each['Key']}\0{each['ETag']}\n".encode())
        if not answer.get("IsTruncated"):
            return digest.hexdigest()
        more = {"ContinuationToken": answer["NextContinuationToken"]}
    return None  # so many objects are not worth the calls
