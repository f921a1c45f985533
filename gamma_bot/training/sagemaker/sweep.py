"""Asks SageMaker for all training jobs that changed, a hundred a call: the truth when events are missing (I6)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from gamma_bot.store.launches import Launch, Launches, LaunchState
from gamma_bot.training.sagemaker.attempts import OpenAttempts
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.launching import Launching
from gamma_bot.training.sagemaker.names import PREFIX
from gamma_bot.training.sagemaker.sightings import Sighting, moment, seen_in_answer

_PAGE = 100
_OVERLAP_SECONDS = 120.0  # listings lag behind a little
_CLOCKS_DIFFER_SECONDS = 900.0
_OVERDUE_SECONDS = 3_600.0
_OVERDUE_AT_ONCE = 10


class Sweep:
    """Looks through the training jobs of the account that have our prefix.

    Args:
        on_seen: takes the name of a training job and how it is.
        on_overdue: takes the name of one of which nothing was heard for longer than it may take.
        page_seconds: between two pages of a long list.
    """

    def __init__(
        self,
        aws: Aws,
        launches: Launches,
        launching: Launching,
        attempts: OpenAttempts,
        *,
        on_seen: Callable[[str, Sighting], None],
        on_overdue: Callable[[str], None],
        page_seconds: float,
    ) -> None:
        self._aws, self._launches, self._launching, self._attempts = aws, launches, launching, attempts
        self._on_seen, self._on_overdue, self._page_seconds = on_seen, on_overdue, page_seconds
        self._since: float | None = None
        self._asked_about: dict[str, float] = {}

    def begin_anew(self) -> None:
        """Look from the oldest open try on at the next time."""
        self._since = None

    async def run(self) -> None:
        """Look through what changed since the last time.

        Raises:
            AwsRefused
            StoreUnavailable
        """
        since = self._since if self._since is not None else self._oldest()
        newest, token, pages = since, None, 0
        while pages == 0 or token:
            more: dict[str, Any] = {"NextToken": token} if token else {}
            answer = await self._aws.call(
                "sagemaker",
                "ListTrainingJobs",
                NameContains=PREFIX,
                LastModifiedTimeAfter=datetime.fromtimestamp(since, UTC),
                MaxResults=_PAGE,
                SortBy="CreationTime",
                SortOrder="Descending",
                **more,
            )
            entries = answer["TrainingJobSummaries"]
            for entry in entries:
                newest = max(newest, moment(entry.get("LastModifiedTime")) or 0.0)
                self._on_seen(entry["TrainingJobName"], seen_in_answer(entry))
            await self._meet_unknown(entries)
            token, pages = answer.get("NextToken"), pages + 1
            if token:
                await asyncio.sleep(self._page_seconds)
        self._since = max(since, newest - _OVERLAP_SECONDS)
        self._look_for_overdue()

    async def _meet_unknown(self, entries: list[Mapping[str, Any]]) -> None:
        """Training jobs that go on and are not among our open ones: recorded by another replica, or orphans."""
        going = {each["TrainingJobName"] for each in entries if each["TrainingJobStatus"] == "InProgress"}
        unknown = [name for name in going if name.startswith(PREFIX) and self._attempts.named(name) is None]
        if not unknown:
            return
        for launch in (await self._launches.named(unknown)).values():
            if launch.is_over:
                await self._launching.stop_orphan(launch)
            else:
                self._attempts.keep(launch)

    def _oldest(self) -> float:
        recorded = (launch.recorded_at for launch in self._attempts)
        return min(recorded, default=time.time()) - _CLOCKS_DIFFER_SECONDS

    def _look_for_overdue(self) -> None:
        now = time.time()
        self._asked_about = {name: at for name, at in self._asked_about.items() if now - at < _OVERDUE_SECONDS}
        overdue = [
            each.name for each in self._attempts if _is_overdue(each, now) and each.name not in self._asked_about
        ]
        for name in overdue[:_OVERDUE_AT_ONCE]:
            self._asked_about[name] = now
            self._on_overdue(name)


def _is_overdue(launch: Launch, now: float) -> bool:
    latest = launch.recorded_at + launch.limit_seconds + _OVERDUE_SECONDS
    return launch.state is LaunchState.CREATED and now > latest
