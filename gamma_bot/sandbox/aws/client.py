"""How a test or the demo starts the stand-in and steers it.

>>> with AwsStandIn.started() as aws:
...     aws.plan("capacity", job="gamma-*", times=2)
...     aws.client("sagemaker").create_training_job(...)
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

_REGION = "us-east-1"
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


class AwsStandIn:
    """One running stand-in, reached through its control API. Blocking: call it in a thread from async code."""

    def __init__(self, url: str, process: subprocess.Popen[bytes] | None = None) -> None:
        self.url, self._process = url, process
        self._clients: dict[tuple[str, str, int], Any] = {}

    @classmethod
    def started(cls, folder: Path | None = None, *, port: int = 0) -> Self:
        """Start a process; it ends with ``stop``, or when this process does."""
        command = [sys.executable, "-m", "gamma_bot.sandbox.aws", "--port", str(port)]
        if folder is not None:
            command += ["--folder", str(folder)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the AWS stand-in ended with status {process.wait()} before it was ready")
        return cls(json.loads(line)["url"], process)

    def stop(self) -> None:
        """End the process and every job process of it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()

    def ended_by(self, signal: int) -> int:
        """Send the process a signal that ends it; its exit status."""
        assert self._process is not None, "only who started it ends it"
        self._process.send_signal(signal)
        return self._process.wait(_STOP_SECONDS)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to take the stand-in for AWS."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": _REGION,
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def client(self, service: str, region: str = _REGION, *, attempts: int = 1) -> Any:
        """A boto3 client of the stand-in; it tries once, so that a test sees each answer. One for each question."""
        known = self._clients.get((service, region, attempts))
        if known is not None:
            return known
        import boto3  # type: ignore[import-untyped, unused-ignore]
        from botocore.config import Config  # type: ignore[import-untyped, unused-ignore]

        config = Config(
            retries={"total_max_attempts": attempts, "mode": "standard"}, s3={"addressing_style": "path"}, proxies={}
        )
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        made = boto3.client(service, region_name=region, endpoint_url=self.url, config=config, **keys)
        self._clients[service, region, attempts] = made
        return made

    def plan(self, kind: str, **options: Any) -> int:
        """Plan a fault, see ``faults.py`` for the kinds; its id, for ``forget``."""
        return int(self._ask("POST", "faults", {"kind": kind, **options})["id"])

    def forget(self, fault: int | None = None) -> None:
        """Remove one planned fault, or all."""
        self._ask("DELETE", "faults" if fault is None else f"faults?id={fault}")

    def faults(self) -> list[dict[str, Any]]:
        return list(self._ask("GET", "faults"))

    def calls(self, action: str = "*") -> list[dict[str, Any]]:
        """The calls to AWS so far, oldest first: time, action, operation, resource, region, implied, refused."""
        return list(self._ask("GET", f"calls?{urlencode({'action': action})}"))

    def forget_calls(self) -> None:
        self._ask("DELETE", "calls")

    def jobs(self) -> list[dict[str, Any]]:
        return list(self._ask("GET", "jobs"))

    def create_frozen(self, requests: list[dict[str, Any]], *, state: str = "Starting", region: str = _REGION) -> int:
        """Many frozen jobs at once; each request is one of CreateTrainingJob."""
        return int(self._ask("POST", "jobs", {"requests": requests, "state": state, "region": region})["created"])

    def move(self, job: str = "*", *, to: str, jobs: list[str] | None = None, **options: Any) -> int:
        """Bring frozen jobs to a secondary status: those whose name matches ``job``, or those of the list ``jobs``.

        Options: ``most``, ``message``, ``failure_reason``, ``training_seconds``, ``billable_seconds``.
        """
        asked = {"job": job, "to": to} | ({} if jobs is None else {"jobs": jobs}) | options
        return int(self._ask("POST", "move", asked)["moved"])

    def interrupt(self, job: str) -> None:
        """Take the machines of a running spot job away now."""
        self._ask("POST", "interrupt", {"job": job})

    def settle(self, seconds: float = 30.0) -> bool:
        """Wait until all events so far are in their queues."""
        return bool(self._ask("POST", "settle", {"seconds": seconds})["settled"])

    def reset(self) -> None:
        """Forget everything: jobs, faults, calls, and all of moto."""
        self._ask("POST", "reset", {})

    def wait(self, job: str, *statuses: str, seconds: float = 20.0, region: str = _REGION) -> dict[str, Any]:
        """Ask until the job has one of these primary or secondary statuses (any end, if none is named)."""
        wanted, client = statuses or ("Completed", "Failed", "Stopped"), self.client("sagemaker", region)
        deadline = time.monotonic() + seconds
        while True:
            told: dict[str, Any] = client.describe_training_job(TrainingJobName=job)
            if told["TrainingJobStatus"] in wanted or told["SecondaryStatus"] in wanted:
                return told
            if time.monotonic() > deadline:
                raise TimeoutError(f"{job} is {told['TrainingJobStatus']}/{told['SecondaryStatus']}, not {wanted}")
            time.sleep(0.02)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/_gamma/{path}", data, headers, method=method)  # noqa: S310
        # Never by a proxy: the stand-in is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_START_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
