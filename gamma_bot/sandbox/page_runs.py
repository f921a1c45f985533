"""The page of a check run, alone and within the Checks tab of a pull request."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gamma_bot.sandbox.model import Annotation, CheckRun, Repository
from gamma_bot.sandbox.page_checks import SnippetLine, latest_runs, look_of, snippet, suites_of
from gamma_bot.sandbox.page_frame import Frame, not_found
from gamma_bot.sandbox.page_repository import RepositoryPages

SHOWN_ANNOTATIONS = 100


class RunPages:
    def __init__(self, frame: Frame, files: RepositoryPages) -> None:
        self._frame = frame
        self._files = files

    async def run(self, request: web.Request) -> web.Response:
        repository = self._frame.repository(request)
        run = self.find(repository, int(request.match_info["run"]))
        pull = next((pull for pull in repository.pulls if pull.head_sha == run.head_sha), None)
        values = await self.values(repository, run.head_sha, run)
        return await self._frame.page(
            request, "sandbox_run.html", repository, section="code", of_pull=pull, pull=None, **values
        )

    def find(self, repository: Repository, run_id: int) -> CheckRun:
        """The run of this id in the repository; raises the page that says there is none."""
        for run in repository.check_runs:
            if run.id == run_id:
                return run
        raise not_found(f"check run {run_id} in {repository.full_name}")

    async def values(self, repository: Repository, head_sha: str, selected: CheckRun | None) -> dict[str, Any]:
        """What ``sandbox_checks.html`` shows; without a choice the first failed run is opened, else the first."""
        suites = suites_of(repository, head_sha)
        runs = latest_runs(suites)
        if selected is None and runs:
            failed = [run for run in runs if look_of(run.status, run.conclusion).kind == "failure"]
            selected = (failed or runs)[0]
        namesakes = [run for run in selected.suite.runs if run.name == selected.name] if selected else []
        return {
            "head_sha": head_sha,
            "suites": suites,
            "selected": selected,
            "snippets": await self._snippets(selected) if selected else [],
            "earlier": [run for run in reversed(namesakes) if selected and run.id < selected.id],
            "newer": namesakes[-1] if selected and namesakes[-1] is not selected else None,
        }

    async def _snippets(self, run: CheckRun) -> list[tuple[Annotation, list[SnippetLine]]]:
        """Each annotation with the lines it is about, none for a file that is not there."""
        texts: dict[str, str | None] = {}
        found = []
        for annotation in run.annotations[:SHOWN_ANNOTATIONS]:
            if annotation.path not in texts:
                texts[annotation.path] = await self._files.text(run.suite.repository, run.head_sha, annotation.path)
            found.append((annotation, snippet(annotation, texts[annotation.path] or "")))
        return found
