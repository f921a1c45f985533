"""Stored deliveries get their effect: each is understood, handed on, and marked, in this order.

A crash between handing on and marking repeats the delivery. That is harmless: a job's workflow id comes from the
GUID, and everything else only records what GitHub says (I2).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, assert_never

import structlog

from gamma_bot.commands.buttons import Press
from gamma_bot.commands.conversation import Remark
from gamma_bot.events import check, comment, installation, pull_request, push, workflow
from gamma_bot.events.intents import Ignored, Intent, PressButton, PullRequestSeen, RunCommands, RunMoved, TrainPush
from gamma_bot.events.payload import PayloadError
from gamma_bot.jobs.installations import InstallationNews, News, PermissionsGranted, ProjectNews
from gamma_bot.jobs.push import Push
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.inbox import DeliveryRecord, Inbox
from gamma_bot.store.projects import Place, Project, ProjectState
from gamma_bot.store.pulls import PullRecord

# How long what could not be handed on waits until it is tried again; after the last of them it is parked.
_WAITS_SECONDS = (2.0, 10.0, 60.0, 300.0)
_LOOK_SECONDS = 2.0
_LARGE_BYTES = 256 * 1024

# What a delivery can be about; one of anything else means nothing to Gamma, and is not missed.
EVENTS = ("push", "pull_request", *comment.EVENTS, *check.EVENTS, *installation.EVENTS, *workflow.EVENTS)

log = structlog.get_logger()


class Dispatcher:
    """Takes deliveries from the inbox in the order of their arrival.

    Args:
        train: start the job of a push, once; the id of the job that trains it.
        show_pull_request: record a pull request and let its comment follow.
        converse: answer the commands of a comment; the same comment again is answered once.
        press: do what a button asks for; the same press again is one press.
        app_id: our App's id or client id, by which our own checks are known.
        meet: a repository as it is now, before something is done for it.
        heard: act on what became of installations and repositories; what came of it, in a few words.
        hint: note that there is news of an attempt in a repository; whether it is one there that has not ended.
        own_login: the bot's own account at GitHub, whose pushes would be a loop; ``None`` where nobody knows.
    """

    def __init__(
        self,
        inbox: Inbox,
        branches: Sequence[str],
        *,
        train: Callable[[Push], Awaitable[str]],
        show_pull_request: Callable[[PullRecord], Awaitable[None]],
        converse: Callable[[Remark], Awaitable[None]],
        press: Callable[[Press], Awaitable[None]],
        meet: Callable[[Place], Awaitable[Project]],
        heard: Callable[[News], Awaitable[str]],
        hint: Callable[[str, int], Awaitable[bool]],
        own_login: Callable[[], Awaitable[str | None]],
        app_id: str,
    ) -> None:
        self._inbox = inbox
        self._branches = branches
        self._train = train
        self._show_pull_request = show_pull_request
        self._converse = converse
        self._press = press
        self._meet = meet
        self._heard = heard
        self._hint = hint
        self._own_login = own_login
        self._app_id = app_id
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something was stored."""
        self._wake.set()

    async def run(self) -> None:
        """Dispatch until cancelled: first what a crash left over, then what comes in."""
        while True:
            self._wake.clear()
            try:
                await self.drain()
            except StoreUnavailable as error:
                log.warning("dispatch.store_unavailable", error=str(error))
            except Exception:
                log.exception("dispatch.crashed")
            # Also without a wake: `gamma deliveries replay` writes from a process of its own.
            # (Not by wait_for: on Python 3.11 it loses a cancellation that comes together with the wake.)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wake.wait()

    async def drain(self) -> None:
        """Handle everything whose time has come, once. What fails is tried again later, and holds up nothing."""
        after = 0
        while batch := await self._inbox.waiting(after=after):
            results: dict[int, str] = {}
            try:
                for delivery in batch:
                    await self._handle(delivery, results)
            finally:
                # One commit for all of them: a burst of deliveries that mean nothing must not keep the disk busy.
                await self._inbox.done(results)
            after = batch[-1].seq

    async def _handle(self, delivery: DeliveryRecord, results: dict[int, str]) -> None:
        # A payload that no code of ours expected must neither stop the others nor vanish, and it never changes: it is
        # parked at once. Handing on can fail for reasons that pass.
        waits: Sequence[float] = ()
        try:
            intent = await self._understand(delivery)
            waits = _WAITS_SECONDS[delivery.tries :]
            results[delivery.seq] = await self._hand_on(intent)
        except StoreUnavailable:
            raise
        except Exception as error:
            wait = next(iter(waits), None)
            log.exception("dispatch.failed", delivery=delivery.guid, event_name=delivery.event, again_in_seconds=wait)
            await self._inbox.failed(delivery.seq, f"{type(error).__name__}: {error}", again_in_seconds=wait)

    async def _understand(self, delivery: DeliveryRecord) -> Intent:
        if delivery.event not in EVENTS:
            return Ignored(f"{delivery.event} means nothing to Gamma")
        try:
            large = len(delivery.body) > _LARGE_BYTES
            payload = await asyncio.to_thread(json.loads, delivery.body) if large else json.loads(delivery.body)
        except ValueError:
            return Ignored("the body is not JSON: set the webhook's content type to application/json")
        if not isinstance(payload, Mapping):
            return Ignored("the body is not a JSON object")
        try:
            return self._read(delivery, payload)
        except (KeyError, TypeError, AttributeError) as error:
            raise PayloadError(f"a {delivery.event} of another shape: {type(error).__name__} {error}") from error

    def _read(self, delivery: DeliveryRecord, payload: Mapping[str, Any]) -> Intent:
        if delivery.event == "pull_request":
            return pull_request.understand(payload, self._branches)
        if delivery.event in comment.EVENTS:
            return comment.understand(delivery.event, delivery.guid, payload)
        if delivery.event in check.EVENTS:
            return check.understand(delivery.event, delivery.guid, payload, self._app_id)
        if delivery.event in installation.EVENTS:
            return installation.understand(delivery.event, payload)
        if delivery.event in workflow.EVENTS:
            return workflow.understand(payload)
        return push.understand(delivery.guid, payload, self._branches)

    async def _hand_on(self, intent: Intent) -> str:
        match intent:
            case TrainPush(push=found, bot=bot):
                # Asked only here: most pushes of bots go to branches that don't train.
                if bot and bot == await self._own_login():
                    return "ignored: Gamma's own push"
                return await self._in_reach(
                    Place(found.repository_id, found.repository, found.installation_id),
                    lambda now: self._start(found.moved(now.full_name, now.installation_id)),
                )
            case PullRequestSeen(pull=pull):
                await self._show_pull_request(pull)
                return f"pull request {pull.number} {'open' if pull.is_open else 'closed'}"
            case RunCommands(remark=remark):
                return await self._in_reach(
                    Place(remark.repository_id, remark.repository, remark.installation_id),
                    lambda now: self._answer(
                        replace(remark, repository=now.full_name, installation_id=now.installation_id)
                    ),
                )
            case PressButton(press=press, place=place):
                return await self._in_reach(place, lambda _: self._push_button(press))
            case ProjectNews() | InstallationNews() | PermissionsGranted():
                return await self._heard(intent)
            case RunMoved(attempt=attempt, repository_id=repository_id):
                known = await self._hint(attempt, repository_id)
                return f"news of {attempt}" if known else f"ignored: {attempt} is over or not ours"
            case Ignored(reason=reason):
                return f"ignored: {reason}"
            case _:
                assert_never(intent)

    async def _in_reach(self, place: Place, act: Callable[[Project], Awaitable[str]]) -> str:
        """Do something for a repository as it is now, if anything can be done there."""
        project = await self._meet(place)
        return await act(project) if project.state is ProjectState.ACTIVE else f"ignored: {project.why}"

    async def _start(self, push: Push) -> str:
        job = await self._train(push)
        log.info("dispatch.train", delivery=push.guid, repo=push.repository, job=job)
        return f"job {job}"

    async def _answer(self, remark: Remark) -> str:
        await self._converse(remark)
        return f"commands in comment {remark.comment}"

    async def _push_button(self, press: Press) -> str:
        await self._press(press)
        return f"{press.button} by {press.by} for {f'job {press.job}' if press.job else press.sha}"
