"""The log of a job as GitHub keeps it: times in front, groups, masked secrets, and the commands that steps print."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from gamma_bot.sandbox.model_actions import WorkflowJob

_COMMAND = re.compile(r"::(?P<name>[a-z-]+)(?: [^:]*)?::(?P<text>.*)")
_SHOWN = {"group", "error", "warning", "notice"}


class JobLog:
    """Writes the log of one job."""

    def __init__(self, job: WorkflowJob, secrets: Iterable[str]) -> None:
        self._lines = job.log
        self._masks = {secret for secret in secrets if secret}

    def write(self, line: str) -> None:
        """A line of the runner's own."""
        for mask in self._masks:
            line = line.replace(mask, "***")
        now = time.time_ns()
        moment = datetime.fromtimestamp(now // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        self._lines += [f"{moment}.{now // 100 % 10**7:07d}Z {part}" for part in line.split("\n")]

    def printed(self, line: str) -> None:
        """A line that a step printed."""
        command = _COMMAND.fullmatch(line.strip())
        if command is None:
            self.write(line)
        elif command["name"] == "add-mask":
            self._masks.add(command["text"])
        elif command["name"] == "endgroup":
            self.write("##[endgroup]")
        elif command["name"] in _SHOWN:
            self.write(f"##[{command['name']}]{command['text']}")

    def group(self, title: str, lines: Iterable[str]) -> None:
        """Lines under a title that is folded."""
        self.write(f"##[group]{title}")
        for line in lines:
            self.write(line)
        self.write("##[endgroup]")


def log_text(job: WorkflowJob) -> bytes:
    """What a download of the job's log holds: it begins with a byte order mark."""
    return ("\ufeff" + "".join(f"{line}\r\n" for line in job.log)).encode()
