"""Runs attempts on Amazon SageMaker; the parts of this package put together behind the ``Trainer`` protocol."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import structlog

from gamma_bot.config.errors import Problem
from gamma_bot.store.launches import Launch, Launches, LaunchState
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.bucket import BucketCheck
from gamma_bot.training.sagemaker.conditions import conditions
from gamma_bot.training.sagemaker.denials import QuotaInUse, denied, explain
from gamma_bot.training.sagemaker.images import Images
from gamma_bot.training.sagemaker.launching import Launching, Patience
from gamma_bot.training.sagemaker.logs import CODE_FOLDER, Logs
from gamma_bot.training.sagemaker.names import training_job_name
from gamma_bot.training.sagemaker.outcomes import written
from gamma_bot.training.sagemaker.preflight import problems_of
from gamma_bot.training.sagemaker.refusals import AwsRefused, Refusal
from gamma_bot.training.sagemaker.request import Place, origin_of, section_of, training_job
from gamma_bot.training.sagemaker.results import Results
from gamma_bot.training.sagemaker.source import bring, repack
from gamma_bot.training.sagemaker.watch import Pace, Watch
from gamma_bot.training.source import SourceError
from gamma_bot.training.trainer import (
    Artifact,
    Attempt,
    Ending,
    Observation,
    Outcome,
    TrainerUnavailable,
    TrainingSpec,
)

_SECTION = ("train", "sagemaker")

log = structlog.get_logger()


class SageMakerTrainer:
    """Trains on SageMaker.

    Args:
        bucket: for code, results and checkpoints.
        role: what jobs may do; ``gamma.yml`` can name another one.
        queue_url: where EventBridge puts SageMaker's events; without it, SageMaker is asked more often.
        term: which term of office this process is in as the one that looks after these jobs; 0 for none.
    """

    name = "sagemaker"
    look_seconds = 2.0
    tells_cheaply = False

    def __init__(
        self,
        aws: Aws,
        launches: Launches,
        *,
        bucket: str,
        role: str = "",
        queue_url: str | None = None,
        term: Callable[[], int] = lambda: 1,
        patience: Patience | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._aws, self._launches = aws, launches
        self._bucket, self._role = bucket, role
        self._queue_url, self._term = queue_url, term
        self._patience, self._pace = patience or Patience(), pace or Pace()
        self._launching = Launching(aws, launches, self._patience)
        self._images = Images(aws)
        self._logs = Logs(aws)
        self._results = Results(aws, bucket)
        self._bucket_check = BucketCheck(aws, bucket)
        self._watching: Watch | None = None
        self._beginning = asyncio.Lock()

    async def preflight(self, spec: TrainingSpec) -> Sequence[Problem]:
        """What of ``gamma.yml`` and of the operator's settings can't work."""
        section = section_of(spec)
        try:
            region = await self._aws.region()
            shape = await self._aws.using("sagemaker", "sagemaker:CreateTrainingJob", _input_shape)
        except AwsRefused as error:
            if error.kind is Refusal.NO_REGION:
                return [Problem("Gamma does not know which AWS region to train in", "Set AWS_REGION.", _SECTION)]
            return []
        place = Place(self._bucket, self._role, region)
        found = problems_of(spec, place, section.image or "", shape)
        if not found:  # a wrong instance type has no image, either
            image = await self._images.find(section, region)
            found += [image] if isinstance(image, Problem) else []
        found += await self._bucket_check.problems(region)
        return found

    async def conditions(self, spec: TrainingSpec) -> Mapping[str, str] | None:
        """The image by its digest, and the inputs by their ETags."""
        section = section_of(spec)
        try:
            image = await self._images.find(section, await self._aws.region())
        except AwsRefused:
            return None
        if isinstance(image, Problem):
            return None
        return await conditions(self._aws, section, await self._images.pinned(image))

    async def submit(self, spec: TrainingSpec) -> None:
        """Bring the code to S3, record the attempt, ask for its training job.

        Raises:
            TrainerUnavailable: AWS is out of reach; nothing was recorded.
            StoreUnavailable: nothing was recorded, or what was is gone on with.
            OSError: the tarball can't be read, or the disk refused.
        """
        launch = (await self._launches.newest([spec.attempt.key])).get(spec.attempt.key)
        if launch is None:
            launch = await self._record(spec)
        if launch.state in (LaunchState.RECORDED, LaunchState.CREATING):
            try:
                launch = await self._launching.create(launch)
            except AwsRefused as error:
                # It is recorded: whoever watches asks again.
                log.warning("training.create_waits", attempt=launch.attempt, error=str(error))
                launch = (await self._launches.newest([launch.attempt]))[launch.attempt]
        if self._watching is not None:
            self._watching.keep(launch)

    async def observe(self, attempts: Sequence[Attempt]) -> Sequence[Observation]:
        """How these attempts are, as events and listings tell it; no call to AWS is made for that.

        Raises:
            StoreUnavailable
        """
        return await (await self._watch()).observe(attempts)

    async def stop(self, attempt: Attempt) -> None:
        """Ask an attempt to end: recorded, then sent; again at the next look if AWS could not be reached.

        Raises:
            StoreUnavailable: nothing is recorded.
        """
        launch = (await self._launches.newest([attempt.key])).get(attempt.key)
        if launch is None or launch.is_over:
            return
        try:
            launch = await self._launching.stop(launch)
        except AwsRefused as error:
            log.warning("training.stop_waits", attempt=attempt.key, error=str(error))
            return
        if self._watching is not None:
            self._watching.keep(launch)

    async def log_tail(self, attempt: Attempt, lines: int) -> Sequence[str]:
        """The newest lines of the newest try.

        Raises:
            TrainerUnavailable: AWS is out of reach.
        """
        name = await self._training_job(attempt)
        if name is None or lines <= 0:
            return ()
        try:
            return await self._logs.tail(name, lines)
        except AwsRefused as error:
            if error.passes_by_itself:
                raise TrainerUnavailable(f"CloudWatch can't be asked: {error.reason}") from error
            log.warning("log.unreadable", attempt=attempt.key, error=str(error))
            if error.kind is Refusal.DENIED:
                told = denied(error)
                return (f"[The log can't be read. {told.message} {told.hint}]",)
            return (f"[The log can't be read: {error.reason}]",)

    async def log_dropped(self, attempt: Attempt) -> int:
        """CloudWatch keeps everything."""
        return 0

    async def source_roots(self, attempt: Attempt) -> Sequence[str]:
        """Where containers have the code."""
        name = await self._training_job(attempt)
        root = self._logs.root(name) if name is not None else CODE_FOLDER
        return (CODE_FOLDER,) if root == CODE_FOLDER else (root, CODE_FOLDER)

    async def artifacts(self, attempt: Attempt) -> Sequence[Artifact]:
        """What the newest try left in S3, as SageMaker packed it.

        Raises:
            TrainerUnavailable: AWS is out of reach.
        """
        name = await self._training_job(attempt)
        if name is None:
            return ()
        try:
            return await self._results.of(name)
        except AwsRefused as error:
            if error.passes_by_itself:
                raise TrainerUnavailable(f"S3 can't be asked: {error.reason}") from error
            log.warning("artifacts.unreadable", attempt=attempt.key, error=str(error))
            return ()

    async def open_artifact(self, attempt: Attempt, path: str) -> BinaryIO:
        """One of them, copied here.

        Raises:
            OSError: there is no such artifact, or AWS does not give it.
        """
        name = await self._training_job(attempt)
        if name is None:
            raise FileNotFoundError(path)
        return await self._results.open(name, path)

    async def artifact_link(self, attempt: Attempt, path: str) -> str:
        """An address that gives it to anybody for five minutes: for the job's page, never for a comment.

        Raises:
            OSError: there is no such artifact, or AWS does not give it.
        """
        name = await self._training_job(attempt)
        if name is None:
            raise FileNotFoundError(path)
        try:
            return await self._results.link(name, path)
        except AwsRefused as error:
            raise OSError(str(error)) from error

    async def forget(self, attempt: Attempt) -> None:
        """Nothing: what is in S3 the bucket's lifecycle rules end."""

    async def close(self) -> None:
        """End the background tasks; what trains goes on."""
        if self._watching is not None:
            await self._watching.close()
        self._aws.close()

    async def _watch(self) -> Watch:
        async with self._beginning:
            if self._watching is None:
                try:
                    region = await self._aws.region()
                except AwsRefused as error:
                    log.warning("sagemaker.no_region", error=str(error))
                    region = ""
                self._watching = Watch(
                    self._aws,
                    self._launches,
                    self._launching,
                    self._patience,
                    self._pace,
                    region=region,
                    queue_url=self._queue_url,
                    term=self._term,
                )
            return self._watching

    async def _training_job(self, attempt: Attempt) -> str | None:
        known = self._watching.training_job(attempt) if self._watching is not None else None
        if known is not None:
            return known
        launch = (await self._launches.newest([attempt.key])).get(attempt.key)
        return launch.name if launch is not None else None

    async def _record(self, spec: TrainingSpec) -> Launch:
        """Write down what is to exist, or how it ended if it can't."""
        section = section_of(spec)
        try:
            place = Place(self._bucket, self._role, await self._aws.region())
            image = await self._images.find(section, place.region)
            if isinstance(image, Problem):
                told = Outcome(Ending.CONFIG, f"{image.message}.", ended_at=time.time(), hint=image.hint)
                return await self._refuse(spec, told)
            key = await self._bring_source(spec)
            request = training_job(spec, place, await self._images.pinned(image), key)
        except SourceError as error:
            return await self._refuse(spec, Outcome(Ending.SOURCE, str(error), ended_at=time.time()))
        except AwsRefused as error:
            if error.passes_by_itself:
                raise TrainerUnavailable(f"AWS can't be asked: {error.reason}") from error
            judged = explain(error, {"RoleArn": section.role or self._role}, "")
            assert not isinstance(judged, QuotaInUse), "only a training job can be refused for a quota"
            return await self._refuse(
                spec, Outcome(judged.ending, judged.message, ended_at=time.time(), hint=judged.hint)
            )
        order = {"create": request, "instances": list(section.instance)}
        return await self._launches.record(_launch(spec, LaunchState.RECORDED), order)

    async def _bring_source(self, spec: TrainingSpec) -> str:
        with tempfile.TemporaryDirectory(prefix="sagemaker-", dir=spec.source.parent) as folder:
            packed = await asyncio.to_thread(repack, spec.source, Path(folder))
            return await bring(self._aws, self._bucket, origin_of(spec), packed)

    async def _refuse(self, spec: TrainingSpec, outcome: Outcome) -> Launch:
        launch = await self._launches.record(_launch(spec, LaunchState.RECORDED), {})
        return await self._launches.end(launch, written(outcome))


def _input_shape(client: Any) -> Any:
    return client.meta.service_model.operation_model("CreateTrainingJob").input_shape


def _launch(spec: TrainingSpec, state: LaunchState) -> Launch:
    section, now = section_of(spec), time.time()
    wait = section.max_wait or 2 * spec.timeout_seconds
    return Launch(
        attempt=spec.attempt.key,
        number=1,
        job=spec.attempt.job,
        job_attempt=spec.attempt.number,
        name=training_job_name(spec.attempt, 1),
        state=state,
        instance_type=section.instance[0],
        instance_count=section.count,
        spot=section.spot,
        limit_seconds=wait if section.spot else spec.timeout_seconds,
        recorded_at=now,
        due_at=now,
    )
