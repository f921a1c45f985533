"""``gamma.yml`` is read whole, and every mistake in it is told at its line, in plain words."""

# ruff: noqa: E501 -- a row of a table stays on its line

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamma_bot.config.errors import dotted
from gamma_bot.config.loader import Loaded, command_of, load
from gamma_bot.config.schema import GammaConfig, Train

EVERYTHING = """\
version: 1
train:
  executor: sagemaker
  command: python train.py
  hyperparameters: {lr: 0.01, epochs: 20}
  paths: [train.py, src/**]
  timeout: 2h
  memory: 8G
  sagemaker:
    instance: [ml.g5.xlarge, ml.g5.2xlarge]
    spot: true
    image: 123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1
    inputs: {train: s3://bucket/data}
metrics:
  episode_return: {goal: maximize, primary: true, gate: no-regression, tolerance: 0.5}
  loss: {goal: minimize}
baseline: models
seeds: [0, 1]
concurrency: supersede
budget: {job: 5 USD, month: 200 USD}
agent: {write_up: true}
"""


def config_of(text: str | bytes) -> GammaConfig:
    loaded = load(text)
    assert loaded.problems == ()
    assert loaded.config is not None
    return loaded.config


def told(loaded: Loaded) -> list[str]:
    """The problems as a person could read them aloud."""
    assert loaded.config is None
    return [f"{each.line}:{each.column}-{each.end_column} {each.message}" for each in loaded.problems]


def test_everything_that_may_be_said_is_understood() -> None:
    config = config_of(EVERYTHING)

    assert config.train.hyperparameters == {"lr": 0.01, "epochs": 20}
    assert config.train.timeout == 7200
    assert config.train.memory == 8 * 1024**3
    assert config.train.sagemaker is not None
    assert config.train.sagemaker.instance == ["ml.g5.xlarge", "ml.g5.2xlarge"]
    assert config.metrics["episode_return"].gate == "no-regression"
    assert config.budget.job == 5.0


def test_a_config_can_be_written_down_and_read_again() -> None:
    config = config_of(EVERYTHING)

    assert GammaConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "# nothing yet\n",
        "---\n",
        "~",
        "{}",
        b"",
        b"\xef\xbb\xbf",
        "train:\n",
        "train:\nmetrics:\nbudget:\nseeds:\n",
    ],
)
def test_an_empty_file_or_an_empty_section_means_all_defaults(text: str | bytes) -> None:
    assert config_of(text) == GammaConfig()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-2", -2),
        ("+2", 2),
        ("010", 10),
        ("0o10", 8),
        ("0xff", 255),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2026-11-23", "2026-11-23"),
        ("yes", "yes"),
        ("on", "on"),
        ("No", "No"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("", None),
        ("'1'", "1"),
        ('""', ""),
        ("adam w", "adam w"),
        ("9" * 400, "9" * 400),
    ],
)
def test_values_mean_what_yaml_1_2_says(written: str, meant: object) -> None:
    value = config_of(f"train: {{hyperparameters: {{it: {written}}}}}").train.hyperparameters["it"]

    assert (type(value), value) == (type(meant), meant)


def test_words_that_yaml_1_1_took_for_booleans_are_names() -> None:
    config = config_of("train:\n  hyperparameters: {on: 1, off: 2, yes: 3, 'n': 4, 1: 5, null: 6, true: 7}")

    assert list(config.train.hyperparameters) == ["on", "off", "yes", "n", "1", "null", "true"]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("1.5", 1.5)],
)
def test_durations(written: str, seconds: float) -> None:
    assert config_of(f"train: {{timeout: {written}}}").train.timeout == seconds


def test_one_text_may_stand_for_a_list_of_one() -> None:
    config = config_of("train: {paths: src/**, sagemaker: {instance: ml.m5.large}}")

    assert config.train.paths == ["src/**"]
    assert config.train.sagemaker is not None
    assert config.train.sagemaker.instance == ["ml.m5.large"]


def test_an_alias_repeats_a_value() -> None:
    config = config_of("metrics:\n  loss: &down {goal: minimize}\n  error: *down\n")

    assert config.metrics["loss"] == config.metrics["error"]


