"""What ``gamma demo`` is played on: a sandbox GitHub with the starter repository, the bot, and the chosen executor."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from gamma_bot.app import Gamma
from gamma_bot.sandbox.model import Repository
from gamma_bot.sandbox.server import SandboxGitHub
from gamma_bot.settings import Settings
from gamma_bot.starter import starter_files
from gamma_bot.training.trainer import Attempt

Executor = Literal["local", "sagemaker", "actions"]
USER, NAME = "you", "cartpole"

_PERMISSIONS = {"checks": "write", "contents": "read", "issues": "write", "metadata": "read", "pull_requests": "write"}
_EVENTS = ("push", "pull_request", "issue_comment", "pull_request_review", "pull_request_review_comment", "repository")
_BUCKET, _QUEUE, _ROLE = "gamma-demo", "gamma-demo-events", "arn:aws:iam::123456789012:role/gamma-demo-training"


@dataclass(frozen=True)
class Stage:
    """Everything that runs, until the context ends that made it. ``aws_url`` is set where SageMaker trains."""

    github: SandboxGitHub
    repository: Repository
    bot: Gamma
    aws_url: str = ""


@asynccontextmanager
async def stage(folder: Path, port: int, executor: Executor) -> AsyncIterator[Stage]:
    """Set everything up below a folder.

    Raises:
        OSError: the port is taken.
    """
    secret = "demo"  # noqa: S105 (it signs on loopback only)
    actions = executor == "actions"
    permissions = {**_PERMISSIONS, "actions": "write"} if actions else _PERMISSIONS
    events = [*_EVENTS, "workflow_run"] if actions else _EVENTS
    async with AsyncExitStack() as stack:
        github = await stack.enter_async_context(SandboxGitHub(folder / "github", port=port))
        github.create_user(USER)
        repository = github.create_repository(USER, NAME, starter_files(executor))
        app = github.create_app("Gamma", permissions, events, "", secret)
        github.install(app, repository)
        aws: Mapping[str, str] = {}
        if executor == "sagemaker":
            aws = stack.enter_context(_aws(folder / "aws"))
        settings = Settings(
            # Every setting is given, so that the demo is the same on every machine, whatever is configured there.
            data_dir=folder / "gamma",
            host="127.0.0.1",
            port=0,
            public_url=None,
            database_url=None,
            executor=executor,
            local_jobs=1,
            branches=("models", "models/*"),
            github_api_url=github.api_url,
            github_app_id=str(app.id),
            github_private_key=SecretStr(app.private_key_pem),
            github_webhook_secret=SecretStr(secret),
            mlflow_tracking_uri=None,
            mlflow_public_url=None,
            aws_bucket=aws.get("bucket"),
            aws_role_arn=aws.get("role"),
            aws_events_queue_url=aws.get("queue"),
        )
        bot = Gamma(settings)
        await bot.start()
        app.hook.url = f"{bot.url}/webhook"
        try:
            yield Stage(github, repository, bot, aws.get("url", ""))
        finally:
            for job in await bot.jobs.unfinished():
                await bot.trainers[job.executor].stop(Attempt(job.id, job.attempt))
            await bot.stop()


@contextmanager
def _aws(folder: Path) -> Iterator[Mapping[str, str]]:
    """An AWS of this machine with what Gamma's Terraform would make: a bucket, a queue, a rule that fills it."""
    from gamma_bot.sandbox.aws.client import AwsStandIn

    before = dict(os.environ)
    with AwsStandIn.started(folder) as aws:
        aws.client("s3").create_bucket(Bucket=_BUCKET)
        queue = aws.client("sqs").create_queue(QueueName=_QUEUE)["QueueUrl"]
        pattern = {
            "source": ["aws.sagemaker"],
            "detail-type": ["SageMaker Training Job State Change"],
            "detail": {"TrainingJobName": [{"prefix": "gamma-"}]},
        }
        events = aws.client("events")
        events.put_rule(Name=_QUEUE, EventPattern=json.dumps(pattern))
        target = f"arn:aws:sqs:us-east-1:123456789012:{_QUEUE}"
        events.put_targets(Rule=_QUEUE, Targets=[{"Id": "gamma", "Arn": target}])
        os.environ.update(aws.environment)  # boto3 reads its own variables
        try:
            yield {"url": aws.url, "bucket": _BUCKET, "queue": queue, "role": _ROLE}
        finally:
            os.environ.clear()
            os.environ.update(before)
