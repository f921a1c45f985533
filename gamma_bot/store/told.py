"""What a project is told once: which comment tells it. That comment goes on telling it, and no other one does."""

from __future__ import annotations

import time

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from gamma_bot.store.database import Database
from gamma_bot.store.tables import told


class Told:
    """The table of what was told."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tells(self, repository_id: int, what: str, place: str) -> bool:
        """Whether this place is the one that tells it; the first one that asks becomes it.

        Args:
            what: that no model is configured, say.
            place: the key of a comment.
        """
        of = (told.c.repository_id == repository_id, told.c.what == what)
        query = select(told.c.place).where(*of)

        def work(connection: Connection) -> str:
            dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
            row = {"repository_id": repository_id, "what": what, "place": place, "at": time.time()}
            connection.execute(dialect.insert(told).values(row).on_conflict_do_nothing())
            return str(connection.execute(query).scalar_one())

        known = await self._database.read(lambda c: c.execute(query).scalar())
        return place == (known if known is not None else await self._database.write(work))