def test_every_mistake_is_told_at_once_in_the_order_of_the_file() -> None:
    loaded = load(
        """\
version: 1
train:
  comand: python train.py
  timeout: [30]
  hyperparameters:
    lr: {start: 1}
metrics:
  loss: {goal: Minimize, gate: no-regression}
  accuracy: {gate: no-regression, primary: true}
  return: {primary: true}
budget: {job: 500 USD, month: 200 USD}
seeds: [0, -1, x]
"""
    )

    assert told(loaded) == [
        "3:3-8 `train.comand` is not a key that Gamma knows",
        "4:3-9 `train.timeout` must be a duration like 90s, 30m or 2h, at most 28d, not a list",
        "6:5-6 `train.hyperparameters.lr` must be text, a finite number, true, false or null, not a mapping",
        "8:16-23 `metrics.loss.goal` must be maximize or minimize, not `Minimize`",
        "9:20-32 `metrics.accuracy`: the gate needs a `goal`: without one nobody knows which way is worse",
        "10:3-8 `metrics`: `accuracy` and `return` are primary, but only one can be",
        "11:15-21 `budget`: one job may cost more (500 USD) than all jobs of a month (200 USD)",
        "12:12-13 `seeds[1]` must be a whole number from 0 to 4294967295, not the number -1",
        "12:16-16 `seeds[2]` must be a whole number from 0 to 4294967295, not `x`",
    ]
    assert loaded.problems[0].hint.startswith("Did you mean `command`? Keys that may stand here: executor, command,")
    assert loaded.problems[3].hint == "Did you mean `minimize`?"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("just text", "1:1-9 gamma.yml must hold keys and values like `train:`, not `just text`"),
        ("- a\n- b", "1:1-1 gamma.yml must hold keys and values like `train:`, not a list"),
        ("version: 2\nnew_key: 1", "1:10-10 this Gamma knows version 1 of gamma.yml, not 2"),
        ("version: '1'", "1:10-12 `version` must be 1, not `1`"),
        ("train: fast", "1:8-11 `train` must be a mapping with keys like `executor:`, not `fast`"),
        ("metrics: [loss]", "1:1-7 `metrics` must be a mapping of metric names to their rules, not a list"),
        ("a: 1\ntrain: {}\ntrain: {}", "3:1-5 `train` is given twice; the first one is in line 2"),
        ("<<: {}\n", "1:1-2 merge keys (`<<`) are not read"),
        ("? [a]\n: b", "1:3-3 a key must be plain text, not a list or a mapping"),
        ("train: {timeout: 1:30}", "1:18-21 `train.timeout` must be a duration like 90s, 30m or 2h, at most 28d, not `1:30`"),
        ("train: {timeout: 0}", "1:18-18 `train.timeout` must be a duration like 90s, 30m or 2h, at most 28d, not the number 0"),
        ("train: {timeout: true}", "1:18-21 `train.timeout` must be a duration like 90s, 30m or 2h, at most 28d, not true"),
        ("train: {memory: 8}", "1:17-17 `train.memory` must be a size like 512M or 8G, at least 64M, not the number 8"),
        ("train: {command: 5}", "1:18-18 `train.command` must be text like python train.py, not the number 5"),
        ("train: {command: ' '}", "1:18-20 `train.command`: the command is empty"),
        ("train: {command: a && b}", "1:18-23 `train.command`: `&&` means nothing here: the command is run without a shell"),
        ("train: {command: 'a \"b'}", "1:18-23 `train.command`: a quote in the command is never closed"),
        ("train: {command: A=1 b}", "1:18-22 `train.command`: `A=…` sets no variable here: the command is run without a shell"),
        ("train:\n  command: |\n    a\n    b\n", "2:12-12 `train.command`: the command has several lines, but it is run without a shell"),
        ("train: {command: a, entry_point: b.py}", "1:34-37 `train`: `command` and `entry_point` both say what to run"),
        ("train: {entry_point: /a.py}", "1:22-26 `train.entry_point`: the entry point is not a path inside the repository"),
        ("train: {entry_point: a/../../b.py}", "1:22-33 `train.entry_point`: the entry point leaves the repository with `..`"),
        ("train: {entry_point: train.py --fast}", "1:22-36 `train.entry_point`: the entry point has blanks in it"),
        ("train: {paths: ['']}", "1:17-18 `train.paths[0]`: the path filter `` names no path"),
        ("train: {paths: ['a', 'x**']}", "1:22-26 `train.paths[1]`: the path filter `x**` has `**` within a name"),
        ("train: {hyperparameters: {a: .inf}}", "1:30-33 `train.hyperparameters.a` must be text, a finite number, true, false or null, not the number inf"),
        ("metrics: {a: {primary: yes}}", "1:24-26 `metrics.a.primary` must be true or false, not `yes`"),
        ("metrics: {a: {tolerance: -1}}", "1:26-27 `metrics.a.tolerance` must be a number from 0 up, in the metric's own unit, not the number -1"),
        ("budget: {job: 5 EUR}", "1:15-19 `budget.job` must be an amount like 5 USD (other currencies are not known), not `5 EUR`"),
        ("budget: {pull_request: 9, job: 10}", "1:32-33 `budget`: one job may cost more (10 USD) than all jobs of a pull request (9 USD)"),
        ("budget: {month: 9, repository: 8}", "1:17-17 `budget`: all jobs of a month may cost more (9 USD) than all jobs of the repository (8 USD)"),
        ("train: {sagemaker: {inputs: {a: /data}}}", "1:33-37 `train.sagemaker.inputs.a` must be an address like s3://bucket/folder, not `/data`"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_is(text: str, problem: str) -> None:
    assert problem in told(load(text))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("train:\n\tcommand: a", "2:1-1 this line is indented with a tab"),
        ("train:\n  command: a\n\tpaths: b", "3:1-1 this line is indented with a tab"),
        ("train: 'a\nmetrics: b", "1:8-8 the quote that opens here is never closed"),
        ("seeds: [1, 2\nbaseline: x", "1:8-8 the bracket that opens here is not closed"),
        ("train: {", "1:9-9 the file ends in the middle of something"),
        ("baseline: a: b", "1:12-12 there is a `:` where no key can end"),
        ("train:\n    paths: a\n  timeout: 1h", "3:3-3 this line does not fit the lines above it"),
        ("train:\n  paths: a\ntimeout", "3:1-1 this line has no `:` between a key and a value"),
        ("baseline: @main", "1:11-11 a value can't begin with `@`"),
        ("baseline: *main", "1:11-15 `*main` refers to nothing: no `&main` stands before it"),
        ("a: &a [*a]", "1:8-9 `*a` refers to nothing: no `&a` stands before it"),
        ("a: !!python/object/apply:os.system [ls]", "1:4-36 the YAML tag `!!python/object/apply:os.system` is not allowed"),
        ("a: !secret x", "1:4-12 the YAML tag `!secret` is not allowed"),
        ("a: 1\n---\nb: 2", "2:1-3 there is a second document after `---`"),
        ('a: "\\UFFFFFFFF"', "1:1-1 this is not valid YAML: the code of a character in it is out of range"),
        ("a: \x07", "1:4-4 there is a character that YAML does not allow (U+0007)"),
        (b"a: 1\nb: \xff", "2:1-1 gamma.yml is not UTF-8 text: byte 9 can't be read"),
        ("train:\r\n  executor: x\r\n  nope: y\r\n", "3:3-6 `train.nope` is not a key that Gamma knows"),
    ],
)  # fmt: skip
def test_broken_yaml_is_told_in_plain_words(text: str | bytes, problem: str) -> None:
    assert problem in told(load(text))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("command: python train.py", "It belongs under `train:`."),
        ("train: {seeds: [1]}", "It belongs at the beginning of a line, not under `train`."),
        ("train: {hyper-parameters: {}}", "Did you mean `hyperparameters`?"),
        ("train: {command: [python, train.py]}", "Write the words in one line: `command: python train.py`."),
        ("train: {timeout: 1:30}", "Write 1m30s for a minute and a half, or 1h30m for an hour and a half."),
        ("metrics: {a: {goal: max}}", "Did you mean `maximize`?"),
        ("metrics: {a: {primary: on}}", "Write `true`, without quotes."),
        ("version: '1'", "Write it without quotes."),
        ("version: 3", "Write `version: 1`, or update Gamma."),
        ("train: {paths: [\"**.py\"]}", "`**` stands alone between slashes: write `**/*.py`."),
    ],
)  # fmt: skip
def test_a_hint_says_what_to_write_instead(text: str, hint: str) -> None:
    (problem,) = load(text).problems

    assert problem.hint.startswith(hint)


