"""I3 on SageMaker under fire: many processes submit one attempt at once, and `kill -9` strikes each of them anywhere.

Each try is a new attempt. Eight processes submit it; most are killed at a random point around CreateTrainingJob, and
some of AWS's answers get lost. One more process submits it to its end. Then there must be one training job.

    python tests/benchmarks/one_job.py [--tries 200] [--database-url postgresql://…]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

sys.path.insert(0, str(Path(__file__).parents[2]))

from gamma_bot.sandbox.aws.client import AwsStandIn
from gamma_bot.store.database import Database
from gamma_bot.store.launches import Launches
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.trainer import SageMakerTrainer
from gamma_bot.training.trainer import TrainingSpec
from tests.sagemaker_stage import BUCKET, ROLE, SageMakerStage, furnish

PROCESSES = 8
POINTS = ("none", "record", "claim", "before", "during", "after", "created")


def main() -> None:
    """Run the tries and tell what came of them; exit code 1 if any attempt has not exactly one training job."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tries", type=int, default=200)
    parser.add_argument("--database-url")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    wrong, killed, began = 0, 0, time.monotonic()
    with AwsStandIn.started() as aws, tempfile.TemporaryDirectory() as folder:
        os.environ.update(aws.environment)
        furnish(aws)
        aws.plan("frozen", job="gamma-*")
        url = arguments.database_url or f"sqlite:///{folder}/gamma.db"
        stage = SageMakerStage(aws, "", Path(folder), url)
        stage.database.close()
        calls = Aws(region="us-east-1", endpoint_url=aws.url)
        for service in ("sagemaker", "s3", "ecr"):  # made once, and inherited by every process
            calls._client(service, "us-east-1" if service == "ecr" else None)
        for number in range(arguments.tries):
            spec = stage.spec(f"j{number:012x}")
            if chance.random() < 0.3:
                aws.plan("lost", action="sagemaker:CreateTrainingJob", times=chance.randint(1, 2))
            points = [chance.choice(POINTS) for _ in range(PROCESSES)]
            children = [_fork(url, calls, spec, point, chance.random()) for point in points]
            killed += sum(os.WIFSIGNALED(os.waitpid(child, 0)[1]) for child in children)
            _, status = os.waitpid(_fork(url, calls, spec, "none", 0.0), 0)
            mine = [call for call in aws.calls("sagemaker:CreateTrainingJob") if spec.attempt.key in call["resource"]]
            created = sum(call["refused"] is None for call in mine)
            if status != 0 or created != 1 or f"gamma-{spec.attempt.key}" not in stage.created():
                wrong += 1
                print(f"{spec.attempt.key}: {created} training jobs, exit status {status}; killed at {points}")
            aws.forget_calls()
    print(
        f"{arguments.tries} attempts, {PROCESSES + 1} processes each, {killed} killed: {wrong} without exactly one "
        f"training job; {time.monotonic() - began:.0f} s"
    )
    sys.exit(1 if wrong else 0)


def _fork(url: str, calls: Aws, spec: TrainingSpec, point: str, delay: float) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        _die_at(point, delay)
        status = asyncio.run(_submit(url, calls, spec))
    finally:
        os._exit(status)


async def _submit(url: str, calls: Aws, spec: TrainingSpec) -> int:
    database = Database(url)
    trainer = SageMakerTrainer(calls, Launches(database), bucket=BUCKET, role=ROLE)
    await trainer.submit(spec)
    launch = (await Launches(database).newest([spec.attempt.key]))[spec.attempt.key]
    return 0 if launch.state == "created" else 2


def _die_at(point: str, delay: float) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dying_after(method: Callable[..., Any]) -> Callable[..., Any]:
        async def run(*arguments: Any) -> Any:
            await method(*arguments)
            die()

        return run

    call = Aws.call

    async def around(self: Aws, service: str, operation: str, **parameters: Any) -> Any:
        if operation != "CreateTrainingJob":
            return await call(self, service, operation, **parameters)
        if point == "before":
            die()
        if point == "during":
            threading.Timer(delay * 0.05, die).start()
        answer = await call(self, service, operation, **parameters)
        if point == "after":
            die()
        return answer

    if point in ("before", "during", "after"):
        Aws.call = around  # type: ignore[method-assign]
    elif point != "none":
        setattr(Launches, point, dying_after(getattr(Launches, point)))


if __name__ == "__main__":
    main()
