"""Finds the deliveries that never arrived, and asks GitHub to send them again.

GitHub repeats nothing by itself: what it could not deliver (Gamma was down, or too slow, or a channel lost it) stays in
its list for three days. A delivery that is sent again has the GUID of the first time, so the inbox takes it once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import structlog

from gamma_bot.events.dispatch import EVENTS
from gamma_bot.github.deliveries import SentDelivery, send_again, sent_deliveries
from gamma_bot.github.errors import GitHubError
from gamma_bot.github.gateway import GitHubApp
from gamma_bot.metrics import Metric, by, only
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.inbox import Inbox

_EVERY_SECONDS = 3600.0
_SOON_SECONDS = 90.0
_KEPT_SECONDS = 3 * 24 * 3600.0
# A delivery this young may still be under way.
_UNDECIDED_SECONDS = 60.0
_ASKED_AGAIN_SECONDS = 1800.0
# Later rounds read the list back to the last one, and somewhat further: clocks differ, attempts take their time.
_OVERLAP_SECONDS = 900.0
_MOST_PAGES = 300
_MOST_ASKED = 300
# GitHub sends these to every App with checks for each check run and each push; they tell Gamma nothing.
_EMPTY = {(event, action) for event in ("check_run", "check_suite") for action in ("created", "requested", "completed")}

log = structlog.get_logger()


@dataclass
class _Missed:
    """A GUID that is not in the inbox, with the attempts to deliver it that GitHub lists."""

    attempts: list[SentDelivery] = field(default_factory=list)

    @property
    def first(self) -> SentDelivery:
        # GitHub tells whole seconds; its ids grow.
        return min(self.attempts, key=lambda attempt: (attempt.sent_at, attempt.id))

    @property
    def last_sent_at(self) -> float:
        return max(attempt.sent_at for attempt in self.attempts)

    @property
    def answered(self) -> bool:
        return any(attempt.answered for attempt in self.attempts)


class CatchUp:
    """Compares GitHub's list of deliveries with the inbox, at the start and every hour.

    Args:
        reconcile: called after each comparison with the repositories whose missed deliveries may still come.
        relayed: webhooks come through a channel, whose answer to GitHub does not say that they arrived here.
        pause_seconds: how long to wait between two requests to send again.
    """

    def __init__(
        self,
        github: GitHubApp,
        inbox: Inbox,
        *,
        reconcile: Callable[[Set[int]], Awaitable[None]],
        relayed: bool,
        pause_seconds: float = 1.0,
    ) -> None:
        self._github = github
        self._inbox = inbox
        self._reconcile = reconcile
        self._relayed = relayed
        self._pause = pause_seconds
        self._read_until = 0.0
        self._asked: dict[str, float] = {}
        self._counts = {"asked": 0, "refused": 0, "missing": 0}

    @property
    def metrics(self) -> Sequence[Metric]:
        """For ``/metrics``: what was asked for since the start, and what the last look found missing."""
        asked = by("result", {result: self._counts[result] for result in ("asked", "refused")})
        missing = only(self._counts["missing"])
        return (
            Metric("gamma_redeliveries_total", "counter", "Webhooks that GitHub was asked to send again.", asked),
            Metric("gamma_deliveries_missing", "gauge", "Webhooks that the last look found missing.", missing),
        )

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            wait = _EVERY_SECONDS
            try:
                if await self.look():
                    wait = _SOON_SECONDS
            except GitHubError as error:
                log.warning("catch_up.failed", error=str(error))
                if error.passes_by_itself:
                    wait = max(_SOON_SECONDS, error.retry_after_seconds or 0.0)
            except StoreUnavailable as error:
                log.warning("catch_up.store_unavailable", error=str(error))
                wait = _SOON_SECONDS
            except Exception:
                log.exception("catch_up.crashed")
            await asyncio.sleep(wait)

    async def look(self, *, now: float | None = None) -> bool:
        """One round; true if it had to leave something for one that should follow soon.

        Args:
            now: the moment (Unix seconds) that the age of deliveries is counted from.

        Raises:
            GitHubError: the list can't be read, or GitHub takes no more requests for now.
            StoreUnavailable
        """
        now = time.time() if now is None else now
        missed = await self._missed(now)
        self._counts["missing"] = len(missed)
        # The ones that were tried least come first: what is refused each time must not hold up the others.
        due = sorted(
            (guid for guid, one in missed.items() if self._is_due(guid, one, now)),
            key=lambda guid: (len(missed[guid].attempts), missed[guid].first.sent_at, missed[guid].first.id),
        )
        await self._ask(missed, due[:_MOST_ASKED], now)
        young = any(now - one.last_sent_at < _UNDECIDED_SECONDS for one in missed.values())
        left = young or len(due) > _MOST_ASKED
        if not left:
            self._read_until = now
        await self._reconcile({attempt.repository_id for one in missed.values() for attempt in one.attempts})
        return left

    async def _missed(self, now: float) -> dict[str, _Missed]:
        oldest = max(now - _KEPT_SECONDS, self._read_until - _OVERLAP_SECONDS)
        began_at = await self._inbox.began_at()
        missed: dict[str, _Missed] = {}
        cursor: str | None = None
        for page in range(1, _MOST_PAGES + 1):
            sent, cursor = await sent_deliveries(self._github, cursor)
            own = [one for one in sent if one.event in EVENTS and (one.event, one.action) not in _EMPTY]
            known = await self._inbox.known([one.guid for one in own])
            for one in own:
                if one.guid not in known and one.sent_at >= oldest:
                    missed.setdefault(one.guid, _Missed()).attempts.append(one)
            if cursor is None or (sent and sent[-1].sent_at < oldest):
                break
            if page == _MOST_PAGES:
                log.warning("catch_up.list_too_long", pages=page)
        if not self._relayed:
            # Answered before there was this store: by an earlier one. Training all of that again is nobody's wish.
            before = began_at - _UNDECIDED_SECONDS  # clocks differ, and GitHub's tells whole seconds
            missed = {guid: one for guid, one in missed.items() if not (one.answered and one.last_sent_at < before)}
        return missed

    def _is_due(self, guid: str, one: _Missed, now: float) -> bool:
        was_asked_at = self._asked.get(guid, 0.0)
        return now - one.last_sent_at >= _UNDECIDED_SECONDS and now - was_asked_at >= _ASKED_AGAIN_SECONDS

    async def _ask(self, missed: Mapping[str, _Missed], due: Sequence[str], now: float) -> None:
        self._asked = {guid: at for guid, at in self._asked.items() if guid in missed}
        for number, guid in enumerate(due):
            if number:
                await asyncio.sleep(self._pause)
            attempts = missed[guid].attempts
            self._asked[guid] = now
            try:
                await send_again(self._github, attempts[0].id)
            except GitHubError as error:
                if error.passes_by_itself:
                    raise
                log.warning("catch_up.refused", delivery=guid, event_name=attempts[0].event, error=str(error))
                self._counts["refused"] += 1
            else:
                self._counts["asked"] += 1
                log.info("catch_up.asked", delivery=guid, event_name=attempts[0].event, attempts=len(attempts))
