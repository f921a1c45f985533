"""Whether SageMaker can have a training image: it looks into ECR when the job is created."""

from __future__ import annotations

import re
from typing import Any

from gamma_bot.sandbox.aws.calls import ACCOUNT
from gamma_bot.sandbox.aws.errors import invalid

_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)(?::([^@]+))?(?:@(.+))?")
_PERMISSIONS = "ecr:BatchCheckLayerAvailability, ecr:BatchGetImage, ecr:GetDownloadUrlForLayer"


def check(algorithm: dict[str, Any], role: str, region: str) -> None:
    """Refuse an image that can't be pulled.

    Images of other accounts are taken as they are, and so are all while the stand-in's ECR has no repository.

    Raises:
        Refused: ``ValidationException``.
    """
    image = algorithm.get("TrainingImage")
    if image is None:
        return
    found = _ECR.fullmatch(image)
    if found is None:
        mode = algorithm.get("TrainingImageConfig", {}).get("TrainingRepositoryAccessMode")
        if mode != "Vpc":
            raise invalid(
                "TrainingImageConfig with TrainingRepositoryAccessMode set to VPC must be provided when using a "
                "training image from a private Docker registry. Please provide TrainingImageConfig and "
                "TrainingRepositoryAccessMode set to VPC when using a training image from a private Docker registry."
            )
        return
    registry, where, name, tag, digest = found.groups()
    if registry != ACCOUNT:
        return
    from moto.ecr.models import ecr_backends

    repositories = ecr_backends[ACCOUNT][where].repositories
    if not repositories:
        return
    if name not in repositories:
        raise invalid(
            f"Cannot find repository: {name} in registry ID: {registry} Please check if your ECR repository exists and "
            f"role {role} has proper pull permissions for SageMaker: {_PERMISSIONS}"
        )
    wanted = digest or tag or "latest"
    if not any(wanted in (known.image_digest, *known.image_tags) for known in repositories[name].images):
        raise invalid(
            f"Cannot find the requested image: {image} with tag: {tag or ('latest' if not digest else 'null')} and "
            f"digest: {digest or 'null'}. Please check if your ECR image exists and role {role} has proper pull "
            f"permissions for SageMaker: {_PERMISSIONS}"
        )
