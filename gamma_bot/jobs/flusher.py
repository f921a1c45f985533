"""Makes GitHub show what our store says: every surface, repeated until it worked.

An answer that never came may hide a success. So before a create is repeated, the check run is looked up by its
``external_id`` and the comment by its marker; before an update with annotations is repeated, the check run is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

import structlog

from gamma_bot.github import checks, comments, reactions
from gamma_bot.github.errors import GitHubError, Held, NotFound
from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.installation import Installation
from gamma_bot.github.pacer import Ticket, Urgency, Withdrawn
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.surfaces import Surface, Surfaces

_LONGEST_WAIT_SECONDS = 900.0
_PAUSE_SECONDS = 2.0
_DIRTY_PER_SECOND_OF_REST = 1_000
_GIVEN_UP_SECONDS = 24 * 3600.0

log = structlog.get_logger()


@dataclass(eq=False)
class _Flush:
    """A flush that is under way.

    Attributes:
        version: what it sends of its surface; 0 until that is read.
        ticket: with what its writes wait for their turn.
    """

    task: asyncio.Task[None]
    version: int = 0
    ticket: Ticket | None = None


class Flusher:
    """Sends dirty surfaces to GitHub, one call per surface at a time.

    Args:
        look_seconds: how often to look without a wake, where other processes write to the store, too.
    """

    def __init__(self, github: GitHubApp, surfaces: Surfaces, *, look_seconds: float | None = None) -> None:
        self._github = github
        self._surfaces = surfaces
        self._look_seconds = look_seconds
        self._wake = asyncio.Event()
        self._under_way: dict[str, _Flush] = {}
        self._since: dict[str, int] = {}  # since when a surface waits whose older news was withdrawn

    def wake(self) -> None:
        """There may be something new to show."""
        self._wake.set()

    async def run(self) -> None:
        """Flush until cancelled."""
        try:
            while True:
                self._wake.clear()
                dirty = 0
                try:
                    dirty = await self._start_due()
                    due = await self._surfaces.next_due()
                except Exception as error:
                    log.warning("flush.failed_to_look", error=str(error))
                    due = time.time() + _PAUSE_SECONDS
                # When a thousand ends are to be shown, each of them wakes us several times.
                await asyncio.sleep(min(1.0, dirty / _DIRTY_PER_SECOND_OF_REST))
                # What is under way is still dirty and due; its end wakes us.
                wait = None if due is None else max(1.0 if self._under_way else 0.05, due - time.time())
                if self._look_seconds is not None:
                    wait = min(self._look_seconds, wait or self._look_seconds)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
        finally:
            tasks = [flush.task for flush in self._under_way.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start_due(self) -> int:
        dirty = await self._surfaces.dirty(time.time())
        for key, desired in dirty:
            under_way = self._under_way.get(key)
            if under_way is None:
                task = asyncio.create_task(self._flush(key), name=f"flush {key}")
                self._under_way[key] = _Flush(task)
                task.add_done_callback(lambda _, key=key: self._finished(key))  # type: ignore[misc]
            elif under_way.ticket is not None and desired > under_way.version:
                under_way.ticket.withdraw()  # old news, unless it is being sent already; its end starts the newer one
        return len(dirty)

    def _finished(self, key: str) -> None:
        del self._under_way[key]
        self._wake.set()

    async def _flush(self, key: str) -> None:
        try:
            # Read now: what the list of dirty ones said can be older than a flush that has just ended.
            surface = await self._surfaces.get(key)
            if surface is not None and surface.desired > surface.flushed:
                flush = self._under_way[key]
                flush.version = surface.desired
                flush.ticket = Ticket(Urgency(surface.urgency), since=self._since.pop(key, None))
                await self._flush_now(surface, flush.ticket)
        except StoreUnavailable as error:
            log.warning("flush.store_unavailable", error=str(error), surface=key)
            await asyncio.sleep(_PAUSE_SECONDS)
        except Exception as error:
            # The pause keeps it under way, so that it is not started again at once and for ever.
            log.exception("flush.crashed", surface=key)
            await asyncio.sleep(_PAUSE_SECONDS)
            await self._again_later(key, f"{type(error).__name__}: {error}")

    async def _again_later(self, key: str, error: str) -> None:
        try:
            surface = await self._surfaces.get(key)
            if surface is not None:
                await self._surfaces.failed(surface, error, time.time() + _wait_seconds(surface))
        except StoreUnavailable:
            return  # it stays dirty and due

    async def _flush_now(self, surface: Surface, ticket: Ticket) -> None:
        installation = self._github.installation(surface.installation_id).writing_with(ticket)
        try:
            github_id = await self._show(installation, surface)
            await self._surfaces.flushed(surface, github_id)
        except Withdrawn:
            await self._surfaces.not_tried(surface)
            if ticket.since is not None:  # newer news must not send it to the end of the line again and again
                self._since[surface.key] = ticket.since
        except GitHubError as error:
            if isinstance(error, Held) and not ticket.begun:
                await self._surfaces.not_tried(surface)
            await self._failed(surface, error)

    async def _failed(self, surface: Surface, error: GitHubError) -> None:
        wait = error.retry_after_seconds or _wait_seconds(surface)
        if isinstance(error, NotFound) and error.route.startswith("PATCH "):
            await self._surfaces.lost(surface)
        elif error.unclear:
            wait = max(wait, 2.0)  # what GitHub may have done must be there when it is looked up
        elif not error.passes_by_itself and surface.failures >= 4:
            # Removed, forbidden or refused: it will hardly change, and must not take the writes of what can be shown.
            wait = 60.0 if surface.failures < 10 else _GIVEN_UP_SECONDS
        tell = log.info if isinstance(error, Held) else log.warning
        tell("flush.failed", surface=surface.key, job=surface.job, error=str(error), retry_seconds=round(wait, 1))
        # A limit says nothing of this surface: it must not make its next real failure wait the longer.
        limited = error.retry_after_seconds is not None
        await self._surfaces.failed(surface, str(error), time.time() + wait, counts=not limited)

    async def _show(self, installation: Installation, surface: Surface) -> int | None:
        match surface.kind:
            case "check":
                return await self._show_check(installation, surface)
            case "reaction":
                await self._surfaces.trying(surface)
                return await reactions.put(
                    installation,
                    surface.repository,
                    str(surface.body["place"]),
                    str(surface.body["content"]),
                    surface.github_id,
                    unsure=surface.tried > surface.flushed,
                )
            case _:
                return await self._show_comment(installation, surface)

    async def _show_check(self, installation: Installation, surface: Surface) -> int:
        """Bring a check run to GitHub; its id there."""
        found = surface.github_id
        if found is None and surface.tried:
            found = await checks.find(installation, surface.repository, surface.body)
        if found is None:
            await self._surfaces.trying(surface)
            return await checks.create(installation, surface.repository, surface.body)
        if found != surface.github_id:
            await self._surfaces.adopted(surface, found)
        body, again = surface.body, surface.tried == surface.desired
        if again or checks.annotations_of(body):
            seen = await checks.read(installation, surface.repository, found)
            if again and checks.shows(seen, body):
                return found
            body = checks.without_known_annotations(body, seen)
        await self._surfaces.trying(surface)
        await checks.update(installation, surface.repository, found, body)
        return found

    async def _show_comment(self, installation: Installation, surface: Surface) -> int:
        """Bring a comment to GitHub; its id there."""
        number, body = int(surface.subject), str(surface.body["body"])
        marker = body.partition("\n")[0]  # the first line of everything we write in a conversation
        found = surface.github_id
        if found is None:
            found = await comments.find(installation, surface.repository, number, marker)
            if found is not None:
                await self._surfaces.adopted(surface, found)
        if found is None:
            return await comments.create(installation, surface.repository, number, body)
        await comments.edit(installation, surface.repository, found, body)
        return found


def _wait_seconds(surface: Surface) -> float:
    return min(_LONGEST_WAIT_SECONDS, 0.5 * 2.0 ** min(surface.failures, 12))
