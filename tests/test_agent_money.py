"""What a model may cost and did cost: prices by date and size, caps that two calls at once can't slip under."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from gamma_bot.agent.accounting import Accounting
from gamma_bot.agent.footer import footer
from gamma_bot.agent.ledger import Caps, Charge, OverTheCap, month_began
from gamma_bot.agent.models import ModelsUnusable, UnknownModel, Usage, load_models
from gamma_bot.agent.write_up import NoModel, Rung
from gamma_bot.agents import agent_of
from gamma_bot.settings import Settings, WrongSettings
from gamma_bot.store.database import Database
from gamma_bot.store.tables import agent_ledger
from tests.agent_stage import WORSE, agent_stage, answer
from tests.anthropic_fake import Say


def test_prices_go_by_date_and_by_the_size_of_the_prompt(tmp_path: Path) -> None:
    models = load_models()
    september, november = (datetime(2026, month, 15, tzinfo=UTC).timestamp() for month in (9, 11))
    sonnet = models.get("claude-sonnet-5-5")
    million = 1_000_000
    assert sonnet.usd(Usage(cache_read=million), september) == pytest.approx(0.20)
    assert sonnet.usd(Usage(cache_read=million), november) == pytest.approx(0.10)
    assert sonnet.usd(Usage(million, 0, million, million, million), november) == pytest.approx(2 + 2.5 + 4 + 10)
    haiku = models.get("claude-haiku-5-5")
    assert haiku.usd(Usage(100_000, output=1000), november) == pytest.approx(0.0105)
    assert haiku.usd(Usage(99_000, cache_read=1001, output=1000), november) == pytest.approx(0.0495 + 5.005e-5 + 0.0025)

    with pytest.raises(UnknownModel, match=r"claude-sonnet-4-5 has no prices .* Known are claude-fable-5-1, "):
        models.get("claude-sonnet-4-5")
    table = {
        "as_of": "2026-12-01",
        "models": {"claude-new": {"min_cacheable_tokens": 512, "effort": None, "prices": []}},
    }
    (tmp_path / "models.json").write_text(json.dumps(table))
    with pytest.raises(ModelsUnusable, match="claude-new has no prices"):
        load_models(tmp_path)
    for price in ("0.1", None, True, -1, float("nan")):  # with NaN, no sum would ever be over a cap
        table["models"]["claude-new"]["prices"] = [{"since": "2026-12-01", "bands": [{"input": price}]}]
        (tmp_path / "models.json").write_text(json.dumps(table))
        with pytest.raises(ModelsUnusable, match="which is no price"):
            load_models(tmp_path)
    band = {"input": 1, "output": 2, "cache_read": 0.1, "cache_write_5m": 1.25, "cache_write_1h": 2}
    table["models"]["claude-new"]["prices"] = [{"since": "2026-12-01", "bands": [band]}]
    (tmp_path / "models.json").write_text(json.dumps(table))
    assert load_models(tmp_path).get("claude-new").usd(Usage(million), november) == pytest.approx(1.0)


def test_gamma_does_not_start_with_a_model_whose_price_is_unknown(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, anthropic_model="claude-next")
    database = Database(settings.store_url)
    with pytest.raises(WrongSettings, match="claude-next has no prices in the table of models of 2026"):
        agent_of(settings, database)
    database.close()


async def test_calls_at_once_can_not_slip_under_a_cap_together(database_url: str | None, tmp_path: Path) -> None:
    model = load_models().get("claude-sonnet-5-5")
    one = model.most_usd(1000, 4000, time.time())
    caps = Caps(write_up=1.0, month=one * 3.5)
    async with agent_stage(tmp_path, url=database_url, caps=caps) as stage:
        charges = [Charge(7, f"job-{n}", "write_up", f"task-{n}") for n in range(8)]
        opened = await asyncio.gather(*(stage.ledger.reserve(charge, model, 1000, 4000) for charge in charges))
        refused = [each for each in opened if isinstance(each, OverTheCap)]
        assert len(refused) == 5
        assert {each.what for each in refused} == {"month"}
        assert sum(each.first for each in refused) == 1  # that one tells it

        elsewhere = await stage.ledger.reserve(Charge(8, "job", "write_up", "other"), model, 1000, 4000)
        assert isinstance(elsewhere, str)
        # What it did come to gives the rest back.
        [first, *_] = [each for each in opened if isinstance(each, str)]
        await stage.ledger.settle(first, model, Usage(1000, output=10), "end_turn", "req_1")
        assert isinstance(await stage.ledger.reserve(charges[7], model, 1000, 4000), str)
        by_kind = await stage.store.by_kind(7, 0.0)
        assert by_kind["write_up"] == pytest.approx(one * 3 + model.usd(Usage(1000, output=10), time.time()))


async def test_a_write_up_stops_at_its_cap_and_a_repository_at_its_month(tmp_path: Path) -> None:
    wrong = answer(headline="`val_loss` improved.")
    async with agent_stage(tmp_path, caps=Caps(write_up=0.065)) as stage:
        stage.fake.script = [Say(wrong), Say(answer())]
        done = await stage.write()  # the second call could come to more than is left
        assert len(stage.fake.requests) == 2
        assert (done.rung, done.model) == (Rung.SECOND_MODEL, "claude-haiku-5-5")

    async with agent_stage(tmp_path, url=f"sqlite:///{tmp_path / 'month.db'}", caps=Caps(month=0.07)) as stage:
        stage.fake.script = [Say(answer())]
        first = await stage.write()
        assert first.rung is Rung.MODEL
        capped = await stage.write(replace(WORSE, job="job-2"))
        assert len(stage.fake.requests) == 1
        assert (capped.rung, capped.why, capped.usd) == (Rung.DETERMINISTIC, NoModel.CAP, 0.0)
    month = "this repository's budget for the model ($0.07 a month) is used up until the first of the next month"
    assert footer(capped, 0.07) == f"Deterministic write-up (no model): {month}"

    # Three runs of one commit, each with other hyperparameters: each has a write-up and a cap of its own.
    async with agent_stage(tmp_path, url=f"sqlite:///{tmp_path / 'jobs.db'}", caps=Caps(write_up=0.065)) as stage:
        stage.fake.script = lambda _: Say(answer(), thinking="so " * 1_000)
        done = [await stage.write(replace(WORSE, job=f"job-{number}")) for number in range(3)]
        assert [each.rung for each in done] == [Rung.MODEL] * 3
    async with agent_stage(tmp_path, url=f"sqlite:///{tmp_path / 'small.db'}", caps=Caps(write_up=0.01)) as stage:
        too_dear = await stage.write()
    assert footer(too_dear, 20.0).endswith(": one write-up may not cost as much as this one would have")
    warning = footer(replace(first, month_share=0.83), 20.0)
    assert "83% of this month's $20.00 for the model are used" in warning


async def test_a_call_that_a_crash_cut_off_counts_in_its_month_and_stops_no_later_try(
    database_url: str | None, tmp_path: Path
) -> None:
    model = load_models().get("claude-sonnet-5-5")
    most = model.most_usd(1000, 4000, time.time())
    async with agent_stage(tmp_path, url=database_url, caps=Caps(write_up=most * 1.5)) as stage:
        charge = Charge(7, "job-1", "write_up", "a task")
        lost = await stage.ledger.reserve(charge, model, 1000, 4000)
        assert isinstance(lost, str)  # and now the process dies
        at_once = await stage.ledger.reserve(charge, model, 1000, 4000)
        assert isinstance(at_once, OverTheCap)  # it may be under way still: it is held against the cap

        long_ago = update(agent_ledger).where(agent_ledger.c.id == lost).values(at=agent_ledger.c.at - 901)
        await stage.database.write(lambda c: c.execute(long_ago))
        later = await stage.ledger.reserve(charge, model, 1000, 4000)
        assert isinstance(later, str)
        rows = {row.id: row for row in await stage.store.of_task("a task")}
        assert (rows[lost].stop_reason, rows[lost].usd, rows[lost].estimated) == ("interrupted", most, True)
        month = sum(row.usd for row in rows.values())
        assert month == pytest.approx(2 * most)
        assert await stage.ledger.month_usd(7) == pytest.approx(month if _same_month(rows[lost].at) else most)


async def test_an_answer_that_does_not_say_what_it_took_is_not_taken_for_free(tmp_path: Path) -> None:
    model = load_models().get("claude-sonnet-5-5")
    request = {"max_tokens": 100, "messages": [{"role": "user", "content": "x" * 3_000}]}
    said = SimpleNamespace(content=[SimpleNamespace(text="y" * 300)])

    async def answers(_: object) -> object:
        return SimpleNamespace(headers={}, status_code=200)

    async with agent_stage(tmp_path) as stage:
        for usage in (None, Usage()):
            accounting = Accounting(stage.ledger, Charge(7, "job", "ask", "task"), model, request)
            await accounting(None, answers)
            await accounting.settle(usage, "end_turn", message=said)
        rows = await stage.rows()
    assert [(row.fresh > 1_000, row.output, row.estimated) for row in rows] == [(True, 100, True)] * 2


def _same_month(at: float) -> bool:
    return month_began(at) == month_began(time.time())
