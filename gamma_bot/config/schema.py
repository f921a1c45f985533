"""What ``gamma.yml`` may say: one frozen model per section, unknown keys refused.

Values are strict: a number is never taken for text, nor ``yes`` for true. What a value shall be is said once, in
plain words, by the ``Wants`` beside its type; errors and help are made from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from gamma_bot.config.commands import command_mistake, entry_point_mistake
from gamma_bot.config.errors import clipped
from gamma_bot.config.paths import pattern_mistake

Executor = Literal["local", "sagemaker", "actions"]
Scalar = str | int | float | bool | None

VERSIONS = (1,)

_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([KMGT])i?B?", re.IGNORECASE)
_MONEY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*USD", re.IGNORECASE)


@dataclass(frozen=True)
class Wants:
    """What a value must be, to follow "must be"; ``item`` is the same for what a list or mapping holds."""

    value: str
    item: str = ""


def mistake(message: str, hint: str = "", *keys: str) -> PydanticCustomError:
    """A mistake that only a rule can see.

    Args:
        keys: the keys of the section that contradict each other; the last one is shown.
    """
    # The words go into the context, because pydantic would fill in the braces of a template.
    return PydanticCustomError("rule", "{message}", {"message": message, "hint": hint, "keys": keys})


def _seconds(value: object) -> object:
    """``90``, ``90s``, ``30m``, ``2h``, ``1h30m``, ``1d`` → seconds."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None or not any(match.groups()):
            raise ValueError("not a duration")
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return value


def _bytes(value: object) -> object:
    """``512M``, ``8G``, ``8GiB`` → bytes (powers of 1024)."""
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise ValueError("not a size")
        return int(float(match[1]) * 1024 ** (" KMGT".index(match[2].upper())))
    return value


def _usd(value: object) -> object:
    """``5``, ``5 USD`` → 5.0."""
    if isinstance(value, str):
        match = _MONEY.fullmatch(value.strip())
        if match is None:
            raise ValueError("not an amount")
        return float(match[1])
    return value


# SageMaker's limits for hyperparameters are kept on every executor, so that a job can move there.
def _name_fits(name: str) -> str:
    if not 1 <= len(name) <= 256:
        raise mistake(f"a hyperparameter's name has 1 to 256 characters, this one has {len(name)}")
    return name


def _value_fits(value: Scalar) -> Scalar:
    if len(str(value)) > 2500:
        raise mistake(
            f"a hyperparameter takes at most 2,500 characters, this one has {len(str(value)):,}",
            "Put long values into a file of the repository.",
        )
    return value


def _is_pattern(pattern: str) -> str:
    if wrong := pattern_mistake(pattern):
        raise mistake(f"the path filter `{clipped(pattern)}` {wrong[0]}", wrong[1])
    return pattern


def _listed(value: object) -> object:
    """One text may stand for a list of one."""
    return [value] if isinstance(value, str) else value


Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, le=28 * 24 * 3600),
    Wants("a duration like 90s, 30m or 2h, at most 28d"),
]
Bytes = Annotated[
    int,
    BeforeValidator(_bytes),
    Field(ge=64 * 1024**2, le=64 * 1024**4),
    Wants("a size like 512M or 8G, at least 64M"),
]
Usd = Annotated[
    float, BeforeValidator(_usd), Field(ge=0, le=1e9), Wants("an amount like 5 USD (other currencies are not known)")
]
Switch = Annotated[bool, Wants("true or false")]
Image = Annotated[
    str, Field(min_length=1, max_length=255, pattern=r"^\S+$"), Wants("a container image's address with its tag")
]
Instances = Annotated[
    list[Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]{1,40}\.[a-z0-9-]{1,40}$")]],
    BeforeValidator(_listed),
    Field(max_length=5),
    Wants("a SageMaker instance type like ml.g5.xlarge, or a list of up to 5", "an instance type like ml.g5.xlarge"),
]
Inputs = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9.\-_]{1,64}$")],
        Annotated[str, Field(pattern=r"^s3://\S+$", max_length=1024)],
    ],
    Field(max_length=20),
    Wants("at most 20 channel names with their s3:// addresses", "an address like s3://bucket/folder"),
]
Hyperparameters = Annotated[
    dict[Annotated[str, AfterValidator(_name_fits)], Annotated[Scalar, AfterValidator(_value_fits)]],
    Field(max_length=100),
    Wants("a mapping of at most 100 names to values like lr: 0.01", "text, a finite number, true, false or null"),
]
Paths = Annotated[
    list[Annotated[str, AfterValidator(_is_pattern)]],
    BeforeValidator(_listed),
    Field(max_length=100),
    Wants("a list of at most 100 path filters like src/**", "a path filter like src/**"),
]
BranchName = Annotated[str, Field(min_length=1, max_length=255), Wants("the name of a branch, like models")]
Seeds = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**32)]],
    Field(min_length=1, max_length=20),
    Wants("a list of 1 to 20 whole numbers like [0, 1, 2]", "a whole number from 0 to 4294967295"),
]


