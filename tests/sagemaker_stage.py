"""A SageMaker trainer against the AWS stand-in, as the stories about SageMaker alone drive it."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gamma_bot.config.executors import SageMaker
from gamma_bot.sandbox.aws.client import AwsStandIn
from gamma_bot.store.database import Database
from gamma_bot.store.launches import Launches
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.launching import Patience
from gamma_bot.training.sagemaker.trainer import SageMakerTrainer
from gamma_bot.training.sagemaker.watch import Pace
from gamma_bot.training.trainer import Attempt, Observation, Origin, Outcome, Phase, TrainingSpec

BUCKET = "gamma-test"
ROLE = "arn:aws:iam::123456789012:role/gamma-training"
QUEUE = "gamma-test-events"
ORIGIN = Origin(7, "ada/walker", "models/wider", "a" * 40)
# Of each stand-in: making boto3's clients takes a good part of a second.
_CALLS: dict[str, Aws] = {}
QUICK = Pace(tick=0.02, sweep=30.0, sweep_without_events=0.1, page=0.0, after_trouble=0.1)
SOON = Patience(answer=0.3, quota=0.2, capacity=0.05, failure=0.05, stop=0.2)


def furnish(aws: AwsStandIn) -> str:
    """Make the bucket, the queue and the rule that fills it; the queue's address."""
    aws.reset()
    aws.client("s3").create_bucket(Bucket=BUCKET)
    # Whoever waited for events when its test ended takes some with it: a name of its own, and soon they are back.
    name, soon = f"{QUEUE}-{time.monotonic_ns()}", {"VisibilityTimeout": "1"}
    queue = str(aws.client("sqs").create_queue(QueueName=name, Attributes=soon)["QueueUrl"])
    pattern = {"source": ["aws.sagemaker"], "detail": {"TrainingJobName": [{"prefix": "gamma-"}]}}
    aws.client("events").put_rule(Name=QUEUE, EventPattern=json.dumps(pattern))
    target = {"Id": "queue", "Arn": f"arn:aws:sqs:us-east-1:123456789012:{name}"}
    aws.client("events").put_targets(Rule=QUEUE, Targets=[target])
    return queue


class SageMakerStage:
    """One trainer, and others over the same tables where a story needs several."""

    def __init__(self, aws: AwsStandIn, queue: str, folder: Path, database_url: str | None = None) -> None:
        self.aws, self.queue, self.folder = aws, queue, folder
        self._calls = _CALLS.setdefault(aws.url, Aws(region="us-east-1", endpoint_url=aws.url))
        self.database = Database(database_url or f"sqlite:///{folder / 'gamma.db'}")
        self.database.create_tables()
        self.launches = Launches(self.database)
        self._trainers: list[SageMakerTrainer] = []
        self.trainer = self.another()

    def another(self, **changes: Any) -> SageMakerTrainer:
        """A trainer over the same tables, as another replica has one."""
        options = {"bucket": BUCKET, "role": ROLE, "queue_url": self.queue, "patience": SOON, "pace": QUICK, **changes}
        trainer = SageMakerTrainer(self._calls, self.launches, **options)
        self._trainers.append(trainer)
        return trainer

    async def close(self) -> None:
        for trainer in self._trainers:
            await trainer.close()
        self.database.close()

    def spec(
        self, job: str, script: str = "print('trained')", files: Mapping[str, str] | None = None, **section: Any
    ) -> TrainingSpec:
        """An attempt that runs ``train.py`` of this text."""
        source = self.folder / f"{job}.tar.gz"
        source.write_bytes(tarball({"train.py": script, **(files or {})}))
        return TrainingSpec(
            attempt=Attempt(job),
            source=source,
            command=("python", "train.py"),
            timeout_seconds=600,
            origin=ORIGIN,
            sagemaker=SageMaker.model_validate(
                {"image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1", **section}
            ),
        )

    async def until(
        self, attempt: Attempt, wanted: Callable[[Observation], bool], *, seconds: float = 15.0
    ) -> Observation:
        """Look at an attempt, as the watcher does, until there is to be seen what is wanted."""
        deadline, seen = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            for seen in await self.trainer.observe([attempt]):
                if wanted(seen):
                    return seen
            await asyncio.sleep(0.02)
        raise AssertionError(f"waited {seconds} s; last seen: {seen}\n{self.aws.jobs()}")

    async def printed(self, attempt: Attempt, words: str, *, seconds: float = 15.0) -> None:
        """Wait until the log of an attempt has these words."""
        deadline = time.monotonic() + seconds
        reader = self.another()
        for count in itertools.count(50):  # another number of lines each time: the same ones are answered from memory
            if words in "\n".join(await reader.log_tail(attempt, count)):
                return
            assert time.monotonic() < deadline, f"{words!r} was not printed"
            await asyncio.sleep(0.05)

    async def ended(self, attempt: Attempt, **more: float) -> Outcome:
        """Wait for the end of an attempt."""
        seen = await self.until(attempt, lambda each: each.phase is Phase.ENDED, **more)
        assert seen.outcome is not None
        return seen.outcome

    async def end_of(self, spec: TrainingSpec) -> Outcome:
        """Submit an attempt and wait for its end."""
        await self.trainer.submit(spec)
        return await self.ended(spec.attempt)

    def created(self) -> list[str]:
        """The training jobs that AWS was asked for and has."""
        return sorted(job["name"] for job in self.aws.jobs())


def tarball(files: Mapping[str, str]) -> bytes:
    """A tarball as GitHub makes them, with one top folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"ada-walker-aaaaaaa/{name}")
            member.size, member.mode = len(text.encode()), 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def again(spec: TrainingSpec, number: int) -> TrainingSpec:
    """The next attempt of the same job."""
    return replace(spec, attempt=Attempt(spec.attempt.job, number))
