"""**gamma / config** marks every mistake of gamma.yml, and Re-run reads the configuration again."""

from __future__ import annotations

import pytest

from gamma_bot.jobs.plan import Files, Mistakes, decide
from gamma_bot.jobs.push import Push
from gamma_bot.sandbox.model import CheckRun
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma

CHECK = "gamma / config"

# An unknown key, a value of the wrong type, and two keys that can't be together.
WRONG = """\
version: 1
train:
  comand: python train.py
  timeout: soon
  hyperparameters: {lr: [0.1]}
metrics:
  score: {gate: no-regression}
budget: {job: 500, month: 5}
"""


async def test_every_mistake_has_its_place_and_a_re_run_reads_what_was_mended(gamma: Gamma) -> None:
    wrong = await gamma.push("models/wrong", {"gamma.yml": WRONG, "train.py": LOGGING_SCRIPT})
    config = await gamma.finished(wrong, CHECK)
    assert config.conclusion == "failure"
    assert {(a.start_line, a.start_column, a.end_column) for a in config.annotations} == {
        (3, 3, 8),
        (4, 12, 15),
        (5, 21, 22),
        (7, 17, 29),
        (8, 15, 17),
    }
    assert any("Did you mean “command”?" in annotation.message for annotation in config.annotations)

    # Here the commit is fine, and the default branch is not: nobody knows its limits and permissions.
    await gamma.push("main", {"gamma.yml": "permisions: {retry: admin}\n"})
    sha = await gamma.push("models/x", {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT})
    train, config = await gamma.finished(sha), await gamma.finished(sha, CHECK)
    assert (train.conclusion, config.conclusion) == ("failure", "failure")
    assert train.output.title == "gamma.yml on main has a mistake, so nothing was trained"
    assert "on `main`, line 1, column 1: `permisions` is not a key that Gamma knows." in config.output.summary
    assert "press **Re-run**" in config.output.summary
    assert [(a.start_line, a.start_column) for a in config.annotations] == [(1, 1)]

    async def attempt(number: int) -> tuple[CheckRun, CheckRun]:
        def over() -> tuple[CheckRun, CheckRun] | None:
            runs = gamma.check_runs(sha), gamma.check_runs(sha, CHECK)
            there = [len(each) == number and each[-1].status == "completed" for each in runs]
            return (runs[0][-1], runs[1][-1]) if all(there) else None

        return await gamma.eventually(over, f"attempt {number} to be over")

    await gamma.github.rerequest(config, "ada")  # still wrong
    train, config = await attempt(2)
    assert (train.conclusion, config.conclusion) == ("failure", "failure")

    await gamma.push("main", {"gamma.yml": "permissions: {retry: write}\n"})
    for failed in (train, config):  # what GitHub's "Re-run failed checks" does
        await gamma.github.rerequest(failed, "ada")
    train, config = await attempt(3)
    await gamma.dispatched()
    await gamma.flushed()
    assert (train.conclusion, config.conclusion) == ("success", "success")
    assert config.output.title == "gamma.yml is fine"
    assert len(gamma.check_runs(sha)) == 3, "both presses are one wish"

    await gamma.github.rerequest(train.suite, "ada")  # "Re-run all checks"
    train, config = await attempt(4)
    assert (train.conclusion, config.conclusion) == ("success", "success")


@pytest.mark.parametrize(
    ("head", "place"),
    [("train:\n  executor: sagemaker\n", (2, 13)), ("train: {timeout: 1h}\n", (None, None))],
)
def test_an_executor_that_is_not_here_is_marked_where_the_commit_names_it(
    head: str, place: tuple[int | None, int | None]
) -> None:
    push = Push("g", 1, 2, "a/b", "models", "0" * 40, "1" * 40, "ada", "", 0.0, "", default_branch="main")
    files = Files(head.encode(), b"train: {executor: sagemaker}\n")

    decision = decide(push, files, executors=("local",), default_executor="local")

    assert isinstance(decision, Mistakes)
    assert [(each.line, each.column) for each in decision.problems] == [place]
