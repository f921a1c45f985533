"""What all story tests share: a key, an MLflow server, a Postgres, and one Gamma with a repository."""

from __future__ import annotations

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
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

import hypothesis
import pytest
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

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


def pytest_collection_finish() -> None:
    """Spare the collector what stays until the end, such as GitHub's published contract: it is a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


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
    if any({"mlflow_uri", "store"} & set(getattr(item, "fixturenames", ())) for item in request.session.items):
        request.getfixturevalue("_mlflow")


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
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private PostgreSQL cluster on a Unix socket, one for all test processes; its URL without a database."""
    if _postgres_programs() is None:
        pytest.skip("PostgreSQL's server programs are not on this machine; CI installs them")
    yield from _shared(tmp_path_factory, "postgres", _start_postgres)


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
def bot_forks() -> Iterator[BotForks]:
    """Starts bot processes that have their imports done."""
    forks = BotForks(CODE)
    yield forks
    forks.close()


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


def _shared(factory: pytest.TempPathFactory, name: str, start: object) -> Iterator[str]:
    """Start a server once for all of pytest's workers; the last one to leave stops it."""
    root = factory.getbasetemp()
    root = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root
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
        [
            Path(sys.executable).with_name("mlflow"),
            *("server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ],
        env={
            **os.environ,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
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
