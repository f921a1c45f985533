"""Looks after everything that was handed to SageMaker, at a cost that grows with what happens, not with what waits.

Three tasks: one takes events, one sweeps, one does what they call for (describe what ended, ask again for what is
due). They work only while this process is the one that looks after SageMaker's jobs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.launches import Launch, Launches, LaunchState
from gamma_bot.training.sagemaker.attempts import OpenAttempts
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.description import Description
from gamma_bot.training.sagemaker.ends import Ends
from gamma_bot.training.sagemaker.events import BATCH, Events
from gamma_bot.training.sagemaker.launching import Launching, Patience
from gamma_bot.training.sagemaker.refusals import AwsRefused, Refusal
from gamma_bot.training.sagemaker.sightings import INTERRUPTED, Sighting, seen_in_answer
from gamma_bot.training.sagemaker.sweep import Sweep
from gamma_bot.training.trainer import Attempt, Observation

_DESCRIBED_AT_ONCE = 64
_CREATED_AT_ONCE = 16
_NEW_SECONDS = 300.0  # for so long SageMaker may not know yet what it has created
_PASSING_SECONDS = 60.0  # trouble that is shorter is nobody's concern

log = structlog.get_logger()


@dataclass(frozen=True)
class Pace:
    """How often, in seconds.

    Attributes:
        tick: what is called for is done at least so often.
        sweep: while events come.
        sweep_without_events: without a queue, or while it can't be read.
        page: between two pages of a long list.
        after_trouble: before AWS is asked again after it could not be.
    """

    tick: float = 1.0
    sweep: float = 180.0
    sweep_without_events: float = 20.0
    page: float = 1.5
    after_trouble: float = 10.0


class Watch:
    """Everything under way at SageMaker.

    Args:
        term: which term of office this process is in as the one that looks after the jobs; 0 for none.
        queue_url: where the events are; ``None`` where there is no queue.
    """

    def __init__(
        self,
        aws: Aws,
        launches: Launches,
        launching: Launching,
        patience: Patience,
        pace: Pace,
        *,
        region: str,
        queue_url: str | None,
        term: Callable[[], int],
    ) -> None:
        self.attempts = OpenAttempts(region)
        self._aws, self._launches, self._launching = aws, launches, launching
        self._patience, self._pace, self._term = patience, pace, term
        self._ends = Ends(launches, launching, patience)
        self._events = Events(aws, queue_url, self._seen) if queue_url else None
        self._sweep = Sweep(
            aws,
            launches,
            launching,
            self.attempts,
            on_seen=self._seen,
            on_overdue=self._describe_soon,
            page_seconds=pace.page,
        )
        self._served = 0
        self._hears = False
        self._wake = asyncio.Event()
        self._to_describe: dict[str, float] = {}
        self._quota_due: dict[tuple[str, bool], float] = {}
        self._trouble_since: float | None = None
        self._swept_at = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []

    async def observe(self, attempts: Sequence[Attempt]) -> Sequence[Observation]:
        """How these attempts are, from memory.

        Raises:
            StoreUnavailable
        """
        await self._begin()
        found, unknown = self.attempts.observations(attempt.key for attempt in attempts)
        if unknown:
            for launch in (await self._launches.newest(unknown)).values():
                self.attempts.keep(launch)
            found += self.attempts.observations(unknown)[0]
        return found

    def training_job(self, attempt: Attempt) -> str | None:
        """The name of an attempt's newest training job, if it is at hand."""
        return self.attempts.training_job(attempt.key) if self._served and self._served == self._term() else None

    def keep(self, launch: Launch) -> None:
        """Take a try as somebody else changed it."""
        if self._served and self._served == self._term():
            self.attempts.keep(launch)
            self._wake.set()

    async def close(self) -> None:
        """End the tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._events is not None:
            await self._events.close()

    async def _begin(self) -> None:
        term = self._term()
        if term and term != self._served:
            # Somebody else looked after them meanwhile, or nobody: what was known here may be old.
            self.attempts.forget_all_but(await self._launches.open())
            self._to_describe.clear()
            self._sweep.begin_anew()
            self._served, self._swept_at = term, float("-inf")
        if not self._tasks:
            works = {"work": self._work, "sweep": self._sweep_again, "events": self._listen}
            self._tasks = [
                asyncio.create_task(self._for_ever(work), name=f"SageMaker {n}") for n, work in works.items()
            ]

    async def _for_ever(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                if self._term() and self._term() == self._served:
                    await work()
                else:
                    await asyncio.sleep(self._pace.tick)
            except StoreUnavailable as error:
                log.warning("sagemaker.store_unavailable", error=str(error))
                await asyncio.sleep(self._pace.tick)
            except Exception:
                log.exception("sagemaker.watch_failed")
                await asyncio.sleep(self._pace.tick)

    async def _listen(self) -> None:
        if self._events is None:
            await asyncio.sleep(3600)
            return
        try:
            # A full batch may be the begin of a backlog, and what it tells old: then the sweep is what is up to date.
            self._hears = await self._events.take() < BATCH
        except AwsRefused as error:
            # Jobs are found by the sweep, which comes more often until events can be read again.
            log.warning("events.unreadable", error=str(error))
            self._hears = False
            await asyncio.sleep(self._pace.after_trouble)

    async def _sweep_again(self) -> None:
        # With nothing under way it only looks for jobs that nobody should have created.
        slowly = self._hears or not len(self.attempts)
        wait = self._swept_at + (self._pace.sweep if slowly else self._pace.sweep_without_events) - time.monotonic()
        if wait > 0:
            await asyncio.sleep(min(wait, self._pace.tick))
            return
        try:
            await self._sweep.run()
            self._no_trouble()
        except AwsRefused as error:
            self._trouble(error)
            await asyncio.sleep(self._pace.after_trouble)
            return
        self._swept_at = time.monotonic()

    async def _work(self) -> None:
        await self._launches.seen(self.attempts.take_changes())
        await self._ask_again()
        await self._ask_again_for_quota()
        due = [name for name, when in self._to_describe.items() if when <= time.monotonic()][:_DESCRIBED_AT_ONCE]
        if due:
            for name in due:  # before it is asked about: what comes meanwhile is news again
                del self._to_describe[name]
            await asyncio.gather(*map(self._describe, due))
            return
        # Not wait_for: in Python 3.11 it can swallow that the task is cancelled.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pace.tick):
                await self._wake.wait()
        self._wake.clear()

    def _seen(self, name: str, sighting: Sighting) -> None:
        known = self.attempts.named(name)
        if known is None:
            return
        self.attempts.see(name, sighting)
        if sighting.ended or (sighting.secondary == INTERRUPTED and known.secondary != INTERRUPTED):
            self._describe_soon(name)

    def _describe_soon(self, name: str) -> None:
        self._to_describe.setdefault(name, 0.0)
        self._wake.set()

    async def _describe(self, name: str) -> None:
        launch = self.attempts.named(name)
        if launch is None:
            return
        try:
            answer = await self._aws.call("sagemaker", "DescribeTrainingJob", TrainingJobName=name)
        except AwsRefused as error:
            is_new = time.time() - launch.recorded_at < _NEW_SECONDS
            if error.kind is Refusal.NOT_FOUND and launch.state is LaunchState.CREATED and not is_new:
                self.attempts.keep(await self._ends.lose(launch))
                return
            if error.kind is not Refusal.NOT_FOUND:
                self._trouble(error)
            self._to_describe[name] = time.monotonic() + self._pace.after_trouble
            return
        self._no_trouble()
        sighting = seen_in_answer(answer)
        if not sighting.ended:
            self.attempts.see(name, sighting)
            return
        try:
            newest = await self._ends.settle(name, Description.of(answer))
        except StoreUnavailable:
            self._to_describe[name] = time.monotonic() + self._pace.tick
            raise
        if newest is not None:
            self.attempts.keep(newest)
            self._quota_due[launch.instance_type, launch.spot] = 0.0  # one of ours gave back its machines

    async def _ask_again(self) -> None:
        """Have those created whose time has come, or whose creator was not heard of for long."""
        now = time.time()
        due = [each for each in self.attempts.uncreated if _is_due(each, now, self._patience.answer)][:_CREATED_AT_ONCE]
        await asyncio.gather(*map(self._create, due))

    async def _ask_again_for_quota(self) -> None:
        """Of those that wait for the same quota the oldest one asks; if it has to wait on, so have the others."""
        waiting = [each for each in self.attempts.uncreated if each.state is LaunchState.WAITING_QUOTA]
        for launch in sorted(waiting, key=lambda each: each.recorded_at):
            group = (launch.instance_type, launch.spot)
            if self._quota_due.setdefault(group, launch.due_at) > time.time():
                continue
            self._quota_due[group] = time.time() + self._patience.quota
            changed = await self._create(launch)
            if changed is not None and changed.state is not LaunchState.WAITING_QUOTA:
                self._quota_due[group] = 0.0

    async def _create(self, launch: Launch) -> Launch | None:
        try:
            changed = await self._launching.create(launch)
        except AwsRefused as error:
            self._trouble(error)
            changed = (await self._launches.newest([launch.attempt]))[launch.attempt]
        self.attempts.keep(changed)
        return changed

    def _trouble(self, error: AwsRefused) -> None:
        now = time.time()
        if self._trouble_since is None:
            self._trouble_since = now
            log.warning("sagemaker.out_of_reach", error=str(error))
        if now - self._trouble_since >= _PASSING_SECONDS or not error.passes_by_itself or error.kind in _LASTING:
            clock = datetime.fromtimestamp(self._trouble_since, UTC).strftime("%H:%M UTC")
            self.attempts.tell_of_trouble(f"AWS can't be asked since {clock} ({_short(error)})")

    def _no_trouble(self) -> None:
        if self._trouble_since is not None:
            log.info("sagemaker.in_reach", seconds=time.time() - self._trouble_since)
        self._trouble_since = None
        self.attempts.tell_of_trouble("")


_LASTING = frozenset({Refusal.EXPIRED, Refusal.NO_CREDENTIALS})  # these don't mend themselves within a minute


def _is_due(launch: Launch, now: float, answer_seconds: float) -> bool:
    match launch.state:
        case LaunchState.WAITING:
            return launch.due_at <= now
        case LaunchState.RECORDED | LaunchState.CREATING:
            return launch.due_at + answer_seconds <= now
        case _:
            return False


def _short(error: AwsRefused) -> str:
    match error.kind:
        case Refusal.EXPIRED:
            return "Gamma's credentials have expired"
        case Refusal.NO_CREDENTIALS:
            return "Gamma has no credentials"
        case Refusal.DENIED:
            return f"it denies Gamma {error.denied_action}"
        case Refusal.THROTTLED:
            return "too many calls"
        case _:
            return "it is out of reach"
