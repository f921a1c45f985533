"""Reads the newest lines of a job's log from CloudWatch: of all its hosts, and of each of its restarts."""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from gamma_bot.training.joblog import clean_line
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.refusals import AwsRefused, Refusal

GROUP = "/aws/sagemaker/TrainingJobs"
# Where the code is in a container. In the stand-in, which has no file systems of their own, a folder stands before it.
CODE_FOLDER = "/opt/ml/code"
_ELSEWHERE = re.compile(r"(/[^\s\"':]{1,300}/ml/code)(?=[/\"'\s:,]|$)")
_KEPT_SECONDS = 3.0
_REMEMBERED = 64
_STREAMS = 8
_LEAST_LINES = 20
_EMPTY_PAGES = 3


class Logs:
    """CloudWatch's log streams of training jobs; what was just read is read again from memory."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._read: OrderedDict[tuple[str, int], tuple[float, Sequence[str]]] = OrderedDict()
        self._roots: OrderedDict[str, str] = OrderedDict()

    async def tail(self, name: str, lines: int) -> Sequence[str]:
        """The newest lines of a training job, the oldest first; none if it has not printed any.

        With several hosts or restarts, the newest lines of each of them, under a line that says of which.

        Raises:
            AwsRefused
        """
        due, known = self._read.get((name, lines), (0.0, ()))
        if due > time.monotonic():
            return known
        try:
            found = await self._tail(name, lines)
        except AwsRefused as error:
            if error.kind is not Refusal.NOT_FOUND:  # nothing of any job was printed yet
                raise
            found = []
        self._remember(name, found)
        self._read[name, lines] = (time.monotonic() + _KEPT_SECONDS, found)
        if len(self._read) > _REMEMBERED:
            self._read.popitem(last=False)
        return found

    def root(self, name: str) -> str:
        """The folder that the code was in, as the lines that were read last tell it."""
        return self._roots.get(name, CODE_FOLDER)

    async def _tail(self, name: str, lines: int) -> list[str]:
        # The slash: gamma-j1-1 must not find the lines of gamma-j1-1-r2.
        prefix = f"{name}/"
        streams: list[dict[str, Any]] = []
        token = None
        while token or not streams:
            more: dict[str, Any] = {"nextToken": token} if token else {}
            answer = await self._aws.call(
                "logs", "DescribeLogStreams", logGroupName=GROUP, logStreamNamePrefix=prefix, **more
            )
            streams += answer.get("logStreams", ())
            token = answer.get("nextToken")
            if not token:
                break
        newest = sorted(streams, key=_newest_line, reverse=True)[:_STREAMS]
        newest.sort(key=lambda stream: (_newest_line(stream), str(stream["logStreamName"])))
        parts = await asyncio.gather(*(self._lines(each, lines) for each in newest))
        if len(parts) <= 1:
            return parts[0] if parts else []
        share = max(_LEAST_LINES, lines // len(parts) - 1)
        found: list[str] = []
        for stream, part in zip(newest, parts, strict=True):
            found += [f"── {str(stream['logStreamName']).removeprefix(prefix)} ──", *part[-share:]]
        return found[-lines:]

    async def _lines(self, stream: dict[str, Any], lines: int) -> list[str]:
        found: list[str] = []
        begin = int(stream.get("firstEventTimestamp") or 0)
        token, empty = None, 0
        # A page may be empty although there is an older one with lines.
        while len(found) < lines and empty < _EMPTY_PAGES:
            more: dict[str, Any] = {"nextToken": token} if token else {}
            answer = await self._aws.call(
                "logs",
                "GetLogEvents",
                logGroupName=GROUP,
                logStreamName=str(stream["logStreamName"]),
                startFromHead=False,
                limit=lines,
                **more,
            )
            events = answer.get("events", ())
            page = [clean_line(str(event["message"]).encode()) for event in events]
            found = page + found
            empty = 0 if page else empty + 1
            if page and int(events[0].get("timestamp") or 0) <= begin:
                break  # that was the first line of all
            if len(page) >= lines or answer.get("nextBackwardToken") in (None, token):
                break
            token = answer["nextBackwardToken"]
        return found[-lines:]

    def _remember(self, name: str, lines: Sequence[str]) -> None:
        for line in lines:
            match = _ELSEWHERE.search(line)
            if match is not None and match[1] != CODE_FOLDER:
                self._roots[name] = match[1]
                if len(self._roots) > _REMEMBERED:
                    self._roots.popitem(last=False)
                return


def _newest_line(stream: dict[str, Any]) -> int:
    found = stream.get("lastEventTimestamp") or stream.get("firstEventTimestamp") or stream.get("creationTime") or 0
    return int(found)
