"""Faults on demand, and hooks at the exact moment before or after a request takes effect.

>>> github.faults.add(Fault("POST", r"/check-runs$", FaultKind.DROP_AFTER))
>>> github.faults.watch("PATCH", r"/check-runs/", kill_the_bot)
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from gamma_bot.sandbox.model import RequestRecord

Moment = Literal["before", "after"]
Hook = Callable[[Moment, RequestRecord], Awaitable[None]]


class FaultKind(StrEnum):
    """What goes wrong. Only ``DROP_AFTER`` and ``DELAY`` let the request take effect."""

    STATUS = "answer with the fault's status"
    SECONDARY_LIMIT = "403 with retry-after, as a secondary rate limit does"
    TOO_MANY_REQUESTS = "429 with retry-after"
    PRIMARY_LIMIT = "403 with no request left in this hour"
    STALE_NOT_FOUND = "404, as a read that comes too soon after a webhook"
    DROP_BEFORE = "close the connection; nothing happened"
    DROP_AFTER = "close the connection; it happened, and the caller can't know"
    DELAY = "answer late"


@dataclass
class Fault:
    """One planned fault.

    Attributes:
        route: a regular expression that is searched in the path, without ``/api/v3``.
        times: how many matching requests it hits; they are counted after ``skip`` matching ones went through.
        status: what ``FaultKind.STATUS`` answers.
    """

    method: str
    route: str
    kind: FaultKind
    times: int = 1
    skip: int = 0
    status: int = 500
    retry_after_seconds: int = 60
    delay_seconds: float = 0.0

    def matches(self, method: str, path: str) -> bool:
        return self.method in ("*", method) and re.search(self.route, path) is not None


@dataclass(frozen=True)
class Watch:
    method: str
    route: str
    hook: Hook

    def matches(self, method: str, path: str) -> bool:
        return self.method in ("*", method) and re.search(self.route, path) is not None


class Faults:
    """The planned faults and watches of one sandbox."""

    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self._watches: list[Watch] = []

    def add(self, fault: Fault) -> Fault:
        self._planned.append(fault)
        return fault

    def watch(self, method: str, route: str, hook: Hook) -> Watch:
        """Call ``hook`` before and after the effect of each matching request; the answer waits for it."""
        watch = Watch(method, route, hook)
        self._watches.append(watch)
        return watch

    def clear(self) -> None:
        """Forget all faults and watches."""
        self._planned.clear()
        self._watches.clear()

    def remove(self, planned: Fault | Watch) -> None:
        if isinstance(planned, Fault):
            self._planned.remove(planned)
        else:
            self._watches.remove(planned)

    @property
    def pending(self) -> list[Fault]:
        """The faults that have not been used up; a test that planned them can assert there are none."""
        return [fault for fault in self._planned if fault.times > 0]

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that hits this request, if any; it is used up by that."""
        for fault in self._planned:
            if fault.times > 0 and fault.matches(method, path):
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    async def tell(self, moment: Moment, record: RequestRecord) -> None:
        for watch in list(self._watches):
            if watch.matches(record.method, record.path):
                await watch.hook(moment, record)
