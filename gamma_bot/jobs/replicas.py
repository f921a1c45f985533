"""A replica that died leaves workflows behind: a living one goes on with them.

Nothing of a workflow is lost by that, and nothing is told twice: its steps are recorded, and what a step does outside
may happen twice. A replica that was only frozen finds that its outcomes are not taken any more, and ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from gamma_bot.jobs.engine import Engine
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.replicas import Replica, Replicas

# After a fault of the database all beats are old, but for the one of who looks first: the others get time to beat.
_GRACE = 2 / 3
_STRAYS_SECONDS = 60.0

log = structlog.get_logger()


class TakeOver:
    """Looks for the dead; one replica at a time does.

    Args:
        own: the id of this replica.
        in_touch_seconds: for how long this replica has been in touch with the database without a break.
        has_died: whether a replica is known to be gone although its last beat is young.
    """

    def __init__(
        self,
        replicas: Replicas,
        engine: Engine,
        *,
        own: str,
        in_touch_seconds: Callable[[], float],
        has_died: Callable[[Replica], bool],
        look_seconds: float,
    ) -> None:
        self._replicas = replicas
        self._engine = engine
        self._own = own
        self._in_touch_seconds = in_touch_seconds
        self._has_died = has_died
        self._look_seconds = look_seconds

    async def run(self) -> None:
        """Look until cancelled."""
        strays_at = 0.0
        while True:
            try:
                await self.take_over_from_dead()
                if time.monotonic() >= strays_at:
                    await self.take_over_strays()
                    strays_at = time.monotonic() + _STRAYS_SECONDS
            except StoreUnavailable as error:
                log.warning("take_over.store_unavailable", error=str(error))
            except Exception:
                log.exception("take_over.failed")
            await asyncio.sleep(self._look_seconds)

    async def take_over_from_dead(self) -> None:
        """Go on with what the dead began."""
        for dead in [one for one in await self._replicas.all() if one.id != self._own and self._is_dead(one)]:
            await self._replicas.leave(dead.id)  # from here on it can't beat any more, should it live after all
            count = await self._engine.take_over({dead.id})
            await self._replicas.forget({dead.id})
            log.warning(
                "replica.taken_over",
                replica=dead.id,
                host=dead.host,
                workflows=count,
                left=dead.has_left,
                silent_seconds=round(dead.silent_seconds, 1),
            )

    async def take_over_strays(self) -> None:
        """Go on with what belongs to nobody: begun by one in the moment in which it was taken for dead, or before
        there were several."""
        working = await self._engine.executors()
        strays = working - {one.id for one in await self._replicas.all()}
        if strays:
            count = await self._engine.take_over(strays)
            log.warning("replica.strays_taken_over", executors=sorted(strays), workflows=count)

    def _is_dead(self, one: Replica) -> bool:
        if one.has_left or self._has_died(one):
            return True
        return self._replicas.is_silent(one) and self._in_touch_seconds() >= _GRACE * self._replicas.dead_seconds
