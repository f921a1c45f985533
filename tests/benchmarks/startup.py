"""How long `gamma serve` takes until it is ready, and how much memory it holds, beside its largest imports alone.

Each round starts the whole service with a GitHub App configured, on an empty data directory and then once more on the
same one, and measures from the start of the process to the first 200 of /readyz. The floor is a Python that imports
aiohttp, SQLAlchemy and DBOS and ends. Rounds go in turns, so that noise of the machine hits all of them.

    python tests/benchmarks/startup.py [--rounds 5] [--webhooks 200]
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

GOAL_SECONDS, GOAL_MEGABYTES = 1.5, 120
SECRET = b"benchmark"
FLOOR = "import aiohttp.web, sqlalchemy, dbos"


def private_key() -> str:
    """A key for an App that GitHub is never asked about."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def resident_megabytes(process: int) -> float:
    """VmRSS of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """One request; status 0 if nobody listens yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


@contextmanager
def served(folder: Path, key: str) -> Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """A Gamma that is ready, its port, and the seconds it took."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "GAMMA_DATA_DIR": str(folder),
        "GAMMA_PORT": str(port),
        "GAMMA_GITHUB_API_URL": "http://127.0.0.1:9",
        "GAMMA_GITHUB_APP_ID": "1",
        "GAMMA_GITHUB_PRIVATE_KEY": key,
        "GAMMA_GITHUB_WEBHOOK_SECRET": SECRET.decode(),
    }
    command = [Path(sys.executable).with_name("gamma"), "serve"]
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, cwd=folder.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while ask(port, "GET", "/readyz")[0] != 200:
            if process.poll() is not None or time.perf_counter() - start > 60:
                raise SystemExit("gamma serve did not get ready")
            time.sleep(0.01)
        yield process, port, time.perf_counter() - start
    finally:
        process.terminate()
        process.wait(30)


def deliver(port: int, count: int) -> None:
    """Send pushes to a branch that does not train, and wait until all are handled."""
    body = json.dumps({"ref": "refs/heads/main", "after": "2" * 40, "repository": {"id": 1}, "x": "y" * 8000}).encode()
    signature = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    for _ in range(count):
        status, answer = ask(
            *(port, "POST", "/webhook", body),
            X_GitHub_Delivery=uuid.uuid4().hex,
            X_GitHub_Event="push",
            X_Hub_Signature_256=signature,
        )
        if status != 202:
            raise SystemExit(f"a webhook was answered {status}: {answer.decode()}")
    for _ in range(200):
        if f'gamma_deliveries{{state="done"}} {count}\n'.encode() in ask(port, "GET", "/metrics")[1]:
            return
        time.sleep(0.05)
    raise SystemExit("the webhooks were not handled within 10 s")


def floor_seconds() -> float:
    """A bare Python with the same large imports."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", FLOOR], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--webhooks", type=int, default=200)
    arguments = parser.parse_args()
    key = private_key()
    seconds: dict[str, list[float]] = {"its imports alone": [], "empty data directory": [], "existing one": []}
    ready, busy = [], []
    for _ in range(arguments.rounds):
        seconds["its imports alone"].append(floor_seconds())
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            with served(data, key) as (process, port, took):
                seconds["empty data directory"].append(took)
                ready.append(resident_megabytes(process.pid))
                deliver(port, arguments.webhooks)
                busy.append(resident_megabytes(process.pid))
            with served(data, key) as (_, _, took):
                seconds["existing one"].append(took)
    print(f"{'gamma serve until /readyz is 200':36}{'median s':>10}{'best s':>9}{'worst s':>9}")
    for name, samples in seconds.items():
        print(f"  {name:34}{statistics.median(samples):10.2f}{min(samples):9.2f}{max(samples):9.2f}")
    print(f"{'resident memory':36}{'median MB':>10}")
    print(f"  {'when ready':34}{statistics.median(ready):10.0f}")
    print(f"  {f'after {arguments.webhooks} webhooks':34}{statistics.median(busy):10.0f}")
    slowest = max(statistics.median(seconds[name]) for name in ("empty data directory", "existing one"))
    floor = statistics.median(seconds["its imports alone"])
    print(
        f"\ngoals: {GOAL_SECONDS} s {_kept(slowest <= GOAL_SECONDS)}, {GOAL_MEGABYTES} MB "
        f"{_kept(statistics.median(busy) <= GOAL_MEGABYTES)}; {slowest / floor:.2f} times the floor"
    )


def _kept(kept: bool) -> str:
    return "kept" if kept else "MISSED"


if __name__ == "__main__":
    main()
