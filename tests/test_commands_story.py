"""``/gamma …`` in a pull request, and the buttons of the Checks tab, from the first 👀 to what they bring about.

One Gamma serves all stories of this module; each has a repository, an owner and an installation of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio

from gamma_bot.sandbox.faults import Fault, FaultKind
from gamma_bot.sandbox.model import PullRequest
from tests.conversation import answered, newest, reactions, replies_to, say
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPOSITORY = {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT}


def waiting_for(gate: Path) -> str:
    """A script that goes on when a file appears, and saves when it is asked to end."""
    return f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)\n" + LOGGING_SCRIPT


@pytest_asyncio.fixture(loop_scope="module")
async def gamma(shared: Gamma) -> Gamma:
    """A repository where nothing has happened yet, and ada, who may do everything in it."""
    return shared.elsewhere(ada="admin")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trained(shared: Gamma) -> tuple[Gamma, PullRequest, str]:
    """A pull request whose head has trained, for stories that train nothing more."""
    gamma = shared.elsewhere(ada="admin")
    sha = await gamma.push("models/x", REPOSITORY)
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.finished(sha)
    await gamma.comment_says(pull, sha[:7], "0.3")
    return gamma, pull, sha


async def test_help_answers_everybody(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, _ = trained

    reaction, answer = await say(gamma, pull, "/gamma help", "guest")

    assert reaction == "rocket"
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
        ("artifacts", "has left no files"),
    ],
)
async def test_reading_commands(trained: tuple[Gamma, PullRequest, str], command: str, words: str) -> None:
    gamma, pull, _ = trained

    reaction, answer = await say(gamma, pull, f"Let me see.\n\n/gamma {command}")

    assert reaction == "rocket"
    assert words in answer


async def test_who_may_not_write_may_not_train(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, sha = trained

    reaction, answer = await say(gamma, pull, "/gamma train", "guest")

    assert reaction == "-1"
    assert "**write**" in answer
    assert len(gamma.check_runs(sha)) == 1


async def test_a_command_that_does_not_exist_names_the_closest(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, _ = trained

    reaction, answer = await say(gamma, pull, "/gamma statsu")

    assert reaction == "confused"
    assert "`/gamma status`" in answer


async def test_several_commands_in_a_comment_have_one_answer(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, _ = trained

    reaction, answer = await say(gamma, pull, "/gamma status\n\n/gamma nonsense\n")

    assert reaction == "confused"
    assert "succeeded" in answer
    assert answer.index("succeeded") < answer.index("nonsense")


async def test_quotes_code_edits_and_bots_are_no_commands(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, sha = trained
    comment = await gamma.github.comment(
        gamma.repository, pull.number, "> /gamma train\n\n```\n/gamma train\n```\n\n`/gamma train`", "ada"
    )
    await gamma.github.edit_comment(comment, "/gamma train", "ada")
    by_bot = await gamma.github.comment(gamma.repository, pull.number, "/gamma train", gamma.app.bot)
    await say(gamma, pull, "/gamma status")
    await gamma.dispatched()

    assert (reactions(comment), replies_to(gamma, comment)) == ([], [])
    assert (reactions(by_bot), replies_to(gamma, by_bot)) == ([], [])
    assert len(gamma.check_runs(sha)) == 1


async def test_an_edit_takes_nothing_back_and_answers_nothing_anew(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, _ = trained
    comment = await gamma.github.comment(gamma.repository, pull.number, "/gamma help stop", "ada")
    first = await answered(gamma, comment)

    await gamma.github.edit_comment(comment, "/gamma help train", "ada")
    await say(gamma, pull, "/gamma help")
    await gamma.dispatched()

    assert await answered(gamma, comment) == first


async def test_a_lost_answer_is_repeated_and_written_once(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, _ = trained
    gamma.github.faults.add(Fault("POST", r"/comments$", FaultKind.DROP_AFTER))
    gamma.github.faults.add(Fault("POST", r"/reactions$", FaultKind.STATUS, status=502))

    comment = await gamma.github.comment(gamma.repository, pull.number, "/gamma status", "ada")
    await gamma.dispatched()
    await answered(gamma, comment)
    await gamma.flushed()  # the bot never heard that its answer is there

    reaction, answer = await answered(gamma, comment)
    assert reaction == "rocket"
    assert "succeeded" in answer
    assert gamma.github.faults.pending == []


async def test_who_can_not_be_looked_up_is_told_what_failed(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, _ = trained
    gamma.github.faults.add(Fault("GET", r"/collaborators/ada/permission$", FaultKind.STATUS, status=403))

    reaction, answer = await say(gamma, pull, "/gamma status")

    assert reaction == "confused"
    assert "403" in answer
    assert "permissions of app.yml" in answer


async def test_train_with_other_hyperparameters_is_a_new_attempt(gamma: Gamma) -> None:
    sha = await gamma.push("models/x", REPOSITORY)
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.finished(sha)

    reaction, _ = await say(gamma, pull, "/gamma train lr=0.5")
    run = await gamma.eventually(lambda: newest(gamma, sha, 2), "a second check run")

    assert reaction == "rocket"
    assert "1.5" in run.output.title
    assert len({run.external_id for run in gamma.check_runs(sha)}) == 2
    assert "1.5" in await gamma.comment_says(pull, "1.5")


async def test_changes_that_can_not_be_are_refused_at_once(trained: tuple[Gamma, PullRequest, str]) -> None:
    gamma, pull, sha = trained

    train, retry = "/gamma train lr=fast", "/gamma retry learning_rate=0.5"
    answers = [await say(gamma, pull, f"{train}\n{retry}"), await say(gamma, pull, "/gamma simulate lr=fast")]

    assert [reaction for reaction, _ in answers] == ["confused", "confused"]
    assert "`lr` must be a number like 0.1, not `fast`." in answers[0][1]
    assert "`learning_rate` is not a hyperparameter of gamma.yml." in answers[0][1]
    assert "`lr` must be a number like 0.1, not `fast`." in answers[1][1]
    assert len(gamma.check_runs(sha)) == 1


async def test_stop_ends_a_job_and_says_who_asked(gamma: Gamma, tmp_path: Path) -> None:
    sha = await gamma.push("models/x", {**REPOSITORY, "train.py": waiting_for(tmp_path / "never")})
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.running(sha)

    reaction, _ = await say(gamma, pull, "/gamma stop")
    run = await gamma.finished(sha)

    assert reaction == "rocket"
    assert run.conclusion == "cancelled"
    assert "ada" in run.output.title + run.output.summary


async def test_the_buttons_stop_a_job_and_start_new_attempts(gamma: Gamma, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    sha = await gamma.push("models", {**REPOSITORY, "train.py": waiting_for(gate)})
    run = await gamma.running(sha)
    assert [action.identifier for action in run.actions] == ["stop"]

    await gamma.github.click(run, "stop", "ada")
    run = await gamma.finished(sha)
    assert run.conclusion == "cancelled"
    gate.touch()
    assert [action.identifier for action in run.actions] == ["retry"]

    await gamma.github.click(run, "retry", "ada")
    second = await gamma.eventually(lambda: newest(gamma, sha, 2), "a second check run")
    await gamma.github.rerequest(second, "ada")
    third = await gamma.eventually(lambda: newest(gamma, sha, 3), "a third check run: Re-run")
    await gamma.github.rerequest(third.suite, "ada")
    fourth = await gamma.eventually(lambda: newest(gamma, sha, 4), "a fourth check run: Re-run all")

    assert [run.conclusion, second.conclusion, third.conclusion, fourth.conclusion] == ["cancelled", *3 * ["success"]]
    assert len({run.id, second.id, third.id, fourth.id}) == 4


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
    assert last.output.title == "Skipped: ada wrote /gamma skip"
    assert "so does `/gamma train`" in last.output.summary
    assert (await gamma.eventually(lambda: gamma.check_runs(sha)[0].conclusion, "the first one's end")) == "cancelled"


async def test_a_fork_trains_only_after_an_approval_of_its_very_commit(gamma: Gamma) -> None:
    stranger = gamma.github.create_user("stranger")
    fork = await gamma.github.fork(gamma.repository, stranger)
    head = await gamma.github.commit(fork, "models/x", REPOSITORY, "From outside", author=stranger)
    pull = await gamma.github.open_pull_request(
        gamma.repository, "models/x", "main", author=stranger, head_repository=fork
    )
    _, refused = await say(gamma, pull, "/gamma train", "ada")
    assert head in refused
    _, denied = await say(gamma, pull, f"/gamma approve {head}", "stranger")
    assert "**maintain**" in denied
    assert gamma.check_runs(head) == []

    await say(gamma, pull, f"/gamma approve {head}", "ada")
    run = await gamma.finished(head)

    assert run.conclusion == "success"
    await gamma.comment_says(pull, head[:7], "0.3")

    # What a stranger's code has logged is nobody else's result: the same tree in a branch of ours is trained.
    ours = await gamma.finished(await gamma.push("models/same", REPOSITORY))
    assert (ours.conclusion, "Nothing was trained" in str(ours.output.summary)) == ("success", False)


async def test_what_is_safety_relevant_counts_on_the_default_branch_only(gamma: Gamma) -> None:
    sha = await gamma.push("models/x", {**REPOSITORY, "gamma.yml": CONFIG + "budget: {job: 500}\n"})

    run = await gamma.finished(sha)
    config = await gamma.finished(sha, "gamma / config")

    assert run.conclusion == "success"
    assert config.conclusion == "neutral"
    assert [(a.path, a.annotation_level) for a in config.annotations] == [("gamma.yml", "warning")]
