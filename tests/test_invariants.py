"""The invariants I1 to I6 of the design, each on SQLite and on PostgreSQL, under ``kill -9``."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from pathlib import Path

import aiohttp
import pytest

from gamma_bot.sandbox.model import PullRequest, RequestRecord
from gamma_bot.store.database import Database
from gamma_bot.store.inbox import Inbox
from gamma_bot.store.jobs import Jobs
from tests.harness import CONFIG, LOGGING_SCRIPT, SECRET, Gamma, training_processes


@pytest.fixture
def durable(database_url: str | None, stage: Gamma) -> Gamma:
    """A Gamma on one of the two databases, not started. It stops before its database goes."""
    stage.settings = stage.settings.model_copy(update={"database_url": database_url})
    return stage


def counting(counter: Path, *, until: Path | None = None) -> str:
    """A script that notes each start in a file outside, and may wait for a file to appear."""
    wait = f"\nimport pathlib\nwhile not pathlib.Path({str(until)!r}).exists(): time.sleep(0.05)\n" if until else ""
    return f"open({str(counter)!r}, 'a').write('started\\n')\n" + LOGGING_SCRIPT + wait


def starts(counter: Path) -> int:
    """How many training processes ever began."""
    return len(counter.read_text().splitlines()) if counter.exists() else 0


async def branch_with_pull_request(gamma: Gamma) -> PullRequest:
    """A branch with a pull request that Gamma has not heard of."""
    gamma.app.hook.active = False
    await gamma.push("models/x", {"README.md": "x"})
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.github.wait_for_deliveries()
    gamma.app.hook.active = True
    return pull


async def ended_right(gamma: Gamma, sha: str, pull: PullRequest, counter: Path) -> None:
    """One training process, one check run, one comment, a final state everywhere."""
    run = await gamma.finished(sha)
    await gamma.comment_says(pull, sha[:7], "0.3")
    assert run.conclusion == "success"
    assert starts(counter) == 1, "one push is one training job (I3)"
    assert len(gamma.check_runs(sha)) == 1, "one check run per attempt"
    assert len(gamma.comments(pull)) == 1, "one comment per pull request (I5)"
    assert training_processes(gamma.folder) == []


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("method", "route", "skip"),
    [
        ("POST", r"/check-runs$", 0),
        ("POST", r"/comments$", 0),
        ("PATCH", r"/issues/comments/", 0),
        ("PATCH", r"/check-runs/", 0),
    ],
    ids=["check-create", "comment-create", "comment-edit", "check-update"],
)
async def test_i4_i5_killed_around_a_call_to_github(
    stage: Gamma, tmp_path: Path, method: str, route: str, skip: int, moment: str
) -> None:
    await killed_around_a_call(stage, tmp_path, method, route, moment)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_i4_killed_around_the_end_on_postgres(
    postgres_database: str, stage: Gamma, tmp_path: Path, moment: str
) -> None:
    stage.settings = stage.settings.model_copy(update={"database_url": postgres_database})
    await killed_around_a_call(stage, tmp_path, "POST", r"/comments$", moment)


async def killed_around_a_call(gamma: Gamma, folder: Path, method: str, route: str, moment: str) -> None:
    """Kill the bot right before or right after a call took effect; a restart must finish the story."""
    counter, chosen, killed = folder / "starts", asyncio.Event(), asyncio.Event()
    pull = await branch_with_pull_request(gamma)
    await gamma.spawn()

    async def kill(now: str, _record: RequestRecord) -> None:
        if now == moment and not chosen.is_set():
            chosen.set()
            await gamma.kill()
            killed.set()

    gamma.github.on_request(method, route, kill)
    sha = await gamma.push("models/x", {"gamma.yml": CONFIG, "train.py": counting(counter)})
    await asyncio.wait_for(killed.wait(), 30)
    await gamma.spawn()

    await ended_right(gamma, sha, pull, counter)


async def test_i3_killed_around_every_effect_of_a_launch(durable: Gamma, tmp_path: Path) -> None:
    counter = tmp_path / "starts"
    pull = await branch_with_pull_request(durable)
    await durable.spawn("before:open_run")
    sha = await durable.push("models/x", {"gamma.yml": CONFIG, "train.py": counting(counter)})
    await durable.killed()
    for point in ("after:open_run", "before:submit", "after:submit", "before:close_run", "after:close_run"):
        await durable.spawn(point)
        await durable.killed()
    await durable.spawn()

    await ended_right(durable, sha, pull, counter)


async def test_i3_a_job_that_outlives_a_crash_is_found_again(durable: Gamma, tmp_path: Path) -> None:
    counter, gate = tmp_path / "starts", tmp_path / "go"
    pull = await branch_with_pull_request(durable)
    await durable.spawn()
    sha = await durable.push("models/x", {"gamma.yml": CONFIG, "train.py": counting(counter, until=gate)})
    await durable.running(sha)

    await durable.kill()
    gate.touch()
    await durable.spawn()

    await ended_right(durable, sha, pull, counter)


async def test_i1_an_answered_delivery_survives_the_next_moment(durable: Gamma) -> None:
    await durable.spawn()
    url = durable.app.hook.url
    body = b'{"zen": "kept"}'
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    guids = [f"guid-{number}" for number in range(40)]

    async with aiohttp.ClientSession() as session:

        async def deliver(guid: str) -> bool:
            headers = {"X-GitHub-Delivery": guid, "X-GitHub-Event": "ping", "X-Hub-Signature-256": signature}
            try:
                async with session.post(url, data=body, headers=headers) as answer:
                    return answer.status == 202
            except aiohttp.ClientError:
                return False

        tasks = [asyncio.create_task(deliver(guid)) for guid in guids]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await durable.kill()
        answered = [guid for guid, kept in zip(guids, await asyncio.gather(*tasks), strict=True) if kept]

    assert answered, "the process was killed after its first answer"
    database = Database(durable.settings.store_url)
    inbox = Inbox(database)
    stored = {row.guid for row in await inbox.newest(100)}
    inbox.close()
    database.close()
    assert set(answered) <= stored


async def test_i1_what_was_not_dispatched_before_a_crash_is_dispatched_at_the_start(durable: Gamma) -> None:
    sha = await durable.push("models", {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT})
    await durable.github.wait_for_deliveries()
    delivery = next(d for d in durable.app.deliveries if d.event == "push")
    database = Database(durable.settings.store_url)
    durable.settings.data_dir.mkdir(parents=True, exist_ok=True)
    database.create_tables()
    inbox = Inbox(database)
    from gamma_bot.store.inbox import Delivery

    await inbox.offer(Delivery(delivery.guid, "push", delivery.request_body, 1.0))
    inbox.close()
    database.close()

    await durable.start()

    assert (await durable.finished(sha)).conclusion == "success"


async def test_i2_a_delivery_handled_twice_late_and_out_of_order_changes_nothing(
    durable: Gamma, tmp_path: Path
) -> None:
    counter = tmp_path / "starts"
    pull = await branch_with_pull_request(durable)
    first = await durable.push("models/x", {"gamma.yml": CONFIG, "train.py": counting(counter)})
    second = await durable.push("models/x", {"gamma.yml": CONFIG.replace("0.1", "0.2")})
    await durable.github.wait_for_deliveries()
    await durable.start()
    early, late = [d for d in durable.app.deliveries if d.event == "push"][-2:]

    for delivery in (late, late, early, late, early):
        durable.github.redeliver(delivery)
    superseded, trained = await durable.finished(first), await durable.finished(second)
    comment = await durable.comment_says(pull, second[:7], "0.6")
    await durable.service.inbox.replay(late.guid)
    await durable.dispatched()
    await durable.flushed()

    assert (superseded.conclusion, trained.conclusion) == ("cancelled", "success"), "the newer push is what counts"
    assert starts(counter) == 1
    assert len(durable.check_runs(first)) == len(durable.check_runs(second)) == 1
    assert (await durable.comment_says(pull, second[:7])) == comment, "the newer push stays the result"


async def test_i4_a_job_whose_workflow_is_gone_ends_where_people_see_it(durable: Gamma, tmp_path: Path) -> None:
    gate, config = tmp_path / "go", f"{CONFIG}concurrency: queue\n"

    def waits(sha: str) -> bool | None:
        return any((run.output.title or "").startswith("Waiting") for run in durable.check_runs(sha)) or None

    await durable.start()
    running = await durable.push("models", {"gamma.yml": config, "train.py": counting(tmp_path / "n", until=gate)})
    await durable.running(running)
    waiting = await durable.push("models", {"gamma.yml": f"{config}# again\n"})
    await durable.eventually(lambda: waits(waiting), "the second job to wait for its turn")
    (job,) = await durable.service.jobs.of_commit(durable.repository.id, waiting)
    from dbos import DBOS

    await DBOS.cancel_workflow_async(job.id)
    await durable.restart()
    lost = await durable.finished(waiting)
    gate.touch()

    assert lost.conclusion == "failure"
    assert "lost track" in lost.output.title
    assert (await durable.finished(running)).conclusion == "success", "no workflow waits while a job trains"


async def test_i6_github_is_asked_for_the_truth_where_a_webhook_is_missing(durable: Gamma) -> None:
    pull = await branch_with_pull_request(durable)
    await durable.start()

    sha = await durable.push("models/x", {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT})

    await durable.comment_says(pull, sha[:7], "0.3")


async def test_i4_runs_left_open_in_mlflow_are_closed(durable: Gamma, tmp_path: Path) -> None:
    await durable.start()
    sha = await durable.push("models", {"gamma.yml": CONFIG, "train.py": "import os, signal\nos.kill(0, 9)\n"})
    run = await durable.finished(sha)
    job = (await durable.service.jobs.recent(1))[0]

    assert run.conclusion == "failure"
    assert (await durable.service.tracking.read_run(job.run_id)).status == "FAILED"
    assert os.getpid() not in training_processes(durable.folder)


async def test_the_store_and_the_jobs_are_the_same_in_both_databases(durable: Gamma) -> None:
    await durable.start()
    sha = await durable.push("models", {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT})
    await durable.finished(sha)

    (job,) = await Jobs(durable.service.database).recent(10)

    assert (job.state, job.head_sha, job.branch, job.executor) == ("succeeded", sha, "models", "local")
    assert job.facts["exit_code"] == 0
