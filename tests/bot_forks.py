"""Bot processes by fork: a process that has only imported the bot makes them, which spares each start a second.

    python -m tests.bot_forks

reads one line of JSON per bot from its input and answers with the process id. Nothing runs in it but that, so a bot
finds itself as in a fresh process: no thread, no connection, an environment and a log of its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class ForkedBot:
    """A bot that is not our child, with as much of a subprocess's manners as the harness needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        try:
            self._handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self.returncode = -1
            return
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._handle, self._end)

    def send_signal(self, number: int) -> None:
        """Send a signal, if the bot is alive."""
        if self.returncode is None:
            signal.pidfd_send_signal(self._handle, number)

    async def wait(self) -> int:
        """Wait for its end. How it ended is known to its parent only."""
        if self.returncode is None:
            await self._ended.wait()
        return -1

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        self.returncode = -1
        self._ended.set()


class BotForks:
    """Makes bots; the process that they are forked from is started with the first one."""

    def __init__(self, code: Path) -> None:
        self._code = code
        self._parent: subprocess.Popen[str] | None = None

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> ForkedBot:
        """Start a bot as ``python -m tests.bot_process`` would."""
        if self._parent is None:
            self._parent = subprocess.Popen(
                [sys.executable, "-m", "tests.bot_forks"],
                cwd=self._code,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        order = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
        self._parent.stdin.write(json.dumps(order) + "\n")
        self._parent.stdin.flush()
        return ForkedBot(int(self._parent.stdout.readline()))

    def close(self) -> None:
        """End the process that bots are forked from; bots live on."""
        if self._parent is not None:
            self._parent.communicate(timeout=20)


def serve() -> None:
    """Fork a bot per line until the input ends."""
    import cryptography.hazmat.primitives.serialization  # noqa: F401 -- what the bot would import, too
    import dbos._sys_db_postgres  # noqa: F401
    import jwt  # noqa: F401
    import psycopg  # noqa: F401

    from tests import bot_process

    gc.collect()
    gc.freeze()  # no bot needs to look through all that again
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the bots, and they are to leave no zombies
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become_bot(json.loads(line))
            try:
                asyncio.run(bot_process.main())
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stderr.flush()
                os._exit(1)
        print(pid, flush=True)


def _become_bot(order: Mapping[str, object]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    sys.argv[1:] = order["arguments"]  # type: ignore[misc]
    log = os.open(str(order["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)


if __name__ == "__main__":
    serve()
