"""Writes to GitHub go one by one, a second apart, and what people wait for goes first."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

import pytest

from gamma_bot.github.pacer import Pacer, Ticket, Urgency, Withdrawn

FINAL, CHANGE, PROGRESS = Urgency.FINAL, Urgency.CHANGE, Urgency.PROGRESS


class HandClock:
    """A clock that a test winds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._alarms: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._alarms, (self.now + delay, next(self._numbers), callback))

    async def pass_seconds(self, seconds: float) -> None:
        end = self.now + seconds
        await settled()
        while self._alarms and self._alarms[0][0] <= end:
            self.now, _, callback = heapq.heappop(self._alarms)
            callback()
            await settled()
        self.now = end


class Line:
    """Writes that wait, and when each was sent."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.pacer = Pacer(1.0, self.clock)
        self.sent: list[tuple[str, float]] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def write(self, name: str, urgency: Urgency, *, since: int | None = None, takes: float = 0.0) -> Ticket:
        ticket = Ticket(urgency, since=since)
        self.tasks[name] = asyncio.create_task(self._send(name, ticket, takes))
        await settled()
        return ticket

    async def _send(self, name: str, ticket: Ticket, takes: float) -> None:
        async with self.pacer.turn(ticket):
            self.sent.append((name, self.clock.now))
            if takes:
                over = asyncio.Event()
                self.clock.call_later(takes, over.set)
                await over.wait()


async def settled() -> None:
    """Let every task run until it waits for something."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def line() -> Line:
    """A line whose first write has just been sent."""
    line = Line()
    await line.write("first", CHANGE)
    assert line.sent == [("first", 0.0)]
    return line


async def test_final_states_pass_changes_and_changes_pass_progress(line: Line) -> None:
    for name, urgency in (("epoch 1", PROGRESS), ("queued", CHANGE), ("passed", FINAL), ("answer", FINAL)):
        await line.write(name, urgency)
    await line.clock.pass_seconds(10)

    assert line.sent[1:] == [("passed", 1.0), ("answer", 2.0), ("queued", 3.0), ("epoch 1", 4.0)]
    assert line.pacer.waited_seconds == {FINAL: 3.0, CHANGE: 3.0, PROGRESS: 4.0}
    assert line.pacer.served == {FINAL: 2, CHANGE: 2, PROGRESS: 1}


async def test_who_goes_is_decided_when_the_second_is_over(line: Line) -> None:
    await line.write("epoch 1", PROGRESS)
    await line.clock.pass_seconds(0.9)
    await line.write("passed", FINAL)
    await line.clock.pass_seconds(10)

    assert [name for name, _ in line.sent] == ["first", "passed", "epoch 1"]


async def test_the_second_begins_when_a_write_ends_and_no_two_are_under_way(line: Line) -> None:
    await line.write("slow", CHANGE, takes=5.0)
    await line.write("next", FINAL)
    await line.clock.pass_seconds(20)

    assert line.sent[1:] == [("next", 1.0), ("slow", 2.0)]
    await line.write("after", FINAL)
    assert line.sent[-1] == ("after", 20.0), "nobody waits after a quiet time"

    await line.write("slow again", FINAL, takes=5.0)
    await line.write("last", FINAL)
    await line.clock.pass_seconds(20)
    assert line.sent[-2:] == [("slow again", 21.0), ("last", 27.0)]


async def test_withdrawn_news_is_never_sent_and_the_newer_one_keeps_its_place(line: Line) -> None:
    old = await line.write("epoch 1", PROGRESS)
    await line.write("another job", PROGRESS)
    old.withdraw()
    await settled()
    with pytest.raises(Withdrawn):
        await line.tasks["epoch 1"]
    await line.write("epoch 2", PROGRESS, since=old.since)
    await line.clock.pass_seconds(10)

    assert [name for name, _ in line.sent] == ["first", "epoch 2", "another job"]


async def test_what_was_withdrawn_before_it_waits_is_not_sent_either(line: Line) -> None:
    ticket = Ticket(FINAL)
    ticket.withdraw()
    with pytest.raises(Withdrawn):
        async with line.pacer.turn(ticket):
            raise AssertionError("sent")


async def test_what_is_being_sent_is_not_torn_apart(line: Line) -> None:
    await line.clock.pass_seconds(1)
    ticket = await line.write("reaction", FINAL, takes=1.0)
    ticket.withdraw()
    await line.clock.pass_seconds(1)
    await line.tasks["reaction"]
    async with asyncio.timeout(5):
        turn = asyncio.create_task(_second_write(line, ticket))
        await line.clock.pass_seconds(1)
        await turn

    assert line.sent[1:] == [("reaction", 1.0), ("its second write", 3.0)]


async def test_who_gives_up_holds_up_nobody(line: Line) -> None:
    await line.write("waits", FINAL)
    await line.write("last", CHANGE)
    line.tasks["waits"].cancel()
    await line.clock.pass_seconds(1)
    assert line.sent[1:] == [("last", 1.0)]

    # Cancelled in the very moment in which its turn comes.
    await line.write("at once", FINAL)
    await line.write("heir", CHANGE)
    line.clock.now = 2.0
    line.pacer._ring(line.clock)
    line.tasks["at once"].cancel()
    await settled()
    assert line.tasks["at once"].cancelled()
    assert line.sent[-1] == ("heir", 2.0)


async def _second_write(line: Line, ticket: Ticket) -> None:
    async with line.pacer.turn(ticket):
        line.sent.append(("its second write", line.clock.now))
