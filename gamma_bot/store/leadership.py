"""Which of several replicas does what only one may do: elections by Postgres' advisory locks.

Each replica keeps one connection of its own, its session. Through it the replica shows that it lives (its beat), takes
the locks of the parts that nobody leads, and hears what others want to be looked at. Postgres gives a lock away when
the session that has it ends: at once when the process dies, after some seconds when it is frozen or cut off.
A replica that finds its session broken ends its parts before that. So a part runs in one place at a time, except for
moments that no lock can exclude; what parts do may happen twice without harm.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import make_url, text

from gamma_bot.store.database import Database, StoreUnavailable

if TYPE_CHECKING:  # on SQLite it is not loaded
    from psycopg import AsyncConnection

# Parts of the time after which a silent replica is taken for dead (15 s): it beats (2 s), Postgres answers in time
# (4 s), its locks are given away (12 s). Before that it has given up by itself: a beat, an answer that does not come,
# and the attempt to take the question back are shorter.
_BEAT, _ANSWER, _SILENCE = 2 / 15, 4 / 15, 12 / 15
_END_SECONDS = 5.0
_CHANNEL = "gamma_wake"
_ELECT = "SELECT name, pg_try_advisory_lock(key) FROM unnest(%s::text[], %s::bigint[]) AS part (name, key)"
_TELL = text("SELECT pg_notify(:channel, name) FROM unnest(CAST(:names AS text[])) AS part (name)")
_SAY_ALIVE = "UPDATE gamma_replicas SET beat_at = extract(epoch FROM clock_timestamp()) WHERE id = %s AND has_left = 0"

log = structlog.get_logger()


class DeclaredDead(Exception):
    """The others took this replica for dead, and its work for theirs."""


@dataclass(frozen=True)
class Part:
    """Something that one replica does at a time.

    Attributes:
        run: does it until cancelled; it can be run again after that.
        wake: tells it that there may be something to do.
    """

    run: Callable[[], Coroutine[Any, Any, None]]
    wake: Callable[[], None] = lambda: None


class Leadership:
    """Runs the parts that this replica was elected for.

    Args:
        url: of the Postgres database that the replicas share.
        replica: the id of this one's row.
        dead_seconds: after what silence a replica is taken for dead.
    """

    def __init__(self, url: str, database: Database, replica: str, *, dead_seconds: float) -> None:
        self.beat_seconds = _BEAT * dead_seconds
        self._answer_seconds = _ANSWER * dead_seconds
        self._silent_seconds = _SILENCE * dead_seconds
        self._conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._database = database
        self._replica = replica
        self._parts: dict[str, Part] = {}
        self._led: dict[str, asyncio.Task[None]] = {}
        self._terms: Counter[str] = Counter()
        self._crashed: set[str] = set()
        self._answered_at: float | None = None
        self._in_touch_since: float | None = None
        self._tell: set[str] = set()
        self._telling: asyncio.Task[None] | None = None

    @property
    def led(self) -> Set[str]:
        """The parts that run here now."""
        return self._led.keys()

    @property
    def crashed(self) -> Set[str]:
        """The parts that ended here by themselves, which none ever should."""
        return self._crashed

    def term(self, part: str) -> int:
        """How often this replica was elected for a part; 0 while it does not lead it."""
        return self._terms[part] if part in self._led else 0

    @property
    def is_in_touch(self) -> bool:
        """Whether the others can still take this replica for alive: what it does now, no one else does."""
        return self._answered_at is not None and time.monotonic() - self._answered_at < self._silent_seconds

    @property
    def in_touch_seconds(self) -> float:
        """For how long the session has lasted without a break."""
        return time.monotonic() - self._in_touch_since if self._in_touch_since is not None else 0.0

    def wake(self, part: str) -> None:
        """There may be something to do for a part, wherever it runs."""
        if part in self._led:
            self._parts[part].wake()
            return
        self._tell.add(part)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_others(), name="Leadership tells")

    async def run(self, parts: Mapping[str, Part]) -> None:
        """Take part in the elections until cancelled.

        Args:
            parts: by name; the same names in all replicas.

        Raises:
            DeclaredDead: this process must not go on.
        """
        import psycopg

        self._parts = dict(parts)
        while True:
            try:
                async with asyncio.timeout(self._answer_seconds):
                    session = await self._open_session()
                try:
                    await self._hold(session)
                finally:
                    # The parts end first: as soon as the session is closed, another replica may run them.
                    await self._step_down()
                    await session.close()
            except (psycopg.Error, OSError, TimeoutError) as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                log.warning("leadership.out_of_touch", error=reason)
            await asyncio.sleep(self.beat_seconds / 2)

    async def check(self) -> None:
        """Try whether there can be a session.

        Raises:
            StoreUnavailable: there can't; it says why.
        """
        import psycopg

        try:
            await (await self._open_session()).close()
        except (psycopg.Error, OSError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise StoreUnavailable(
                f"a session of its own is needed ({reason}): connect to PostgreSQL 14 or newer directly, "
                "or through a pooler that keeps sessions together"
            ) from None

    async def told(self) -> None:
        """Wait until what others are to be told is on its way."""
        if self._telling is not None:
            await asyncio.gather(self._telling, return_exceptions=True)

    async def _open_session(self) -> AsyncConnection:
        from psycopg import AsyncConnection

        answer, silence = int(self._answer_seconds * 1000), int(self._silent_seconds * 1000)
        session = await AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            application_name=f"gamma {self._replica}",
            options=f"-c idle_session_timeout={silence} -c statement_timeout={answer} -c lock_timeout={answer}",
            tcp_user_timeout=answer,
        )
        try:
            await session.execute(f"LISTEN {_CHANNEL}")
        except BaseException:
            await session.close()
            raise
        return session

    async def _hold(self, session: AsyncConnection) -> None:
        self._in_touch_since = time.monotonic()
        for part in self._parts.values():
            part.wake()  # nobody told us anything while there was no session
        while True:
            async with asyncio.timeout(self._answer_seconds):
                await self._beat(session)
                await self._run_for(session)
            async for heard in session.notifies(timeout=self.beat_seconds):
                if heard.payload in self._led:
                    self._parts[heard.payload].wake()

    async def _beat(self, session: AsyncConnection) -> None:
        asked_at = time.monotonic()
        if (await session.execute(_SAY_ALIVE, (self._replica,))).rowcount == 0:
            raise DeclaredDead(f"replica {self._replica} was silent for too long: others go on with its work")
        self._answered_at = asked_at

    async def _run_for(self, session: AsyncConnection) -> None:
        for name in [name for name, task in self._led.items() if task.done()]:
            log.error("leadership.part_ended", part=name, error=_why_ended(self._led.pop(name)))
            self._crashed.add(name)
            await session.execute("SELECT pg_advisory_unlock(%s)", (_key(name),))  # perhaps another can do it
        free = [name for name in self._parts if name not in self._led and name not in self._crashed]
        if not free:
            return
        answers = await (await session.execute(_ELECT, (free, [_key(name) for name in free]))).fetchall()
        for name in (name for name, elected in answers if elected):
            self._terms[name] += 1
            self._led[name] = asyncio.create_task(self._parts[name].run(), name=name)
            log.info("leadership.elected", part=name, replica=self._replica)

    async def _step_down(self) -> None:
        self._in_touch_since = self._answered_at = None
        tasks, self._led = list(self._led.values()), {}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_END_SECONDS)

    async def _tell_others(self) -> None:
        # While one statement is under way more may come; they share the next one.
        while self._tell:
            tell = _TELL.bindparams(channel=_CHANNEL, names=list(self._tell))
            self._tell.clear()
            try:
                await self._database.write(lambda c, tell=tell: c.execute(tell))  # type: ignore[misc]
            except StoreUnavailable as error:
                log.info("leadership.not_told", error=str(error))  # every part looks by itself now and then


def _key(part: str) -> int:
    """The number of a part's lock: the same in every process."""
    return int.from_bytes(hashlib.sha256(f"gamma part {part}".encode()).digest()[:8], "big", signed=True)


def _why_ended(task: asyncio.Task[None]) -> str:
    if task.cancelled():
        return "cancelled"
    error = task.exception()
    return f"{type(error).__name__}: {error}" if error else "it returned"
