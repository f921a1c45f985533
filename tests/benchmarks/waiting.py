"""What ten thousand running jobs cost while nothing happens to them, and how soon a thousand endings are handled.

`gamma serve` is measured, on SQLite, with its jobs on SageMaker. AWS (the stand-in) is another process; GitHub (the
sandbox) and a cheap MLflow are in this one. The jobs are spread over repositories that have an installation each, since
GitHub takes one write a second of an installation: that a check run shows an end is told apart from when Gamma has it.

    python tests/benchmarks/waiting.py [--jobs 10000] [--endings 1000] [--repositories 40] [--settle 10] [--seconds 30]

A figure for the record is one of --settle 200 --seconds 180: the first look through SageMaker's list takes so long.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

sys.path.insert(0, str(Path(__file__).parents[2]))

from gamma_bot.sandbox.aws.client import AwsStandIn
from gamma_bot.sandbox.server import SandboxGitHub
from gamma_bot.store.jobs import FINAL_STATES
from tests.cheap_mlflow import cheap_mlflow
from tests.many_jobs import BUCKET, REGION, ROLE, Many, launch_many

GOAL_MEGABYTES, GOAL_CORE_PERCENT, GOAL_AWS_CALLS, GOAL_ENDING_SECONDS = 300, 5.0, 60, 60
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
LONGEST_SECONDS = 90.0


@dataclass(frozen=True)
class Waiting:
    """What waiting cost."""

    megabytes: float
    core_percent: float
    aws_calls: Counter[str]
    github_calls: int
    seconds: float

    @property
    def aws_calls_a_minute(self) -> float:
        return sum(self.aws_calls.values()) * 60 / self.seconds


class Served:
    """A running `gamma serve`."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, started: float) -> None:
        self.process, self.url, self.started = process, url, started

    @property
    def cpu_seconds(self) -> float:
        """User and system time so far, of all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self, line: str = "VmRSS") -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(each.split()[1]) for each in lines if each.startswith(line)) / 1024

    async def ready(self) -> float:
        """Wait for /readyz; the seconds since the start."""
        async with aiohttp.ClientSession() as session:
            while self.process.returncode is None and time.perf_counter() - self.started < 120:
                try:
                    async with session.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return time.perf_counter() - self.started
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.02)
        raise SystemExit("gamma serve did not get ready")


@asynccontextmanager
async def served(folder: Path, environment: dict[str, str]) -> AsyncIterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {"PATH": os.environ["PATH"], **environment, "GAMMA_PORT": str(port)}
    started = time.perf_counter()
    with (folder / "gamma.log").open("ab") as log:
        gamma = str(Path(sys.executable).with_name("gamma"))
        process = await asyncio.create_subprocess_exec(
            gamma, "serve", env=environment, cwd=folder, stdout=log, stderr=log
        )
    try:
        yield Served(process, f"http://127.0.0.1:{port}", started)
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 60)


def private_key() -> str:
    """A key for the App."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def furnish_aws(aws: AwsStandIn, many: Many, ending: Sequence[str]) -> str:
    """The same training jobs at AWS, the queue of their events, a log of each that will end; the queue's address."""
    aws.client("s3").create_bucket(Bucket=BUCKET)
    for first in range(0, len(many.requests), 1000):
        aws.create_frozen([dict(each) for each in many.requests[first : first + 1000]], state="Training")
    logs = aws.client("logs")
    logs.create_log_group(logGroupName=LOG_GROUP)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda job: write_log(logs, f"gamma-{job}-1/algo-1-1"), ending))
    aws.settle()
    # Made only now: that they began to train is old news, which nobody waits for in the queue.
    queue = str(aws.client("sqs").create_queue(QueueName="gamma-events")["QueueUrl"])
    pattern = {"source": ["aws.sagemaker"], "detail": {"TrainingJobName": [{"prefix": "gamma-"}]}}
    aws.client("events").put_rule(Name="gamma", EventPattern=json.dumps(pattern))
    target = {"Id": "queue", "Arn": f"arn:aws:sqs:{REGION}:123456789012:gamma-events"}
    aws.client("events").put_targets(Rule="gamma", Targets=[target])
    return queue


