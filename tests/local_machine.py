"""A folder to train in, scripts packed as GitHub packs them, and the certainty that no process is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import tarfile
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gamma_bot.training.local import LocalTrainer
from gamma_bot.training.trainer import Attempt, Observation, Outcome, Phase, TrainingSpec

PATIENCE_SECONDS = 30.0


class Machine:
    """What a test of the local trainer needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "jobs"

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *failure: object) -> None:
        left = self.processes(settle_seconds=0.0 if failure[0] else 5.0)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert failure[0] is not None or not left, f"processes left behind: {left}"

    def trainer(self, *, slots: int = 2, grace_seconds: float = 5.0, **options: Any) -> LocalTrainer:
        return LocalTrainer(self.root, slots=slots, grace_seconds=grace_seconds, **options)

    def spec(
        self,
        script: str = "",
        *,
        job: str = "job",
        command: Sequence[str] = ("python", "train.py"),
        files: dict[str, str] | None = None,
        **rest: Any,
    ) -> TrainingSpec:
        tarball = self.folder / f"{job}.tar.gz"
        pack(tarball, {"train.py": textwrap.dedent(script)} | (files or {}))
        return TrainingSpec(Attempt(job), tarball, command, **rest)

    def note(self, name: str) -> Path:
        """A file outside the job's folders."""
        return self.folder / name

    async def run(self, spec: TrainingSpec, **options: Any) -> tuple[Outcome, list[str]]:
        """Run a job on a trainer of its own; how it ended, and its log."""
        trainer = self.trainer(**options)
        await trainer.submit(spec)
        outcome = await ended(trainer, spec.attempt)
        return outcome, list(await trainer.log_tail(spec.attempt, 1_000))

    def processes(self, *, settle_seconds: float = 0.0) -> list[int]:
        """Living processes that know this folder by their arguments or variables."""
        deadline = time.monotonic() + settle_seconds
        while (found := self._processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _processes(self) -> list[int]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                known = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
                with contextlib.suppress(PermissionError):  # supervisors hide theirs
                    known += (entry / "environ").read_bytes()
            except OSError:
                continue
            if bytes(self.root) in known and state != b"Z" and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        return found


def pack(tarball: Path, files: dict[str, str]) -> None:
    with tarfile.open(tarball, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"acme-widgets-abc1234/{name}")
            content = text.encode()
            member.size, member.mode = len(content), 0o755 if name.endswith(".sh") else 0o644
            archive.addfile(member, io.BytesIO(content))


async def observe(trainer: LocalTrainer, attempt: Attempt) -> Observation:
    (observation,) = await trainer.observe([attempt])
    return observation


async def reached(
    trainer: LocalTrainer,
    attempt: Attempt,
    is_reached: Callable[[Observation], bool],
    seconds: float = PATIENCE_SECONDS,
) -> Observation:
    deadline = time.monotonic() + seconds
    while not is_reached(observation := await observe(trainer, attempt)):
        log = await trainer.log_tail(attempt, 20)
        assert time.monotonic() < deadline, f"still {observation}; log: {log}"
        await asyncio.sleep(0.03)
    return observation


async def ended(trainer: LocalTrainer, attempt: Attempt) -> Outcome:
    observation = await reached(trainer, attempt, lambda seen: seen.phase is Phase.ENDED)
    assert observation.outcome is not None
    return observation.outcome


async def exists(path: Path, seconds: float = PATIENCE_SECONDS) -> str:
    """Wait for a file that a job writes; its text."""
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path.name} was never written"
        await asyncio.sleep(0.02)
    return path.read_text()
