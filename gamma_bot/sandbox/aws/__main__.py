"""`python -m gamma_bot.sandbox.aws`: an AWS on this machine that lives as long as whoever started it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path


def main() -> None:
    """Serve until the standard input is closed, or SIGTERM or SIGINT comes."""
    parser = argparse.ArgumentParser(prog="python -m gamma_bot.sandbox.aws", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--folder", type=Path, help="where jobs run; a temporary folder if left out")
    parser.add_argument("--stay", action="store_true", help="do not end when the standard input is closed")
    asked = parser.parse_args()
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with tempfile.TemporaryDirectory(prefix="aws-", ignore_cleanup_errors=True) as temporary:
        from gamma_bot.sandbox.aws.server import AwsServer

        with AwsServer(asked.folder or Path(temporary), asked.port) as server:
            print(json.dumps({"url": server.url}), flush=True)  # noqa: T201
            if not asked.stay:
                threading.Thread(target=_wait_for_the_parent, args=(over,), daemon=True).start()
            over.wait()
    sys.stdout.flush()
    os._exit(0)  # Connections that clients keep open have threads that would be waited for.


def _wait_for_the_parent(over: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    over.set()


if __name__ == "__main__":
    main()
