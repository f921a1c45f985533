"""The Actions tab: the runs of a repository, and one run with its steps and its log."""

from __future__ import annotations

from aiohttp import web

from gamma_bot.sandbox.page_frame import Frame, not_found

_SHOWN_RUNS, _SHOWN_LINES = 100, 2_000


class WorkflowPages:
    """Shows what the machines of the sandbox did; nothing can be pressed here."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    async def runs(self, request: web.Request) -> web.Response:
        repository = self._frame.repository(request)
        runs = sorted(repository.workflow_runs.values(), key=lambda run: -run.id)[:_SHOWN_RUNS]
        return await self._frame.page(request, "sandbox_workflows.html", repository, section="actions", runs=runs)

    async def run(self, request: web.Request) -> web.Response:
        repository = self._frame.repository(request)
        run = repository.workflow_runs.get(int(request.match_info["workflow_run"]))
        if run is None:
            raise not_found(f"workflow run {request.match_info['workflow_run']} in {repository.full_name}")
        lines = [line.partition("Z ")[2] for job in run.jobs for line in job.log][-_SHOWN_LINES:]
        return await self._frame.page(
            request, "sandbox_workflow.html", repository, section="actions", run=run, lines=lines
        )
