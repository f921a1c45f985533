"""A trainer and a tracking store without processes and servers, for stories about GitHub and not about training.

Both keep what they were told, and take every call twice without doing anything twice, as the protocols ask.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from gamma_bot.config.errors import Problem
from gamma_bot.tracking.registry import Champion
from gamma_bot.tracking.runs import Point, Run, RunStatus
from gamma_bot.training.trainer import Artifact, Attempt, Ending, Observation, Outcome, Phase, TrainingSpec


@dataclass
class MemoryTracking:
    """Runs in a dictionary."""

    uri: str = "http://127.0.0.1:9"
    tags: dict[str, Mapping[str, str]] = field(default_factory=dict)
    status: dict[str, RunStatus] = field(default_factory=dict)
    values: dict[str, dict[str, Point]] = field(default_factory=dict)
    champions: dict[str, Champion] = field(default_factory=dict)

    async def open_run(self, experiment: str, run_name: str, tags: Mapping[str, str]) -> str:
        run_id = f"run-{tags['gamma.job']}-{tags['gamma.attempt']}"
        self.tags.setdefault(run_id, tags)
        self.status.setdefault(run_id, RunStatus.RUNNING)
        return run_id

    async def find_run(self, tags: Mapping[str, str]) -> str | None:
        found = (run_id for run_id, known in self.tags.items() if tags.items() <= known.items())
        return next(found, None)

    async def read_run(self, run_id: str, *, max_points: int = 5000) -> Run:
        values = {name: (point,) for name, point in self.values.get(run_id, {}).items()}
        return Run(run_id, "1", self.status[run_id], metrics=values)

    async def last_values(self, run_id: str) -> Mapping[str, Point]:
        return self.values.get(run_id, {})

    async def close_run(self, run_id: str, status: RunStatus) -> None:
        if self.status[run_id] is RunStatus.RUNNING:
            self.status[run_id] = status

    async def open_runs(self) -> Mapping[str, str]:
        running = (run_id for run_id, status in self.status.items() if status is RunStatus.RUNNING)
        return {run_id: self.tags[run_id]["gamma.job"] for run_id in running}

    async def promote(self, repository: str, run_id: str, tags: Mapping[str, str]) -> Champion:
        if repository not in self.champions or self.champions[repository].run_id != run_id:
            self.champions[repository] = Champion(run_id, tags)
        return self.champions[repository]

    async def champion(self, repository: str) -> Champion | None:
        return self.champions.get(repository)

    def run_url(self, experiment_id: str, run_id: str) -> str | None:
        return None

    async def close(self) -> None:
        """Nothing is open."""


class PatientTrainer:
    """Attempts log ``score = 3 * lr`` and end well: at once, or when ``finish`` is called.

    Attributes:
        starts: how often each attempt was begun, which is once (I3).
        forgotten: attempts whose end was told: nobody will ask for them again.
        broken: what every look at a log raises, if something is set.
    """

    name = "local"
    look_seconds = 0.5
    tells_cheaply = True

    def __init__(self, tracking: MemoryTracking, *, waits: bool = False) -> None:
        self.waits = waits
        self.broken: Exception | None = None
        self.specs: dict[Attempt, TrainingSpec] = {}
        self.outcomes: dict[Attempt, Outcome] = {}
        self.starts: dict[Attempt, int] = {}
        self.forgotten: set[Attempt] = set()
        self._tracking = tracking

    def finish(self, *shas: str) -> None:
        """Let what runs end well; with commits, only what trains those."""
        for attempt, spec in self.specs.items():
            if attempt not in self.outcomes and (not shas or spec.environment["GAMMA_SHA"] in shas):
                self._end(attempt, Ending.COMPLETED, "It ended well.", exit_code=0)

    async def preflight(self, spec: TrainingSpec) -> Sequence[Problem]:
        """Nothing stands against any attempt."""
        return ()

    async def conditions(self, spec: TrainingSpec) -> Mapping[str, str] | None:
        """No attempt is like another one."""
        return None

    async def submit(self, spec: TrainingSpec) -> None:
        if spec.attempt in self.specs:
            return
        self.specs[spec.attempt] = spec
        self.starts[spec.attempt] = self.starts.get(spec.attempt, 0) + 1
        score = 3.0 * float(str(spec.hyperparameters.get("lr", 0.1)))
        self._tracking.values[spec.environment["MLFLOW_RUN_ID"]] = {"score": Point(1, score, time.time())}
        if not self.waits:
            self._end(spec.attempt, Ending.COMPLETED, "It ended well.", exit_code=0)

    async def observe(self, attempts: Sequence[Attempt]) -> Sequence[Observation]:
        known = [attempt for attempt in attempts if attempt in self.specs]
        return [
            Observation(each, Phase.ENDED, outcome=self.outcomes[each])
            if each in self.outcomes
            else Observation(each, Phase.RUNNING)
            for each in known
        ]

    async def stop(self, attempt: Attempt) -> None:
        if attempt in self.specs and attempt not in self.outcomes:
            self._end(attempt, Ending.STOPPED, "It was stopped.")

    async def log_tail(self, attempt: Attempt, lines: int) -> Sequence[str]:
        if self.broken is not None:
            raise self.broken
        return ["step 1", "step 2", "step 3"][-lines:] if attempt in self.specs else []

    async def log_dropped(self, attempt: Attempt) -> int:
        return 0

    async def source_roots(self, attempt: Attempt) -> Sequence[str]:
        return ()

    async def artifacts(self, attempt: Attempt) -> Sequence[Artifact]:
        return ()

    async def open_artifact(self, attempt: Attempt, path: str) -> BinaryIO:
        raise FileNotFoundError(path)

    async def forget(self, attempt: Attempt) -> None:
        self.forgotten.add(attempt)

    def _end(self, attempt: Attempt, ending: Ending, message: str, exit_code: int | None = None) -> None:
        now = time.time()
        self.outcomes[attempt] = Outcome(ending, message, exit_code, started_at=now, ended_at=now)
