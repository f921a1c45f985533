"""A crash in the middle of a write-up: the text is posted all the same, once, and the books say what is not known."""

from __future__ import annotations

import asyncio
import json

import pytest

from gamma_bot.store.database import Database
from gamma_bot.store.ledger import AgentLedger, AttemptRow
from gamma_bot.store.tables import agent_ledger
from tests.anthropic_fake import KEY, AnthropicFake, Say
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma
from tests.test_agent_write_up_story import BACK

pytestmark = pytest.mark.thorough


async def test_a_write_up_that_a_crash_cut_off_is_made_again_within_its_cap(stage: Gamma) -> None:
    async with AnthropicFake().serve() as fake:
        never = asyncio.Event()
        fake.script = lambda _: Say(json.dumps(BACK), after=never)
        keyed = {"GAMMA_ANTHROPIC_API_KEY": KEY, "GAMMA_ANTHROPIC_BASE_URL": fake.url}
        await stage.spawn(**keyed)
        await stage.push("models/main", {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT})
        sha = await stage.push("models/x", {"gamma.yml": CONFIG.replace("0.1", "0.2")}, start_from="models/main")
        pull = await stage.open_pull_request("models/x", base="models/main")
        await stage.finished(sha)
        await stage.eventually(lambda: len(fake.requests) == 2 or None, "both commits to be written about")
        await stage.kill()

        fake.script = lambda _: Say(json.dumps(BACK))
        await stage.spawn(**keyed)
        await stage.comment_says(pull, BACK["headline"], sha[:7])
        await stage.eventually(lambda: len(fake.requests) == 4 or None, "both to be written about again")
        await stage.kill()
        assert len(stage.comments(pull)) == 1

    for job in {row.job for row in await attempts(stage)}:
        lost, made = [row for row in await attempts(stage) if row.job == job]
        assert (lost.stop_reason, lost.estimated, lost.usd > made.usd) == ("", True, True)  # the most it can have cost
        assert (made.stop_reason, made.estimated) == ("end_turn", False)


async def attempts(stage: Gamma) -> list[AttemptRow]:
    """The ledger, in order."""
    database = Database(stage.settings.store_url)
    tasks = await database.read(lambda c: {row.task for row in c.execute(agent_ledger.select())})
    rows = [row for task in tasks for row in await AgentLedger(database).of_task(task)]
    database.close()
    return sorted(rows, key=lambda row: row.at)
