"""What ``gamma.yml`` says to the executors that train elsewhere: SageMaker and GitHub Actions.

All of it decides about money, rights or data, so it counts on the default branch only (I10).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from gamma_bot.config.section import (
    Bytes,
    Seconds,
    Section,
    Switch,
    Wants,
    listed,
    mistake,
    number_or_text,
    text_or_list,
)

_INSTANCE = r"^ml\.[a-z0-9-]{1,40}\.[a-z0-9-]{1,40}$"
_ARN = r"^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@-]+$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,511}$"
_KMS_KEY = r"^[A-Za-z0-9:/_-]{1,2048}$"

Image = Annotated[
    str, Field(min_length=1, max_length=255, pattern=r"^\S+$"), Wants("a container image's address with its tag")
]
Framework = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z-]{1,40} \d+(\.\d+|\.x)*$"),
    Wants("a framework with its version, like pytorch 2.5 or pytorch 2.x"),
]
Instances = Annotated[
    list[Annotated[str, Field(pattern=_INSTANCE)]],
    BeforeValidator(listed),
    Field(max_length=5),
    Wants("a SageMaker instance type like ml.g5.xlarge, or a list of up to 5", "an instance type like ml.g5.xlarge"),
    text_or_list({"type": "string", "pattern": _INSTANCE}, 5),
]
Inputs = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9.\-_]{1,64}$")],
        Annotated[str, Field(pattern=r"^s3://\S+$", max_length=1024)],
    ],
    Field(max_length=19),  # SageMaker takes 20, and one of them brings the code
    Wants("at most 19 channel names with their s3:// addresses", "an address like s3://bucket/folder"),
]
Environment = Annotated[
    dict[Annotated[str, Field(pattern=_VARIABLE)], Annotated[str, Field(max_length=512)]],
    Field(max_length=80),
    Wants("at most 80 names of variables with text of at most 512 characters", "text of at most 512 characters"),
]
Secrets = Annotated[
    dict[Annotated[str, Field(pattern=_VARIABLE)], Annotated[str, Field(pattern=_ARN, max_length=512)]],
    Field(max_length=20),
    Wants(
        "at most 20 names of variables with the ARN of a secret in Secrets Manager",
        "the ARN of a secret in Secrets Manager; a secret's value is never written into gamma.yml",
    ),
]
Subnets = Annotated[
    list[Annotated[str, Field(pattern=r"^subnet-[0-9a-z]{1,32}$")]],
    BeforeValidator(listed),
    Field(min_length=1, max_length=16),
    Wants("a list of 1 to 16 subnets like subnet-0a1b2c3d", "a subnet like subnet-0a1b2c3d"),
    text_or_list({"type": "string", "pattern": r"^subnet-[0-9a-z]{1,32}$"}, 16),
]
SecurityGroups = Annotated[
    list[Annotated[str, Field(pattern=r"^sg-[0-9a-z]{1,32}$")]],
    BeforeValidator(listed),
    Field(min_length=1, max_length=5),
    Wants("a list of 1 to 5 security groups like sg-0a1b2c3d", "a security group like sg-0a1b2c3d"),
    text_or_list({"type": "string", "pattern": r"^sg-[0-9a-z]{1,32}$"}, 5),
]
WarmPool = Annotated[
    Seconds,
    Field(le=21_600),
    Wants("a duration like 30m, at most 6h"),
    number_or_text(r"(?=[0-9])([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?", exclusiveMinimum=0, maximum=21_600),
]


class Vpc(Section):
    """The private network that jobs run in."""

    subnets: Subnets
    """The subnets, in which machines of the wanted type exist."""
    security_groups: SecurityGroups
    """The security groups of the machines: they must let the job reach S3 and MLflow."""


class SageMaker(Section):
    """Where and on what SageMaker trains."""

    instance: Instances = Field(default_factory=lambda: ["ml.m5.xlarge"])
    """Instance types in the order in which they are tried: the next one where the one before has no capacity."""
    count: Annotated[int, Field(ge=1, le=64), Wants("a whole number from 1 to 64")] = 1
    """How many machines a job takes."""
    volume: Annotated[Bytes, Field(ge=1 << 30), Wants("a size like 50G, at least 1G")] = 30 << 30
    """How much disk each machine has."""
    spot: Switch = False
    """Train on spot capacity: cheaper, but it may be interrupted and begin again from its last checkpoint."""
    max_wait: Seconds | None = None
    """How long a spot job may take, waiting included. Without it, twice `train.timeout`."""
    resume: Literal["none", "same-sha", "branch"] = "none"
    """Which earlier checkpoints a job finds: none, those of the same commit, or those of its branch."""
    warm_pool: WarmPool | None = None
    """How long the machines stay for the next job after this one. They are billed meanwhile."""
    image: Image | None = None
    """The container image to train in. Any image with a shell, tar and Python will do."""
    framework: Framework | None = None
    """Instead of an image: a framework whose image AWS keeps, such as pytorch 2.5."""
    role: Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/\S+$"), Wants("the ARN of a role")] | None = (
        None
    )
    """The role that jobs have. Without it, whoever runs Gamma has chosen."""
    vpc: Vpc | None = None
    """The private network that jobs run in."""
    kms_key: Annotated[str, Field(pattern=_KMS_KEY), Wants("the ID or ARN of a KMS key")] | None = None
    """The key that the machines' disks and the results in S3 are encrypted with."""
    inputs: Inputs = Field(default_factory=dict)
    """Channel names with the data they bring, as s3:// addresses."""
    environment: Environment = Field(default_factory=dict)
    """Further variables of the job. Everybody who may describe the job can read them: no secrets."""
    secrets: Secrets = Field(default_factory=dict)
    """Secrets that the job reads itself: NAME becomes the variable NAME_SECRET_ARN. Its role must allow it."""

    @model_validator(mode="after")
    def _one_image(self) -> Self:
        if self.image is not None and self.framework is not None:
            raise mistake("`image` and `framework` both say what to train in", "Keep one.", "image", "framework")
        return self

    @model_validator(mode="after")
    def _spot_and_what_it_excludes(self) -> Self:
        if self.spot and self.warm_pool is not None:
            raise mistake("spot machines can't be kept warm", "Remove `warm_pool` or `spot`.", "spot", "warm_pool")
        if self.max_wait is not None and not self.spot:
            raise mistake("`max_wait` counts for spot machines only", "Add `spot: true`.", "spot", "max_wait")
        return self


class Actions(Section):
    """Which workflow of GitHub Actions trains."""

    workflow: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9._-]{1,200}\.ya?ml$"),
        Wants("the name of a file in .github/workflows, like gamma.yml"),
    ] = "gamma.yml"
    """The workflow's file in `.github/workflows`. `gamma init --executor actions` writes it."""