def test_a_sagemaker_section_may_stay_while_training_locally() -> None:
    assert config_of("train: {executor: local, sagemaker: {spot: true}}").train.sagemaker is not None


def test_sagemakers_limits_on_hyperparameters_hold_everywhere() -> None:
    fits = {"n" * 256: "v" * 2500}
    many = "".join(f"    p{number}: 1\n" for number in range(101))

    assert config_of(f"train: {{hyperparameters: {fits}}}").train.hyperparameters == fits
    assert "1 to 256 characters, this one has 257" in told(load(f"train: {{hyperparameters: {{{'n' * 257}: 1}}}}"))[0]
    assert "2,500 characters, this one has 2,501" in told(load(f"train: {{hyperparameters: {{a: {'v' * 2501}}}}}"))[0]
    assert "at most 100 names" in told(load(f"train:\n  hyperparameters:\n{many}"))[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#" * (64 * 1024 + 1), "Gamma reads at most 64 KiB"),
        ("é" * (32 * 1024 + 1), "Gamma reads at most 64 KiB"),
        ("a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)), "more than 5,000 values"),
        ("a: [" + "1," * 30_000 + "]", "more than 5,000 values"),
        ("[" * 60_000, "nested more than 20 levels deep"),
        ("- " * 30_000, "nested more than 20 levels deep"),
        ("? " * 30_000, "nested more than 20 levels deep"),
        ("? " + "a" * 60_000 + "\n: 1", "is not a key"),
    ],
)  # fmt: skip
def test_a_file_made_to_hurt_is_refused_quickly(text: str, said: str) -> None:
    started = time.monotonic()
    (problem,) = load(text).problems

    assert said in problem.message
    assert len(problem.message) < 300
    assert time.monotonic() - started < 5


