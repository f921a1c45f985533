"""The replicas that share this database: who they are, where they run, and whether they live.

Whether one lives is told by its beat alone, by the database's own clock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, delete, insert, literal_column, select, update

from gamma_bot.store.database import Database
from gamma_bot.store.tables import replicas

DEAD_SECONDS = 15.0
_NOW: ColumnElement[float] = literal_column("extract(epoch FROM clock_timestamp())")


@dataclass(frozen=True)
class Replica:
    """One process of ``gamma serve``.

    Attributes:
        id: of this start of it; another start is another replica.
        host: the name of its machine or container, for people.
        data_dir: its data directory, for people.
        place: the same for two replicas if they share the data directory and see each other's processes.
        embeds: what of it lives in the data directory (``local``, ``mlflow``), with commas between; mostly nothing.
        started_at: Unix seconds, by the database's clock.
        silent_seconds: the age of its last beat.
        has_left: it said goodbye.
    """

    id: str
    host: str
    data_dir: str
    place: str
    embeds: str
    started_at: float = 0.0
    silent_seconds: float = 0.0
    has_left: bool = False


class Replicas:
    """The table of replicas; on Postgres only.

    Args:
        dead_seconds: after how long a silence a replica is taken for dead.
    """

    def __init__(self, database: Database, *, dead_seconds: float = DEAD_SECONDS) -> None:
        self._database = database
        self.dead_seconds = dead_seconds

    async def join(self, replica: Replica) -> None:
        """Record a replica that starts now.

        Raises:
            StoreUnavailable
        """
        row = {name: getattr(replica, name) for name in ("id", "host", "data_dir", "place", "embeds")}
        values = insert(replicas).values(**row, started_at=_NOW, beat_at=_NOW, has_left=0)
        await self._database.write(lambda c: c.execute(values))

    async def leave(self, replica: str) -> None:
        """Record that a replica does nothing more: others need not wait to go on with what it began.

        Raises:
            StoreUnavailable
        """
        change = update(replicas).where(replicas.c.id == replica).values(has_left=1)
        await self._database.write(lambda c: c.execute(change))

    async def all(self) -> Sequence[Replica]:
        """Every replica that is known, dead ones until their work is taken over; the oldest first.

        Raises:
            StoreUnavailable
        """
        return await self._database.read(lambda c: [_replica(row) for row in c.execute(_rows()).mappings()])

    async def alive(self) -> Sequence[Replica]:
        """Those that show that they live; the oldest first.

        Raises:
            StoreUnavailable
        """
        return [one for one in await self.all() if not self.is_silent(one)]

    def is_silent(self, replica: Replica) -> bool:
        """Whether nothing was heard of a replica for so long that it counts as dead."""
        return replica.has_left or replica.silent_seconds > self.dead_seconds

    async def forget(self, dead: Collection[str]) -> None:
        """Remove replicas; one that lives after all finds itself gone, and ends.

        Raises:
            StoreUnavailable
        """
        await self._database.write(lambda c: c.execute(delete(replicas).where(replicas.c.id.in_(dead))))


def _rows() -> Select[tuple[object, ...]]:
    return select(*replicas.c, (_NOW - replicas.c.beat_at).label("silent_seconds")).order_by(
        replicas.c.started_at, replicas.c.id
    )


def _replica(row: object) -> Replica:
    values = {name: row[name] for name in Replica.__dataclass_fields__}  # type: ignore[index]
    values["has_left"] = bool(values["has_left"])
    return Replica(**{**values, "silent_seconds": float(values["silent_seconds"])})
