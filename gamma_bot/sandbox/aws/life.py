"""The life of a training job, from Starting to its end, as one thread that reads like the story."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamma_bot.sandbox.aws import storage
from gamma_bot.sandbox.aws.container import Container, wait_for_all
from gamma_bot.sandbox.aws.errors import Refused
from gamma_bot.sandbox.aws.job import TrainingJob, wanted_instances
from gamma_bot.sandbox.aws.logs import LogWriter

if TYPE_CHECKING:
    from gamma_bot.sandbox.aws.world import World

NO_CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)
INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."
NO_IMAGE = (
    "ClientError: Cannot pull algorithm container. Either the image does not exist or its permissions are incorrect."
)
_STOP_GRACE_SECONDS = 120.0
_CHECKPOINT_SECONDS = 1.0
_REASON_CHARACTERS = 1024


class Ending(Exception):
    """The job ends in this secondary status."""

    def __init__(self, secondary: str, failure_reason: str | None = None) -> None:
        super().__init__(secondary)
        self.secondary, self.failure_reason = secondary, failure_reason


class Life:
    """Lives one job. ``run`` is the body of its thread."""

    def __init__(self, world: World, job: TrainingJob, folder: Path) -> None:
        self._world, self._job, self._folder = world, job, folder
        self._containers: list[Container] = []
        self._checkpoints: list[storage.Checkpoints] = []

    def run(self) -> None:
        try:
            ending = self._story()
        except Exception as error:
            # Ours to mend, and nothing that AWS would say: loud, so that a test sees it.
            ending = Ending("Failed", f"the stand-in itself failed: {error!r}")
        for container in self._containers:
            container.kill()
            container.remove()
        self._job.process_ids.clear()
        with contextlib.suppress(OSError):
            self._folder.rmdir()
        bill = self._world.faults.for_job("billed", self._job.name)
        with self._world.lock:
            if bill is not None and self._job.training_started is not None:
                self._job.bill(bill.options.get("training_seconds"), bill.options.get("billable_seconds"))
            self._job.fail(ending.failure_reason)
            self._world.end(self._job, ending.secondary)

    def _story(self) -> Ending:
        retries = int(self._job.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0))
        while True:
            try:
                self._get_machines()
                self._download()
                self._train()
                completed = self._conclude(Ending("Completed"))
                return Ending("Stopped") if self._job.stopping.is_set() else completed
            except Ending as ending:
                if ending.failure_reason == INTERNAL_ERROR and retries > 0:
                    retries -= 1
                    self._move("Restarting")
                    self._move("Starting")
                    continue
                # Whatever else happens to a job that is being stopped, it is stopped.
                return self._conclude(Ending("Stopped") if self._job.stopping.is_set() else ending)

    def _get_machines(self) -> None:
        job, faults = self._job, self._world.faults
        self._stay("Starting")
        if faults.for_job("never-started", job.name):
            raise Ending("MaxWaitTimeExceeded" if job.spot else "Stopped")
        for instance, count in wanted_instances(job.resources):
            if faults.for_job("capacity", job.name, instance_types=instance) is None:
                with self._world.lock:
                    job.selected = (instance, count)
                break
        else:
            raise Ending("Failed", NO_CAPACITY)
        self._move("Pending")
        self._stay("Pending")

    def _download(self) -> None:
        job, faults = self._job, self._world.faults
        self._move("Downloading")
        self._stay("Downloading")
        if faults.for_job("image", job.name):
            raise Ending("Failed", NO_IMAGE)
        if fault := faults.for_job("client-error", job.name):
            raise Ending("Failed", f"ClientError: {fault.options.get('message', 'Data download failed')}")
        instance, count = job.instances
        hosts = [f"algo-{number}" for number in range(1, count + 1)]
        for container in self._containers:
            container.remove()
        self._containers = [Container(self._folder / host, host, job.wake) for host in hosts]
        job.folders = [str(container.ml) for container in self._containers]
        for container in self._containers:
            container.configure(job.request, hosts, instance)
            for channel in job.request.get("InputDataConfig", []):
                self._fetch(channel, container)
        self._checkpoints = self._restored_checkpoints()

    def _fetch(self, channel: dict[str, Any], container: Container) -> None:
        uri = channel["DataSource"].get("S3DataSource", {}).get("S3Uri", "")
        folder = container.ml / "input" / "data" / channel["ChannelName"]
        folder.mkdir(parents=True, exist_ok=True)
        if problem := storage.bucket_problem(storage.parted(uri)[0], self._job.region):
            raise Ending("Failed", f"ClientError: Data download failed:{problem}")
        try:
            if not storage.download(uri, folder):
                raise Ending("Failed", f"ClientError: Data download failed:No S3 objects found under {uri}")
        except Refused as refused:
            raise Ending("Failed", f"{refused.code}: {refused.message}") from None

    def _restored_checkpoints(self) -> list[storage.Checkpoints]:
        config = self._job.request.get("CheckpointConfig")
        if not config:
            return []
        if problem := storage.bucket_problem(storage.parted(config["S3Uri"])[0], self._job.region):
            raise Ending("Failed", f"ClientError: Checkpoint synchronization failed:{problem}")
        below = Path(config.get("LocalPath", "/opt/ml/checkpoints")).relative_to("/opt/ml")
        kept = []
        for container in self._containers:
            folder = container.ml / below
            folder.mkdir(parents=True, exist_ok=True)
            kept.append(storage.Checkpoints(folder, config["S3Uri"]))
            kept[-1].restore()
        return kept

    def _train(self) -> None:
        """Run the containers; an interruption takes the machines away and gives new ones with the checkpoints."""
        job, faults = self._job, self._world.faults
        while True:
            self._move("Training")
            if faults.for_job("internal-error", job.name):
                raise Ending("Failed", INTERNAL_ERROR)
            interrupt = faults.for_job("interrupt", job.name) if job.spot else None
            self._start_containers()
            after = float(interrupt.options.get("after_seconds", 0)) if interrupt else math.inf
            if not self._ran_to_the_end(after):
                break
            self._move("Interrupted")
            self._pause(float(interrupt.options.get("away_seconds", 0)) if interrupt else 0)
            self._move("Starting")
            self._stay("Starting")
            self._download()
        statuses = [container.exit_status or 0 for container in self._containers]
        if any(statuses):
            failed = self._containers[statuses.index(next(filter(None, statuses)))]
            last = f", exit code: {failed.exit_status}"
            reason = f"AlgorithmError: {failed.failure()}"
            # The whole reason has 1024 characters; the exit code is not what should be missing.
            raise Ending("Failed", reason[: _REASON_CHARACTERS - len(last)] + last)

    def _start_containers(self) -> None:
        job = self._job
        for container in self._containers:
            # A stream's name is new for each start, also when two starts share a second.
            stream = self._world.new_stream(f"{job.name}/{container.host}")
            container.start(job.request, job.arn, LogWriter(job.region, stream, self._world.log_lock))
        job.process_ids = [container.process_id for container in self._containers if container.process_id]

    def _ran_to_the_end(self, interrupted_after: float) -> bool:
        """Wait for the containers; True when spot machines were taken away instead.

        Raises:
            Ending: somebody stopped the job, or its time is over.
        """
        job, started = self._job, time.time()
        limit = (job.training_started or started) + job.maximum_runtime_seconds()
        step = _CHECKPOINT_SECONDS if self._checkpoints else 60.0
        while True:
            until = min(limit, started + interrupted_after) - time.time()
            over = wait_for_all(self._containers, job.wake, min(max(until, 0), step), once=True)
            self._push_checkpoints()
            if over:
                return False
            if job.stopping.is_set():
                raise Ending("Stopped")
            if time.time() >= limit:
                raise Ending("MaxRuntimeExceeded")
            if job.interruption or time.time() - started >= interrupted_after:
                job.interruption = False
                self._end_containers()
                return True

    def _conclude(self, ending: Ending) -> Ending:
        """Save what is to be saved, and the last words."""
        if not any(transition.status == "Training" for transition in self._job.transitions):
            return ending
        if ending.secondary in ("Stopped", "MaxRuntimeExceeded"):
            self._job.stopping.set()
            self._move("Stopping")
            self._end_containers()
            self._stay("Stopping")
        for container in self._containers:
            container.kill()
        self._push_checkpoints()
        self._move("Uploading")
        if ending.secondary != "Failed":
            self._stay("Uploading")
        return self._upload(ending)

    def _upload(self, ending: Ending) -> Ending:
        job = self._job
        if problem := storage.bucket_problem(storage.parted(job.output_prefix)[0], job.region):
            if ending.secondary == "Failed":
                return ending
            return Ending("Failed", f"ClientError: Artifact upload failed:{problem}")
        key = job.request["OutputDataConfig"].get("KmsKeyId")
        parts = {"output.tar.gz": [container.ml / "output" / "data" for container in self._containers]}
        models = [container.ml / "model" for container in self._containers]
        if ending.secondary != "Failed":
            if job.model_artifacts.endswith("/"):
                for model in models:
                    storage.upload_folder(model, job.model_artifacts)
            else:
                parts["model.tar.gz"] = models
        for name, folders in parts.items():
            if (content := storage.packed(folders)) is not None:
                storage.upload(content, f"{job.output_prefix}/{name}", key)
        return ending

    def _end_containers(self) -> None:
        for container in self._containers:
            container.terminate()
        grace = float(self._world.faults.setting("stop-grace").get("seconds", _STOP_GRACE_SECONDS))
        wait_for_all(self._containers, self._job.wake, grace)
        for container in self._containers:
            container.kill()
        self._push_checkpoints()

    def _push_checkpoints(self) -> None:
        for checkpoints in self._checkpoints:
            checkpoints.push()

    def _move(self, secondary: str) -> None:
        with self._world.lock:
            self._world.move(self._job, secondary)

    def _stay(self, state: str) -> None:
        fault = self._world.faults.for_job("slow", self._job.name, state=state)
        seconds = float(fault.options.get("seconds", 0)) if fault else 0.0
        if state in ("Stopping", "Uploading"):
            time.sleep(seconds)  # Nothing ends these early.
        else:
            self._pause(seconds)

    def _pause(self, seconds: float) -> None:
        """Wait, unless the job is stopped meanwhile.

        Raises:
            Ending: it was, or a spot job has waited for longer than it may.
        """
        left = self._job.created + self._job.maximum_wait_seconds() - time.time()
        if self._job.stopping.wait(max(min(seconds, left), 0)):
            raise Ending("Stopped")
        if seconds > left:
            raise Ending("MaxWaitTimeExceeded")
