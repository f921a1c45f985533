"""``gamma validate`` finds what a push would stumble over, and shows it as a compiler does."""

# ruff: noqa: E501 -- the picture of a problem keeps its lines

from __future__ import annotations

from pathlib import Path

import pytest
from inline_snapshot import snapshot

from gamma_bot.config.errors import Problem
from gamma_bot.validate import Checked, render_conclusion, render_problems, script_of, validate_tree


def repository(folder: Path, config: str | None, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("")
    if config is not None:
        (folder / "gamma.yml").write_text(config)
    return folder


def told(checked: Checked) -> list[str]:
    return [f"{'warning' if each.warning else 'error'} {each.line}: {each.message}" for each in checked.problems]


def test_a_repository_that_trains_has_no_problems(tmp_path: Path) -> None:
    config = "train: {command: python -u src/train.py --fast, paths: [src/, '!docs/', gamma.yml]}"

    repository(tmp_path, config, "src/train.py", "docs/a.md")

    assert validate_tree(tmp_path).problems == ()
    assert validate_tree(tmp_path / "gamma.yml").problems == ()


def test_a_train_py_needs_no_gamma_yml(tmp_path: Path) -> None:
    checked = validate_tree(repository(tmp_path, None, "train.py"))

    assert checked.problems == ()
    assert render_conclusion(checked).replace(f"{tmp_path}/", "") == snapshot("""\
There is no gamma.yml, and none is needed: a push runs `python train.py` with the defaults.
To name metrics, hyperparameters or limits, write one: `gamma init --config-only`.\
""")


def test_an_empty_folder_trains_nothing(tmp_path: Path) -> None:
    (problem,) = validate_tree(tmp_path).problems

    assert problem.message == "this folder has no gamma.yml; `gamma init` writes one"
    assert "so a push trains nothing" in (problem.hint or "")


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert told(validate_tree(tmp_path / "nowhere")) == [f"error None: there is no {tmp_path / 'nowhere'}"]


@pytest.mark.parametrize("name", ["gamma.yaml", ".gamma.yml", ".github/gamma.yml"])
def test_a_misnamed_file_is_told(tmp_path: Path, name: str) -> None:
    repository(tmp_path, None, "train.py", name)

    assert told(validate_tree(tmp_path)) == [f"error None: Gamma reads gamma.yml in the repository's root, not {name}"]
    assert validate_tree(tmp_path).errors
    (tmp_path / "gamma.yml").write_text("")
    assert not validate_tree(tmp_path).errors
    assert told(validate_tree(tmp_path)) == [f"warning None: {name} is not read; Gamma reads gamma.yml"]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("train:\n  command: python trian.py", "error 2: the command runs trian.py, which is not here"),
        ("train:\n  command: ./run.sh", "error 2: the command runs ./run.sh, which is not here"),
        ("train:\n  entry_point: train.py", "error 2: there is no file train.py"),
        ("train:\n  timeout: 1h", "error 1: there is no `command`, and no train.py to run without one"),
        ("train:\n  command: make\n  paths:\n  - src\n", "warning 4: `src` matches no file"),
        ("train:\n  command: make\n  paths: [lib/**]\n", "warning 3: `lib/**` matches no file"),
        ("train: [1]", "error 1: `train` must be a mapping with keys like `executor:`, not a list"),
    ],
)
def test_what_the_config_names_must_be_there(tmp_path: Path, config: str, problem: str) -> None:
    assert told(validate_tree(repository(tmp_path, config, "src/train.py"))) == [problem]


def test_a_folder_written_without_its_slash_gets_a_hint(tmp_path: Path) -> None:
    (problem,) = validate_tree(repository(tmp_path, "train: {command: make, paths: [src]}", "src/train.py")).problems

    assert problem.hint == "It is a folder: write `src/` for all that is in it."


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("python train.py", "train.py"),
        ("python3.11 -u src/train.py --lr 1", "src/train.py"),
        ("./go --fast", "./go"),
        ("bash -eu run.sh", "run.sh"),
        ("python -m package.train", None),
        ("python -c pass", None),
        ("python -W ignore train.py", None),
        ("python /opt/tool.py", None),
        ("python", None),
        ("make train", None),
    ],
)
def test_the_script_of_a_command(command: str, script: str | None) -> None:
    assert script_of(command.split()) == script


def test_problems_are_shown_under_their_lines(tmp_path: Path) -> None:
    text = "train:\n  comand: python train.py\n  timeout: soon\n  paths: [nope/]\n"
    repository(tmp_path, text, "train.py")

    shown = render_problems(validate_tree(tmp_path)).replace(f"{tmp_path}/", "")
    assert shown == snapshot("""\
gamma.yml:2:3: error: `train.comand` is not a key that Gamma knows
   |
 2 |   comand: python train.py
   |   ^^^^^^
   = Did you mean `command`? Keys that may stand here: executor, command, entry_point, hyperparameters, paths, timeout, memory, mlflow, sagemaker, actions.

gamma.yml:3:12: error: `train.timeout` must be a duration like 90s, 30m or 2h, at most 28d, not `soon`
   |
 3 |   timeout: soon
   |            ^^^^\
""")


def test_a_problem_without_a_place_is_shown_too() -> None:
    assert (
        render_problems(Checked(Path("gamma.yml"), "", (Problem("something", "Do this."),)))
        == "gamma.yml: error: something\n  = Do this."
    )


def test_tabs_wide_lines_and_control_characters_do_not_break_the_picture() -> None:
    shown = render_problems(
        Checked(Path("gamma.yml"), "\ta\x1b[31mb\n", (Problem("wrong", line=1, column=3, end_line=1, end_column=99),))
    )

    assert shown == "gamma.yml:1:3: error: wrong\n   |\n 1 | \ta\ufffd[31mb\n   | \t ^^^^^^"