def test_a_problem_found_later_is_shown_at_its_line() -> None:
    loaded = load("train:\n  executor: sagemaker\n")

    problem = loaded.problem_at(("train", "executor"), "this Gamma has no AWS account")

    assert (problem.line, problem.column, problem.end_column) == (2, 13, 21)
    assert loaded.problem_at(("train", "command"), "is missing").line == 1


def test_a_key_path_reads_as_a_person_writes_it() -> None:
    assert dotted(("train", "paths", 2)) == "train.paths[2]"
    assert dotted(()) == ""


@pytest.mark.parametrize(
    ("train", "tree", "command"),
    [
        (Train(), None, ("python", "train.py")),
        (Train(), {"README.md"}, ("python", "train.py")),
        (Train(), {"src/train.py", "README.md"}, ("python", "src/train.py")),
        (Train(), {"src/train.py", "train.py"}, ("python", "train.py")),
        (Train(entry_point="src/go.py"), None, ("python", "src/go.py")),
        (Train(command="python -m pkg 'a b' --lr=1"), None, ("python", "-m", "pkg", "a b", "--lr=1")),
    ],
)
def test_the_command(train: Train, tree: set[str] | None, command: tuple[str, ...]) -> None:
    assert command_of(train, tree) == command


_KEYS = st.sampled_from(
    [
        *GammaConfig.model_fields,
        *Train.model_fields,
        "instance",
        "inputs",
        "goal",
        "primary",
        "gate",
        "tolerance",
        "loss",
        "<<",
    ]
)
_SCALARS = st.sampled_from(
    ["1", "-1", "2h", "5 USD", "maximize", "no-regression", "yes", "true", "", "~", "'x", "*a", "&a b", "!t x", ".nan", "a: b"]
)  # fmt: skip
_ALMOST_YAML = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(_KEYS, inner), max_size=4).map(
            lambda entries: "{" + ", ".join(f"{key}: {value}" for key, value in entries) + "}"
        ),
    ),
    max_leaves=8,
)
_BLOCK = st.lists(st.tuples(_KEYS, _ALMOST_YAML), max_size=6).map(
    lambda entries: "".join(f"{key}: {value}\n" for key, value in entries)
)
_YAML_SIGNS = st.text(alphabet="ab1:-?[]{},&*!|>'\"%@`#~<. \n\t\r\\Ux\x00\x85\u2028\ufeff\ud800", max_size=60)


@given(st.one_of(st.text(), st.binary(), _YAML_SIGNS, _BLOCK))
@settings(max_examples=150)
def test_loading_never_raises_and_gives_a_config_or_problems(text: str | bytes) -> None:
    loaded = load(text)

    assert (loaded.config is None) == bool(loaded.problems)
    lines = (
        text.count(b"\n" if isinstance(text, bytes) else "\n")
        + text.count(b"\r" if isinstance(text, bytes) else "\r")
        + 1
    )
    for problem in loaded.problems:
        assert problem.message
        assert problem.line is not None
        assert problem.column is not None
        assert 1 <= problem.line <= lines
        assert problem.column >= 1