def write_log(logs: Any, stream: str) -> None:
    logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
    now = int(time.time() * 1000)
    lines = [{"timestamp": now, "message": f"step {step} score 0.3"} for step in range(50)]
    logs.put_log_events(logGroupName=LOG_GROUP, logStreamName=stream, logEvents=lines)


def calls_since(aws: AwsStandIn, moment: float) -> Counter[str]:
    return Counter(call["action"] for call in aws.calls() if call["time"] >= moment and not call["implied"])


async def wait(github: SandboxGitHub, aws: AwsStandIn, gamma: Served, seconds: float) -> Waiting:
    """Let the time pass."""
    aws.forget_calls()
    requests, cpu, began, highest = len(github.requests), gamma.cpu_seconds, time.time(), 0.0
    while time.time() < began + seconds:
        await asyncio.sleep(1.0)
        highest = max(highest, gamma.megabytes())
    passed = time.time() - began
    core_percent = 100 * (gamma.cpu_seconds - cpu) / passed
    calls = calls_since(aws, began)
    return Waiting(highest, core_percent, calls, len(github.requests) - requests, passed)


async def until(look: Callable[[], int], wanted: int, began: float, longest: float) -> float:
    """Look each half second until there are so many; the seconds since ``began``, infinite if it took too long."""
    while time.perf_counter() - began < longest:
        if await asyncio.to_thread(look) >= wanted:
            return time.perf_counter() - began
        await asyncio.sleep(0.5)
    return float("inf")


def counting(path: Path, query: str) -> Callable[[], int]:
    def count() -> int:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return int(connection.execute(query).fetchone()[0])

    return count


async def end(
    github: SandboxGitHub, aws: AwsStandIn, gamma: Served, data: Path, ending: Sequence[str]
) -> dict[str, float]:
    """Let so many jobs end at once; after how many seconds what had come of all of them."""
    finals = ",".join(f"'{state}'" for state in FINAL_STATES)
    begun = counting(data / "engine.db", "SELECT count(*) FROM workflow_status WHERE workflow_uuid LIKE '%-finish'")
    told = counting(data / "gamma.db", f"SELECT count(*) FROM gamma_jobs WHERE state IN ({finals})")
    recorded_ends = counting(data / "gamma.db", "SELECT count(*) FROM gamma_launches WHERE state = 'ended'")
    before = await asyncio.to_thread(told)
    runs = [run for repository in github.state.repositories.values() for run in repository.check_runs]
    mine = [run for run in runs if run.external_id in set(ending)]
    cpu, began, moment = gamma.cpu_seconds, time.perf_counter(), time.time()
    names = [f"gamma-{job}-1" for job in ending]
    moving = asyncio.to_thread(aws.move, to="Completed", jobs=names, training_seconds=500, billable_seconds=150)
    count = len(ending)
    _, recorded, recognised, final, shown = await asyncio.gather(
        moving,
        until(recorded_ends, count, began, LONGEST_SECONDS),
        until(begun, count, began, LONGEST_SECONDS),
        until(lambda: told() - before, count, began, LONGEST_SECONDS),
        until(lambda: sum(run.status == "completed" for run in mine), count, began, LONGEST_SECONDS),
    )
    calls = calls_since(aws, moment)
    print(f"  calls to AWS for the endings: {dict(calls.most_common(7))}")
    return {
        "all recorded as AWS describes them": recorded,
        "all finish workflows begun": recognised,
        "all job rows final": final,
        "all check runs completed at GitHub": shown,
        "CPU seconds": gamma.cpu_seconds - cpu,
    }


