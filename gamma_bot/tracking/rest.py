"""MLflow behind an http(s) address, by its REST API: truly asynchronous, and without importing MLflow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import structlog

from gamma_bot.tracking import histories
from gamma_bot.tracking.addresses import run_page
from gamma_bot.tracking.refusals import NameTaken, NotFound
from gamma_bot.tracking.registry import ALIAS, Champion, model_name, versions_of_run
from gamma_bot.tracking.runs import Point, Run, RunStatus, TrackingError
from gamma_bot.tracking.server_calls import ServerCalls

if TYPE_CHECKING:
    import aiohttp

_PAGE = 1000
_SAMPLE = 2500  # the most that the server thins a history to

_log = structlog.get_logger()


class RestTracking:
    """Runs on an MLflow tracking server."""

    def __init__(
        self,
        uri: str,
        *,
        public_url: str | None = None,
        username: str | None = None,
        password: str | None = None,
        http_session: aiohttp.ClientSession | None = None,
    ) -> None:
        self._server = ServerCalls(uri, username=username, password=password, http_session=http_session)
        self.uri = self._server.address
        self._public_url = public_url or self._server.address
        self._opening: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def open_run(self, experiment: str, run_name: str, tags: Mapping[str, str]) -> str:
        """Create the run of an attempt or find it again."""
        search = histories.same_attempt(tags)
        lock = self._opening.setdefault(search, asyncio.Lock())
        async with lock:
            experiment_id = await self._experiment_id(experiment)
            found = await self._server.post(
                "runs/search",
                {
                    "experiment_ids": [experiment_id],
                    "filter": search,
                    "order_by": ["attributes.start_time ASC"],
                    "max_results": 1,
                },
            )
            for run in _rows(found, "runs"):
                return str(run["info"]["run_id"])
            created = await self._server.post(
                "runs/create",
                {
                    "experiment_id": experiment_id,
                    "run_name": run_name,
                    "start_time": _now_ms(),
                    "tags": [{"key": key, "value": value} for key, value in tags.items()],
                },
                repeatable=False,  # the next open_run finds the run if it was created after all
            )
            return str(_part(created, "run")["info"]["run_id"])

    async def find_run(self, tags: Mapping[str, str]) -> str | None:
        """The first run of an attempt, in whatever experiment it was made."""
        query = {
            "experiment_ids": await self._experiment_ids(),
            "filter": histories.same_attempt(tags),
            "order_by": ["attributes.start_time ASC"],
            "max_results": 1,
        }
        found = _rows(await self._server.post("runs/search", query), "runs")
        return str(found[0]["info"]["run_id"]) if found else None

    async def read_run(self, run_id: str, *, max_points: int = 5000) -> Run:
        """The run with its histories, thinned to ``max_points`` each, and its artifacts."""
        run = await self._run(run_id)
        newest = _newest(run)
        limit = histories.points_each(max_points, len(newest))
        names = sorted(newest)
        metrics: dict[str, Sequence[Point]] = {name: [newest[name]] for name in names}
        try:
            async with asyncio.TaskGroup() as group:  # the first refusal ends the others, too
                files = group.create_task(self._artifacts(run_id))
                reading = {
                    name: group.create_task(self._history(run_id, name, limit))
                    for name in names[: histories.MAX_METRICS]
                }
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        metrics.update((name, task.result()) for name, task in reading.items())
        return Run(
            run_id=run_id,
            experiment_id=str(run["info"]["experiment_id"]),
            status=str(run["info"]["status"]),
            params={one["key"]: one["value"] for one in _rows(run.get("data", {}), "params")},
            metrics=metrics,
            artifacts=files.result(),
        )

    async def last_values(self, run_id: str) -> Mapping[str, Point]:
        """The newest point of every metric."""
        return _newest(await self._run(run_id))

    async def close_run(self, run_id: str, status: RunStatus) -> None:
        """Set the end state, where the job did not set FAILED or KILLED itself."""
        histories.must_be_an_end(status)
        info = (await self._run(run_id))["info"]
        if histories.may_close(info["status"], status) and info.get("lifecycle_stage", "active") == "active":
            await self._server.post("runs/update", {"run_id": run_id, "status": status.value, "end_time": _now_ms()})

    async def open_runs(self) -> Mapping[str, str]:
        """Gamma's runs that MLflow still calls RUNNING: run id → job id."""
        query = {"experiment_ids": await self._experiment_ids(), "filter": histories.running_jobs()}
        jobs = {}
        async for page in self._pages("runs/search", "runs", query):  # kept all together, thousands fill the memory
            for run in page:
                tags = {one["key"]: one["value"] for one in _rows(run["data"], "tags")}
                jobs[str(run["info"]["run_id"])] = str(tags["gamma.job"])
        return jobs

    async def promote(self, repository: str, run_id: str, tags: Mapping[str, str]) -> Champion:
        """Make a run the champion of its repository; a run that is it already stays as it is."""
        name = model_name(repository)
        async with self._opening.setdefault(name, asyncio.Lock()):
            now = await self.champion(repository)
            if now is not None and now.run_id == run_id:
                return now
            version = await self._version(name, run_id)
            for key, value in tags.items():  # before the alias, so that nobody finds a champion without them
                tag = {"name": name, "version": version, "key": key, "value": value}
                await self._server.post("model-versions/set-tag", tag)
            await self._server.post("registered-models/alias", {"name": name, "alias": ALIAS, "version": version})
        return Champion(run_id, dict(tags))

    async def champion(self, repository: str) -> Champion | None:
        """The run that the alias points to."""
        name = model_name(repository)
        try:
            # Not the call that asks for an alias: its refusal does not tell a missing one from a wrong question.
            model = _part(await self._server.get("registered-models/get", {"name": name}), "registered_model")
            version = next((one["version"] for one in _rows(model, "aliases") if one["alias"] == ALIAS), None)
            if version is None:
                return None
            answer = await self._server.get("model-versions/get", {"name": name, "version": version})
        except NotFound:
            return None
        found = _part(answer, "model_version")
        tags = {str(one["key"]): str(one["value"]) for one in _rows(found, "tags")}
        return Champion(str(found.get("run_id") or ""), tags)

    async def _version(self, name: str, run_id: str) -> str:
        """The version of the repository's model that is this run; both are made if they are not there."""
        with suppress(NameTaken):
            await self._server.post("registered-models/create", {"name": name})
        query: dict[str, str | int | list[str]] = {"filter": versions_of_run(name, run_id), "max_results": 1}
        for found in _rows(await self._server.get("model-versions/search", query), "model_versions"):
            return str(found["version"])
        source = (await self._run(run_id))["info"]["artifact_uri"]
        created = await self._server.post(
            "model-versions/create",
            {"name": name, "source": source, "run_id": run_id},
            repeatable=False,  # the next promotion finds the version if it was made after all
        )
        return str(_part(created, "model_version")["version"])

    def run_url(self, experiment_id: str, run_id: str) -> str | None:
        """The run's page at the public address, or at the server's own."""
        return run_page(self._public_url, experiment_id, run_id)

    async def close(self) -> None:
        """Close the session, if it is our own."""
        await self._server.close()

    async def _run(self, run_id: str) -> dict[str, Any]:
        return _part(await self._server.get("runs/get", {"run_id": run_id}), "run")

    async def _experiment_ids(self) -> list[str]:
        pages = self._pages("experiments/search", "experiments", {"view_type": "ACTIVE_ONLY"})
        return [str(one["experiment_id"]) async for page in pages for one in page]

    async def _experiment_id(self, name: str) -> str:
        for _ in range(2):
            try:
                answer = await self._server.get("experiments/get-by-name", {"experiment_name": name})
            except NotFound:
                with suppress(NameTaken):  # somebody else was faster: look again
                    return str((await self._server.post("experiments/create", {"name": name}))["experiment_id"])
                continue
            experiment = _part(answer, "experiment")
            if experiment.get("lifecycle_stage") == "deleted":
                await self._server.post("experiments/restore", {"experiment_id": experiment["experiment_id"]})
            return str(experiment["experiment_id"])
        raise TrackingError(f"MLflow at {self.uri} neither finds nor creates the experiment {name}.")

    async def _history(self, run_id: str, name: str, limit: int) -> Sequence[Point]:
        page = await self._server.get(
            "metrics/get-history", {"run_id": run_id, "metric_key": name, "max_results": limit}
        )
        if page.get("next_page_token"):
            # There is more than is wanted: the server thins a long history faster than it sends it.
            page = await self._server.get(
                "metrics/get-history-bulk-interval",
                {"run_ids": [run_id], "metric_key": name, "max_results": min(limit, _SAMPLE)},
            )
        points = (
            histories.point(one.get("step"), one["value"], one.get("timestamp")) for one in _rows(page, "metrics")
        )
        return histories.in_order(points, limit)

    async def _artifacts(self, run_id: str) -> list[tuple[str, int]]:
        walk = histories.Walk()
        try:
            while (folder := walk.next_folder()) is not None:
                entries = await self._all_files(run_id, folder)
                walk.add(folder, [(e["path"], bool(e.get("is_dir")), int(e.get("file_size") or 0)) for e in entries])
        except TrackingError as error:  # the artifact store may be down on its own: the metrics are worth more
            _log.warning("tracking.artifacts_unreadable", run=run_id, reason=str(error))
        return walk.files

    async def _all_files(self, run_id: str, folder: str) -> list[dict[str, Any]]:
        query = {"run_id": run_id, **({"path": folder} if folder else {})}
        files: list[dict[str, Any]] = []
        while len(files) < histories.MAX_FILES:
            page = await self._server.get("artifacts/list", query)
            files += _rows(page, "files")
            if not page.get("next_page_token"):
                break
            query = {**query, "page_token": page["next_page_token"]}
        return files

    async def _pages(self, path: str, rows: str, body: Mapping[str, object]) -> AsyncIterator[list[dict[str, Any]]]:
        token = ""
        while True:
            more = {"page_token": token} if token else {}
            page = await self._server.post(path, {**body, "max_results": _PAGE, **more})
            yield _rows(page, rows)
            token = page.get("next_page_token") or ""
            if not token:
                return


def _newest(run: Mapping[str, Any]) -> dict[str, Point]:
    rows = _rows(run.get("data", {}), "metrics")
    return {one["key"]: histories.point(one.get("step"), one["value"], one.get("timestamp")) for one in rows}


def _part(answer: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = answer.get(name)
    if not isinstance(part, dict):
        raise TrackingError(f"MLflow's server left {name} out of its answer. Is it an MLflow tracking server?")
    return part


def _rows(answer: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """MLflow leaves an empty list out of its answers."""
    return list(answer.get(name) or [])


def _now_ms() -> int:
    return int(time.time() * 1000)
