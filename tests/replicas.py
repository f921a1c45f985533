"""Several bot processes on one Postgres, for stories about what becomes of the work when one of them goes away."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import aiohttp
from sqlalchemy import make_url

from tests.bot_forks import ForkedBot
from tests.harness import Gamma


class Replica:
    """A ``gamma serve`` of its own: its data directory, its log, its port."""

    def __init__(self, gamma: Gamma, name: str, process: ForkedBot, port_file: Path) -> None:
        self._gamma = gamma
        self.name = name
        self.process = process
        self._port_file = port_file
        self.log = gamma.folder / f"{name}.log"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port_file.read_text()}"

    @property
    def exit_code(self) -> int | None:
        """How it ended; ``None`` if it was killed."""
        path = self._port_file.with_suffix(".exit")
        return int(path.read_text()) if path.exists() else None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self) -> None:
        """Wait until it is gone."""
        await asyncio.wait_for(self.process.wait(), 30)

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}{path}") as response:
            return response.status, await response.text()

    async def leads(self) -> set[str]:
        """The parts that run there."""
        _, text = await self.get("/metrics")
        found = [line for line in text.splitlines() if line.startswith("gamma_leads{") and line.endswith(" 1")]
        return {line.split('"')[1] for line in found}

    async def ready(self) -> None:
        """Wait until it takes webhooks."""

        def listens() -> bool | None:
            assert self.process.returncode is None or self._port_file.exists(), self.log.read_text()[-4000:]
            return True if self._port_file.exists() else None

        await self._gamma.eventually(listens, f"replica {self.name} to be ready")


class Line:
    """The way to a Postgres, which can be cut."""

    def __init__(self, url: str) -> None:
        self._to = make_url(url)
        self._server: asyncio.Server | None = None
        self._ends: list[asyncio.StreamWriter] = []
        self._port = 0

    @property
    def url(self) -> str:
        """The same database, by this way."""
        return self._to.set(host="127.0.0.1", port=self._port).render_as_string(hide_password=False)

    async def mend(self) -> None:
        """Let everything through."""
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End every connection, and let no new one through."""
        assert self._server is not None
        self._server.close()
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._to.host, self._to.port)
        self._ends += [writer, there[1]]
        await asyncio.gather(_pass_on(reader, there[1]), _pass_on(there[0], writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def start_replica(gamma: Gamma, name: str, *, data_dir: Path | None = None, **environment: str) -> Replica:
    """Start a replica and wait until it is ready."""
    assert gamma.forks is not None
    port_file = gamma.folder / f"{name}.port"
    environment = {
        **gamma.environment(),
        "GAMMA_DATA_DIR": str(data_dir or gamma.folder / f"data-{name}"),
        "GAMMA_DRAIN_SECONDS": "1",
        **environment,
    }
    replica = Replica(
        gamma, name, gamma.forks.start([str(port_file)], environment, gamma.folder / f"{name}.log"), port_file
    )
    await replica.ready()
    return replica
