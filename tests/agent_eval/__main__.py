"""The live tier: asks real models about every case and prints a table for each, with its cost. ``make eval``.

Needs GAMMA_ANTHROPIC_API_KEY, from the environment or from .env, as Gamma itself. Models: the arguments, or the two
that Gamma is set to use.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

import structlog
from structlog.typing import EventDict

from gamma_bot.agent.client import Claude
from gamma_bot.agent.ledger import Caps, Ledger
from gamma_bot.agent.models import DEFAULT_MODEL, SECOND_MODEL, Model, ModelsUnusable, UnknownModel, load_models
from gamma_bot.agent.sanitiser import AllowedLinks
from gamma_bot.agent.schema import Written
from gamma_bot.agent.write_up import Rung, WriteUp, WriteUps
from gamma_bot.settings import Settings
from gamma_bot.store.database import Database
from gamma_bot.store.ledger import AgentLedger
from tests.agent_eval.cases import REPOSITORY, Case, cases
from tests.agent_eval.graders import grade, names_the_cause

_AT_ONCE = 4


_NO_KEY = """\
No model was asked: there is no key. Set it and say it again:

    GAMMA_ANTHROPIC_API_KEY=sk-ant-... make eval                           the two models that Gamma uses
    GAMMA_ANTHROPIC_API_KEY=sk-ant-... make eval ARGS=claude-haiku-5-5     another one

A line in .env does as well. Each model is asked about {cases} cases: some 2 US dollars with claude-sonnet-5-5, some
10 cents with claude-haiku-5-5. Without a key, `make thorough` replays what good and bad models would write."""


async def main(names: list[str]) -> int:
    """The exit status: 1 if nothing could be asked."""
    settings = Settings()
    key = settings.anthropic_api_key.get_secret_value() if settings.anthropic_api_key else ""
    if not key:
        print(_NO_KEY.format(cases=len(list(cases()))))
        return 1
    try:
        table = load_models(settings.data_dir)
        wanted = names or [
            settings.anthropic_model or DEFAULT_MODEL,
            settings.anthropic_second_model or SECOND_MODEL,
        ]
        models = [table.get(name) for name in dict.fromkeys(wanted)]
    except (UnknownModel, ModelsUnusable) as error:
        print(error)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'eval.db'}")
        database.create_tables()
        ledger = Ledger(AgentLedger(database), Caps(month=1000.0))
        claude = Claude(key, settings.anthropic_base_url, ledger)
        print(f"Prices of {table.as_of}.")
        print(f"{'model':22} {'shown':>6} {'as is':>6} {'cause':>6} {'clean':>6}", end=" ")
        print(f"{'cached':>7} {'median $':>9} {'all $':>7}")
        try:
            answered = [await _one_model(model, claude, ledger) for model in models]
        finally:
            await claude.close()
            database.close()
    return 0 if any(answered) else 1


async def _one_model(model: Model, claude: Claude, ledger: Ledger) -> int:
    """How many write-ups came of it."""
    gate = asyncio.Semaphore(_AT_ONCE)
    writer = WriteUps(claude, ledger, model, None)
    _NOT_SHOWN.clear()

    async def run(case: Case) -> tuple[Case, WriteUp, Written | None]:
        async with gate:
            done = await writer.write(case.commit, AllowedLinks(repository=REPOSITORY))
        return case, done, done.written

    results = await asyncio.gather(*(run(case) for case in cases()))
    shown = [(case, done, written) for case, done, written in results if written is not None]
    graded = [grade(case, written, done.markdown, done.usd) for case, done, written in shown]
    problems = Counter(problem for each in graded for problem in each)
    clean = sum(not each for each in graded)
    cause = sum(names_the_cause(case, written) for case, _, written in shown)
    costs = [done.usd for _, done, _ in results]
    cached = statistics.median([done.cached_share for _, done, _ in results])
    as_is = sum(done.rung is Rung.MODEL for _, done, _ in results)
    print(
        f"{model.name:22} {len(shown):>3}/{len(results):<2} {as_is:>6} {cause:>6} {clean:>6} {cached:>7.0%}"
        f" {statistics.median(costs):>9.4f} {sum(costs):>7.2f}"
    )
    for problem, count in problems.most_common(5):
        print(f"    {count} × {problem}")
    for reason, count in _NOT_SHOWN.most_common(3):
        print(f"    {count} × not shown: {reason}")
    return len(shown)


_NOT_SHOWN: Counter[str] = Counter()  # why, as the log has it


def _note(logger: object, method: str, event: EventDict) -> EventDict:
    if event["event"] == "agent.deterministic":
        _NOT_SHOWN[f"{event['why']}: {event['problem']}"[:160]] += 1
    raise structlog.DropEvent


structlog.configure(processors=[_note])
sys.exit(asyncio.run(main(sys.argv[1:])))
