"""What may be changed of a job in the command that starts it: the instance and the hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from gamma_bot.commands.arguments import Unfit, free_options, option
from gamma_bot.commands.desk import Asked
from gamma_bot.commands.words import Word
from gamma_bot.config.document import scalar_value
from gamma_bot.config.executors import Instances
from gamma_bot.config.schema import Hyperparameters, Scalar


def read_instance(given: str) -> str | Unfit:
    """An instance type, by the same rule as in gamma.yml."""
    return (
        given if _wrong(_adapters()[0], [given]) is None else Unfit("it must be an instance type like `ml.g5.xlarge`")
    )


def read_hyperparameters(given: Sequence[tuple[str, Word]]) -> Mapping[str, Scalar] | Unfit:
    """Names and values as gamma.yml reads them: ``1e-3`` is a number, and what is in quotes is text."""
    values: dict[str, Scalar] = {}
    for name, each in given:
        if name in values:
            return Unfit("this name is given twice; keep one of them", each.text)
        values[name] = each.value if each.quoted else scalar_value(each.value)
    wrong = _wrong(_adapters()[1], values)
    if wrong is None:
        return values
    key, why = wrong
    return Unfit(why, next((each.text for name, each in given if name == key), "more than 100 names"))


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The arguments of the commands that train, or say what training would mean."""

    instance: str | None = option(
        "instance", "TYPE", "The SageMaker instance type, one of those that gamma.yml allows.", read_instance, None
    )
    hyperparameters: Mapping[str, Scalar] = free_options(
        "A hyperparameter that takes this value instead of gamma.yml's. It is read as gamma.yml reads it: `lr=1e-3` is"
        ' a number, `name="1e-3"` is text.',
        read_hyperparameters,
    )

    def asked(self, by: str, request: str) -> Asked:
        """What somebody asks for with them."""
        return Asked(by, request, self.hyperparameters, self.instance)


def _wrong(adapter: TypeAdapter[Any], value: object) -> tuple[object, str] | None:
    """The first key that is wrong (``None`` for all together), and a clause that says what it must be."""
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # The rules of the schema speak for themselves; pydantic's own words are for programmers.
        said = first.get("ctx", {}).get("message") if first["type"] == "rule" else None
        why = str(said or "a hyperparameter is text, a finite number, true, false or null, and there are at most 100")
        return next(iter(first["loc"]), None), why
    return None


@cache
def _adapters() -> tuple[TypeAdapter[Any], TypeAdapter[Any]]:
    # Made when the first command names a value: that takes some milliseconds.
    rules = ConfigDict(strict=True, allow_inf_nan=False)
    return TypeAdapter(Instances, config=rules), TypeAdapter(Hyperparameters, config=rules)
