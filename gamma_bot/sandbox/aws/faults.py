"""What shall go wrong, and when: planned by a test through the control API, used up as it happens."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

# Kinds that hit calls. What they select on: `action` and `resource`, both with * and ?.
CALL_KINDS = {
    "throttle": "ThrottlingException",
    "denied": "AccessDeniedException; stays until it is removed",
    "expired": "ExpiredTokenException; stays until it is removed",
    "internal": "InternalFailure, HTTP 500",
    "lost": "the call takes effect and the connection is cut",
    "answer": "the JSON `body` instead of what would be answered; stays until it is removed",
    "delay": "`seconds` late; `when` is before (the effect) or after",
}
# Kinds that hit jobs. What they select on: `job`, a name with * and ?.
JOB_KINDS = {
    "capacity": "no machines: Failed with CapacityError; `instance_types` names the types that are short",
    "never-started": "Stopped without a start, nothing billed",
    "internal-error": "Failed with InternalServerError",
    "image": "Failed with ClientError: the image can't be had",
    "client-error": "Failed with ClientError: `message`, while it downloads",
    "interrupt": "spot: interrupted `after_seconds` of training, started again `away_seconds` later",
    "slow": "`seconds` spent in the state `state` (of: Starting, Pending, Downloading, Uploading, Stopping)",
    "frozen": "no process runs; the test moves the job",
    "billed": "`training_seconds` and `billable_seconds` are what the job says in the end",
}
# Settings of the whole stand-in.
WORLD_KINDS = {
    "events": "`mode`: off, doubled, shuffled or both; `seconds` of lateness at most; `times`: string or number",
    "quota": "`limit` of `instance_type` for `usage`: training job, spot training job or training warm pool",
    "stop-grace": "`seconds` between SIGTERM and SIGKILL, instead of 120",
}
_ONCE = {"throttle", "internal", "lost", "delay", "capacity", "never-started", "internal-error", "image"}
_ONCE |= {"client-error", "interrupt"}


@dataclass
class Fault:
    """One planned fault.

    Attributes:
        left: how often it still hits; ``None`` for always.
        skip: how many matching ones go through first; with ``every`` = n only each n-th one is hit.
    """

    number: int
    kind: str
    job: str = "*"
    action: str = "*"
    resource: str = "*"
    left: int | None = None
    skip: int = 0
    every: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    seen: int = 0

    def told(self) -> dict[str, Any]:
        selected = {"job": self.job, "action": self.action, "resource": self.resource}
        return {"id": self.number, "kind": self.kind, "left": self.left} | selected | self.options

    def hits(self, action: str, resource: str) -> bool:
        selected = fnmatchcase(action, self.action) and fnmatchcase(resource, self.resource)
        return self.kind in CALL_KINDS and selected

    def take(self) -> bool:
        """Whether this matching one is hit; it uses the fault up."""
        self.seen += 1
        if self.left == 0 or self.seen <= self.skip or (self.seen - self.skip) % self.every:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Faults:
    """The planned faults of one stand-in."""

    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def plan(self, asked: dict[str, Any]) -> Fault:
        """Add a fault.

        Raises:
            ValueError: the kind is none of the known ones.
        """
        options = dict(asked)
        kind = str(options.pop("kind", ""))
        if kind not in CALL_KINDS | JOB_KINDS | WORLD_KINDS:
            known = ", ".join(sorted(CALL_KINDS | JOB_KINDS | WORLD_KINDS))
            raise ValueError(f"unknown kind of fault {kind!r}; known: {known}")
        names: dict[str, Any] = {name: options.pop(name) for name in ("job", "action", "resource") if name in options}
        counts: dict[str, Any] = {name: int(options.pop(name)) for name in ("skip", "every") if name in options}
        # "times" is how the fault is asked for; events use the word for something else.
        times = options.pop("times", 1 if kind in _ONCE else None) if kind != "events" else None
        fault = Fault(next(self._numbers), kind, left=times, options=options, **names, **counts)
        with self._lock:
            self._planned.append(fault)
        return fault

    def remove(self, number: int | None = None) -> None:
        """Forget one fault, or all."""
        with self._lock:
            self._planned = [fault for fault in self._planned if number is not None and fault.number != number]

    def listed(self) -> list[dict[str, Any]]:
        with self._lock:
            return [fault.told() for fault in self._planned]

    def for_call(self, action: str, resource: str) -> list[Fault]:
        """The faults that hit this call; they are used up by that."""
        with self._lock:
            return [fault for fault in self._planned if fault.hits(action, resource) and fault.take()]

    def for_job(self, kind: str, job: str, **wanted: object) -> Fault | None:
        """The oldest fault of this kind for that job, used up by that.

        ``wanted`` narrows it: an option of that name which the fault has must be or contain the value.
        """
        with self._lock:
            for fault in self._planned:
                if fault.kind == kind and fnmatchcase(job, fault.job) and _suits(fault, wanted) and fault.take():
                    return fault
        return None

    def setting(self, kind: str, **wanted: object) -> dict[str, Any]:
        """The newest setting of this kind."""
        with self._lock:
            for fault in reversed(self._planned):
                if fault.kind == kind and _suits(fault, wanted):
                    return fault.options
        return {}


def _suits(fault: Fault, wanted: dict[str, object]) -> bool:
    for name, value in wanted.items():
        given = fault.options.get(name)
        if given is not None and value != given and not (isinstance(given, list) and value in given):
            return False
    return True
