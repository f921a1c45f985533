"""How many webhooks a second are stored durably, beside a handler that stores nothing.

Both run in a process of their own and take the same 8 kB signed push over 32 connections, in turns, so that noise of
the machine hits both. The floor is a bare aiohttp handler that checks the HMAC and answers. Gamma is the whole
service as ``gamma serve`` starts it, on SQLite with ``synchronous=FULL``: each answer is on the disk.

    python tests/benchmarks/ingress.py [--rounds 5] [--seconds 4] [--connections 32]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

SECRET = b"benchmark"

FLOOR = """
import hashlib, hmac, sys
from aiohttp import web
async def handle(request):
    body = await request.read()
    expected = "sha256=" + hmac.new(b"benchmark", body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, request.headers["X-Hub-Signature-256"]):
        return web.Response(status=401)
    return web.Response(status=202, text="stored")
app = web.Application(client_max_size=26_214_400)
app.router.add_post("/webhook", handle)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
"""


@dataclass
class Sample:
    """One round against one server."""

    rate: float
    cpu_microseconds: float
    latencies: list[float] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """Sends one request after the other; the cheapest client that measures each answer."""

    def __init__(self, requests: list[tuple[bytes, bytes]], until: float, done: asyncio.Future[None]) -> None:
        self.requests, self.until, self.done = requests, until, done
        self.latencies: list[float] = []
        self.statuses: dict[bytes, int] = {}
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        if time.perf_counter() >= self.until:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        head, body = self.requests[0]
        self.sent = time.perf_counter()
        # GitHub's GUIDs are of version 1, which carries the time, as the example in its documentation shows.
        self.transport.write(head + str(uuid.uuid1()).encode() + b"\r\n\r\n" + body)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self.buffer = b""
        self.latencies.append(time.perf_counter() - self.sent)
        status = head[9:12]
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))


def push_request(port: int) -> tuple[bytes, bytes]:
    """A signed push of about 8 kB to a branch that does not train; the GUID goes last."""
    payload = {
        "ref": "refs/heads/main",
        "before": "1" * 40,
        "after": "2" * 40,
        "repository": {"id": 1, "full_name": "acme/cartpole", "description": "x" * 2000},
        "commits": [{"id": "3" * 40, "message": "m" * 500, "added": [], "modified": ["a.py"]} for _ in range(9)],
        "sender": {"login": "octocat", "type": "User"},
        "installation": {"id": 1},
    }
    body = json.dumps(payload).encode()
    body += b" " * (8192 - len(body))
    signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    head = (
        f"POST /webhook HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nX-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={signature}\r\n"
        "X-GitHub-Delivery: "
    )
    return head.encode(), body


def cpu_seconds(process: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(port: int, process: int, connections: int, seconds: float) -> Sample:
    """Load one server for some seconds."""
    loop = asyncio.get_running_loop()
    request = push_request(port)
    cpu, start = cpu_seconds(process), time.perf_counter()
    clients = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        _, client = await loop.create_connection(
            lambda done=done: Connection([request], start + seconds, done), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    elapsed = time.perf_counter() - start
    latencies = sorted(value for client in clients for value in client.latencies)
    wrong = {status for client in clients for status in client.statuses} - {b"202"}
    if wrong:
        raise SystemExit(f"unexpected answers: {wrong}")
    return Sample(len(latencies) / elapsed, 1e6 * (cpu_seconds(process) - cpu) / len(latencies), latencies)


async def wait_until_open(port: int) -> None:
    """Until the server takes connections."""
    for _ in range(300):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise SystemExit("the server did not start")


async def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=32)
    arguments = parser.parse_args()
    floor_port, gamma_port = 18931, 18932
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "PATH": os.environ["PATH"],
            "GAMMA_DATA_DIR": folder,
            "GAMMA_PORT": str(gamma_port),
            "GAMMA_GITHUB_WEBHOOK_SECRET": SECRET.decode(),
        }
        gamma = Path(sys.executable).with_name("gamma")
        servers = {
            "bare aiohttp + HMAC": (
                floor_port,
                subprocess.Popen([sys.executable, "-c", FLOOR, str(floor_port)]),
            ),
            "gamma /webhook": (
                gamma_port,
                subprocess.Popen([gamma, "serve"], env=environment, cwd=folder, stdout=subprocess.DEVNULL),
            ),
        }
        samples: dict[str, list[Sample]] = {name: [] for name in servers}
        try:
            for port, process in servers.values():
                await wait_until_open(port)
                await measure(port, process.pid, arguments.connections, 1.0)
            for _ in range(arguments.rounds):
                for name, (port, process) in servers.items():
                    samples[name].append(await measure(port, process.pid, arguments.connections, arguments.seconds))
        finally:
            for _, process in servers.values():
                process.terminate()
                process.wait(30)
    print(f"{'':24}{'answers/s':>12}{'CPU µs each':>14}{'p50 ms':>9}{'p99 ms':>9}")
    rates = {}
    for name, rounds in samples.items():
        latencies = sorted(value for sample in rounds for value in sample.latencies)
        rates[name] = statistics.median(sample.rate for sample in rounds)
        cpu = statistics.median(sample.cpu_microseconds for sample in rounds)
        p50, p99 = (1000 * latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
        print(f"{name:24}{rates[name]:12,.0f}{cpu:14.0f}{p50:9.1f}{p99:9.1f}")
    floor, own = rates.values()
    print(f"\nratio of rates: {own / floor:.2f} (goal: at least 0.45, p99 under 25 ms)")


if __name__ == "__main__":
    asyncio.run(main())
