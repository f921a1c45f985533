"""One MLflow run per attempt: opened once, read whole, closed truthfully; in this process and on a real server."""

from __future__ import annotations

import asyncio
import math
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from gamma_bot.tracking import addresses, histories, refusals, registry
from gamma_bot.tracking.embedded import MlflowTracking
from gamma_bot.tracking.open import open_tracking
from gamma_bot.tracking.rest import RestTracking
from gamma_bot.tracking.runs import RunStatus, Tracking, TrackingError
from tests.harness import CODE
from tests.mlflow_forks import copy_empty_database, start_script

REPOSITORY = "acme/widgets"


@dataclass
class Store:
    """A place that keeps runs, and a way to write into it as a job would."""

    uri: str
    artifact_root: Path

    def open(self) -> Tracking:
        return open_tracking(self.uri, artifact_root=self.artifact_root, public_url=None)

    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    def log(self, run_id: str, name: str, *points: tuple[int, float], start_ms: int = 1000) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, value, start_ms + index, step) for index, (step, value) in enumerate(points)]
        client = self.client()
        for start in range(0, len(metrics), 1000):
            client.log_batch(run_id, metrics=metrics[start : start + 1000])


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, mlflow_folder: Path) -> Store:
    folder = tmp_path_factory.mktemp("embedded # é")
    copy_empty_database(mlflow_folder, folder / "mlflow" / "mlflow.db")
    return Store(f"sqlite:///{folder}/mlflow/mlflow.db", folder / "artifacts")


