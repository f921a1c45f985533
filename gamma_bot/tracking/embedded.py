"""MLflow without a server: its own client, kept off the event loop in a few threads of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy.exc
import structlog

from gamma_bot.tracking import histories
from gamma_bot.tracking.addresses import absolute, experiment_name, is_folder, is_sql, run_page, without_credentials
from gamma_bot.tracking.database import prepared
from gamma_bot.tracking.refusals import NameTaken, NotFound, by_code, plain
from gamma_bot.tracking.registry import ALIAS, Champion, model_name, versions_of_run
from gamma_bot.tracking.runs import Point, Run, RunStatus, TrackingError

_THREADS = 3  # in parallel MLflow gets slower, not faster; three keep one slow read from holding up the rest
_CALL_SECONDS = 120.0
_PAGE = 1000

_T = TypeVar("_T")
_log = structlog.get_logger()


class MlflowTracking:
    """Runs in SQLite, Postgres, a folder, SageMaker's managed MLflow (by ARN) or Databricks.

    MLflow is imported by the first call, in one of the threads: it takes a second or two and 170 MB.
    """

    def __init__(self, uri: str, *, artifact_root: Path, public_url: str | None = None) -> None:
        self.uri = without_credentials(uri)
        self._address = absolute(uri)
        self._artifact_root = artifact_root.absolute()
        self._public_url = public_url
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="mlflow")
        self._first_use = threading.Lock()
        self._opening = threading.Lock()
        self._client: Any = None

    async def open_run(self, experiment: str, run_name: str, tags: Mapping[str, str]) -> str:
        """Create the run of an attempt or find it again; after it, the tables are there for the job to use."""
        search = histories.same_attempt(tags)
        return await self._in_thread(lambda: self._open_run(experiment, run_name, tags, search))

    async def find_run(self, tags: Mapping[str, str]) -> str | None:
        """The first run of an attempt, in whatever experiment it was made."""
        search = histories.same_attempt(tags)
        return await self._in_thread(lambda: self._find_run(search))

    async def read_run(self, run_id: str, *, max_points: int = 5000) -> Run:
        """The run with its histories, thinned to ``max_points`` each, and its artifacts."""
        return await self._in_thread(lambda: self._read_run(run_id, max_points))

    async def last_values(self, run_id: str) -> Mapping[str, Point]:
        """The newest point of every metric."""
        return await self._in_thread(lambda: _newest(self._connected().get_run(run_id)))

    async def close_run(self, run_id: str, status: RunStatus) -> None:
        """Set the end state, where the job did not set FAILED or KILLED itself."""
        histories.must_be_an_end(status)
        await self._in_thread(lambda: self._close_run(run_id, status))

    async def open_runs(self) -> Mapping[str, str]:
        """Gamma's runs that MLflow still calls RUNNING: run id → job id."""
        return await self._in_thread(self._open_runs)

    async def promote(self, repository: str, run_id: str, tags: Mapping[str, str]) -> Champion:
        """Make a run the champion of its repository; a run that is it already stays as it is."""
        return await self._in_thread(lambda: self._promote(model_name(repository), run_id, tags))

    async def champion(self, repository: str) -> Champion | None:
        """The run that the alias points to."""
        return await self._in_thread(lambda: self._champion(model_name(repository)))

    def run_url(self, experiment_id: str, run_id: str) -> str | None:
        """The run's page, if somebody serves MLflow's pages over this store."""
        return run_page(self._public_url, experiment_id, run_id)

    async def close(self) -> None:
        """Close the database's connections and end the threads; a call that still runs is not waited for."""
        if self._client is not None:
            self._threads.submit(_disconnect, self._client)
        self._threads.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        # Never the loop's default executor: that one belongs to the durable engine.
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._explained, work)
        try:
            return await asyncio.wait_for(future, _CALL_SECONDS)
        except TimeoutError:
            raise TrackingError(f"MLflow at {self.uri} did not answer within {_CALL_SECONDS:.0f} seconds.") from None

    def _explained(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except TrackingError:
            raise
        except (OSError, sqlite3.Error, sqlalchemy.exc.SQLAlchemyError) as error:
            raise TrackingError(f"MLflow's store at {self.uri} can't be used: {plain(str(error))}.") from error
        except Exception as error:
            if type(error).__module__.startswith("mlflow."):
                raise by_code(str(getattr(error, "error_code", "")), str(error), self.uri) from error
            # Plugins, drivers and cloud SDKs raise what they like; a job must not die of a type we didn't foresee.
            said = plain(str(error)) or type(error).__name__
            raise TrackingError(f"MLflow's store at {self.uri} can't be used: {said}.") from error

    def _connected(self) -> Any:
        """MLflow's client; the first call imports MLflow and makes the tables."""
        with self._first_use:
            if self._client is None:
                _quieten(self._address)
                from mlflow import MlflowClient

                if is_sql(self._address):
                    with prepared(self._address):
                        client = MlflowClient(self._address)
                        client.search_experiments(max_results=1)
                else:
                    if self._address.startswith("arn:"):
                        _prepare_managed(self._address)
                    client = MlflowClient(self._address)
                self._client = client
            return self._client

    def _open_run(self, experiment: str, run_name: str, tags: Mapping[str, str], search: str) -> str:
        client = self._connected()
        # Held in the thread, not on the loop: a caller that gives up half way must not let a second one in.
        with self._opening:
            experiment_id = self._experiment_id(client, experiment)
            found = client.search_runs([experiment_id], search, max_results=1, order_by=["attributes.start_time ASC"])
            if found:
                return str(found[0].info.run_id)
            return str(client.create_run(experiment_id, tags=dict(tags), run_name=run_name).info.run_id)

    def _experiment_id(self, client: Any, repository: str) -> str:
        name = experiment_name(self._address, repository)
        for _ in range(2):
            experiment = client.get_experiment_by_name(name)
            if experiment is not None:
                if experiment.lifecycle_stage == "deleted":
                    client.restore_experiment(experiment.experiment_id)
                return str(experiment.experiment_id)
            try:
                return str(client.create_experiment(name, **self._artifact_location(name)))
            except Exception as error:
                if not self._means(error, NameTaken):
                    raise
        raise TrackingError(f"MLflow at {self.uri} neither finds nor creates the experiment {name}.")

    def _promote(self, name: str, run_id: str, tags: Mapping[str, str]) -> Champion:
        client = self._connected()
        with self._opening:
            now = self._champion(name)
            if now is not None and now.run_id == run_id:
                return now
            version = self._version(client, name, run_id)
            for key, value in tags.items():  # before the alias, so that nobody finds a champion without them
                client.set_model_version_tag(name, version, key, value)
            client.set_registered_model_alias(name, ALIAS, version)
        return Champion(run_id, dict(tags))

    def _champion(self, name: str) -> Champion | None:
        client = self._connected()
        try:
            version = client.get_registered_model(name).aliases.get(ALIAS)
            found = client.get_model_version(name, version) if version is not None else None
        except Exception as error:
            if not self._means(error, NotFound):
                raise
            return None
        return Champion(str(found.run_id or ""), dict(found.tags)) if found is not None else None

    def _version(self, client: Any, name: str, run_id: str) -> str:
        """The version of the repository's model that is this run; both are made if they are not there."""
        try:
            client.create_registered_model(name)
        except Exception as error:
            if not self._means(error, NameTaken):
                raise
        for found in client.search_model_versions(versions_of_run(name, run_id), max_results=1):
            return str(found.version)
        source = client.get_run(run_id).info.artifact_uri
        return str(client.create_model_version(name, source, run_id, await_creation_for=0).version)

    def _means(self, error: Exception, refusal: type[TrackingError]) -> bool:
        return isinstance(by_code(str(getattr(error, "error_code", "")), "", self.uri), refusal)

    def _artifact_location(self, name: str) -> dict[str, str]:
        # Without it MLflow writes below the current directory; managed services choose for themselves.
        if not (is_sql(self._address) or is_folder(self._address)):
            return {}
        folder = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:80]}-{sha256(name.encode()).hexdigest()[:8]}"
        return {"artifact_location": (self._artifact_root / folder).as_uri()}

    def _read_run(self, run_id: str, max_points: int) -> Run:
        client = self._connected()
        run = client.get_run(run_id)
        newest = _newest(run)
        limit = histories.points_each(max_points, len(newest))
        store = client._tracking_client.store  # the public call reads all points: 2 s instead of 0.2 for 50,000
        metrics: dict[str, Sequence[Point]] = {}
        for name in sorted(newest):
            if len(metrics) >= histories.MAX_METRICS:
                metrics[name] = [newest[name]]
                continue
            sampled = store.get_metric_history_bulk_interval([run_id], name, limit, None, None)
            points = (histories.point(one.step, one.value, one.timestamp) for one in sampled)
            metrics[name] = histories.in_order(points, limit)
        return Run(
            run_id=run_id,
            experiment_id=str(run.info.experiment_id),
            status=str(run.info.status),
            params=dict(run.data.params),
            metrics=metrics,
            artifacts=_artifacts(client, run_id),
        )

    def _close_run(self, run_id: str, status: RunStatus) -> None:
        client = self._connected()
        info = client.get_run(run_id).info
        if histories.may_close(info.status, status) and info.lifecycle_stage == "active":
            client.set_terminated(run_id, status.value, int(time.time() * 1000))

    def _find_run(self, search: str) -> str | None:
        client = self._connected()
        ids = self._experiment_ids(client)
        found = client.search_runs(ids, search, max_results=1, order_by=["attributes.start_time ASC"])
        return str(found[0].info.run_id) if found else None

    def _experiment_ids(self, client: Any) -> list[str]:
        experiments = _all_pages(lambda token: client.search_experiments(max_results=_PAGE, page_token=token))
        return [one.experiment_id for one in experiments]

    def _open_runs(self) -> Mapping[str, str]:
        client = self._connected()
        ids = self._experiment_ids(client)
        search = histories.running_jobs()
        runs = _all_pages(lambda token: client.search_runs(ids, search, max_results=_PAGE, page_token=token))
        return {str(run.info.run_id): str(run.data.tags["gamma.job"]) for run in runs}


