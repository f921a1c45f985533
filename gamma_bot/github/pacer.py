"""Who writes next: the writes of an installation go one after the other, a second apart, what matters most first.

Reads don't wait here. A write that waits can be withdrawn, because there is newer news of the same thing.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import Protocol


class Urgency(IntEnum):
    """How long a write can wait while others do; a smaller one goes first."""

    FINAL = 0  # how something ended, and answers to people
    CHANGE = 1  # something begins, or changes its state
    PROGRESS = 2  # more of the same: there will be newer numbers soon


class Withdrawn(Exception):
    """The write was taken back before anything of it was sent."""


class Ticket:
    """The number of one write, or of a few that belong together, in the line of those that wait.

    Attributes:
        since: when it began to wait (a count, not a time); an earlier one of the same urgency goes first.
        begun: a write was let through; from then on it can't be withdrawn.
    """

    def __init__(self, urgency: Urgency = Urgency.CHANGE, *, since: int | None = None) -> None:
        self.urgency = urgency
        self.since = since
        self.begun = False
        self._withdrawn = False
        self._waiting: asyncio.Future[None] | None = None

    def withdraw(self) -> None:
        """Don't send it, if it is not too late."""
        self._withdrawn = True
        if not self.begun and self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Withdrawn())

    def wait_in(self, future: asyncio.Future[None]) -> None:
        """Wait for this future's result.

        Raises:
            Withdrawn
        """
        if self._withdrawn and not self.begun:
            raise Withdrawn
        self._waiting = future


class Clock(Protocol):
    """What a pacer needs of asyncio's event loop."""

    def time(self) -> float:
        """Seconds."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> object:
        """Call back once, that many seconds from now."""


class Pacer:
    """Lets one write through at a time.

    Args:
        interval_seconds: least time between the end of a write and the next one.
        clock: the running event loop if not given.

    Attributes:
        waited_seconds: how long the writes of each urgency have waited in all.
        served: how many writes of each urgency were let through.
    """

    def __init__(self, interval_seconds: float, clock: Clock | None = None) -> None:
        self.waited_seconds = dict.fromkeys(Urgency, 0.0)
        self.served: Counter[Urgency] = Counter()
        self._interval = interval_seconds
        self._clock = clock
        self._last = float("-inf")
        self._busy = False
        self._rings = False
        self._numbers = itertools.count()
        self._line: list[tuple[Urgency, int, int, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> int:
        """How many writes wait."""
        return sum(not future.done() for *_, future in self._line)

    @asynccontextmanager
    async def turn(self, ticket: Ticket) -> AsyncIterator[None]:
        """Wait for one's turn, and have it for as long as the write takes.

        Raises:
            Withdrawn
        """
        loop = asyncio.get_running_loop()
        clock = self._clock or loop
        if ticket.since is None:
            ticket.since = next(self._numbers)
        future: asyncio.Future[None] = loop.create_future()
        ticket.wait_in(future)
        asked = clock.time()
        heapq.heappush(self._line, (ticket.urgency, ticket.since, next(self._numbers), future))
        self._serve(clock)
        try:
            await future
        except BaseException:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._end(clock, wrote=False)  # cancelled in the moment in which it was let through
            raise
        self.waited_seconds[ticket.urgency] += clock.time() - asked
        self.served[ticket.urgency] += 1
        ticket.begun = True
        try:
            yield
        finally:
            self._end(clock, wrote=True)

    def _serve(self, clock: Clock) -> None:
        """Let the next one through, if it is time: who goes is decided then, not when they came."""
        while self._line and self._line[0][-1].done():
            heapq.heappop(self._line)  # withdrawn or cancelled
        if not self._line or self._busy or self._rings:
            return
        wait = self._last + self._interval - clock.time()
        if wait > 0:
            self._rings = True
            clock.call_later(wait, lambda: self._ring(clock))
            return
        self._busy = True
        heapq.heappop(self._line)[-1].set_result(None)

    def _ring(self, clock: Clock) -> None:
        self._rings = False
        self._serve(clock)

    def _end(self, clock: Clock, *, wrote: bool) -> None:
        self._busy = False
        if wrote:
            self._last = clock.time()
        self._serve(clock)
