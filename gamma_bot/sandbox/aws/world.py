"""Everything the stand-in remembers of SageMaker: its jobs, what runs, what is planned to go wrong."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import Any

from gamma_bot.sandbox.aws.calls import CallLog
from gamma_bot.sandbox.aws.contract import Contract
from gamma_bot.sandbox.aws.errors import Refused
from gamma_bot.sandbox.aws.events import Events
from gamma_bot.sandbox.aws.faults import Faults
from gamma_bot.sandbox.aws.job import TrainingJob
from gamma_bot.sandbox.aws.life import Life


class World:
    """The state of one stand-in. ``lock`` is held while a job changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contract = Contract("sagemaker")
        self.calls, self.faults = CallLog(), Faults()
        self.events = Events(self.faults)
        self.lock, self.log_lock = threading.RLock(), threading.Lock()
        self.jobs: dict[tuple[str, str], TrainingJob] = {}
        self._lives: dict[TrainingJob, threading.Thread] = {}
        self._numbers = itertools.count(1)
        self._last_epoch = 0

    def add(self, job: TrainingJob, *, frozen: bool = False) -> None:
        """Take a job in and let it begin, unless it is frozen or a fault freezes it.

        Raises:
            Refused: ``ResourceInUse``: there is one of that name.
        """
        with self.lock:
            if (other := self.jobs.get((job.region, job.name))) is not None:
                message = (
                    "Job name must be unique within an AWS account and region, "
                    f"and a job with this name already exists ({other.arn})"
                )
                raise Refused("ResourceInUse", message)
            job.number = next(self._numbers)
            self.jobs[job.region, job.name] = job
            job.frozen = frozen or self.faults.for_job("frozen", job.name) is not None
            self.events.changed(job)
            if not job.frozen:
                life = Life(self, job, self.folder / f"{job.number}-{job.name}")
                thread = threading.Thread(target=life.run, daemon=True, name=job.name)
                self._lives[job] = thread
                thread.start()

    def find(self, region: str, name: str) -> TrainingJob:
        """The job of that name.

        Raises:
            Refused: there is none.
        """
        job = self.jobs.get((region, name))
        if job is None:
            raise Refused("ValidationException", "Requested resource not found.")
        return job

    def of_region(self, region: str) -> list[TrainingJob]:
        """The jobs of a region in the order of their creation."""
        with self.lock:
            return [job for job in self.jobs.values() if job.region == region]

    def move(self, job: TrainingJob, secondary: str, message: str = "") -> None:
        """Bring a job to a state and tell EventBridge of it."""
        with self.lock:
            if not job.over and job.move(secondary, message):
                self.events.changed(job)

    def end(self, job: TrainingJob, secondary: str) -> None:
        with self.lock:
            self._lives.pop(job, None)
            self.move(job, secondary)

    def stop(self, job: TrainingJob) -> None:
        """What StopTrainingJob sets going."""
        with self.lock:
            if job.over:
                status = job.status
                raise Refused(
                    "ValidationException", f"The request was rejected because the training job is in status {status}."
                )
            self.move(job, "Stopping")
            job.stopping.set()
            job.wake.set()

    def new_stream(self, of: str) -> str:
        """A log stream's name: `<job>/<host>-<epoch>`, the epoch never twice."""
        with self.lock:
            self._last_epoch = max(int(time.time()), self._last_epoch + 1)
            return f"{of}-{self._last_epoch}"

    def end_all(self, seconds: float = 5.0) -> None:
        """End all job processes and wait for their threads."""
        with self.lock:
            lives = dict(self._lives)
            self.faults.plan({"kind": "stop-grace", "seconds": 0})
        for job in lives:
            job.stopping.set()
            job.wake.set()
        deadline = time.monotonic() + seconds
        for thread in lives.values():
            thread.join(max(deadline - time.monotonic(), 0))

    def reset(self) -> None:
        """Forget everything, moto's part too."""
        from moto.moto_api._internal.models import moto_api_backend

        self.end_all()
        with self.lock:
            self.jobs.clear()
        self.faults.remove()
        self.events.forget()
        self.calls.clear()
        moto_api_backend.reset()

    def told(self) -> list[dict[str, Any]]:
        """Jobs as the control API tells of them."""
        with self.lock:
            return [
                {
                    "name": job.name,
                    "region": job.region,
                    "status": job.status,
                    "secondary": job.secondary,
                    "frozen": job.frozen,
                    "folders": job.folders,
                    "process_ids": job.process_ids,
                    "tags": job.tags,
                }
                for job in self.jobs.values()
            ]
