"""How much a model may cost, and the books of what it did cost.

Every attempt passes here twice: before it is made, when the most that it can cost is reserved, and after it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from gamma_bot.agent.models import Model, Usage
from gamma_bot.store.ledger import AgentLedger, AgentSpent, NewAttempt, Refused

WARN_AT = 0.8


@dataclass(frozen=True)
class Caps:
    """US dollars: the most that one write-up, one answer, and all of a repository's in a month (UTC) may cost."""

    write_up: float = 0.25
    ask: float = 0.40
    month: float = 20.0


@dataclass(frozen=True)
class Charge:
    """On whose account a call is made.

    Attributes:
        kind: ``write_up``, ``ask`` or ``chat``.
        task: names the one write-up or answer; all calls for it share its cap.
    """

    repository_id: int
    job: str
    kind: str
    task: str


@dataclass(frozen=True)
class OverTheCap:
    """Why a call may not be made: ``what`` (``task`` or ``month``) would come to more than ``cap`` US dollars.

    Attributes:
        first: nobody was refused in this repository since the month began.
    """

    what: str
    cap: float
    first: bool = False


class Ledger:
    """Reserves and settles.

    Attributes:
        caps: what may be spent.
    """

    def __init__(self, store: AgentLedger, caps: Caps | None = None) -> None:
        self._store = store
        self.caps = caps or Caps()

    async def reserve(self, charge: Charge, model: Model, prompt_tokens: int, output_tokens: int) -> str | OverTheCap:
        """Open an attempt, or say why it may not be made.

        Raises:
            StoreUnavailable
        """
        now = time.time()
        most = model.most_usd(prompt_tokens, output_tokens, now)
        task_cap = self.caps.write_up if charge.kind == "write_up" else self.caps.ask

        def refuses(spent: AgentSpent) -> OverTheCap | None:
            if spent.task + most > task_cap:
                return OverTheCap("task", task_cap)
            if spent.month + most > self.caps.month:
                return OverTheCap("month", self.caps.month)
            return None

        attempt = NewAttempt(charge.repository_id, charge.job, charge.kind, charge.task, model.name, most)
        opened = await self._store.reserve(attempt, month_began(now), refuses)
        if isinstance(opened, Refused):
            return OverTheCap(opened.why.what, opened.why.cap, opened.first)
        return opened

    async def settle(
        self,
        attempt: str,
        model: Model,
        usage: Usage,
        stop_reason: str,
        request_id: str = "",
        *,
        estimated: bool = False,
    ) -> float:
        """Record what an attempt came to; its cost in US dollars.

        Args:
            stop_reason: the model's own, or ours for an attempt that ended without one (``http 529``, ``cut``).
            estimated: the tokens are our guess, since nobody said how many they were.

        Raises:
            StoreUnavailable
        """
        usd = model.usd(usage, time.time())
        await self._store.settle(
            attempt,
            usd=usd,
            stop_reason=stop_reason[:60],
            request_id=request_id[:100],
            estimated=int(estimated),
            **vars(usage),
        )
        return usd

    async def spent_on(self, task: str, since: float) -> tuple[Usage, float]:
        """What all attempts for a task came to since a moment (Unix seconds): tokens and US dollars."""
        rows = [row for row in await self._store.of_task(task) if row.at >= since]
        usage = Usage()
        for row in rows:
            usage += Usage(**{name: getattr(row, name) for name in Usage.__dataclass_fields__})
        return usage, sum(row.usd for row in rows)

    async def month_share(self, repository_id: int) -> float:
        """Which share of the month's cap a repository has used up."""
        return await self.month_usd(repository_id) / self.caps.month if self.caps.month else 1.0

    async def month_usd(self, repository_id: int) -> float:
        """What models have cost a repository since the month began, with what is reserved now."""
        return (await self._store.spent(repository_id, "", month_began(time.time()))).month


def month_began(now: float) -> float:
    """When the calendar month of a moment began, in UTC."""
    moment = datetime.fromtimestamp(now, UTC)
    return datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()
