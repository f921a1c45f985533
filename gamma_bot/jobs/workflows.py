"""GitHub Actions as the Actions executor sees it: by a repository's id, and with refusals in words for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, cast

from gamma_bot.github.actions import RepositoryActions
from gamma_bot.github.answers import unix_time
from gamma_bot.github.errors import Forbidden, GitHubError, Held, NotFound, Rejected
from gamma_bot.jobs.reach import OutOfReach, Reach
from gamma_bot.training.actions_log import LARGEST_LOG_BYTES
from gamma_bot.training.workflows import (
    KeptFile,
    NoAnswer,
    Refused,
    WorkflowJob,
    WorkflowPlace,
    WorkflowRun,
    WorkflowStep,
)

_RETRY = "then `/gamma retry`"


class GitHubWorkflows:
    """Reaches each repository under the name and through the installation that it has now.

    What GitHub can't be asked now is raised as ``GitHubError``.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def dispatch(self, place: WorkflowPlace, inputs: Mapping[str, str]) -> WorkflowRun | None:
        """Start a run; ``None`` where this GitHub does not say which one it is.

        Raises:
            Refused, NoAnswer, GitHubError
        """
        try:
            answer = await (await self._of(place.repository_id)).dispatch(place.file, place.ref, inputs)
        except OutOfReach as error:
            raise Refused(str(error), "It is not trained until the App can work here again.") from None
        except (NotFound, Forbidden, Rejected) as error:
            message, hint = _why_not(error, place)
            raise Refused(message, hint) from None
        except Held:
            raise  # it was never sent
        except GitHubError as error:
            if error.unclear:
                raise NoAnswer(str(error)) from error
            raise
        if answer is None or not answer.get("workflow_run_id"):
            return None
        return WorkflowRun(int(answer["workflow_run_id"]), "", "queued", "", str(answer.get("html_url") or ""))

    async def runs(self, place: WorkflowPlace, *, since: float, until: float | None = None) -> Sequence[WorkflowRun]:
        """The dispatched runs of a workflow of a time; without its end only the newest hundred."""
        found = await (await self._of(place.repository_id)).runs(place.file, since=since, until=until)
        return [_run(item) for item in found]

    async def run(self, repository_id: int, run_id: int) -> WorkflowRun | None:
        """One run as it was the first time; ``None`` if it is gone."""
        repository = await self._reach.repository(repository_id)
        found = await RepositoryActions(repository).run(run_id)
        if found is None:
            await repository.about()  # GitHub answers the same for a run that is gone and a repository out of reach
        return _run(found) if found is not None else None

    async def jobs(self, repository_id: int, run_id: int) -> Sequence[WorkflowJob]:
        """The jobs of a run, of its first time."""
        return [_job(item) for item in await (await self._of(repository_id)).jobs(run_id)]

    async def cancel(self, repository_id: int, run_id: int, *, force: bool) -> None:
        """Ask a run to end; one that is over stays as it is."""
        await (await self._of(repository_id)).cancel(run_id, force=force)

    async def log(self, repository_id: int, job_id: int, *, just_ended: bool) -> bytes:
        """The log of a job that is over."""
        actions = await self._of(repository_id)
        return await actions.log(job_id, most_bytes=LARGEST_LOG_BYTES, just_ended=just_ended)

    async def kept_files(self, repository_id: int, run_id: int) -> Sequence[KeptFile]:
        """The artifacts of a run."""
        found = await (await self._of(repository_id)).artifacts(run_id)
        return [KeptFile(int(item["id"]), str(item["name"]), int(item["size_in_bytes"])) for item in found]

    async def open_kept_file(self, repository_id: int, file_id: int) -> BinaryIO:
        """Download an artifact.

        Raises:
            OSError: it is gone, or too large.
        """
        try:
            return cast("BinaryIO", await (await self._of(repository_id)).artifact(file_id))
        except GitHubError as error:
            raise OSError(str(error)) from None

    async def _of(self, repository_id: int) -> RepositoryActions:
        return RepositoryActions(await self._reach.repository(repository_id))


def _why_not(error: GitHubError, place: WorkflowPlace) -> tuple[str, str]:
    """Why GitHub starts no run, and what mends it."""
    file, said = f"`.github/workflows/{place.file}` on `{place.ref}`", error.message
    new = f"Run `gamma init --executor actions` in the repository and merge the workflow into `{place.ref}`, {_RETRY}."
    match error:
        case NotFound():
            return f"GitHub has no workflow {file}.", new
        case Forbidden() if "not accessible by integration" in said:
            hint = f"Give the App `actions: write` in its settings, let an owner accept that at GitHub, {_RETRY}."
            return "The Gamma App may not start workflows in this repository.", hint
        case _ if "workflow_dispatch' trigger" in said:
            return f"GitHub can't start {file}: it does not run on `workflow_dispatch`.", new
        case _ if "disabled workflow" in said:
            hint = f"Enable it on the repository's Actions page, {_RETRY}."
            return f"The workflow {file} is disabled.", hint
        case _ if "inputs" in said or "input '" in said:
            hint = f"`gamma init --executor actions --force` writes a workflow that does: merge it, {_RETRY}."
            return f"The workflow {file} does not take what Gamma gives it: {said}", hint
    return f"GitHub does not start {file}: {said}", f"Mend that, {_RETRY}."


def _run(item: Mapping[str, Any]) -> WorkflowRun:
    # `display_title` is what `run-name` came to; an old Enterprise Server has it in `name`.
    name = str(item.get("display_title") or item.get("name") or "")
    status, conclusion = str(item.get("status") or ""), str(item.get("conclusion") or "")
    again = int(item.get("run_attempt") or 1) > 1
    return WorkflowRun(int(item["id"]), name, status, conclusion, str(item.get("html_url") or ""), again)


def _job(item: Mapping[str, Any]) -> WorkflowJob:
    steps = [
        WorkflowStep(
            str(step["name"]), str(step.get("conclusion") or ""), _time(step, "started_at"), _time(step, "completed_at")
        )
        for step in item.get("steps") or ()
    ]
    return WorkflowJob(
        int(item["id"]),
        str(item.get("conclusion") or ""),
        _time(item, "started_at"),
        _time(item, "completed_at"),
        steps,
    )


def _time(item: Mapping[str, Any], key: str) -> float | None:
    return unix_time(item[key]) if item.get(key) else None
