"""A bot that trains nothing stays small: what only a job or a write-up needs is not loaded before."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import re
import sys
import time
from pathlib import Path

import aiohttp

SECRET = "light"
HEAVY = {"anthropic", "mlflow", "pandas", "pyarrow", "numpy", "matplotlib", "mujoco", "boto3", "alembic"}

FOREIGN = [
    ("ping", {"zen": "Keep it logically awesome."}),
    ("push", {"ref": "refs/heads/main", "after": "2" * 40, "repository": {"id": 1, "full_name": "ada/walker"}}),
    ("push", {"ref": "refs/tags/v1", "after": "2" * 40}),
    ("pull_request", {"action": "labeled"}),
    ("check_suite", {"action": "requested", "check_suite": {"id": 1}}),
    ("star", {"action": "created"}),
]


def loaded(log: Path) -> set[str]:
    """The modules that the process has imported, told by Python itself."""
    return set(re.findall(r"^import time:[ \d]*\|[ \d]*\| *([\w.]+)$", log.read_text(), re.MULTILINE))


async def test_neither_the_start_nor_webhooks_that_mean_nothing_load_what_only_jobs_need(
    tmp_path: Path, app_key: str, unused_tcp_port: int
) -> None:
    address = f"http://127.0.0.1:{unused_tcp_port}"
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("gamma"),
            "serve",
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPROFILEIMPORTTIME": "1",  # each import is a line, now and later
                "GAMMA_PORT": str(unused_tcp_port),
                "GAMMA_GITHUB_API_URL": "http://127.0.0.1:9",
                "GAMMA_GITHUB_APP_ID": "7",
                "GAMMA_GITHUB_PRIVATE_KEY": app_key,
                "GAMMA_GITHUB_WEBHOOK_SECRET": SECRET,
                "GAMMA_ANTHROPIC_API_KEY": "not-a-key",
            },
            cwd=tmp_path,
            stdout=output,
            stderr=output,
        )
    try:
        async with aiohttp.ClientSession() as session:
            deadline = time.monotonic() + 30

            async def answers(path: str, words: str) -> None:
                while True:
                    try:
                        async with session.get(address + path) as answer:
                            if answer.status == 200 and words in await answer.text():
                                return
                    except aiohttp.ClientConnectionError:
                        assert process.returncode is None, log.read_text()[-2000:]
                    assert time.monotonic() < deadline, f"{path} did not say {words!r} within 30 s"
                    await asyncio.sleep(0.05)

            await answers("/readyz", "ok")
            at_start = loaded(log)
            for number, (event, payload) in enumerate(FOREIGN * 5):
                body = json.dumps(payload).encode()
                signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
                headers = {
                    "X-GitHub-Delivery": f"g{number}",
                    "X-GitHub-Event": event,
                    "X-Hub-Signature-256": signature,
                }
                async with session.post(f"{address}/webhook", data=body, headers=headers) as answer:
                    assert answer.status == 202
            await answers("/metrics", f'gamma_deliveries{{state="done"}} {len(FOREIGN) * 5}\n')
    finally:
        process.terminate()
        await process.wait()

    assert {"aiohttp.web", "dbos", "gamma_bot.app"} <= at_start, "imports were told"
    assert HEAVY & at_start == set()
    assert HEAVY & loaded(log) == set()
