"""Takes SageMaker's events from the queue. Each is a hint: what must be right is asked for (I6)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.refusals import AwsRefused
from gamma_bot.training.sagemaker.sightings import Sighting, seen_in_event

WAIT_SECONDS = 20  # the longest that SQS offers: three calls a minute while nothing happens
BATCH = 10  # the most that SQS gives at once

log = structlog.get_logger()


class Events:
    """The queue that EventBridge puts the events into.

    Args:
        on_seen: takes the name of a training job and how it was.
    """

    def __init__(self, aws: Aws, queue_url: str, on_seen: Callable[[str, Sighting], None]) -> None:
        self._aws, self._queue_url, self._on_seen = aws, queue_url, on_seen
        self._deleting: set[asyncio.Task[None]] = set()

    async def take(self) -> int:
        """Wait for events and pass them on; how many there were.

        Raises:
            AwsRefused
        """
        answer = await self._aws.wait(
            "sqs",
            "ReceiveMessage",
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=WAIT_SECONDS,
        )
        messages: Sequence[dict[str, Any]] = answer.get("Messages", ())
        for message in messages:
            found = _read(message.get("Body", ""))
            if found is not None:
                self._on_seen(*found)
        if messages:
            # Not waited for: of a burst, the next ones are taken meanwhile. What comes again does no harm.
            task = asyncio.create_task(self._delete(messages), name="Events delete")
            self._deleting.add(task)
            task.add_done_callback(self._deleting.discard)
        return len(messages)

    async def close(self) -> None:
        """Finish what was begun."""
        await asyncio.gather(*self._deleting, return_exceptions=True)

    async def _delete(self, messages: Sequence[dict[str, Any]]) -> None:
        entries = [{"Id": str(index), "ReceiptHandle": each["ReceiptHandle"]} for index, each in enumerate(messages)]
        try:
            await self._aws.call("sqs", "DeleteMessageBatch", QueueUrl=self._queue_url, Entries=entries)
        except AwsRefused as error:
            log.warning("events.not_deleted", error=str(error))


def _read(body: str) -> tuple[str, Sighting] | None:
    try:
        event = json.loads(body)
    except ValueError:
        event = None
    found = seen_in_event(event) if isinstance(event, dict) else None
    if found is None:
        log.warning("events.unknown", body=body[:200])
    return found
