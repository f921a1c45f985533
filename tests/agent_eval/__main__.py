"""The live tier: asks real models about every case and prints a table. ``make eval``; it costs about a dollar.

Needs GAMMA_ANTHROPIC_API_KEY. Models: the arguments, or the two that Gamma uses by itself.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

import structlog

from gamma_bot.agent.client import Claude
from gamma_bot.agent.ledger import Caps, Ledger
from gamma_bot.agent.models import DEFAULT_MODEL, SECOND_MODEL, Model, load_models
from gamma_bot.agent.sanitiser import AllowedLinks
from gamma_bot.agent.schema import Written
from gamma_bot.agent.write_up import Rung, WriteUp, WriteUps
from gamma_bot.store.database import Database
from gamma_bot.store.ledger import AgentLedger
from tests.agent_eval.cases import REPOSITORY, Case, cases
from tests.agent_eval.graders import grade, names_the_cause

_AT_ONCE = 4


async def main(names: list[str]) -> None:
    key = os.environ.get("GAMMA_ANTHROPIC_API_KEY", "")
    if not key:
        print("GAMMA_ANTHROPIC_API_KEY is not set, so no model can be asked. The tests replay the set without one.")
        return
    models = load_models()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'eval.db'}")
        database.create_tables()
        ledger = Ledger(AgentLedger(database), Caps(month=1000.0))
        claude = Claude(key, os.environ.get("GAMMA_ANTHROPIC_BASE_URL"), ledger)
        print(f"{'model':22} {'shown':>6} {'as is':>6} {'cause':>6} {'clean':>6}", end=" ")
        print(f"{'cached':>7} {'median $':>9} {'all $':>7}")
        try:
            for name in names:
                await _one_model(models.get(name), claude, ledger)
        finally:
            await claude.close()
            database.close()


async def _one_model(model: Model, claude: Claude, ledger: Ledger) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    writer = WriteUps(claude, ledger, model, None)

    async def run(case: Case) -> tuple[Case, WriteUp, Written | None]:
        async with gate:
            done = await writer.write(case.commit, AllowedLinks(repository=REPOSITORY))
        return case, done, done.written

    results = await asyncio.gather(*(run(case) for case in cases()))
    shown = [(case, done, written) for case, done, written in results if written is not None]
    problems = Counter(
        problem for case, done, written in shown if written for problem in grade(case, written, done.markdown)
    )
    clean = sum(not grade(case, written, done.markdown) for case, done, written in shown if written)
    cause = sum(names_the_cause(case, written) for case, _, written in shown if written)
    costs = [done.usd for _, done, _ in results]
    cached = statistics.median([done.cached_share for _, done, _ in results])
    as_is = sum(done.rung is Rung.MODEL for _, done, _ in results)
    print(
        f"{model.name:22} {len(shown):>3}/{len(results):<2} {as_is:>6} {cause:>6} {clean:>6} {cached:>7.0%}"
        f" {statistics.median(costs):>9.4f} {sum(costs):>7.2f}"
    )
    for problem, count in problems.most_common(5):
        print(f"    {count} × {problem}")


structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
asyncio.run(main(sys.argv[1:] or [DEFAULT_MODEL, SECOND_MODEL]))