class Section(BaseModel):
    """A part of ``gamma.yml``. A key with nothing after it means the default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_means_default(cls, values: Any) -> Any:
        if values is None:
            return {}
        if isinstance(values, dict):
            return {key: value for key, value in values.items() if value is not None or key not in cls.model_fields}
        return values


class SageMaker(Section):
    """Where and on what SageMaker trains."""

    instance: Instances = Field(default_factory=list)
    spot: Switch = False
    image: Image | None = None
    inputs: Inputs = Field(default_factory=dict)


class Train(Section):
    """What to run, and within which limits."""

    executor: Executor | None = None
    command: Annotated[str, Wants("text like python train.py")] | None = None
    entry_point: Annotated[str, Wants("a file of the repository like src/train.py")] | None = None
    hyperparameters: Hyperparameters = Field(default_factory=dict)
    paths: Paths = Field(default_factory=list)
    timeout: Seconds = 7200.0
    memory: Bytes | None = None
    sagemaker: SageMaker | None = None

    @field_validator("command")
    @classmethod
    def _command_can_run(cls, command: str | None) -> str | None:
        if command is not None and (wrong := command_mistake(command)):
            raise mistake(*wrong)
        return command

    @field_validator("entry_point")
    @classmethod
    def _entry_point_is_inside(cls, entry_point: str | None) -> str | None:
        if entry_point is not None and (wrong := entry_point_mistake(entry_point)):
            raise mistake(*wrong)
        return entry_point

    @model_validator(mode="after")
    def _one_way_to_start(self) -> Self:
        if self.command is not None and self.entry_point is not None:
            raise mistake(
                "`command` and `entry_point` both say what to run", "Keep one of them.", "command", "entry_point"
            )
        return self


class Metric(Section):
    """How a metric is read: which way is good, how much is noise, and whether it may fail the check.

    ``tolerance`` is in the metric's own unit: a change of at most this much counts as the same.
    """

    goal: Literal["maximize", "minimize"] | None = None
    primary: Switch = False
    tolerance: Annotated[float, Field(ge=0), Wants("a number from 0 up, in the metric's own unit")] = 0.0
    gate: Literal["no-regression"] | None = None

    @model_validator(mode="after")
    def _gate_knows_what_is_good(self) -> Self:
        if self.gate is not None and self.goal is None:
            raise mistake(
                "the gate needs a `goal`: without one nobody knows which way is worse",
                "Add `goal: maximize` or `goal: minimize`.",
                "goal",
                "gate",
            )
        return self


Metrics = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=250)], Metric],
    Field(max_length=100),
    Wants("a mapping of metric names to their rules"),
]


class Budget(Section):
    """How much may be spent, in US dollars."""

    job: Usd | None = None
    month: Usd | None = None

    @model_validator(mode="after")
    def _a_job_fits_in_a_month(self) -> Self:
        if self.job is not None and self.month is not None and self.job > self.month:
            raise mistake(
                f"one job may cost more ({self.job:g} USD) than all jobs of a month ({self.month:g} USD)",
                "Lower `job` or raise `month`.",
                "month",
                "job",
            )
        return self


class Agent(Section):
    """What the agent may do."""

    write_up: Switch = True


class GammaConfig(Section):
    """The whole of ``gamma.yml``."""

    version: Literal[1] = 1
    train: Train = Field(default_factory=Train)
    metrics: Metrics = Field(default_factory=dict)
    baseline: BranchName | None = None
    seeds: Seeds = Field(default_factory=lambda: [0])
    concurrency: Literal["supersede", "queue", "parallel"] = "supersede"
    budget: Budget = Field(default_factory=Budget)
    agent: Agent = Field(default_factory=Agent)

    @field_validator("metrics")
    @classmethod
    def _one_primary_metric(cls, metrics: dict[str, Metric]) -> dict[str, Metric]:
        primary = [name for name, metric in metrics.items() if metric.primary]
        if len(primary) > 1:
            names = ", ".join(f"`{name}`" for name in primary[:-1]) + f" and `{primary[-1]}`"
            raise mistake(
                f"{names} are primary, but only one can be", "Leave `primary: true` with one of them.", *primary
            )
        return metrics
