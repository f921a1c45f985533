"""What runs of GitHub Actions leave behind: logs and artifacts, which stay at GitHub and are fetched when asked for."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import BinaryIO

import structlog

from gamma_bot.store.actions_runs import ActionsRuns
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.training.actions_log import JobLog, read_log
from gamma_bot.training.actions_outcome import job_that_counts
from gamma_bot.training.workflows import KeptFile, WorkflowJob, Workflows

_FRESH_SECONDS = 120.0
_KEPT_LOGS, _KEPT_LINES = 16, 5_000

log = structlog.get_logger()


class ActionsEvidence:
    """Fetches logs and artifacts; a few logs are kept, since a report and a page ask for the same one."""

    def __init__(self, workflows: Workflows, runs: ActionsRuns) -> None:
        self._workflows, self._runs = workflows, runs
        self._logs: OrderedDict[str, JobLog] = OrderedDict()

    async def log_of(self, key: str) -> JobLog:
        """The log of an attempt that is over; an empty one where it can't be had."""
        if key in self._logs:
            return self._logs[key]
        run = (await self._runs.of([key])).get(key)
        if run is None or run.run_id is None or run.outcome is None:
            return JobLog()
        try:
            job = job_that_counts(await self._workflows.jobs(run.repository_id, run.run_id))
        except StoreUnavailable:
            raise
        except Exception as error:
            log.warning("actions.log_unreadable", attempt=key, error=str(error))
            return JobLog()
        return await self.read(key, run.repository_id, job) if job is not None else JobLog()

    async def read(self, key: str, repository_id: int, job: WorkflowJob) -> JobLog:
        """The log of a job that is over; an empty one where it can't be had: better a verdict without it than none."""
        just_ended = job.ended_at is not None and time.time() - job.ended_at < _FRESH_SECONDS
        try:
            content = await self._workflows.log(repository_id, job.id, just_ended=just_ended)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.warning("actions.log_unreadable", attempt=key, error=str(error))
            return JobLog()
        found = read_log(content)
        self._logs[key] = JobLog(found.lines[-_KEPT_LINES:], found.exit_status, found.source_root)
        if len(self._logs) > _KEPT_LOGS:
            self._logs.popitem(last=False)
        return JobLog(found.lines[-_KEPT_LINES:], found.exit_status, found.source_root)

    async def kept_files(self, key: str) -> Sequence[KeptFile]:
        """The artifacts of an attempt's run; none where GitHub can't be asked."""
        run = (await self._runs.of([key])).get(key)
        if run is None or run.run_id is None:
            return ()
        try:
            return await self._workflows.kept_files(run.repository_id, run.run_id)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.warning("actions.artifacts_unreadable", attempt=key, error=str(error))
            return ()

    async def open(self, key: str, name: str) -> BinaryIO:
        """Download an artifact.

        Raises:
            OSError: there is no such artifact any more, or GitHub can't be asked.
        """
        file = next((file for file in await self.kept_files(key) if file.name == name), None)
        run = (await self._runs.of([key])).get(key)
        if file is None or run is None:
            raise FileNotFoundError(name)
        return await self._workflows.open_kept_file(run.repository_id, file.id)
