"""What things of a job are called in AWS. All of it follows from the attempt, so it can be found again (I3)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Literal

from gamma_bot.training.trainer import Attempt, Origin

# EventBridge's rule and the bot's rights select by it.
PREFIX = "gamma-"
SOURCES, OUTPUTS, CHECKPOINTS = "sources", "outputs", "checkpoints"

_MOST_CHARACTERS = 63
_MOST_TAG_CHARACTERS = 256
_NO_TAG_CHARACTER = re.compile(r"[^\w .:/=+\-@]")
_NO_NAME_CHARACTER = re.compile(r"[^A-Za-z0-9]+")

Lineage = Literal["none", "same-sha", "branch"]


def training_job_name(attempt: Attempt, number: int) -> str:
    """The name of a try of an attempt: ``gamma-<job>-<attempt>``, further tries with ``-r2``, ``-r3`` …"""
    suffix = f"-r{number}" if number > 1 else ""
    wanted = f"{attempt.job}-{attempt.number}"
    tidy = _NO_NAME_CHARACTER.sub("-", wanted).strip("-")
    room = _MOST_CHARACTERS - len(PREFIX) - len(suffix)
    if tidy != wanted or len(tidy) > room or re.search(r"-r\d+$", tidy):
        # Not a job id of ours: what is lost by tidying up must not make two names the same.
        digest = hashlib.sha256(wanted.encode()).hexdigest()[:16]
        tidy = f"{tidy[: room - 17].strip('-')}-{digest}".strip("-")
    return f"{PREFIX}{tidy}{suffix}"


def tags(attempt: Attempt, number: int, origin: Origin) -> dict[str, str]:
    """What a training job is told to be ours by, and found by in the bill."""
    written = {
        "gamma:job": attempt.job,
        "gamma:attempt": str(attempt.number),
        "gamma:try": str(number),
        "gamma:repository": origin.repository,
        "gamma:sha": origin.sha,
        "gamma:branch": origin.branch,
    }
    return {name: tag_value(value) for name, value in written.items()}


def is_ours(attempt: Attempt, number: int, found: Mapping[str, str]) -> bool:
    """Whether a training job with these tags is this try of this attempt."""
    own = {"gamma:job": attempt.job, "gamma:attempt": str(attempt.number), "gamma:try": str(number)}
    return all(found.get(name) == tag_value(value) for name, value in own.items())


def tag_value(text: str) -> str:
    """Text as a tag may hold it: what AWS does not allow becomes ``_``."""
    return _NO_TAG_CHARACTER.sub("_", text)[:_MOST_TAG_CHARACTERS]


def source_key(origin: Origin, digest: str) -> str:
    """Where the code is: by its content, so that later attempts of the same commit find it there."""
    return f"{SOURCES}/{origin.repository_id}/{digest}.tar.gz"


def output_folder(bucket: str) -> str:
    """What SageMaker is told to put results below, in a folder per training job."""
    return f"s3://{bucket}/{OUTPUTS}"


def output_prefix(name: str) -> str:
    """Where the results of a training job are."""
    return f"{OUTPUTS}/{name}/output/"


def checkpoint_folder(bucket: str, attempt: Attempt, origin: Origin, lineage: Lineage) -> str:
    """Where checkpoints are kept, and earlier ones are found: by line of descent, not by job."""
    match lineage:
        case "none":
            place = f"attempt/{training_job_name(attempt, 1)}"
        case "same-sha":
            place = f"sha/{origin.sha}"
        case "branch":
            # A branch's name may hold what a path must not; its digest says which one it is.
            readable = _NO_NAME_CHARACTER.sub("-", origin.branch).strip("-")[:60]
            place = f"branch/{readable}-{hashlib.sha256(origin.branch.encode()).hexdigest()[:12]}"
    return f"s3://{bucket}/{CHECKPOINTS}/{origin.repository_id}/{place}"


def console_page(region: str, name: str) -> str:
    """SageMaker's own page of a training job."""
    return f"https://{region}.console.aws.amazon.com/sagemaker/home?region={region}#/jobs/{name}"
