"""What was written about commits: one text for each of their jobs, for each prompt and model."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select

from gamma_bot.store.database import Database
from gamma_bot.store.tables import write_ups


@dataclass(frozen=True)
class WriteUpRow:
    """A write-up as it is kept.

    Attributes:
        job: whose result it tells; another job of the commit may have another result, and has a text of its own.
        model: the one that was asked first.
        at: when it was written (Unix seconds).
        rung: how it came to be, in a word.
        markdown: checked; empty where the deterministic text stays.
        footer: who wrote it and what that took.
        why: why no model wrote it, in a word; empty if one did.
    """

    repository_id: int
    sha: str
    prompt_version: str
    model: str
    job: str
    at: float
    rung: str
    headline: str
    markdown: str
    footer: str
    why: str = ""


class WriteUpTexts:
    """The table of write-ups."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, job: str, prompt_version: str, model: str) -> WriteUpRow | None:
        """The one of a job for this prompt and model."""
        return await self._one(
            select(write_ups).where(
                write_ups.c.job == job, write_ups.c.prompt_version == prompt_version, write_ups.c.model == model
            )
        )

    async def of_job(self, job: str) -> WriteUpRow | None:
        """The newest one that tells the result of a job."""
        return await self._one(select(write_ups).where(write_ups.c.job == job).order_by(write_ups.c.at.desc()).limit(1))

    async def of_commit(self, repository_id: int, sha: str) -> WriteUpRow | None:
        """The newest one with a text of a model about a commit."""
        query = select(write_ups).where(
            write_ups.c.repository_id == repository_id, write_ups.c.sha == sha, write_ups.c.markdown != ""
        )
        return await self._one(query.order_by(write_ups.c.at.desc()).limit(1))

    async def put(self, row: WriteUpRow) -> WriteUpRow:
        """Keep a write-up in the place of an earlier one of the same job, prompt and model; as it is kept."""
        kept = {**vars(row), "at": time.time()}
        same = [write_ups.c[name] == kept[name] for name in ("job", "prompt_version", "model")]

        def work(connection: Connection) -> None:
            connection.execute(delete(write_ups).where(*same))
            connection.execute(insert(write_ups).values(kept))

        await self._database.write(work)
        return WriteUpRow(**kept)

    async def headlines(self, jobs: Collection[str]) -> Mapping[str, str]:
        """The headlines of jobs, by job."""
        query = select(write_ups.c.job, write_ups.c.headline).where(write_ups.c.job.in_(list(jobs)))
        return await self._database.read(lambda c: {job: line for job, line in c.execute(query) if line})

    async def _one(self, query: Select[Any]) -> WriteUpRow | None:
        return await self._database.read(
            lambda c: next((WriteUpRow(**row) for row in c.execute(query).mappings()), None)
        )
