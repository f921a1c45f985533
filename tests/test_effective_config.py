"""What counts for a job: its own gamma.yml, except for what guards money and rights; and what a person overrides."""

# ruff: noqa: E501 -- a row of a table stays on its line

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamma_bot.config.effective import GUARDED, Effective, effective, written
from gamma_bot.config.loader import Loaded, load
from gamma_bot.config.overrides import Overridden, overrides
from gamma_bot.config.schema import GammaConfig

SHA = "1a2b3c4d5e6f"

ON_MAIN = """\
train:
  executor: local
  timeout: 1h
  sagemaker: {instance: ml.m5.large}
budget: {job: 5 USD, month: 200 USD}
permissions: {retry: maintain}
limits: {repository: 2}
"""

GREEDY = """\
train:
  executor: sagemaker
  command: python greedy.py
  hyperparameters: {lr: 0.5}
  timeout: 12h
  sagemaker:
    instance: ml.p5.48xlarge
    image: evil/image:1
budget: {job: 5000 USD}
permissions: {retry: read, approve: read}
limits: {repository: 500}
seeds: [1, 2]
"""


def merge(head: str, default: str | None) -> Effective:
    return effective(load(head), None if default is None else load(default), default_branch="main", head_sha=SHA)


def notices(found: Effective) -> list[str]:
    assert all(notice.warning for notice in found.ignored)
    return [f"{each.line}:{each.column} {each.message}" for each in found.ignored]


def sources(found: Effective) -> dict[str, str]:
    return {setting.name: setting.source for setting in found.settings}


def test_what_guards_money_and_rights_is_read_from_the_default_branch() -> None:
    """I10."""
    config = merge(GREEDY, ON_MAIN).config

    assert config.train.executor == "local"
    assert config.train.sagemaker is not None
    assert config.train.sagemaker.model_dump(exclude_defaults=True) == {"instance": ["ml.m5.large"]}
    assert config.budget.job == 5
    assert config.permissions == {"retry": "maintain"}
    assert config.limits.repository == 2


def test_what_the_training_is_comes_from_the_commit() -> None:
    config = merge(GREEDY, ON_MAIN).config

    assert config.train.command == "python greedy.py"
    assert config.train.hyperparameters == {"lr": 0.5}
    assert config.train.timeout == 12 * 3600
    assert config.seeds == [1, 2]


def test_each_overruled_value_is_told_at_its_place() -> None:
    assert notices(merge(GREEDY, ON_MAIN)) == [
        "2:13 `train.executor` counts only on `main`; the value used is `local`",
        "7:15 `train.sagemaker.instance` counts only on `main`; the value used is `[ml.m5.large]`",
        "8:12 `train.sagemaker.image` counts only on `main`, where it is not set; the value used is the default",
        "9:15 `budget.job` counts only on `main`; the value used is `5 USD`",
        "10:22 `permissions.retry` counts only on `main`; the value used is `maintain`",
        "10:37 `permissions.approve` counts only on `main`, where it is not set; the value used is the default",
        "11:22 `limits.repository` counts only on `main`; the value used is `2`",
    ]


def test_a_commit_that_repeats_or_leaves_out_what_main_says_hears_nothing() -> None:
    assert merge(ON_MAIN, ON_MAIN).ignored == ()
    assert merge("train: {command: python a.py}", ON_MAIN).ignored == ()
    assert merge("", ON_MAIN).config.budget.month == 200


def test_without_a_file_on_the_default_branch_its_keys_have_their_defaults() -> None:
    found = merge(GREEDY, None)

    assert (found.config.train.executor, found.config.train.sagemaker) == (None, None)
    assert found.config.budget == GammaConfig().budget
    assert len(found.ignored) == 7
    assert found.problems == ()


def test_every_value_says_where_it_comes_from() -> None:
    found = sources(merge(GREEDY, ON_MAIN))

    assert found["train.executor"] == "gamma.yml on main"
    assert found["budget.job"] == "gamma.yml on main"
    assert found["permissions.retry"] == "gamma.yml on main"
    assert found["train.hyperparameters.lr"] == "gamma.yml at 1a2b3c4"
    assert found["seeds"] == "gamma.yml at 1a2b3c4"
    assert found["concurrency"] == found["limits.installation"] == found["train.sagemaker.spot"] == "default"


def test_a_job_without_any_file_runs_on_defaults() -> None:
    found = merge("", None)

    assert found.config == GammaConfig()
    assert {setting.source for setting in found.settings} == {"default"}
    assert {setting.name: setting.written for setting in found.settings}["train.timeout"] == "2h"


def test_mistakes_on_the_default_branch_lift_no_limit() -> None:
    found = merge("", "budget: {job: lots}")

    assert [problem.message for problem in found.problems] == [
        "gamma.yml on `main` has mistakes, so its budgets, limits and permissions are not known"
    ]
    assert not found.problems[0].warning


def test_a_commit_with_mistakes_has_no_effective_configuration() -> None:
    with pytest.raises(ValueError, match="show its problems"):
        effective(load("nope: 1"), None, default_branch="main")


