"""Which of the files that a job left are told, and how often."""

from __future__ import annotations

from gamma_bot.jobs.conclusion import listed_artifacts
from gamma_bot.tracking.runs import Run
from gamma_bot.training.trainer import Artifact


def told(logged: dict[str, int], *left: Artifact) -> tuple[list[str], int]:
    found, left_out = listed_artifacts(Run("run", "1", "FINISHED", artifacts=tuple(logged.items())), left)
    return [path for path, _ in found], left_out


def test_a_file_that_is_in_mlflow_too_is_told_once() -> None:
    assert told({"model/m": 3, "curve.csv": 5}, Artifact("model/m", 3), Artifact("output/data/curve.csv", 5)) == (
        ["curve.csv", "model/m"],
        0,
    )


def test_a_file_of_another_size_is_another_file() -> None:
    assert told({"curve.csv": 5}, Artifact("output/data/curve.csv", 6)) == (["curve.csv", "output/data/curve.csv"], 0)


def test_names_that_no_page_can_show_are_counted() -> None:
    assert told({"a\x00b": 1, "ok": 1}, Artifact("model/\udcff", 2)) == (["ok"], 2)