async def measure(arguments: argparse.Namespace, folder: Path) -> bool:
    """Measure and print; whether every goal is kept."""
    data, key = folder / "data", private_key()
    (folder / "app.pem").write_text(key)
    began = time.perf_counter()
    async with SandboxGitHub(folder / "github") as github:
        github.limits.content_per_hour = github.limits.requests_per_hour = 1_000_000
        many = await launch_many(github, data, arguments.jobs, arguments.repositories, key)
        stride = max(1, len(many.jobs) // max(1, arguments.endings))
        ending = many.jobs[::stride][: arguments.endings]
        with AwsStandIn.started(folder / "aws") as aws:
            queue = await asyncio.to_thread(furnish_aws, aws, many, ending)
            async with cheap_mlflow(many.jobs) as mlflow:
                environment = {
                    **aws.environment,
                    "GAMMA_DATA_DIR": str(data),
                    "GAMMA_EXECUTOR": "sagemaker",
                    "GAMMA_GITHUB_API_URL": github.api_url,
                    "GAMMA_GITHUB_APP_ID": str(many.app.id),
                    "GAMMA_GITHUB_PRIVATE_KEY": str(folder / "app.pem"),
                    "GAMMA_GITHUB_WEBHOOK_SECRET": "secret",
                    "GAMMA_MLFLOW_TRACKING_URI": mlflow,
                    "GAMMA_AWS_BUCKET": BUCKET,
                    "GAMMA_AWS_ROLE_ARN": ROLE,
                    "GAMMA_AWS_EVENTS_QUEUE_URL": queue,
                }
                print(f"{len(many.jobs):,} jobs were set up in {time.perf_counter() - began:.0f} s", flush=True)
                async with served(folder, environment) as gamma:
                    if arguments.profile:
                        print(f"  measured process: {gamma.process.pid}", flush=True)
                    many.app.hook.url = f"{gamma.url}/webhook"
                    aws.forget_calls()
                    ready = await gamma.ready()
                    looked = await until(lambda: len(aws.calls("sagemaker:List*")), 1, gamma.started, 120)
                    print(f"  ready after {ready:.1f} s, first look after {looked:.1f} s, then", end=" ")
                    print(f"{gamma.megabytes():.0f} MB, {gamma.cpu_seconds:.1f} CPU seconds", flush=True)
                    await asyncio.sleep(arguments.settle)
                    waiting = await wait(github, aws, gamma, arguments.seconds)
                    print(f"  settled {arguments.settle:.0f} s, then waited {waiting.seconds:.0f} s:", end=" ")
                    print(f"{waiting.github_calls} calls to GitHub, to AWS {dict(waiting.aws_calls)}", flush=True)
                    ends = await end(github, aws, gamma, data, ending) if ending else {}
                    highest = gamma.megabytes("VmHWM")
        assert github.violations == [], github.violations
    print(f"{f'{len(many.jobs):,} running jobs':44}{'measured':>10}{'goal':>8}")
    goals = [
        ("resident memory while waiting, MB", waiting.megabytes, GOAL_MEGABYTES),
        ("CPU while waiting, % of a core", waiting.core_percent, GOAL_CORE_PERCENT),
        ("calls to AWS a minute", waiting.aws_calls_a_minute, GOAL_AWS_CALLS),
    ]
    figures: list[tuple[str, float, float | None]] = [(name, value, goal) for name, value, goal in goals]
    for name, value in ends.items():
        wanted = GOAL_ENDING_SECONDS if name in ("all finish workflows begun", "all job rows final") else None
        figures.append((f"{len(ending):,} endings: {name}", value, wanted))
    figures += [("resident memory at its highest, MB", highest, None), ("seconds until /readyz", ready, None)]
    kept = True
    for name, value, goal in figures:
        missed = goal is not None and value > goal
        kept = kept and not missed
        print(f"  {name:56}{value:10.1f}{goal if goal is not None else '':>8}{'  MISSED' if missed else ''}")
    return kept


def main() -> None:
    """Run; exit code 1 if a goal is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--endings", type=int, default=1_000)
    parser.add_argument("--repositories", type=int, default=40)
    parser.add_argument("--settle", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--profile", action="store_true", help="say which process to look at")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = asyncio.run(measure(arguments, Path(folder)))
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
