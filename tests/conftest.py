"""What all story tests share: a key, an MLflow server, a Postgres, and one Gamma with a repository."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

import hypothesis
import pytest
import pytest_asyncio
import structlog
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gamma_bot.cli import gamma as command_line
from gamma_bot.sandbox.aws.client import AwsStandIn
from tests import applied_stack as terraform
from tests.bot_forks import BotForks
from tests.harness import CODE, Gamma, gamma_with_repository

# The same examples in every run: who changes nothing gets no other result. GAMMA_HYPOTHESIS=search finds new ones.
hypothesis.settings.register_profile("suite", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.register_profile("search", deadline=None, max_examples=500)
hypothesis.settings.load_profile(os.environ.get("GAMMA_HYPOTHESIS", "suite"))

_RAM_DISK = Path("/dev/shm")
_NEEDED_BYTES = 4 * 1024**3


def pytest_configure() -> None:
    """Keep the tests' stores in memory where there is plenty: hundreds of them each wait for their disk.

    What the tests kill are processes, never the machine, so that what reached a file is there all the same.
    """
    if os.access(_RAM_DISK, os.W_OK) and shutil.disk_usage(_RAM_DISK).free > _NEEDED_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_RAM_DISK))
    if sys.version_info < (3, 12):  # which does so by itself: no thread for each of the sandbox's Git processes
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what needs MLflow in its own process: importing it takes seconds, and so one process does it.

    What is killed again and again is killed on the second database where there is time for that.
    """
    items.sort(key=lambda item: item.path.name != "test_tracking.py")
    for item in items:
        if item.path.name == "test_invariants.py" and "[postgres" in item.name:
            item.add_marker(pytest.mark.thorough)


def pytest_collection_finish() -> None:
    """Spare the collector what stays until the end, such as GitHub's published contract: it is a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """What is garbage has been looked through once; pytest would do so three times more."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """Logs of a failing test as lines that can be read."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=False),
        ]
    )


@pytest.fixture(scope="session")
def app_key() -> str:
    """The App's private key: one for all tests, since making one takes half a second."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


@pytest.fixture(scope="session", autouse=True)
def _early(request: pytest.FixtureRequest) -> None:
    """MLflow takes ten seconds to boot: it does so while tests run that need none."""
    if any(
        {"mlflow_uri", "mlflow_folder", "store"} & set(getattr(item, "fixturenames", ()))
        for item in request.session.items
    ):
        request.getfixturevalue("_mlflow")
    wants_stack = any("applied_stack" in getattr(item, "fixturenames", ()) for item in request.session.items)
    if wants_stack and terraform.why_not() is None:  # over a minute, in which it mostly sleeps
        request.getfixturevalue("applied_stack")


@pytest.fixture(scope="session")
def _mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from _shared(tmp_path_factory, "mlflow", _start_mlflow)


@pytest.fixture(scope="session")
def mlflow_uri(_mlflow: str) -> str:
    """A real MLflow server, one for all test processes."""
    deadline = time.monotonic() + 80
    while True:
        try:
            urllib.request.urlopen(f"{_mlflow}/health", timeout=1).read()
            return _mlflow
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline, "the MLflow server did not start; its log is server.log below mlflow"
            time.sleep(0.1)


@pytest.fixture(scope="session")
def mlflow_folder(mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``tests/mlflow_forks.py`` takes scripts, and keeps an empty database."""
    return _root(tmp_path_factory) / "mlflow"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private PostgreSQL cluster on a Unix socket, one for all test processes; its URL without a database."""
    if _postgres_programs() is None:
        pytest.skip("PostgreSQL's server programs are not on this machine; CI installs them")
    yield from _shared(tmp_path_factory, "postgres", _start_postgres)


@pytest.fixture(scope="session")
def applied_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[terraform.AppliedStack]:
    """The AWS side of Gamma as Terraform makes it, once for all test processes."""
    if (reason := terraform.why_not()) is not None:
        pytest.skip(reason)
    for folder in _shared(tmp_path_factory, "applied_stack", terraform.start):
        yield terraform.AppliedStack(Path(folder))


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    """An empty database; its URL."""
    import psycopg

    name = f"gamma_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.replace("/DB?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgres.replace("/DB?", f"/{name}?")
    with psycopg.connect(postgres.replace("/DB?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """Both databases in turn; ``None`` is the embedded SQLite."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_database")


@pytest.fixture(scope="session")
def aws() -> Iterator[AwsStandIn]:
    """An AWS of this machine, one per test process; who uses it furnishes it anew (``tests/sagemaker_stage.py``)."""
    with AwsStandIn.started() as started:
        yield started


