"""Replicas on one machine share its jobs: one of them is in office, the others write down what is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gamma_bot.training.trainer import Ending, Phase
from tests.local_machine import Machine, ended, observe, reached

pytestmark = pytest.mark.thorough


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as machine:
        yield machine


async def test_only_the_replica_in_office_starts_jobs_and_the_slots_are_those_of_all(machine: Machine) -> None:
    terms, gate = {"first": 1, "second": 0}, machine.note("go")
    first = machine.trainer(slots=1, term=lambda: terms["first"])
    second = machine.trainer(slots=1, term=lambda: terms["second"])
    waits = f"while [ ! -e {gate} ]; do sleep 0.02; done"
    running = machine.spec(job="running", command=["sh", "-c", waits])
    written, stopped = machine.spec(job="written", command=["true"]), machine.spec(job="stopped", command=["true"])

    await first.submit(running)
    await reached(first, running.attempt, lambda seen: seen.phase is Phase.RUNNING)
    await second.submit(written)
    await second.submit(stopped)
    await second.stop(stopped.attempt)

    assert await second.observe([running.attempt]) == []
    assert (await ended(first, stopped.attempt)).ending is Ending.STOPPED
    assert (await observe(first, written.attempt)).detail == "waiting for a free slot"

    # The office goes to the other one while the job runs.
    terms |= {"first": 0, "second": 1}
    assert (await observe(second, running.attempt)).phase is Phase.RUNNING
    assert (await observe(second, written.attempt)).detail == "waiting for a free slot"
    await first.submit(machine.spec(job="late", command=["true"]))
    gate.touch()

    assert (await ended(second, running.attempt)).ending is Ending.COMPLETED
    assert (await ended(second, written.attempt)).ending is Ending.COMPLETED
    late = machine.spec(job="late").attempt
    assert (await ended(second, late)).ending is Ending.COMPLETED
    assert await first.observe([late]) == []
