"""``/gamma …`` in a pull request, and the buttons of the Checks tab, from the first 👀 to what they bring about."""

from __future__ import annotations

from pathlib import Path

import pytest

from gamma_bot.sandbox.faults import Fault, FaultKind
from gamma_bot.sandbox.model import CheckRun, IssueComment, PullRequest
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma

REPOSITORY = {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT}


def waiting_for(gate: Path) -> str:
    """A script that goes on when a file appears, and saves when it is asked to end."""
    return f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)\n" + LOGGING_SCRIPT


@pytest.fixture
async def trained(gamma: Gamma) -> tuple[Gamma, PullRequest, str]:
    """A pull request whose head has trained."""
    sha = await gamma.push("models/x", REPOSITORY)
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.finished(sha)
    await gamma.comment_says(pull, sha[:7], "0.3")
    return gamma, pull, sha


async def say(gamma: Gamma, pull: PullRequest, body: str, author: str = "ada") -> tuple[IssueComment, str]:
    """Write a comment and wait for the answer; the comment and the answer's text."""
    comment = await gamma.github.comment(gamma.repository, pull.number, body, author)
    marker = f"<!-- gamma:reply:{comment.id} -->"

    def answered() -> str | None:
        replies = [c.body for c in gamma.repository.comments_on(pull.number) if c.body.startswith(marker)]
        assert len(replies) <= 1, "a comment is answered once"
        return replies[0] if replies else None

    answer = await gamma.eventually(answered, f"an answer to {body!r}")
    await gamma.flushed()
    return comment, answer


def reactions(comment: IssueComment) -> list[str]:
    """What a comment shows."""
    return [reaction.content for reaction in comment.reactions]


def newest(gamma: Gamma, sha: str, count: int) -> CheckRun | None:
    """The newest check run once there are so many and it is over."""
    runs = gamma.check_runs(sha)
    return runs[-1] if len(runs) == count and runs[-1].status == "completed" else None


async def test_help_answers_everybody(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, _ = trained
    gamma.github.create_user("guest")

    comment, answer = await say(gamma, pull, "/gamma help", "guest")

    assert reactions(comment) == ["rocket"]
    for command in ("status", "train", "retry", "stop", "logs", "metrics", "artifacts", "config", "skip", "simulate"):
        assert command in answer


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("status", "succeeded"),
        ("metrics", "score"),
        ("logs 5", "step 3"),
        ("config", "gamma.yml"),
        ("simulate lr=0.5", "0.5"),
        ("artifacts", ""),
    ],
)
async def test_reading_commands(trained: tuple[Gamma, PullRequest, str], command: str, words: str) -> None:
    gamma, pull, _ = trained

    comment, answer = await say(gamma, pull, f"Let me see.\n\n/gamma {command}")

    assert reactions(comment) == ["rocket"]
    assert words in answer


