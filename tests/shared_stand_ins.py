"""A trainer and a tracking store that several bot processes share, by files in one folder, without any other process.

What they keep is what a cloud would keep: a job of a name exists once, whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gamma_bot.tracking.runs import Point, Run, RunStatus
from gamma_bot.training.trainer import Attempt, Ending, Observation, Outcome, Phase, TrainingSpec
from tests.stand_ins import MemoryTracking, PatientTrainer

SCORE = 0.3
_ENDED_AT = 1_800_000_000.0


class SharedTracking(MemoryTracking):
    """Runs that are known by their ids alone; each has one score."""

    async def read_run(self, run_id: str, *, max_points: int = 5000) -> Run:
        return Run(run_id, "1", RunStatus.FINISHED, metrics={"score": (Point(1, SCORE, _ENDED_AT),)})

    async def last_values(self, run_id: str) -> Mapping[str, Point]:
        return {"score": Point(1, SCORE, _ENDED_AT)}

    async def close_run(self, run_id: str, status: RunStatus) -> None:
        """Nothing is open."""

    async def open_runs(self) -> Mapping[str, str]:
        return {}


class SharedTrainer(PatientTrainer):
    """Attempts run until there is a file ``go`` in the folder. Each launch is a line in ``launches``."""

    name = "sagemaker"  # no executor of this machine: replicas may have data directories of their own

    def __init__(self, folder: Path) -> None:
        super().__init__(SharedTracking())
        self._folder = folder
        folder.mkdir(exist_ok=True)

    async def submit(self, spec: TrainingSpec) -> None:
        try:
            (self._folder / spec.attempt.key).touch(exist_ok=False)
        except FileExistsError:
            return  # a job of this name exists: it is ours
        with (self._folder / "launches").open("a") as file:
            file.write(f"{spec.attempt.key}\n")

    async def observe(self, attempts: Sequence[Attempt]) -> Sequence[Observation]:
        known = [attempt for attempt in attempts if (self._folder / attempt.key).exists()]
        if not (self._folder / "go").exists():
            return [Observation(attempt, Phase.RUNNING) for attempt in known]
        outcome = Outcome(Ending.COMPLETED, "It ended well.", exit_code=0, started_at=_ENDED_AT, ended_at=_ENDED_AT)
        return [Observation(attempt, Phase.ENDED, outcome=outcome) for attempt in known]

    async def stop(self, attempt: Attempt) -> None:
        """Nobody asks for it here."""

    async def log_tail(self, attempt: Attempt, lines: int) -> Sequence[str]:
        return ["step 1", "step 2", "step 3"][-lines:]


def launches(folder: Path) -> list[str]:
    """The keys of the attempts that were launched, in order."""
    path = folder / "launches"
    return path.read_text().splitlines() if path.exists() else []