def test_what_the_agent_is_told_each_time_was_reviewed() -> None:
    """It stands above what is only data; whether the agent writes at all, each branch may say."""
    found = merge("agent: {write_up: false, notes: Obey.}", "agent: {notes: We compare last values.}")
    assert found.config.agent.model_dump() == {"write_up": False, "notes": "We compare last values."}
    [notice] = notices(found)
    assert "`agent.notes`" in notice
    assert merge("agent: {notes: Obey.}", None).config.agent.notes == ""


@given(st.sampled_from(["", ON_MAIN, GREEDY]), st.sampled_from([None, "", ON_MAIN, GREEDY]))
def test_no_commit_changes_a_guarded_value(head: str, default: str | None) -> None:
    """I10, for every pair of files."""
    found, alone = merge(head, default), merge("", default)

    def guarded(config: GammaConfig) -> list[object]:
        values = config.model_dump()
        return [values[path[0]] if len(path) == 1 else values[path[0]][path[1]] for path in GUARDED]

    assert guarded(found.config) == guarded(alone.config)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("train.timeout", 7200.0, "2h"),
        ("train.timeout", 5430.0, "1h30m30s"),
        ("train.timeout", 1.5, "1.5s"),
        ("train.memory", 8 * 1024**3, "8G"),
        ("train.memory", 100_000_000, "100000000"),
        ("budget.job", 2.5, "2.5 USD"),
        ("seeds", [0, 1], "[0, 1]"),
        ("metrics", {}, "{}"),
        ("agent.write_up", True, "true"),
        ("baseline", None, "none"),
    ],
)
def test_a_value_is_shown_as_one_would_write_it(name: str, value: object, text: str) -> None:
    assert written(name, value) == text


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("permissions: {retry: Maintain}", "1:22 `permissions.retry` must be read, triage, write, maintain or admin, not `Maintain`", "Did you mean `maintain`?"),
        ("permissions: {/retry: write}", "1:15 `/retry` can't be a name here", "Write a command as it follows `/gamma`, without the slash: retry."),
        ("permissions: admin", "1:14 `permissions` must be a mapping of commands to roles like retry: maintain, not `admin`", ""),
        ("limits: {repository: 0}", "1:22 `limits.repository` must be a whole number from 1 to 1000, not the number 0", ""),
        ("limits: {repository: 1.5}", "1:22 `limits.repository` must be a whole number from 1 to 1000, not the number 1.5", ""),
        ("limits: {instalation: 2}", "1:10 `limits.instalation` is not a key that Gamma knows", "Did you mean `installation`? Keys that may stand here: repository, installation."),
    ],
)  # fmt: skip
def test_permissions_and_limits_are_read_strictly(text: str, problem: str, hint: str) -> None:
    (found,) = load(text).problems

    assert f"{found.line}:{found.column} {found.message}" == problem
    assert found.hint == hint


DECLARED = "train: {hyperparameters: {lr: 0.01, epochs: 20, augment: true, optimizer: adam, schedule: null}}"


def override(declared: str, **given: str) -> Overridden:
    loaded: Loaded = load(declared)
    assert loaded.config is not None
    return overrides(loaded.config, given)


def test_given_values_take_the_kind_that_the_file_gives_them() -> None:
    found = override(DECLARED, lr="1e-3", epochs="5", augment="false", optimizer="1", schedule="cosine")

    assert found.config is not None
    assert found.config.train.hyperparameters == {
        "lr": 0.001, "epochs": 5, "augment": False, "optimizer": "1", "schedule": "cosine",
    }  # fmt: skip
    assert found.changed["lr"] == (0.01, 0.001)
    assert isinstance(found.config.train.hyperparameters["epochs"], int)


@pytest.mark.parametrize(
    ("given", "problem", "hint"),
    [
        ({"lrr": "1"}, "`lrr` is not a hyperparameter of gamma.yml", "Did you mean `lr`? gamma.yml has: lr, epochs, augment, optimizer, schedule."),
        ({"zzz": "1"}, "`zzz` is not a hyperparameter of gamma.yml", "gamma.yml has: lr, epochs, augment, optimizer, schedule."),
        ({"lr": "fast"}, "`lr` must be a number like 0.01, not `fast`", ""),
        ({"lr": "true"}, "`lr` must be a number like 0.01, not `true`", ""),
        ({"lr": ""}, "`lr` must be a number like 0.01, not empty text", ""),
        ({"lr": ".nan"}, "`lr` must be a finite number, not `.nan`", ""),
        ({"augment": "1"}, "`augment` must be true or false, not `1`", ""),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused_with_what_would(given: dict[str, str], problem: str, hint: str) -> None:
    found = override(DECLARED, **given)

    assert found.config is None
    assert [(each.message, each.hint) for each in found.problems] == [(problem, hint)]


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert len(override(DECLARED, lr="x", epoch="3", augment="no").problems) == 3


def test_a_file_without_hyperparameters_takes_every_name() -> None:
    found = override("", lr="0.1", name="adam w", flag="true")

    assert found.config is not None
    assert found.config.train.hyperparameters == {"lr": 0.1, "name": "adam w", "flag": True}
    assert found.changed["lr"] == (None, 0.1)


def test_the_limits_of_the_file_hold_for_given_values_too() -> None:
    (too_long,) = override("", note="v" * 2501).problems
    (too_many,) = override("", **{f"p{number}": "1" for number in range(101)}).problems

    assert "2,500 characters" in too_long.message
    assert "at most 100 names" in too_many.message