@pytest.fixture(scope="session")
def bot_forks() -> Iterator[BotForks]:
    """Starts bot processes that have their imports done."""
    forks = BotForks(CODE)
    yield forks
    forks.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Type a ``gamma`` command in an empty folder, with no GAMMA_… variable but these."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GAMMA_")]:
        monkeypatch.delenv(name)
    logging = structlog.get_config()

    def typed(*arguments: str, **environment: str) -> Result:
        result = CliRunner().invoke(command_line, list(arguments), env=environment, prog_name="gamma")
        assert "Traceback" not in result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    yield typed
    structlog.configure(**logging)  # a command sets logging up for its own standard error, which is closed by now


@pytest.fixture
async def stage(tmp_path: Path, app_key: str, mlflow_uri: str, bot_forks: BotForks) -> AsyncIterator[Gamma]:
    """A Gamma that is not started yet."""
    async with gamma_with_repository(tmp_path, app_key, mlflow_uri) as gamma:
        gamma.forks = bot_forks
        yield gamma


@pytest.fixture
async def gamma(stage: Gamma) -> Gamma:
    """A Gamma that runs."""
    await stage.start()
    return stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, app_key: str, mlflow_uri: str) -> AsyncIterator[Gamma]:
    """A Gamma that runs for all stories of a module: each takes a repository of its own by ``shared.elsewhere()``.

    Such a module says ``pytestmark = pytest.mark.asyncio(loop_scope="module")``, and none of its tests starts another
    Gamma: the durable engine is one per process.
    """
    async with gamma_with_repository(tmp_path_factory.mktemp("shared"), app_key, mlflow_uri) as gamma:
        await gamma.start()
        yield gamma


def _shared(factory: pytest.TempPathFactory, name: str, start: object) -> Iterator[str]:
    """Start a server once for all of pytest's workers; the last one to leave stops it."""
    root = _root(factory)
    note = root / f"{name}.json"
    with _locked(root / f"{name}.lock"):
        state = json.loads(note.read_text()) if note.exists() else None
        if state is None:
            process, address, folder = start(root / name)  # type: ignore[operator]
            state = {"process": process.pid, "address": address, "folder": str(folder), "users": 0}
        state["users"] += 1
        note.write_text(json.dumps(state))
    yield state["address"]
    with _locked(root / f"{name}.lock"):
        state = json.loads(note.read_text())
        state["users"] -= 1
        note.write_text(json.dumps(state))
        if state["users"] == 0:
            note.unlink()
            os.killpg(state["process"], signal.SIGTERM)
            shutil.rmtree(state["folder"], ignore_errors=True)


def _root(factory: pytest.TempPathFactory) -> Path:
    """The folder that all of pytest's workers share."""
    own = factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        flock(file, LOCK_EX)
        yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start_mlflow(folder: Path) -> tuple[subprocess.Popen[bytes], str, Path]:
    folder.mkdir(parents=True)
    port = _free_port()
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.mlflow_forks", str(folder), str(port)],
        cwd=CODE,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    return process, f"http://127.0.0.1:{port}", folder


def _postgres_programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


def _start_postgres(folder: Path) -> tuple[subprocess.Popen[bytes], str, Path]:
    programs = _postgres_programs()
    assert programs is not None
    # PostgreSQL refuses to run as root: then the account that Debian makes for it takes over, in a folder of its own.
    user = "postgres" if os.getuid() == 0 else None
    if user:
        folder = Path(tempfile.mkdtemp(prefix="gamma-test-", dir=pwd.getpwnam(user).pw_dir))
        shutil.chown(folder, user)
    else:
        folder.mkdir(parents=True)
    data = folder / "data"
    command = [programs / "initdb", "-D", data, "-U", "gamma", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(command, user=user, check=True, stdout=subprocess.DEVNULL, cwd="/")
    log = (folder / "server.log").open("wb")
    port = _free_port()
    process = subprocess.Popen(
        [
            *(programs / "postgres", "-D", data, "-p", str(port), "-k", folder),
            *(
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "max_connections=200",
                "-c",
                "shared_buffers=32MB",
                "-c",
                "fsync=off",
            ),
        ],
        user=user,
        stdout=log,
        stderr=log,
        start_new_session=True,
        cwd="/",
    )
    for _ in range(300):
        probe = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        if subprocess.run(probe, check=False).returncode == 0:
            return process, f"postgresql://gamma@127.0.0.1:{port}/DB?connect_timeout=10", folder
        time.sleep(0.05)
    raise AssertionError((folder / "server.log").read_text())
