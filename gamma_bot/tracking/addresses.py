"""MLflow's addresses: what may be shown of a tracking URI, what a job is given, where a person looks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from gamma_bot.tracking.runs import TrackingError

_SQLITE = "sqlite:///"
_SECRET_WORDS = ("password", "passwd", "token", "secret")


def tracking_environment(uri: str, run_id: str, experiment: str) -> dict[str, str]:
    """What a training job finds in its environment, so that ``mlflow.start_run()`` continues Gamma's run.

    Whatever names a user or a password is taken out of the URI: a job that must log in brings credentials of its
    own. The run id decides; the experiment's name is for scripts that call ``set_experiment`` with it, since MLflow
    refuses to continue a run from another experiment.
    """
    return {**_surroundings(uri, experiment), "MLFLOW_RUN_ID": run_id}


def adopting_environment(uri: str, experiment: str, tags: Mapping[str, str]) -> dict[str, str]:
    """What a training job finds in its environment that makes a run of its own.

    MLflow puts the tags on whatever run it makes, by which Gamma finds it.
    """
    return {**_surroundings(uri, experiment), "MLFLOW_RUN_CONTEXT": json.dumps(dict(tags))}


def run_page(base: str | None, experiment_id: str, run_id: str) -> str | None:
    """The run's page below ``base``. MLflow's pages live behind ``#``; without it they are a 404."""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}" if base else None


def experiment_name(uri: str, repository: str) -> str:
    """The experiment that holds a repository's runs: its full name, but where MLflow wants a workspace path."""
    if uri.startswith("databricks"):
        return "/Shared/" + repository.replace("/", "-")
    return repository


def without_credentials(uri: str) -> str:
    """The URI without user, password and secret-looking query values: fit for a log and for a job."""
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    netloc = parts.netloc.rpartition("@")[2]
    query = parts.query
    if query:
        pairs = parse_qsl(query, keep_blank_values=True)
        query = urlencode([(key, value) for key, value in pairs if not any(w in key.lower() for w in _SECRET_WORDS)])
    if (netloc, query) == (parts.netloc, parts.query):
        return uri  # urlunsplit would turn sqlite:////data into sqlite://data
    return urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))


def credentials(uri: str) -> tuple[str, str] | None:
    """User and password as written in an http(s) URI, percent-decoded; ``None`` if there are none."""
    userinfo, at, _ = urlsplit(uri).netloc.rpartition("@")
    if not at:
        return None
    user, _, password = userinfo.partition(":")
    return unquote(user), unquote(password)


def absolute(uri: str) -> str:
    """A SQLite URI or a folder with its path made absolute: a job does not run in the bot's directory.

    Raises:
        TrackingError: the URI names a database in memory, which no job could reach.
    """
    if uri.startswith(_SQLITE):
        path = uri.removeprefix(_SQLITE)
        if path in ("", ":memory:"):
            raise TrackingError("MLflow's database must be a file: write sqlite:////absolute/path/mlflow.db.")
        return _SQLITE + str(Path(path).absolute())
    if is_folder(uri) and not uri.startswith("file:"):
        return Path(uri).absolute().as_uri()
    return uri


def is_http(uri: str) -> bool:
    """An MLflow server, spoken to by its REST API."""
    return uri.startswith(("http://", "https://"))


def is_sql(uri: str) -> bool:
    """A database that MLflow's own code opens in this process."""
    return uri.partition(":")[0].partition("+")[0] in ("sqlite", "postgresql", "mysql", "mssql")


def is_folder(uri: str) -> bool:
    """MLflow's old store of plain files."""
    return uri.startswith("file:") or (":" not in uri and uri != "databricks")


def _surroundings(uri: str, experiment: str) -> dict[str, str]:
    environment = {
        "MLFLOW_TRACKING_URI": without_credentials(absolute(uri)),
        "MLFLOW_EXPERIMENT_NAME": experiment_name(uri, experiment),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        # MLflow's own default is 120 seconds and seven tries: a dead server would hold a paid machine for hours.
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    }
    if is_folder(uri):
        environment["MLFLOW_ALLOW_FILE_STORE"] = "true"
    return environment
