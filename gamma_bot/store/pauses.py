"""Until when GitHub asked not to be called, by installation: a restart is no reason to call earlier."""

from __future__ import annotations

import time
from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from gamma_bot.store.database import Database
from gamma_bot.store.tables import pauses


class Pauses:
    """The table of pauses. Times are Unix seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def running(self) -> Mapping[int, float]:
        """The pauses that are not over, by installation.

        Raises:
            StoreUnavailable
        """
        query = select(pauses.c.installation_id, pauses.c.until).where(pauses.c.until > time.time())
        return await self._database.read(lambda c: {row.installation_id: row.until for row in c.execute(query)})

    async def keep(self, installation_id: int, until: float) -> None:
        """Remember a pause; those that are over are forgotten.

        Raises:
            StoreUnavailable
        """

        def work(connection: Connection) -> None:
            over = (pauses.c.until <= time.time()) | (pauses.c.installation_id == installation_id)
            connection.execute(delete(pauses).where(over))
            connection.execute(insert(pauses).values(installation_id=installation_id, until=until))

        await self._database.write(work)
