"""This process as one of several replicas on a Postgres: it joins, takes part in elections, and leaves."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import uuid
from collections.abc import Collection, Mapping, Sequence

import structlog

from gamma_bot.data_directory import DataDirectory
from gamma_bot.jobs.engine import Engine
from gamma_bot.jobs.replicas import TakeOver
from gamma_bot.metrics import Metric, by, only
from gamma_bot.settings import Settings, WrongSettings
from gamma_bot.store.database import Database, StoreUnavailable
from gamma_bot.store.leadership import DeclaredDead, Leadership, Part
from gamma_bot.store.replicas import Replica, Replicas

_LOOK_SECONDS = 1.0
_LEAVE_SECONDS = 5.0
_HOW_TO_PART = {
    "local": "GAMMA_EXECUTOR=sagemaker or GAMMA_EXECUTOR=actions",
    "mlflow": "GAMMA_MLFLOW_TRACKING_URI to an MLflow server",
}

log = structlog.get_logger()


class Membership:
    """One start of ``gamma serve`` among the others.

    Attributes:
        id: another one for each start, so that what a dead process began is told from what a living one does.
        leadership: which parts run here.
        lost: the others took this process for dead. It must end.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        data_directory: DataDirectory,
        replica: str,
        *,
        dead_seconds: float,
    ) -> None:
        self.id = replica
        self.replicas = Replicas(database, dead_seconds=dead_seconds)
        self.leadership = Leadership(settings.store_url, database, replica, dead_seconds=dead_seconds)
        self.data_directory = data_directory
        self.lost = asyncio.Event()
        self._has_joined = False
        self._settings = settings

    async def join(self, embeds: Collection[str]) -> None:
        """Become one of the replicas.

        Args:
            embeds: what works in the data directory alone: ``local``, ``mlflow``.

        Raises:
            StoreUnavailable
            WrongSettings: another replica lives elsewhere, and one of them embeds something.
        """
        await self.leadership.check()
        place = self.data_directory.place()
        own = Replica(self.id, socket.gethostname(), str(self._settings.data_dir), place, ",".join(sorted(embeds)))
        await self.replicas.join(own)
        self._has_joined = True
        # One that has just been ended, and was started anew elsewhere, looks alive for a while.
        deadline = time.monotonic() + self.replicas.dead_seconds + _LOOK_SECONDS
        while (other := await self._at_odds_with(own)) is not None:
            if time.monotonic() > deadline:
                raise WrongSettings(_why_at_odds(own, other))
            await asyncio.sleep(_LOOK_SECONDS)

    async def leave(self) -> None:
        """Tell the others that this process does nothing more. Without the database they find out by themselves."""
        if not self._has_joined:
            return
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self.replicas.leave(self.id)

    async def take_part(self, parts: Mapping[str, Part]) -> None:
        """Run those parts that this replica is elected for, until cancelled or taken for dead."""
        try:
            await self.leadership.run(parts)
        except DeclaredDead as error:
            log.error("replica.declared_dead", replica=self.id, error=str(error))
            self.lost.set()
            await asyncio.Future()  # no part runs here any more; whoever started this process ends it

    def take_over(self, engine: Engine) -> TakeOver:
        """The part that goes on with what dead replicas began."""
        return TakeOver(
            self.replicas,
            engine,
            own=self.id,
            in_touch_seconds=lambda: self.leadership.in_touch_seconds,
            has_died=self.has_died,
            look_seconds=self.leadership.beat_seconds,
        )

    async def metrics(self, parts: Collection[str]) -> Sequence[Metric]:
        """How many there are, and which parts run here."""
        alive = len(await self.replicas.alive())
        led = by("part", {name: int(name in self.leadership.led) for name in parts})
        return (
            Metric("gamma_replicas", "gauge", "Replicas that are alive on this database.", only(alive)),
            Metric("gamma_leads", "gauge", "Parts that one replica runs at a time: 1 for those here.", led),
        )

    def has_died(self, replica: Replica) -> bool:
        """Whether another one is gone although its last beat is young."""
        return replica.place == self.data_directory.place() and self.data_directory.has_died(replica.id)

    async def _at_odds_with(self, own: Replica) -> Replica | None:
        """A living one that was there before, which shares too little with this one."""
        for other in await self.replicas.alive():
            if other.id == own.id:
                return None
            if other.place != own.place and (own.embeds or other.embeds) and not self.has_died(other):
                return other
        return None


def new_replica_id() -> str:
    """The id of a start of ``gamma serve``."""
    return f"gamma-{uuid.uuid4().hex[:12]}"


def _why_at_odds(own: Replica, other: Replica) -> str:
    embedded = sorted({*own.embeds.split(","), *other.embeds.split(",")} - {""})
    what = {"local": "jobs run on this machine", "mlflow": "MLflow is a file in the data directory"}
    return (
        f"another replica of Gamma works on this database, on {other.host} in {other.data_dir}, and "
        f"{' and '.join(what[each] for each in embedded)}: replicas on several machines can't share that. "
        f"Set {' and '.join(_HOW_TO_PART[each] for each in embedded)} in all of them, or stop the other one"
    )
