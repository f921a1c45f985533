"""Editors get a schema of gamma.yml that agrees with Gamma, with words for every key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from gamma_bot.cli import gamma
from gamma_bot.config.document import read_document
from gamma_bot.config.json_schema import json_schema
from gamma_bot.config.loader import load
from gamma_bot.config.plain import plain_values
from gamma_bot.config.section import Section
from tests.test_gamma_yml import EVERYTHING

VALID = [
    EVERYTHING,
    "", "# nothing yet", "{}", "train:\n", "train:\nmetrics:\nbudget:\nseeds:\nlimits:\npermissions:\n",
    "train: {timeout: 90}", "train: {timeout: 90s}", "train: {timeout: 1h30m}", "train: {timeout: 1.5}",
    "train: {memory: 8GiB}", "train: {memory: 512 m}", "train: {memory: 134217728}",
    "budget: {job: 5, month: 7.5 usd}",
    "train: {paths: src/**, sagemaker: {instance: ml.m5.large}}",
    "train: {hyperparameters: {a: 1, b: 0.5, c: text, d: true, e: null}}",
    "metrics: {loss: {goal: minimize}, error:}",
    "permissions: {retry: maintain, train: write}",
    "limits: {repository: 4, installation: 8}",
    "concurrency: queue",
]  # fmt: skip
INVALID = [
    "just text", "- a",
    "nope: 1", "train: {comand: a}", "agent: {writeup: true}",
    "version: 2", "version: '1'",
    "train: fast", "train: {executor: cloud}", "train: {command: 5}", "train: {command: [python, train.py]}",
    "train: {timeout: 0}", "train: {timeout: 29d1}", "train: {timeout: 1:30}", "train: {timeout: ''}",
    "train: {timeout: true}", "train: {timeout: [30]}",
    "train: {memory: 8}", "train: {memory: 8X}",
    "train: {hyperparameters: {lr: {start: 1}}}", "train: {hyperparameters: [1]}",
    "train: {sagemaker: {instance: g5}}", "train: {sagemaker: {spot: yes}}",
    "train: {sagemaker: {inputs: {a: /data}}}", "train: {sagemaker: {inputs: {'a b': 's3://x'}}}",
    "metrics: [loss]", "metrics: {loss: {goal: Minimize}}", "metrics: {a: {tolerance: -1}}",
    "seeds: []", "seeds: [-1]", "seeds: [x]", "concurrency: sometimes",
    "budget: {job: 5 EUR}", "budget: {job: -1}",
    "permissions: {retry: boss}", "permissions: {/retry: write}",
    "limits: {repository: 0}", "limits: {repository: 1.5}",
]  # fmt: skip


def accepts(text: str) -> bool:
    root = read_document(text)
    values = None if root is None else plain_values(root)[0]
    return bool(Draft202012Validator(json_schema()).is_valid(values))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("text", VALID)
def test_what_gamma_reads_the_schema_accepts(text: str) -> None:
    assert load(text).problems == ()
    assert accepts(text)


@pytest.mark.parametrize("text", INVALID)
def test_what_gamma_refuses_the_schema_refuses(text: str) -> None:
    assert load(text).problems
    assert not accepts(text)


def test_every_key_and_section_has_a_description() -> None:
    schema = json_schema()

    silent = [where for where, part in described(schema) if not part.get("description")]
    assert silent == []
    assert {section.__name__ for section in Section.__subclasses__()} == {*schema["$defs"], "GammaConfig"}


def test_no_object_takes_unknown_keys() -> None:
    schema = json_schema()

    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False


def test_the_command_prints_the_schema() -> None:
    result = CliRunner().invoke(gamma, ["schema"])

    assert result.exit_code == 0
    assert json.loads(result.output) == json_schema()


def described(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, section in {"gamma.yml": schema, **schema["$defs"]}.items():
        yield name, section
        for key, part in section["properties"].items():
            yield f"{name}.{key}", part
