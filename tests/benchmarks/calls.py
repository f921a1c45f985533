"""How many calls to GitHub a job makes: a push with a pull request, from the delivery to the last word in its comment.

The job runs against the sandbox GitHub, whose record of requests is what is counted. The token is there, the
configuration on the default branch has been read before, and there is no progress to show. Calls that GitHub answers
with 304 cost nothing of its limits.

    python tests/benchmarks/calls.py
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path

import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.calls_of_a_job import GOAL, calls_of_a_job, counted, named


def private_key() -> str:
    """A key for the App."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def main() -> None:
    """Measure and print."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with tempfile.TemporaryDirectory() as folder:
        calls = asyncio.run(calls_of_a_job(Path(folder), private_key()))
    unchanged = Counter(named(call) for call in calls if call.status == 304)
    print(f"{'calls to GitHub per job':44}{'times':>6}{'of them 304':>13}")
    for name, times in Counter(map(named, calls)).items():
        print(f"  {name:42}{times:6}{unchanged[name] or '':>13}")
    count = len(counted(calls))
    print(f"\n  {len(calls)} calls, {count} that GitHub counts")
    print(f"\ngoal: at most {GOAL} that GitHub counts {'kept' if count <= GOAL else 'MISSED'}")


if __name__ == "__main__":
    main()