def _quieten(uri: str) -> None:
    """MLflow reads these from the bot's own environment when it is imported; who set them keeps them."""
    wishes = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_CONFIGURE_LOGGING": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    }
    if is_folder(uri):
        wishes["MLFLOW_ALLOW_FILE_STORE"] = "true"
    for name, value in wishes.items():
        os.environ.setdefault(name, value)
    # What MLflow logs as an error, SQL included, it raises as well. Alembic tells of every migration, over fifty.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _prepare_managed(arn: str) -> None:
    """Make ready what speaks to an MLflow that SageMaker manages.

    Its plugin signs for whatever server is the process's own, and warns of its own deprecated calls each time.
    """
    import mlflow

    mlflow.set_tracking_uri(arn)
    warnings.filterwarnings("ignore", message=".*SageMakerMLflowHostMetadataProvider", category=DeprecationWarning)


def _newest(run: Any) -> dict[str, Point]:
    # The public .metrics has the values alone; the message behind it has their steps and times.
    return {one.key: histories.point(one.step, one.value, one.timestamp) for one in run.data.to_proto().metrics}


def _artifacts(client: Any, run_id: str) -> list[tuple[str, int]]:
    walk = histories.Walk()
    try:
        while (folder := walk.next_folder()) is not None:
            entries = client.list_artifacts(run_id, folder or None)
            walk.add(folder, [(one.path, bool(one.is_dir), int(one.file_size or 0)) for one in entries])
    except Exception as error:  # whatever the artifact store's library raises: the metrics are worth more
        _log.warning("tracking.artifacts_unreadable", run=run_id, reason=plain(str(error)))
    return walk.files


def _all_pages(fetch: Callable[[str | None], Any]) -> list[Any]:
    everything: list[Any] = []
    token: str | None = None
    while True:
        page = fetch(token)
        everything += page
        token = page.token or None
        if token is None:
            return everything


def _disconnect(client: Any) -> None:
    engine = getattr(client._tracking_client.store, "engine", None)
    if engine is not None:
        engine.dispose()
