"""What a model may cost and did cost: prices by date and size, caps that two calls at once can't slip under."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gamma_bot.agent.footer import footer
from gamma_bot.agent.ledger import Caps, Charge, OverTheCap
from gamma_bot.agent.models import ModelsUnusable, UnknownModel, Usage, load_models
from gamma_bot.agent.write_up import NoModel, Rung
from gamma_bot.agents import agent_of
from gamma_bot.settings import Settings, WrongSettings
from gamma_bot.store.database import Database
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
        capped, again = [await stage.write(replace(WORSE, sha=letter * 40)) for letter in "ab"]
        assert len(stage.fake.requests) == 1
        assert (capped.rung, capped.why, capped.usd) == (Rung.DETERMINISTIC, NoModel.CAP, 0.0)
        assert (capped.told_first, again.told_first) == (True, False)
    month = "the budget for the model is used up ($0.07 a month in this repository)"
    assert footer(capped, 0.07) == f"Deterministic write-up (no model): {month}"
    assert footer(again, 0.07) == "Deterministic write-up (no model)"
    warning = footer(replace(first, month_share=0.83), 20.0)
    assert "83% of this month's $20.00 for the model are used" in warning
