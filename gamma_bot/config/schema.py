"""What ``gamma.yml`` may say: one frozen model per section, unknown keys refused.

The text below a key says what the key does; editors show it, through ``gamma schema``.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from gamma_bot.config.commands import command_mistake, entry_point_mistake
from gamma_bot.config.errors import clipped
from gamma_bot.config.executors import Actions, SageMaker
from gamma_bot.config.paths import pattern_mistake
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

Executor = Literal["local", "sagemaker", "actions"]
Role = Literal["read", "triage", "write", "maintain", "admin"]
Scalar = str | int | float | bool | None

VERSIONS = (1,)

_MONEY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*USD", re.IGNORECASE)


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


Usd = Annotated[
    float,
    BeforeValidator(_usd),
    Field(ge=0, le=1e9),
    Wants("an amount like 5 USD (other currencies are not known)"),
    number_or_text(r"[0-9]{1,9}(\.[0-9]{1,9})? *[Uu][Ss][Dd]", minimum=0, maximum=1e9),
]
Hyperparameters = Annotated[
    dict[Annotated[str, AfterValidator(_name_fits)], Annotated[Scalar, AfterValidator(_value_fits)]],
    Field(max_length=100),
    Wants("a mapping of at most 100 names to values like lr: 0.01", "text, a finite number, true, false or null"),
]
Paths = Annotated[
    list[Annotated[str, AfterValidator(_is_pattern)]],
    BeforeValidator(listed),
    Field(max_length=100),
    Wants("a list of at most 100 path filters like src/**", "a path filter like src/**"),
    text_or_list({"type": "string", "minLength": 1}, 100),
]
BranchName = Annotated[str, Field(min_length=1, max_length=255), Wants("the name of a branch, like models")]
Seeds = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**32)]],
    Field(min_length=1, max_length=20),
    Wants("a list of 1 to 20 whole numbers like [0, 1, 2]", "a whole number from 0 to 4294967295"),
]


Permissions = Annotated[
    dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")], Role],
    Field(max_length=50),
    Wants("a mapping of commands to roles like retry: maintain"),
]
JobCount = Annotated[int, Field(ge=1, le=1000), Wants("a whole number from 1 to 1000")]


class Train(Section):
    """What to run, and within which limits."""

    executor: Executor | None = None
    """Where to train. Without it, whoever runs Gamma has chosen. Counts on the default branch only."""
    command: Annotated[str, Wants("text like python train.py")] | None = None
    """What to run. It is not a shell: for more than one command, run a script."""
    entry_point: Annotated[str, Wants("a file of the repository like src/train.py")] | None = None
    """The Python script to run, instead of a whole command."""
    hyperparameters: Hyperparameters = Field(default_factory=dict)
    """What the script finds in its hyperparameters. `/gamma train name=value` changes one of them for one job."""
    paths: Paths = Field(default_factory=list)
    """Which files make a push worth training, as Git patterns; `!` takes out again and the last match wins."""
    timeout: Seconds = 7200.0
    """How long a job may take before it is stopped."""
    memory: Bytes | None = None
    """How much memory a job may take before it is ended."""
    mlflow: Literal["own-run", "adopt"] = "own-run"
    """Whose MLflow run a job is: the one that Gamma opens for it, or the one that the script makes itself."""
    sagemaker: SageMaker | None = None
    """Where and on what SageMaker trains. Counts on the default branch only."""
    actions: Actions | None = None
    """Which workflow of GitHub Actions trains. Counts on the default branch only."""

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
    """Which way is better."""
    primary: Switch = False
    """Whether this is the metric that a run is judged by first. One metric can be."""
    tolerance: Annotated[float, Field(ge=0), Wants("a number from 0 up, in the metric's own unit")] = 0.0
    """How much change counts as the same, in the metric's own unit."""
    gate: Literal["no-regression"] | None = None
    """Whether a run that is worse than its baseline in this metric fails the check. Needs a goal."""

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
    """What one job may cost at most. A dearer one needs `/gamma approve`."""
    pull_request: Usd | None = None
    """What all jobs of a pull request may cost together."""
    month: Usd | None = None
    """What all jobs of a calendar month (UTC) may cost together."""
    repository: Usd | None = None
    """What all jobs that this repository ever has may cost together."""

    @model_validator(mode="after")
    def _the_part_fits_in_the_whole(self) -> Self:
        parts = {"job": "one job", "pull_request": "all jobs of a pull request", "month": "all jobs of a month"}
        wholes = {**parts, "repository": "all jobs of the repository"}
        for part, whole in (
            ("job", "pull_request"),
            ("job", "month"),
            ("job", "repository"),
            ("pull_request", "repository"),
            ("month", "repository"),
        ):
            less, more = getattr(self, part), getattr(self, whole)
            if less is not None and more is not None and less > more:
                raise mistake(
                    f"{parts[part]} may cost more ({less:g} USD) than {wholes[whole]} ({more:g} USD)",
                    f"Lower `{part}` or raise `{whole}`.",
                    whole,
                    part,
                )
        return self


class Limits(Section):
    """How many jobs may run at once. Without a number, as many as the machine behind this Gamma takes."""

    repository: JobCount | None = None
    """Jobs of this repository that may run at once; further ones wait."""
    installation: JobCount | None = None
    """Jobs of all repositories of this installation that may run before one of this repository waits."""


class Agent(Section):
    """What the agent may do."""

    write_up: Switch = True
    """Whether the agent writes about a finished run."""
    notes: Annotated[str, Field(max_length=1000), Wants("text of at most 1,000 characters")] = ""
    """What the agent should know of this project in every write-up and answer. Counts on the default branch only."""


class GammaConfig(Section):
    """The whole of ``gamma.yml``."""

    version: Literal[1] = 1
    """The version of this file's format."""
    train: Train = Field(default_factory=Train)
    """What to run, where, and within which limits."""
    metrics: Metrics = Field(default_factory=dict)
    """How each metric is read, by the name under which the script logs it."""
    baseline: BranchName | None = None
    """The branch to compare with. Without it, it is the pull request's base branch."""
    seeds: Seeds = Field(default_factory=lambda: [0])
    """The seeds to train with, one run each: several of them show how much of a change is noise."""
    concurrency: Literal["supersede", "queue", "parallel"] = "supersede"
    """What a newer push does to the running job of its branch: stop it, wait for it, or run beside it."""
    budget: Budget = Field(default_factory=Budget)
    """How much may be spent. Counts on the default branch only."""
    permissions: Permissions = Field(default_factory=dict)
    """Which role a command needs here, such as `retry: maintain`. Counts on the default branch only."""
    limits: Limits = Field(default_factory=Limits)
    """How many jobs may run at once. Counts on the default branch only."""
    agent: Agent = Field(default_factory=Agent)
    """What the agent does for this repository."""

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
