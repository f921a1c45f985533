"""What GitHub could not deliver is asked for again, and what it never sent is read from the branches."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gamma_bot.events.catch_up import CatchUp
from gamma_bot.github.errors import GitHubError
from gamma_bot.sandbox.faults import Fault, FaultKind
from gamma_bot.sandbox.ids import iso_time
from gamma_bot.sandbox.model import App, Delivery
from gamma_bot.training.trainer import Ending
from tests.conversation import answered
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma, gamma_with_repository
from tests.stand_ins import MemoryTracking, PatientTrainer

REPOSITORY = {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT}
HOUR = 3600.0


@pytest.fixture
async def stage(tmp_path: Path, app_key: str) -> AsyncIterator[Gamma]:
    """A Gamma that is not started yet, and that trains nothing in earnest."""
    async with gamma_with_repository(tmp_path, app_key, "http://127.0.0.1:9") as gamma:
        gamma.tracking = MemoryTracking()
        gamma.trainer = PatientTrainer(gamma.tracking)
        yield gamma


@pytest.fixture
def trainer(stage: Gamma) -> PatientTrainer:
    assert isinstance(stage.trainer, PatientTrainer)
    return stage.trainer


def catch_up(gamma: Gamma) -> CatchUp:
    assert gamma.service is not None
    assert gamma.service.catch_up is not None
    return gamma.service.catch_up


def sent_long_ago(app: App, seconds: float = HOUR) -> None:
    """Whatever GitHub has sent so far, it sent this much earlier."""
    for delivery in app.deliveries:
        delivery.delivered_at = iso_time(time.time() - seconds)


def asked_for(gamma: Gamma) -> list[int]:
    """The deliveries that GitHub was asked to send again, in this order."""
    route = "/app/hook/deliveries/{delivery_id}/attempts"
    return [int(r.path.split("/")[-2]) for r in gamma.github.requests if r.route == route]


def newest_push(gamma: Gamma) -> Delivery:
    return [one for one in gamma.app.deliveries if one.event == "push"][-1]


async def test_what_came_while_gamma_was_down_is_asked_for_once_and_done_once(
    stage: Gamma, trainer: PatientTrainer
) -> None:
    stage.app.deliveries.clear()
    await stage.push("models/taken", REPOSITORY, "taken")
    earlier = newest_push(stage)
    first = await stage.push("models/a", REPOSITORY, "a")
    pull = await stage.open_pull_request("models/a", base="main")
    comment = await stage.github.comment(stage.repository, pull.number, "/gamma help stop", "ada")
    second = await stage.push("models/b", REPOSITORY, "b")
    await stage.github.wait_for_deliveries()
    assert {delivery.status_code for delivery in stage.app.deliveries} == {502}, "nobody listens"
    # One of them was answered by a Gamma whose data is gone: to train all of its pushes again is nobody's wish.
    earlier.status, earlier.status_code = "OK", 202
    sent_long_ago(stage.app)
    missed = [one for one in stage.app.deliveries if one.event != "check_suite" and one is not earlier]

    await stage.start()

    assert (await stage.finished(first)).conclusion == "success"
    assert (await stage.finished(second)).conclusion == "success"
    reaction, answer = await answered(stage, comment)
    assert reaction == "rocket"
    assert "/gamma stop" in answer
    await stage.comment_says(pull, first[:7], "0.3")
    assert asked_for(stage) == [one.id for one in missed], "the oldest first, and none that means nothing to Gamma"
    # An hour later, and when somebody presses Redeliver on GitHub's page besides.
    for delivery in missed:
        stage.github.redeliver(delivery)
    await stage.dispatched()
    assert not await catch_up(stage).look(now=time.time() + HOUR)
    assert asked_for(stage) == [one.id for one in missed], "nothing is asked for twice"
    assert len(trainer.starts) == 2, "a push is trained once, however often it is delivered (I3)"
    assert len(stage.check_runs(first)) == len(stage.check_runs(second)) == 1


async def test_one_that_is_missing_among_many_is_found_and_neither_faults_nor_refusals_hold_it_up(
    stage: Gamma, trainer: PatientTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.app.deliveries.clear()
    stage.github.faults.add(Fault("GET", r"/app/hook/deliveries$", FaultKind.STATUS, status=500))
    await stage.start()
    arrived = [await stage.push("models/a", REPOSITORY, "a"), await stage.push("models/b", REPOSITORY, "b")]
    for sha in arrived:
        await stage.finished(sha)
    stage.github.webhooks.hold()
    refused = await stage.push("models/old", REPOSITORY, "old"), newest_push(stage)
    lost = await stage.push("models/c", REPOSITORY, "c"), newest_push(stage)
    await stage.push("models/d", REPOSITORY, "d")
    gone = {refused[1].guid, lost[1].guid}
    stage.github.webhooks.release(lambda held: [one for one in held if one.guid not in gone])
    # 120 more that mean nothing, so that the list has a second page.
    for _ in range(120):
        stage.github.ping(stage.app)
    await stage.dispatched()
    lost[1].status, lost[1].status_code = "OK", 200  # a channel took it, and nobody was there to listen

    assert await catch_up(stage).look(), "they may still be under way: soon again"
    assert asked_for(stage) == []
    stage.github.faults.add(Fault("POST", r"/attempts$", FaultKind.STATUS, status=422))
    monkeypatch.setattr("gamma_bot.events.catch_up._MOST_ASKED", 1)
    assert await catch_up(stage).look(now=time.time() + HOUR), "a round has its bound: soon again"
    assert asked_for(stage) == [refused[1].id]
    assert not await catch_up(stage).look(now=time.time() + HOUR + 90), "what was just asked for is left alone"

    assert (await stage.finished(lost[0])).conclusion == "success"
    assert asked_for(stage) == [refused[1].id, lost[1].id]
    assert {spec.environment["GAMMA_SHA"] for spec in trainer.specs.values()} >= {*arrived, lost[0]}
    assert stage.check_runs(refused[0]) == []
    stage.github.faults.add(Fault("GET", r"/app/hook/deliveries$", FaultKind.SECONDARY_LIMIT))
    with pytest.raises(GitHubError, match="403"):
        await catch_up(stage).look()


async def test_a_branch_that_moved_without_a_word_is_followed_and_a_word_that_comes_late_starts_nothing(
    stage: Gamma, trainer: PatientTrainer
) -> None:
    trainer.waits = True
    await stage.start()
    first = await stage.push("models/x", REPOSITORY, "x")
    on_deleted = await stage.push("models/deleted", REPOSITORY, "deleted")
    await stage.running(first)
    await stage.running(on_deleted)
    stage.github.webhooks.hold()
    head = await stage.push("models/x", {"gamma.yml": CONFIG.replace("0.1", "0.2")})
    push = newest_push(stage)
    await stage.github.move_branch(stage.repository, "models/deleted", None)

    await catch_up(stage).look()
    assert stage.check_runs(head) == [], "GitHub lists the push: its delivery may still come"
    stage.app.deliveries.clear()  # three days later
    await catch_up(stage).look(now=time.time() + HOUR)

    superseded = await stage.finished(first)
    assert superseded.conclusion == "cancelled"
    assert f"Superseded by {head[:7]}" in (superseded.output.title or "")
    await stage.running(head)
    assert stage.check_runs(on_deleted)[-1].status == "in_progress", "to delete a branch is no wish to stop"
    # At last the delivery arrives, and again; and the next look finds nothing to do.
    stage.github.webhooks.release()
    await stage.dispatched()
    stage.github.redeliver(push)
    await stage.dispatched()
    await catch_up(stage).look(now=time.time() + 2 * HOUR)
    trainer.finish()

    assert (await stage.finished(head)).conclusion == "success"
    assert (await stage.finished(on_deleted)).conclusion == "success"
    assert len(stage.check_runs(head)) == 1
    assert list(trainer.starts.values()) == [1, 1, 1], "one push is one job (I3)"
    assert [outcome.ending for outcome in trainer.outcomes.values()].count(Ending.STOPPED) == 1
    record = await stage.service.inbox.find(push.guid) if stage.service is not None else None
    job = stage.check_runs(head)[0].external_id
    assert record is not None
    assert (record.state, record.result) == ("done", f"job {job}")
