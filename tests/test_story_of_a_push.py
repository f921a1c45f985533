"""A push becomes a training job, and its story appears in the Checks tab and the pull request.

One Gamma serves all stories of this module; each has a repository, an owner and an installation of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio

from gamma_bot.sandbox.faults import Fault, FaultKind
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma, get

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPOSITORY = {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT}


@pytest_asyncio.fixture(loop_scope="module")
async def gamma(shared: Gamma) -> Gamma:
    """A repository where nothing has happened yet."""
    return shared.elsewhere()


def waiting_for(gate: Path) -> str:
    """A script that goes on when a file appears."""
    return LOGGING_SCRIPT + f"\nimport pathlib\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)\n"


async def test_a_push_without_a_pull_request_gets_its_check_run_and_nothing_else(gamma: Gamma) -> None:
    sha = await gamma.push("models", REPOSITORY)

    run = await gamma.finished(sha)

    assert run.conclusion == "success"
    assert run.output.title is not None
    assert "score" in run.output.title
    assert "0.3" in run.output.title
    assert run.external_id == (await gamma.service.jobs.recent(1))[0].id
    assert gamma.repository.comments == {}
    assert len(gamma.check_runs(sha)) == 1
    assert gamma.check_runs(sha, "gamma / config") == []


async def test_a_job_is_compared_with_the_last_finished_run_of_the_base_branch(gamma: Gamma) -> None:
    base = await gamma.push("models/main", REPOSITORY)
    await gamma.finished(base)
    head = await gamma.push("models/faster", {"gamma.yml": CONFIG.replace("0.1", "0.2")}, start_from="models/main")
    pull = await gamma.open_pull_request("models/faster", base="models/main")

    run = await gamma.finished(head)
    comment = await gamma.comment_says(pull, "0.6", "+0.3", "better", head[:7])

    assert run.conclusion == "success"
    assert "+0.3" in run.output.title
    assert base[:7] in run.output.summary
    assert base[:7] in comment
    assert "gamma.yml" in comment, "the write-up says which files changed"


async def test_the_pull_request_has_one_comment_that_later_jobs_edit_in_place(gamma: Gamma) -> None:
    await gamma.push("models/main", REPOSITORY)
    first = await gamma.push("models/wider", {"gamma.yml": CONFIG.replace("0.1", "0.2")}, start_from="models/main")
    pull = await gamma.open_pull_request("models/wider", base="models/main")
    await gamma.finished(first)
    before = await gamma.comment_says(pull, first[:7], "0.6")

    second = await gamma.push("models/wider", {"gamma.yml": CONFIG.replace("0.1", "0.4")})
    await gamma.finished(second)
    after = await gamma.comment_says(pull, second[:7], "1.2")
    await gamma.flushed()

    assert before != after
    assert len(gamma.comments(pull)) == 1


async def test_a_pull_request_that_is_opened_later_gets_the_newest_result(gamma: Gamma) -> None:
    sha = await gamma.push("models/late", REPOSITORY)
    await gamma.finished(sha)
    await gamma.flushed()

    pull = await gamma.open_pull_request("models/late", base="main")

    await gamma.comment_says(pull, sha[:7], "score", "0.3")


async def test_a_pull_request_that_is_closed_while_its_job_runs_still_tells_the_end(
    gamma: Gamma, tmp_path: Path
) -> None:
    gate = tmp_path / "go"
    sha = await gamma.push("models/x", {**REPOSITORY, "train.py": waiting_for(gate)})
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.running(sha)
    await gamma.comment_says(pull, sha[:7])

    await gamma.github.close_pull_request(pull)
    await gamma.dispatched()
    gate.touch()
    await gamma.comment_says(pull, sha[:7], "score 0.3")
    later = await gamma.push("models/x", {"note.txt": "after it was closed"})
    await gamma.finished(later)
    await gamma.flushed()

    assert later[:7] not in await gamma.comment_says(pull, sha[:7])


async def test_broken_code_is_annotated_where_the_users_own_code_broke(gamma: Gamma) -> None:
    files = {
        "gamma.yml": CONFIG,
        "train.py": "from policy import act\n\nprint('starting', flush=True)\nact()\n",
        "policy.py": "import json\n\n\ndef act():\n    return json.loads('{broken')\n",
    }
    sha = await gamma.push("models/broken", files)
    pull = await gamma.open_pull_request("models/broken", base="main")

    run = await gamma.finished(sha)

    assert run.conclusion == "failure"
    (annotation,) = run.annotations
    assert (annotation.path, annotation.start_line, annotation.annotation_level) == ("policy.py", 5, "failure")
    assert "JSONDecodeError" in (annotation.title or "") + annotation.message
    assert "starting" in run.output.text
    assert "policy.py" in run.output.title
    await gamma.comment_says(pull, "policy.py", "JSONDecodeError")


async def test_a_commit_message_can_skip_training(gamma: Gamma) -> None:
    sha = await gamma.push("models", REPOSITORY, message="Only words [skip gamma]")

    run = await gamma.finished(sha)

    assert run.conclusion == "neutral"
    assert "[skip gamma]" in run.output.title


async def test_a_push_that_touches_no_training_path_is_neutral(gamma: Gamma) -> None:
    config = CONFIG.replace("  command:", "  paths: [train.py, 'src/**']\n  command:")
    first = await gamma.push("models", {**REPOSITORY, "gamma.yml": config, "src/net.py": "", "docs.md": ""})
    assert (await gamma.finished(first)).conclusion == "success"

    words = await gamma.push("models", {"docs.md": "new words"})
    code = await gamma.push("models", {"src/net.py": "x = 1"})

    assert (await gamma.finished(words)).conclusion == "neutral"
    assert (await gamma.finished(code)).conclusion == "success"


async def test_without_a_gamma_yml_the_script_at_the_root_is_trained(gamma: Gamma) -> None:
    sha = await gamma.push("models", {"train.py": LOGGING_SCRIPT})

    assert (await gamma.finished(sha)).conclusion == "success"


async def test_with_nothing_to_train_gamma_says_what_to_add(gamma: Gamma) -> None:
    sha = await gamma.push("models", {"notes.md": "soon"})

    config = await gamma.finished(sha, "gamma / config")
    train = await gamma.finished(sha)

    assert config.conclusion == train.conclusion == "neutral"
    assert "gamma init" in config.output.summary
    assert "gamma.yml" in config.output.summary


async def test_mistakes_in_gamma_yml_are_shown_at_their_line(gamma: Gamma) -> None:
    broken = "version: 1\ntrain:\n  comand: python train.py\n  timeout: soon\n"
    sha = await gamma.push("models", {"gamma.yml": broken, "train.py": LOGGING_SCRIPT})

    config = await gamma.finished(sha, "gamma / config")
    train = await gamma.finished(sha)

    assert (config.conclusion, train.conclusion) == ("failure", "failure")
    assert {(a.path, a.start_line) for a in config.annotations} == {("gamma.yml", 3), ("gamma.yml", 4)}
    assert any("command" in a.message for a in config.annotations), "it names the key that was meant"


async def test_other_branches_tags_and_deletions_never_hear_of_gamma(gamma: Gamma) -> None:
    sha = await gamma.push("main", REPOSITORY)
    await gamma.push("feature/models", REPOSITORY)
    await gamma.github.push_tag(gamma.repository, "models", sha)
    trained = await gamma.push("models", REPOSITORY)
    await gamma.finished(trained)
    await gamma.github.move_branch(gamma.repository, "models", None)
    await gamma.dispatched()
    await gamma.flushed()

    assert {run.head_sha for run in gamma.repository.check_runs} == {trained}


async def test_gammas_own_pushes_start_nothing(gamma: Gamma) -> None:
    sha = await gamma.push("models", REPOSITORY, author=gamma.app.bot)
    await gamma.dispatched()

    assert gamma.check_runs(sha) == []


async def test_the_sign_of_life_comes_within_two_round_trips(gamma: Gamma) -> None:
    gamma.github.faults.add(Fault("GET", r"/contents/", FaultKind.DELAY, delay_seconds=2.0))
    began = len(gamma.github.requests)
    sha = await gamma.push("models", REPOSITORY)

    def created() -> list[str] | None:
        return [f"{r.method} {r.path}" for r in gamma.github.requests[began:]] if gamma.check_runs(sha) else None

    seen = await gamma.eventually(created, "a check run")
    sequential = [request for request in seen if request.startswith("POST")]
    assert len(sequential) == 2, "a token, and the check run; gamma.yml is read beside it"
    assert "access_tokens" in sequential[0]
    assert "check-runs" in sequential[1]
    assert (await gamma.finished(sha)).conclusion == "success"


async def test_a_running_job_shows_progress_but_seldom(gamma: Gamma, tmp_path: Path) -> None:
    gate = tmp_path / "go"
    sha = await gamma.push("models", {**REPOSITORY, "train.py": waiting_for(gate)})

    run = await gamma.running(sha)
    job = (await gamma.service.jobs.recent(1))[0]
    status, page = await get(f"{gamma.service.url}/jobs/{job.id}")
    gate.touch()
    await gamma.finished(sha)
    await gamma.flushed()

    assert run.details_url == f"{gamma.service.url}/jobs/{job.id}"
    assert status == 200
    assert job.id in page
    own = f"/repos/{gamma.repository.full_name}/check-runs/"
    updates = [r for r in gamma.github.requests if r.method == "PATCH" and r.path.startswith(own)]
    assert updates
    assert len(updates) <= 4, "preparing, running, at most one of progress, and the end"
    assert run.history[0].startswith("queued")


async def test_a_metric_that_is_no_number_fails_the_job_and_says_so(gamma: Gamma) -> None:
    script = LOGGING_SCRIPT.replace("rate * step, step)", "float('nan') if step == 3 else 1.0, step)").replace(
        "json.dumps(body)", 'json.dumps(body).replace("NaN", chr(34) + "NaN" + chr(34))'
    )
    sha = await gamma.push("models", {**REPOSITORY, "train.py": script})

    run = await gamma.finished(sha)

    assert run.conclusion == "failure"
    assert "NaN" in run.output.summary


async def test_a_regression_behind_a_gate_fails_the_check(gamma: Gamma) -> None:
    gated = CONFIG.replace("primary: true}", "primary: true, gate: no-regression}")
    await gamma.finished(await gamma.push("models/main", {**REPOSITORY, "gamma.yml": gated}))

    sha = await gamma.push("models/worse", {"gamma.yml": gated.replace("0.1", "0.05")}, start_from="models/main")
    run = await gamma.finished(sha)

    assert run.conclusion == "failure"
    assert "score" in run.output.title


async def test_the_job_gets_the_container_contract_and_none_of_our_secrets(gamma: Gamma, monkeypatch: object) -> None:
    script = "import os, json\nfor key in sorted(os.environ): print(key + '=' + os.environ[key])\n"
    sha = await gamma.push("models", {"train.py": script})

    run = await gamma.finished(sha)
    job = (await gamma.service.jobs.recent(1))[0]
    _, page = await get(f"{gamma.service.url}/jobs/{job.id}")

    assert run.conclusion == "success"
    for name in ("SM_MODEL_DIR=", "SM_HPS=", "MLFLOW_RUN_ID=", "GAMMA_JOB_ID=", "GAMMA_SHA="):
        assert name in page
    assert "GAMMA_GITHUB" not in page
    assert "sandbox-secret" not in page


async def test_no_answer_from_github_is_waited_out(gamma: Gamma) -> None:
    gamma.github.faults.add(Fault("GET", r"/contents/", FaultKind.STATUS, times=4, status=502))
    gamma.github.faults.add(Fault("POST", r"/check-runs$", FaultKind.STATUS, times=1, status=502))
    sha = await gamma.push("models", REPOSITORY)

    assert (await gamma.finished(sha)).conclusion == "success"
    assert len(gamma.check_runs(sha)) == 1


async def test_a_repository_that_may_not_be_read_says_which_permission_is_missing(gamma: Gamma) -> None:
    installation = gamma.github.state.installations[max(gamma.github.state.installations)]
    installation.permissions.pop("contents")
    sha = await gamma.push("models", REPOSITORY)

    run = await gamma.finished(sha)

    assert run.conclusion == "failure"
    assert "permission" in run.output.summary + (run.output.text or "")
