"""With ten thousand jobs, what is asked all the time must not touch them all (``tests/benchmarks/waiting.py``)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from gamma_bot.reporting.facts import State
from gamma_bot.store.database import Database
from gamma_bot.store.jobs import FINAL_STATES, Jobs
from gamma_bot.store.outlines import UNFINISHED_STATES

Ask = Callable[[Jobs], Awaitable[object]]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'gamma.db'}")
    database.create_tables()
    yield database
    database.close()


def test_every_state_is_an_end_or_is_none() -> None:
    assert {*UNFINISHED_STATES, *FINAL_STATES} == set(State)
    assert {state for state in State if state.final} == set(FINAL_STATES)


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda jobs: jobs.outlines.under_way("sagemaker"), "COVERING INDEX gamma_jobs_state"),
        (lambda jobs: jobs.outlines.unfinished(), "COVERING INDEX gamma_jobs_state"),
        (lambda jobs: jobs.outlines.stopping(), "INDEX gamma_jobs_stopping"),
        (lambda jobs: jobs.outlines.ended_since(1.0), "INDEX gamma_jobs_changed"),
        (lambda jobs: jobs.is_anybody_in_line(), "INDEX gamma_jobs_in_line"),
        (lambda jobs: jobs.last_change(), "COVERING INDEX gamma_jobs_changed"),
        (lambda jobs: jobs.champion(7), "INDEX gamma_jobs_champion"),
    ],
)
async def test_what_is_asked_all_the_time_is_in_an_index(database: Database, ask: Ask, index: str) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        asked.append((statement, values))

    event.listen(database.engine, "before_cursor_execute", note)
    await ask(Jobs(database))
    statement, values = asked[-1]
    plan = await database.read(
        lambda c: [str(row[-1]) for row in c.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    )

    assert re.search(rf"USING {index}\b", " ".join(plan)), plan
