"""Whatever an API does to us: there is something to post, the books are right, and nobody waits longer than said."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gamma_bot.agent.ask_events import Delta, Restart
from gamma_bot.agent.client import Patience
from gamma_bot.agent.write_up import NoModel, Rung
from tests.agent_stage import GOOD, QUICK, agent_stage, answer
from tests.anthropic_fake import Say
from tests.ask_stage import ask_stage

pytestmark = pytest.mark.thorough

SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"


# What llmock does, what the ledger then has of the first model, and which rung comes of it.
@pytest.mark.parametrize(
    ("fault", "stops", "rung"),
    [
        (("fail", {"status": 429, "retry_after": 0.1}), ["http 429", "end_turn"], Rung.MODEL),
        (("fail", {"status": 529}), ["http 529", "end_turn"], Rung.MODEL),
        (("fail", {"status": 529, "times": 2, "model": SONNET}), ["http 529", "http 529"], Rung.SECOND_MODEL),
        (("fail", {"status": 400}), ["http 400"], Rung.SECOND_MODEL),
        (("disconnect", {"after_chunks": 3}), ["cut", "end_turn"], Rung.MODEL),
        (("truncate", {"after_chunks": 3}), ["ended early", "end_turn"], Rung.MODEL),
        (("stall", {"after_chunks": 3, "seconds": 30}), ["stalled", "end_turn"], Rung.MODEL),
        (("corrupt", {"after_chunks": 3}), ["corrupt", "end_turn"], Rung.MODEL),
        (("truncate", {"after_chunks": 3, "times": None}), ["ended early"] * 3, Rung.DETERMINISTIC),
    ],
    ids=lambda value: value[0] + str(value[1].get("status", "")) if isinstance(value, tuple) else None,
)
async def test_faults_of_the_network_and_the_api(
    fault: tuple[str, dict[str, Any]], stops: list[str], rung: Rung, llmock: Any, tmp_path: Path
) -> None:
    name, options = fault
    llmock.reply(answer(), times=None)
    getattr(llmock, name)(**options)
    began = time.monotonic()
    patience = replace(QUICK, read_seconds=0.8) if name == "stall" else QUICK
    async with agent_stage(tmp_path, base_url=llmock.base_url("anthropic"), patience=patience) as stage:
        done = await stage.write()
        rows = await stage.rows()

    assert time.monotonic() - began < 20
    assert done.rung is rung
    assert bool(done.markdown) == (rung is not Rung.DETERMINISTIC)
    assert done.markdown.count("Larger steps fit") <= 1
    assert [row.stop_reason for row in rows if row.model == SONNET] == stops
    for row in rows:
        broke = row.stop_reason in ("cut", "ended early", "stalled", "corrupt")
        assert row.estimated == broke
        assert (row.usd > 0) == (row.stop_reason == "end_turn" or broke)
    assert done.usd == pytest.approx(sum(row.usd for row in rows))
    if rung is Rung.MODEL:
        llmock.assert_resilient()


# What the model says, in order, for each call; what comes of it; and how each attempt stands in the ledger.
@pytest.mark.parametrize(
    ("script", "rung", "why", "stops"),
    [
        ([Say("", stop_reason="refusal"), Say(answer())], Rung.SECOND_MODEL, None, ["refusal", "end_turn"]),
        ([Say("", stop_reason="refusal")] * 2, Rung.DETERMINISTIC, NoModel.REFUSED, ["refusal"] * 2),
        ([Say(""), Say(answer())], Rung.REPAIRED, None, ["end_turn"] * 2),
        ([Say("", thinking="Hm.")] * 3, Rung.DETERMINISTIC, NoModel.WRONG, ["end_turn"] * 3),
        (
            [Say(answer()[:300], stop_reason="max_tokens"), Say(answer())],
            Rung.REPAIRED,
            None,
            ["max_tokens", "end_turn"],
        ),
        ([Say(answer(), breaks="error"), Say(answer())], Rung.MODEL, None, ["error overloaded_error", "end_turn"]),
        (
            [Say(answer(), breaks="early", thinking="Hm.")] * 6,
            Rung.DETERMINISTIC,
            NoModel.NO_ANSWER,
            ["ended early"] * 6,
        ),
        (
            [
                Say(
                    status=429,
                    error="rate_limit_error",
                    code="enforced_spend_limit_reached",
                    headers={"retry-after": "9"},
                )
            ],
            Rung.DETERMINISTIC,
            NoModel.SPEND_LIMIT,
            ["http 429"],
        ),
        (
            [Say(status=402, error="billing_error", code="linked_organization_spend_limit_reached")],
            Rung.DETERMINISTIC,
            NoModel.SPEND_LIMIT,
            ["http 402"],
        ),
        ([Say(status=401, error="authentication_error")] * 2, Rung.DETERMINISTIC, NoModel.REJECTED, ["http 401"] * 2),
    ],
)
async def test_what_a_model_may_answer(
    script: list[Say], rung: Rung, why: NoModel | None, stops: Sequence[str], tmp_path: Path
) -> None:
    async with agent_stage(tmp_path) as stage:
        stage.fake.script = list(script)
        done = await stage.write()
        rows = await stage.rows()
        assert stage.fake.script == []
    assert (done.rung, done.why) == (rung, why)
    assert [row.stop_reason for row in rows] == list(stops)
    assert done.markdown.count(GOOD["likely_cause"]["text"]) == (0 if rung is Rung.DETERMINISTIC else 1)


async def test_a_broken_stream_is_paid_by_what_it_said_and_a_whole_one_by_its_usage(tmp_path: Path) -> None:
    async with agent_stage(tmp_path) as stage:
        stage.fake.script = [Say(answer(), breaks="cut", thinking="Hm. " * 300), Say(answer())]
        done = await stage.write()
        cut, whole = await stage.rows()
    assert done.rung is Rung.MODEL
    assert (cut.estimated, cut.cache_write_1h > 0, cut.output > 100) == (True, True, True)
    assert (whole.estimated, whole.cache_read) == (False, cut.cache_write_1h)


async def test_who_waits_too_long_is_told_so_and_hangs_up(tmp_path: Path) -> None:
    async with agent_stage(tmp_path, most_seconds=1.5) as stage:
        stage.fake.script = [Say(answer(), breaks="stall")]
        began = time.monotonic()
        done = await stage.write()
        assert time.monotonic() - began < 10
        [row] = await stage.rows()
    assert stage.fake.aborted == 1  # the stream upstream ended too
    assert (done.rung, done.why) == (Rung.DETERMINISTIC, NoModel.NO_ANSWER)
    assert (row.stop_reason, row.estimated) == ("cancelled", True)
    assert row.cache_write_1h > 0


async def test_an_api_that_is_not_there_costs_nothing(tmp_path: Path) -> None:
    nobody = Patience(connect_seconds=0.5, retries=0, streams=1)
    async with agent_stage(tmp_path, base_url="http://127.0.0.1:9", patience=nobody) as stage:
        done = await stage.write()
        rows = await stage.rows()
    assert (done.rung, done.why) == (Rung.DETERMINISTIC, NoModel.NO_ANSWER)
    assert [(row.model, row.stop_reason, row.usd) for row in rows] == [
        (SONNET, "unreachable", 0.0),
        (HAIKU, "unreachable", 0.0),
    ]


RATE = "The learning rate was raised, and `val_loss` got worse."
LOOKS = Say("Let me look. ", tools=[("list_runs", {"limit": 5, "status": ""})], thinking="Hm.")
FAULTS = {
    "429": Say(status=429, error="rate_limit_error", headers={"retry-after": "0"}),
    "529": Say(status=529, error="overloaded_error"),
    **{how: Say(RATE, breaks=how) for how in ("cut", "early", "corrupt", "error", "stall")},
    "cut in a call": replace(LOOKS, breaks="cut"),
    "truncated call": replace(LOOKS, stop_reason="max_tokens", text=""),
    "empty": Say("", thinking="Hm."),
    "refusal": Say("I can", stop_reason="refusal"),
}


@pytest.mark.parametrize("first", FAULTS)
async def test_two_faults_in_a_row_leave_one_answer_and_no_piece_of_another(first: str, tmp_path: Path) -> None:
    ends_it = {"truncated call", "empty", "refusal"}  # each of these takes a model, and there are two
    patience = replace(QUICK, read_seconds=0.3)
    for second in FAULTS:
        async with ask_stage(tmp_path / second.replace(" ", "-"), patience=patience) as stage:
            began = time.monotonic()
            done = await stage.ask(LOOKS, FAULTS[first], FAULTS[second], *[Say(RATE)] * 3)
            rows = await stage.stage.rows()
        assert time.monotonic() - began < 10
        assert all(row.stop_reason for row in rows)
        assert len(rows) == len(stage.requests)
        assert done.usd == pytest.approx(sum(row.usd for row in rows))
        if {first, second} <= ends_it:
            assert done.why_not == ("refused" if second == "refusal" else "empty")
            continue
        shown = ""
        for event in stage.events:
            match event:
                case Restart():
                    shown = ""
                case Delta(text=text):
                    shown += text
        assert (done.markdown, shown) == (RATE, RATE)
