"""``train.paths`` decides which pushes train; branch patterns decide which branches do."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamma_bot.config.branches import matches_branch
from gamma_bot.config.paths import pattern_matches, pattern_mistake, selects, touches


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("train.py", ["train.py"], ["src/train.py", "train.pyc", "train_py"]),
        ("*.py", ["a.py", ".py"], ["src/a.py", "a.pyx"]),
        ("src/*.py", ["src/a.py"], ["src/deep/a.py", "a.py"]),
        ("src/", ["src/a", "src/deep/a.py"], ["src", "lib/src/a"]),
        ("/src/", ["src/a"], ["lib/src/a"]),
        ("src/**", ["src/a", "src/deep/a"], ["src", "srcs/a"]),
        ("**", ["a", "a/b/c"], []),
        ("**/", ["a", "a/b/c"], []),
        ("**/*.yml", ["a.yml", "conf/deep/a.yml"], ["a.yaml"]),
        ("src/**/test_*.py", ["src/test_a.py", "src/a/b/test_a.py"], ["test_a.py", "src/a/b/a.py"]),
        ("a/**/b/**/c", ["a/b/c", "a/x/b/y/z/c", "a/b/b/c"], ["a/c", "a/b/x"]),
        ("data/?.csv", ["data/1.csv"], ["data/10.csv", "data/.csv"]),
        ("data/[ab].csv", ["data/a.csv"], ["data/c.csv"]),
        ("Größe/*", ["Größe/ä.py"], ["Grosse/a.py"]),
    ],
)
def test_a_pattern_covers(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [path for path in yes if not pattern_matches(pattern, path)] == []
    assert [path for path in no if pattern_matches(pattern, path)] == []
    assert pattern_mistake(pattern) is None


@pytest.mark.parametrize(
    ("patterns", "path", "selected"),
    [
        ([], "anything", True),
        (["src/", "!src/docs/"], "src/a.py", True),
        (["src/", "!src/docs/"], "src/docs/a.md", False),
        (["src/", "!src/docs/", "src/docs/conf.py"], "src/docs/conf.py", True),
        (["!src/docs/", "src/"], "src/docs/a.md", True),
        (["!docs/", "!*.md"], "train.py", True),
        (["!docs/", "!*.md"], "docs/a.py", False),
        (["!docs/", "!*.md"], "README.md", False),
    ],
)
def test_the_last_match_wins(patterns: list[str], path: str, selected: bool) -> None:
    assert selects(patterns, path) is selected


def test_a_push_counts_if_one_of_its_files_does() -> None:
    assert touches(["src/**"], ["README.md", "src/a.py"])
    assert not touches(["src/**"], ["README.md", "docs/a.md"])
    assert not touches(["src/**"], [])
    assert touches([], [])


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "!",
        "/",
        "!/",
        " ",
        " a",
        "a ",
        "./a",
        "../a",
        "a/../b",
        "a//b",
        "a\\b",
        "src**",
        "**.py",
        "a/***",
        "a\nb",
        ".",
    ],
)
def test_a_malformed_pattern_is_told(pattern: str) -> None:
    wrong = pattern_mistake(pattern)

    assert wrong is not None
    assert all(wrong)


def test_no_pattern_takes_long() -> None:
    started = time.monotonic()

    assert not pattern_matches("**/a/" * 100 + "b", "a/" * 1000 + "c")
    assert not pattern_matches("*a" * 40 + "b", "a" * 1000)
    assert time.monotonic() - started < 5


_NAMES = st.text(alphabet="ab.", min_size=1, max_size=3)
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)


@given(_PATHS)
@settings(max_examples=100, deadline=None)
def test_a_path_covers_itself_and_is_covered_by_its_folders(path: str) -> None:
    folders = path.split("/")[:-1]

    assert pattern_matches(path, path)
    assert pattern_matches("**", path)
    for depth in range(1, len(folders) + 1):
        assert pattern_matches("/".join(folders[:depth]) + "/", path)
        assert not selects(["**", "!" + "/".join(folders[:depth]) + "/"], path)


@pytest.mark.parametrize(
    ("branch", "trains"),
    [
        ("models", True),
        ("models/wider", True),
        ("models/ada/wider", True),
        ("models-old", False),
        ("my/models", False),
        ("model", False),
        ("main", False),
        ("Models", False),
        ("", False),
    ],
)
def test_branches_that_train(branch: str, trains: bool) -> None:
    assert matches_branch(("models", "models/*"), branch) is trains


def test_without_patterns_no_branch_trains() -> None:
    assert not matches_branch((), "models")