async def test_train_with_other_hyperparameters_is_a_new_attempt(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, sha = trained

    comment, _ = await say(gamma, pull, "/gamma train lr=0.5")
    run = await gamma.eventually(lambda: newest(gamma, sha, 2), "a second check run")

    assert reactions(comment) == ["rocket"]
    assert "1.5" in run.output.title
    assert len({run.external_id for run in gamma.check_runs(sha)}) == 2
    assert "1.5" in await gamma.comment_says(pull, "1.5")


async def test_who_may_not_write_may_not_train(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, sha = trained
    gamma.github.create_user("guest")

    comment, answer = await say(gamma, pull, "/gamma train", "guest")

    assert reactions(comment) == ["-1"]
    assert "write" in answer
    assert len(gamma.check_runs(sha)) == 1


async def test_a_command_that_does_not_exist_names_the_closest(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, _ = trained

    comment, answer = await say(gamma, pull, "/gamma statsu")

    assert reactions(comment) == ["confused"]
    assert "status" in answer


async def test_several_commands_in_a_comment_have_one_answer(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, _ = trained

    comment, answer = await say(gamma, pull, "/gamma status\n\n/gamma nonsense\n")

    assert reactions(comment) == ["confused"]
    assert "succeeded" in answer


async def test_quotes_code_edits_and_bots_are_no_commands(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, sha = trained
    comment = await gamma.github.comment(
        gamma.repository, pull.number, "> /gamma train\n\n```\n/gamma train\n```\n\n`/gamma train`", "ada"
    )
    await gamma.github.edit_comment(comment, "/gamma train", "ada")
    await gamma.github.comment(gamma.repository, pull.number, "/gamma train", gamma.app.bot)
    await say(gamma, pull, "/gamma status")

    assert reactions(comment) == []
    assert len(gamma.check_runs(sha)) == 1


async def test_stop_ends_a_job_and_says_who_asked(gamma: Gamma, tmp_path: Path) -> None:
    sha = await gamma.push("models/x", {**REPOSITORY, "train.py": waiting_for(tmp_path / "never")})
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.running(sha)

    comment, _ = await say(gamma, pull, "/gamma stop")
    run = await gamma.finished(sha)

    assert reactions(comment) == ["rocket"]
    assert run.conclusion == "cancelled"
    assert "ada" in run.output.title + run.output.summary


async def test_the_stop_button_ends_a_job_and_the_train_again_button_starts_a_new_attempt(
    gamma: Gamma, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    sha = await gamma.push("models", {**REPOSITORY, "train.py": waiting_for(gate)})
    run = await gamma.running(sha)
    assert [action.identifier for action in run.actions] == ["stop"]

    await gamma.github.click(run, "stop", "ada")
    run = await gamma.finished(sha)
    assert run.conclusion == "cancelled"
    gate.touch()
    await gamma.github.click(run, "retry", "ada")
    second = await gamma.eventually(lambda: newest(gamma, sha, 2), "a second check run")

    assert second.conclusion == "success"
    assert second.id != run.id


async def test_re_run_and_re_run_all_are_new_check_runs(gamma: Gamma) -> None:
    sha = await gamma.push("models", REPOSITORY)
    run = await gamma.finished(sha)

    await gamma.github.rerequest(run, "ada")
    second = await gamma.eventually(lambda: newest(gamma, sha, 2), "a second check run")
    await gamma.github.rerequest(second.suite, "ada")
    third = await gamma.eventually(lambda: newest(gamma, sha, 3), "a third check run")

    assert [run.conclusion, second.conclusion, third.conclusion] == ["success"] * 3


async def test_a_newer_push_supersedes_the_running_job(gamma: Gamma, tmp_path: Path) -> None:
    first = await gamma.push("models", {**REPOSITORY, "train.py": waiting_for(tmp_path / "never")})
    await gamma.running(first)

    second = await gamma.push("models", {"train.py": LOGGING_SCRIPT})
    old, new = await gamma.finished(first), await gamma.finished(second)

    assert (old.conclusion, new.conclusion) == ("cancelled", "success")
    assert second[:7] in old.output.title + old.output.summary


async def test_skip_leaves_the_head_untrained_and_neutral(gamma: Gamma, tmp_path: Path) -> None:
    sha = await gamma.push("models/x", {**REPOSITORY, "train.py": waiting_for(tmp_path / "never")})
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.running(sha)

    await say(gamma, pull, "/gamma skip")
    last = await gamma.eventually(lambda: newest(gamma, sha, 2), "the neutral check run")

    assert last.conclusion == "neutral"
    assert (await gamma.eventually(lambda: gamma.check_runs(sha)[0].conclusion, "the first one's end")) == "cancelled"


async def test_a_fork_trains_only_after_an_approval_of_its_very_commit(gamma: Gamma) -> None:
    gamma.github.create_user("stranger")
    fork = await gamma.github.fork(gamma.repository, "stranger")
    head = await gamma.github.commit(fork, "models/x", REPOSITORY, "From outside", author="stranger")
    pull = await gamma.github.open_pull_request(
        gamma.repository, "models/x", "main", author="stranger", head_repository=fork
    )
    _, refused = await say(gamma, pull, "/gamma train", "ada")
    assert head in refused
    _, denied = await say(gamma, pull, f"/gamma approve {head}", "stranger")
    assert "maintain" in denied
    assert gamma.check_runs(head) == []

    await say(gamma, pull, f"/gamma approve {head}", "ada")
    run = await gamma.finished(head)

    assert run.conclusion == "success"
    await gamma.comment_says(pull, head[:7], "0.3")


async def test_what_is_safety_relevant_counts_on_the_default_branch_only(gamma: Gamma) -> None:
    sha = await gamma.push("models/x", {**REPOSITORY, "gamma.yml": CONFIG + "budget: {job: 500}\n"})

    run = await gamma.finished(sha)
    config = await gamma.finished(sha, "gamma / config")

    assert run.conclusion == "success"
    assert config.conclusion == "neutral"
    assert [(a.path, a.annotation_level) for a in config.annotations] == [("gamma.yml", "warning")]


async def test_a_lost_answer_is_repeated_and_written_once(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, _ = trained
    gamma.github.faults.add(Fault("POST", r"/comments$", FaultKind.DROP_AFTER))
    gamma.github.faults.add(Fault("POST", r"/reactions$", FaultKind.STATUS, status=502))

    comment, answer = await say(gamma, pull, "/gamma status")

    assert "succeeded" in answer
    assert reactions(comment) == ["rocket"]