@pytest.fixture(scope="module")
def server(mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(mlflow_uri, tmp_path_factory.mktemp("unused"))


@pytest.fixture(scope="module", params=["embedded", "server"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def tracking(store: Store) -> AsyncIterator[Tracking]:
    opened = store.open()
    yield opened
    await opened.close()


Open = Callable[..., Awaitable[str]]


@pytest.fixture
def open_run(tracking: Tracking, request: pytest.FixtureRequest) -> Open:
    """Open the run of an attempt of a job named like the test."""

    async def opened(attempt: int = 1, experiment: str = REPOSITORY, job: str = request.node.name) -> str:
        tags = {"gamma.job": job, "gamma.attempt": str(attempt), "gamma.sha": "abc1234"}
        return await tracking.open_run(experiment, f"{job} #{attempt}", tags)

    return opened


async def test_an_attempt_has_one_run_however_often_and_from_wherever_it_is_opened(
    store: Store, open_run: Open
) -> None:
    at_once = await asyncio.gather(*(open_run() for _ in range(5)))

    restarted = store.open()
    name = store.client().get_run(at_once[0]).data.tags["gamma.job"]
    afterwards = await restarted.open_run(REPOSITORY, "another name", {"gamma.job": name, "gamma.attempt": "1"})
    await restarted.close()

    assert {*at_once, afterwards} == {at_once[0]}
    assert await open_run(attempt=2) != at_once[0]


async def test_a_new_run_carries_its_name_its_tags_and_is_running(store: Store, open_run: Open) -> None:
    run = store.client().get_run(await open_run())

    assert run.info.status == "RUNNING"
    assert run.info.run_name == f"{run.data.tags['gamma.job']} #1"
    assert run.data.tags["gamma.sha"] == "abc1234"
    assert store.client().get_experiment(run.info.experiment_id).name == REPOSITORY


async def test_attempts_that_need_a_new_experiment_at_the_same_time_share_it(store: Store, open_run: Open) -> None:
    name = "acme/new-today"

    runs = await asyncio.gather(*(open_run(attempt, experiment=name) for attempt in range(1, 5)))

    experiment = store.client().get_experiment_by_name(name)
    assert {store.client().get_run(run).info.experiment_id for run in runs} == {experiment.experiment_id}
    assert len(set(runs)) == 4


async def test_an_experiment_that_someone_deleted_comes_back(store: Store, open_run: Open) -> None:
    name = "acme/deleted"
    before = await open_run(experiment=name)
    experiment_id = store.client().get_run(before).info.experiment_id
    store.client().delete_experiment(experiment_id)

    after = await open_run(attempt=2, experiment=name)

    assert store.client().get_run(after).info.experiment_id == experiment_id
    assert store.client().get_experiment(experiment_id).lifecycle_stage == "active"


@pytest.mark.parametrize("name", ["Überall/naïve & co + 100% #1?", 'it\'s/"quoted"', "../../etc/passwd", "a/b/../c"])
async def test_an_experiment_may_have_any_name(store: Store, tracking: Tracking, open_run: Open, name: str) -> None:
    run_id = await open_run(experiment=name, job="odd-name")
    assert run_id == await open_run(experiment=name, job="odd-name")
    store.client().log_text(run_id, "weights", "model.bin")

    assert (await tracking.read_run(run_id)).artifacts == [("model.bin", 7)]
    if isinstance(tracking, MlflowTracking):
        files = [path for path in store.artifact_root.rglob("model.bin") if run_id in path.parts]
        assert len(files) == 1, "artifacts stay below the artifact root"


async def test_a_run_is_read_with_every_point_in_order_even_what_is_not_a_number(
    store: Store, tracking: Tracking, open_run: Open
) -> None:
    run_id = await open_run()
    store.log(run_id, "val/loss: a-b_c.d 1", (2, 0.25), (0, math.nan), (1, math.inf), (3, -math.inf), (3, 0.5))
    store.client().log_param(run_id, "lr", 0.1)

    run = await tracking.read_run(run_id)

    assert run.run_id == run_id
    assert run.status == "RUNNING"
    assert run.params == {"lr": "0.1"}
    points = run.metrics["val/loss: a-b_c.d 1"]
    assert [point.step for point in points] == [0, 1, 2, 3, 3]
    assert str([point.value for point in points]) == "[nan, inf, 0.25, -inf, 0.5]"
    assert [point.timestamp for point in points] == [1.001, 1.002, 1.0, 1.003, 1.004]


async def test_a_long_history_comes_whole_or_thinned_with_both_ends(
    store: Store, tracking: Tracking, open_run: Open
) -> None:
    run_id = await open_run()
    store.log(run_id, "loss", *((step, 1 / (step + 1)) for step in range(5000)))

    whole = (await tracking.read_run(run_id)).metrics["loss"]
    thinned = (await tracking.read_run(run_id, max_points=100)).metrics["loss"]

    assert [point.step for point in whole] == list(range(5000))
    assert len(thinned) <= 100
    assert len(thinned) >= 90
    assert (thinned[0], thinned[-1]) == (whole[0], whole[-1])
    assert max(right.step - left.step for left, right in pairwise(thinned)) <= 150


async def test_progress_asks_only_for_the_newest_point_of_each_metric(
    store: Store, tracking: Tracking, open_run: Open
) -> None:
    run_id = await open_run()
    assert await tracking.last_values(run_id) == {}
    store.log(run_id, "reward", (0, 1.0), (10, 3.0), (20, 2.0))
    store.log(run_id, "broken", (0, 1.0), (7, math.nan))

    last = await tracking.last_values(run_id)

    assert (last["reward"].step, last["reward"].value) == (20, 2.0)
    assert last["broken"].step == 7
    assert math.isnan(last["broken"].value)


async def test_artifacts_are_found_in_folders_with_their_sizes(
    store: Store, tracking: Tracking, open_run: Open
) -> None:
    run_id = await open_run()
    client = store.client()
    client.log_text(run_id, "12345", "model/weights.bin")
    client.log_text(run_id, "1", "notes é.txt")
    client.log_text(run_id, "", "a/b/c/d/e/deep.txt")
    client.log_text(run_id, "too deep to look for", "a/b/c/d/e/f/deeper.txt")

    run = await tracking.read_run(run_id)

    assert set(run.artifacts) == {("notes é.txt", 1), ("model/weights.bin", 5), ("a/b/c/d/e/deep.txt", 0)}


@pytest.mark.parametrize(
    ("said_by_the_job", "asked", "in_the_end"),
    [
        (None, RunStatus.FINISHED, "FINISHED"),
        (None, RunStatus.KILLED, "KILLED"),
        ("FAILED", RunStatus.FINISHED, "FAILED"),
        ("KILLED", RunStatus.FAILED, "KILLED"),
        ("FINISHED", RunStatus.FINISHED, "FINISHED"),
        ("FINISHED", RunStatus.FAILED, "FAILED"),  # MLflow's exit hook says FINISHED to sys.exit(1), too
    ],
)
async def test_a_run_is_closed_but_never_over_what_the_job_said_of_itself(
    store: Store, tracking: Tracking, open_run: Open, said_by_the_job: str | None, asked: RunStatus, in_the_end: str
) -> None:
    run_id = await open_run()
    if said_by_the_job:
        store.client().set_terminated(run_id, said_by_the_job, end_time=5000)

    await tracking.close_run(run_id, asked)

    info = store.client().get_run(run_id).info
    assert info.status == in_the_end
    assert info.end_time == 5000 if said_by_the_job == in_the_end else info.end_time > 5000


async def test_a_run_that_someone_deleted_needs_no_closing(store: Store, tracking: Tracking, open_run: Open) -> None:
    run_id = await open_run()
    store.client().delete_run(run_id)

    await tracking.close_run(run_id, RunStatus.FAILED)

    assert store.client().get_run(run_id).info.status == "RUNNING"


async def test_a_promoted_run_is_the_champion_and_promoting_it_again_changes_nothing(
    store: Store, tracking: Tracking, open_run: Open
) -> None:
    repository = f"acme/bridge-{store.uri[:4]}.py"
    assert await tracking.champion(repository) is None, "nobody promoted one"
    first, second = await open_run(attempt=1), await open_run(attempt=2)

    await asyncio.gather(*(tracking.promote(repository, first, {"gamma.promoted_by": "ada"}) for _ in range(3)))
    again = await tracking.promote(repository, first, {"gamma.promoted_by": "eve"})
    assert (again.run_id, again.tags["gamma.promoted_by"]) == (first, "ada")

    await tracking.promote(repository, second, {"gamma.promoted_by": "bob"})
    await tracking.promote(repository, first, {"gamma.promoted_by": "eve"})
    found = await tracking.champion(repository)

    assert found is not None
    assert (found.run_id, found.tags["gamma.promoted_by"]) == (first, "eve")
    versions = store.client().search_model_versions(f"name = '{registry.model_name(repository)}'")
    assert sorted(one.run_id for one in versions) == sorted([first, second]), "one version per run"
    assert await tracking.champion("acme/another") is None


async def test_a_run_that_is_gone_can_not_be_promoted(tracking: Tracking) -> None:
    with pytest.raises(TrackingError):
        await tracking.promote("acme/gone", "0" * 32, {})
    assert await tracking.champion("acme/gone") is None


async def test_orphans_are_found_and_closed_and_other_peoples_runs_left_alone(
    store: Store, tracking: Tracking, open_run: Open
) -> None:
    client = store.client()
    orphan = await open_run(job="orphan", experiment="acme/orphans")
    ended = await open_run(job="ended", experiment="acme/orphans")
    await tracking.close_run(ended, RunStatus.FINISHED)
    foreign = client.create_run(client.get_run(orphan).info.experiment_id).info.run_id

    found = await tracking.open_runs()
    await tracking.close_run(orphan, RunStatus.KILLED)

    assert found[orphan] == "orphan"
    assert not {ended, foreign} & set(found)
    assert orphan not in await tracking.open_runs()
    assert client.get_run(foreign).info.status == "RUNNING"


async def test_an_unknown_run_is_an_error_that_says_so(tracking: Tracking) -> None:
    missing = "0" * 32

    for call in (
        tracking.read_run(missing),
        tracking.last_values(missing),
        tracking.close_run(missing, RunStatus.FAILED),
    ):
        with pytest.raises(refusals.NotFound, match=f"Run with id={missing} not found") as raised:
            await call
        assert "SQL" not in str(raised.value)


async def test_tags_that_do_not_name_an_attempt_are_refused_before_anything_is_made(tracking: Tracking) -> None:
    for tags in ({}, {"gamma.job": "j"}, {"gamma.job": "' OR 1=1", "gamma.attempt": "1"}):
        with pytest.raises(ValueError, match=r"gamma\."):
            await tracking.open_run(REPOSITORY, "run", tags)


JOB = """
import mlflow, os, pathlib, sys
with mlflow.start_run() as run:
    mlflow.log_param("worker", sys.argv[1])
    for step in range(30):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    pathlib.Path("weights.txt").write_text("w")
    mlflow.log_artifact("weights.txt")
if sys.argv[1] == "bad":
    sys.exit(1)
"""


async def test_jobs_continue_the_bots_runs_while_the_bot_reads_them(
    store: Store, tracking: Tracking, open_run: Open, mlflow_folder: Path, tmp_path: Path
) -> None:
    names = ["bad"] if addresses.is_http(store.uri) else ["good", "bad"]
    workers = {name: await open_run(job=name) for name in names}
    jobs = []
    for name, run_id in workers.items():
        (tmp_path / name).mkdir()
        inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        environment = addresses.tracking_environment(store.uri, run_id, REPOSITORY)
        jobs.append(start_script(mlflow_folder, JOB, [name], inherited | environment, tmp_path / name))
    ends = asyncio.gather(*(job.communicate() for job in jobs))
    while not ends.done():
        for run_id in workers.values():
            await tracking.last_values(run_id)
        await asyncio.wait([ends], timeout=0.05)

    assert [job.returncode for job in jobs] == [int(name == "bad") for name in names], await ends
    await tracking.close_run(workers["bad"], RunStatus.FAILED)
    for name, run_id in workers.items():
        run = await tracking.read_run(run_id)
        assert run.params == {"worker": name}
        assert [point.step for point in run.metrics["loss"]] == list(range(30))
        assert run.artifacts == [("weights.txt", 1)]
        assert run.status == ("FINISHED" if name == "good" else "FAILED")
    assert not list(tmp_path.rglob("mlruns")), "nothing is written below the current directory"


BOT = """
import asyncio, pathlib, sys
from gamma_bot.tracking.open import open_tracking

async def start(uri, name):
    import mlflow.store.tracking.sqlalchemy_store  # so that both reach the empty database at the same time
    print(flush=True)
    input()
    tracking = open_tracking(uri, artifact_root=pathlib.Path(), public_url=None)
    print(await tracking.open_run("acme/widgets", "run", {"gamma.job": name, "gamma.attempt": "1"}))
    await tracking.close()

asyncio.run(start(*sys.argv[1:]))
"""


async def test_two_bots_that_start_at_once_make_the_tables_once(mlflow_folder: Path, tmp_path: Path) -> None:
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401, as in the other process: both are ready to write

    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    bot = start_script(mlflow_folder, BOT, [uri, "job0"], {"PYTHONPATH": str(CODE)}, tmp_path)
    await bot.read_line()
    here = MlflowTracking(uri, artifact_root=tmp_path)

    (other, said), own = await asyncio.gather(
        bot.communicate(b"go\n"), here.open_run("acme/widgets", "run", {"gamma.job": "job1", "gamma.attempt": "1"})
    )

    assert bot.returncode == 0, said.decode()
    assert await here.open_runs() == {other.decode().strip(): "job0", own: "job1"}
    await here.close()


async def test_an_unusable_database_is_said_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is not a database" * 100)
    broken = MlflowTracking(f"sqlite:///{tmp_path}/mlflow.db", artifact_root=tmp_path)
    absent = MlflowTracking("postgresql+psycopg://gamma:hunter2@127.0.0.1:1/mlflow", artifact_root=tmp_path)

    with pytest.raises(TrackingError, match="file is not a database"):
        await broken.open_runs()
    with pytest.raises(TrackingError, match="can't be used") as raised:
        await absent.open_runs()

    assert "hunter2" not in str(raised.value) + absent.uri
    assert absent.uri == "postgresql+psycopg://127.0.0.1:1/mlflow"
    for tracking in (broken, absent):
        await tracking.close()


async def test_a_server_that_is_down_is_said_at_once_and_in_plain_words() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        port = held.getsockname()[1]
        down = RestTracking(f"http://gamma:hunter2@127.0.0.1:{port}")
        with pytest.raises(TrackingError) as raised:
            await asyncio.wait_for(down.open_runs(), 5)
        await down.close()

    assert str(raised.value) == f"MLflow at http://127.0.0.1:{port} can't be reached: Connection refused."


class EverythingIsHere(AbstractResolver):
    """Resolves every name to this machine, as a compose network does for its services."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is held."""


async def test_a_server_that_does_not_know_its_own_name_is_told_how_to(server: Store) -> None:
    port = server.uri.rpartition(":")[2]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=EverythingIsHere())) as session:
        tracking = open_tracking(
            f"http://mlflow.compose:{port}", artifact_root=Path(), public_url=None, http_session=session
        )
        with pytest.raises(TrackingError, match="Invalid Host header") as raised:
            await tracking.open_runs()
        await tracking.close()
        assert not session.closed, "a session that was handed in is not ours to close"

    assert f"--allowed-hosts mlflow.compose:{port}" in str(raised.value)


async def test_credentials_in_the_address_log_in_and_are_shown_nowhere(aiohttp_server: Any) -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"run": {"info": {"experiment_id": "1", "status": "RUNNING"}, "data": {}}})

    app = web.Application()
    app.router.add_get("/ml/api/2.0/mlflow/runs/get", answer)
    running = await aiohttp_server(app)
    tracking = RestTracking(f"http://gamma:hunter%402@127.0.0.1:{running.port}/ml/")

    assert await tracking.last_values("r1") == {}
    await tracking.close()

    assert seen == [aiohttp.encode_basic_auth("gamma", "hunter@2")]
    assert tracking.uri == f"http://127.0.0.1:{running.port}/ml"
    assert tracking.run_url("1", "r1") == f"http://127.0.0.1:{running.port}/ml/#/experiments/1/runs/r1"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (302, "", "let Gamma past the login"),
        (401, "You are not authenticated.", r"401 \(You are not authenticated\)\. Put name and password"),
        (404, "<html>nginx</html>", r"answered 404\. Check the path"),
        (200, "<html>Welcome</html>", "not JSON"),
        (200, "{}", "left run out of its answer"),
        (503, "upstream https://u:hunter2@inner/ is down", r"503 \(upstream https://inner/ is down\)"),
        (400, '{"error_code": "BAD_REQUEST", "message": "(x.IntegrityError) twice\\n[SQL: INSERT]"}', "refused: twice"),
    ],
)
async def test_whatever_stands_in_front_of_the_server_is_explained(
    aiohttp_server: Any, status: int, body: str, words: str
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers={"Location": "https://login.example/"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    running = await aiohttp_server(app)
    tracking = RestTracking(f"http://127.0.0.1:{running.port}")

    with pytest.raises(TrackingError, match=words) as raised:
        await tracking.last_values("r1")
    await tracking.close()

    assert "hunter2" not in str(raised.value)
    assert "INSERT" not in str(raised.value)


async def test_a_connection_that_breaks_is_tried_once_more_but_a_run_is_not_created_twice(aiohttp_server: Any) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        call = request.path.rpartition("mlflow/")[2]
        asked.append(call)
        if asked.count(call) == 1 or call == "runs/create":
            assert request.transport is not None
            request.transport.close()
        match call:
            case "experiments/get-by-name":
                return web.json_response({"experiment": {"experiment_id": "1"}})
            case _:
                return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    running = await aiohttp_server(app)
    tracking = RestTracking(f"http://127.0.0.1:{running.port}")

    with pytest.raises(TrackingError, match="broke the connection off"):
        await tracking.open_run(REPOSITORY, "run", {"gamma.job": "j", "gamma.attempt": "1"})
    await tracking.close()

    assert asked == [*["experiments/get-by-name"] * 2, *["runs/search"] * 2, "runs/create"]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://user:p%40ss@ml.example/base?x=1", "https://ml.example/base?x=1"),
        ("http://user:p@ss@ml.example:5000", "http://ml.example:5000"),
        ("postgresql://u:hunter2@db:5432/mlflow?sslmode=require&password=x", "postgresql://db:5432/mlflow?sslmode=require"),
        ("sqlite:////data/a@b/mlflow.db", "sqlite:////data/a@b/mlflow.db"),
        ("databricks://profile", "databricks://profile"),
        ("arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/x",) * 2,
    ],
)  # fmt: skip
def test_a_job_is_told_where_its_run_is_but_no_credentials(uri: str, shown: str) -> None:
    environment = addresses.tracking_environment(uri, "r1", REPOSITORY)

    assert environment["MLFLOW_TRACKING_URI"] == shown
    assert environment["MLFLOW_RUN_ID"] == "r1"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_job_finds_a_relative_database_from_its_own_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    environment = addresses.tracking_environment("sqlite:///runs/mlflow.db", "r1", REPOSITORY)

    assert environment["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/runs/mlflow.db"
    with pytest.raises(TrackingError, match="must be a file"):
        open_tracking("sqlite:///:memory:", artifact_root=tmp_path, public_url=None)


def test_a_run_has_a_page_where_somebody_serves_pages(tmp_path: Path) -> None:
    def page(uri: str, public_url: str | None) -> str | None:
        return open_tracking(uri, artifact_root=tmp_path, public_url=public_url).run_url("3", "r1")

    database = f"sqlite:///{tmp_path}/mlflow.db"
    assert page(database, None) is None
    assert page(database, "https://ml.example/") == "https://ml.example/#/experiments/3/runs/r1"
    assert page("http://u:p@mlflow:5000", None) == "http://mlflow:5000/#/experiments/3/runs/r1"
    assert page("http://mlflow:5000", "https://ml.example") == "https://ml.example/#/experiments/3/runs/r1"


async def test_an_address_that_mlflow_cannot_use_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    managed = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/x"
    for uri, words in ((managed, "[Cc]redentials"), ("mongodb://u:hunter2@db/x", "Use sqlite:")):
        tracking = open_tracking(uri, artifact_root=tmp_path, public_url=None)
        with pytest.raises(TrackingError, match=words) as raised:
            await tracking.open_runs()
        await tracking.close()
        assert "hunter2" not in str(raised.value)
    import mlflow

    mlflow.set_tracking_uri("")  # one that SageMaker manages is the process's own


def test_a_job_that_logs_without_measure_does_not_fill_the_memory() -> None:
    walk = histories.Walk()
    walk.add(walk.next_folder() or "", [(f"file{n}", False, 1) for n in range(1000)] + [("folder", True, 0)])
    circle = histories.Walk()
    circle.add(circle.next_folder() or "", [("a", True, 0)])
    circle.add(circle.next_folder() or "", [("a", True, 0), ("b", True, 0), ("../c", False, 1)])

    assert len(walk.files) == histories.MAX_FILES
    assert walk.next_folder() is None
    assert circle.next_folder() is None
    assert circle.files == []
    assert histories.points_each(5000, 10) == 5000
    assert histories.points_each(5000, 400) * 400 <= histories.MAX_POINTS_PER_RUN
