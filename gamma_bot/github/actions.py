"""GitHub Actions of one repository: dispatch a workflow, read its runs, jobs, logs and artifacts, cancel a run."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any
from urllib.parse import quote, urljoin

import aiohttp

from gamma_bot.github.errors import GitHubError, NotFound, Rejected
from gamma_bot.github.repository import Repository

_DOWNLOAD_TIMEOUT = aiohttp.ClientTimeout(total=600, sock_connect=10, sock_read=60)
_LARGEST_ARTIFACT_BYTES = 2 << 30
_IN_MEMORY_BYTES = 8 << 20
_MOST_PAGES = 10  # GitHub finds no more than a thousand runs of a time
_LOG_WAITS_SECONDS = (1.0, 2.0, 4.0)


class RepositoryActions:
    """The Actions of a repository. Answers are GitHub's own JSON."""

    def __init__(self, repository: Repository) -> None:
        self._installation = repository.installation
        self._path = f"/repos/{repository.full_name}/actions"

    async def dispatch(self, file: str, ref: str, inputs: Mapping[str, str]) -> Mapping[str, Any] | None:
        """Start a workflow as it stands on a branch; ``None`` if this GitHub doesn't say which run it is.

        Raises:
            GitHubError
        """
        path = f"{self._path}/workflows/{quote(file, safe='')}/dispatches"
        body: dict[str, Any] = {"ref": ref, "inputs": dict(inputs)}
        try:
            answer = await self._installation.post(path, {**body, "return_run_details": True})
        except Rejected as error:
            if "return_run_details" not in error.message:
                raise
            answer = await self._installation.post(path, body)  # an older Enterprise Server
        return answer if isinstance(answer, dict) else None

    async def runs(self, file: str, *, since: float, until: float | None = None) -> Sequence[Mapping[str, Any]]:
        """The dispatched runs of a workflow since then (Unix seconds); none if there is no such file.

        Args:
            until: with an end, all runs until then, as far as GitHub lists them; without one, the newest hundred.

        Raises:
            GitHubError
        """
        created = f">={_moment(since)}" if until is None else f"{_moment(since)}..{_moment(until)}"
        query = f"event=workflow_dispatch&per_page=100&exclude_pull_requests=true&created={quote(created)}"
        path = f"{self._path}/workflows/{quote(file, safe='')}/runs?{query}"
        found: list[Mapping[str, Any]] = []
        for page in range(1, 2 if until is None else _MOST_PAGES + 1):
            try:
                runs = (await self._installation.get(path if page == 1 else f"{path}&page={page}"))["workflow_runs"]
            except NotFound:
                return ()
            found += runs
            if len(runs) < 100:
                break
        return found

    async def run(self, run_id: int) -> Mapping[str, Any] | None:
        """One run, as it was before anybody ran it again; ``None`` if it is gone.

        Raises:
            GitHubError
        """
        try:
            return dict(
                await self._installation.get(f"{self._path}/runs/{run_id}/attempts/1?exclude_pull_requests=true")
            )
        except NotFound:
            return None

    async def jobs(self, run_id: int) -> Sequence[Mapping[str, Any]]:
        """The jobs of a run, as they were before anybody ran it again.

        Raises:
            GitHubError
        """
        found = await self._installation.get(f"{self._path}/runs/{run_id}/attempts/1/jobs?per_page=100", again=False)
        return list(found["jobs"])

    async def cancel(self, run_id: int, *, force: bool = False) -> None:
        """Ask a run to end; one that is over, or gone, stays as it is.

        Raises:
            GitHubError
        """
        try:
            await self._installation.post(f"{self._path}/runs/{run_id}/{'force-cancel' if force else 'cancel'}", {})
        except NotFound:
            return
        except Rejected as error:
            if error.status != 409:
                raise

    async def log(self, job_id: int, *, most_bytes: int, just_ended: bool) -> bytes:
        """The log of a job that is over: all of it, or its end.

        Args:
            just_ended: GitHub may not have it yet.

        Raises:
            GitHubError
        """
        path = f"{self._path}/jobs/{job_id}/logs"
        for wait in (*(_LOG_WAITS_SECONDS if just_ended else ()), None):
            try:
                with await self._download(path, keep_end_of=most_bytes) as file:
                    return await asyncio.to_thread(file.read)
            except NotFound:
                if wait is None:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def artifacts(self, run_id: int) -> Sequence[Mapping[str, Any]]:
        """What a run has kept and GitHub has not deleted yet.

        Raises:
            GitHubError
        """
        found = await self._installation.get(f"{self._path}/runs/{run_id}/artifacts?per_page=100")
        return [item for item in found["artifacts"] if not item["expired"]]

    async def artifact(self, artifact_id: int) -> IO[bytes]:
        """An artifact's zip, as a file that is gone once it is closed.

        Raises:
            GitHubError
        """
        return await self._download(f"{self._path}/artifacts/{artifact_id}/zip")

    async def _download(self, path: str, *, keep_end_of: int | None = None) -> IO[bytes]:
        """Follow a redirect. Its address carries its own permission, so our token stays here."""
        route = f"GET {path}"
        location = await self._installation.redirect_of(path)
        session = self._installation.app.session
        file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - the caller closes it
        try:
            async with session.get(
                urljoin(self._installation.app.api_url, location),
                timeout=_DOWNLOAD_TIMEOUT,
                headers={"User-Agent": "gamma-bot"},
                allow_redirects=False,
            ) as answer:
                if answer.status != 200:
                    kind = NotFound if answer.status == 404 else GitHubError
                    raise kind(answer.status, "the download failed", route)
                written = 0
                async for chunk in answer.content.iter_chunked(1 << 20):
                    written += len(chunk)
                    if written > _LARGEST_ARTIFACT_BYTES:
                        raise Rejected(413, "the download is larger than 2 GiB", route)
                    await asyncio.to_thread(file.write, chunk)
        except (aiohttp.ClientError, TimeoutError) as error:
            file.close()
            raise GitHubError(0, f"the download broke off ({type(error).__name__})", route) from None
        except BaseException:
            file.close()
            raise
        file.seek(max(0, written - keep_end_of) if keep_end_of is not None else 0)
        return file


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
