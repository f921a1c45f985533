"""Thousands of jobs that train on SageMaker, as launches leave them: in Gamma's tables, at GitHub and at AWS.

One job of each repository is made by the product's own functions. The others are copies of its rows under other names:
to launch them one by one would take an hour.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from gamma_bot.jobs.engine import Engine, Steps, Values
from gamma_bot.jobs.expenses import Expenses
from gamma_bot.jobs.plan import Files, Plan, decide
from gamma_bot.jobs.presenter import Presenter
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.record import dump_facts, facts_of, new_job
from gamma_bot.jobs.verdict import judge_metrics
from gamma_bot.reporting.facts import State
from gamma_bot.sandbox.model import App, CheckRun, CheckSuite, Repository
from gamma_bot.sandbox.pushes import suite_for
from gamma_bot.sandbox.server import SandboxGitHub
from gamma_bot.store.database import Database
from gamma_bot.store.jobs import TAKEN, JobRecord, Jobs
from gamma_bot.store.launches import Launch, Launches, LaunchState
from gamma_bot.store.pulls import Pulls
from gamma_bot.store.spending import Spending
from gamma_bot.store.surfaces import Surfaces
from gamma_bot.store.tables import jobs as job_rows
from gamma_bot.store.tables import launches as launch_rows
from gamma_bot.store.tables import surfaces as surface_rows
from gamma_bot.tracking.runs import Point, Run
from gamma_bot.training.sagemaker.names import training_job_name
from gamma_bot.training.sagemaker.request import Place, training_job
from gamma_bot.training.trainer import Attempt, Origin, TrainingSpec
from tests.cheap_mlflow import METRICS, run_of

BUCKET, ROLE, REGION = "gamma-many", "arn:aws:iam::123456789012:role/gamma-training", "us-east-1"
CONFIG = b"""\
version: 1
train:
  executor: sagemaker
  command: python train.py
  hyperparameters: {lr: 0.1, epochs: 20}
  timeout: 24h
  sagemaker: {instance: ml.g5.xlarge, spot: true, image: 123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1}
metrics:
  score: {goal: maximize, primary: true}
"""
_PERMISSIONS = {"checks": "write", "contents": "read", "issues": "write", "metadata": "read", "pull_requests": "write"}
_EVENTS = ("push", "pull_request", "issue_comment")


@dataclass(frozen=True)
class Home:
    """A repository with its installation, and the commit that its jobs train."""

    repository: Repository
    installation_id: int
    main_sha: str
    sha: str


@dataclass(frozen=True)
class Many:
    """What there is.

    Attributes:
        jobs: the ids of those that run.
        requests: what CreateTrainingJob was sent for them.
    """

    app: App
    jobs: Sequence[str]
    requests: Sequence[Mapping[str, Any]]


async def launch_many(github: SandboxGitHub, data: Path, count: int, repositories: int, key: str) -> Many:
    """Write down that so many jobs run, in so many repositories with an installation each."""
    app = github.create_app("Gamma", _PERMISSIONS, _EVENTS, "http://127.0.0.1:9/webhook", "secret", private_key_pem=key)
    homes = [await _home(github, app, number) for number in range(repositories)]
    data.mkdir(parents=True, exist_ok=True)
    database = Database(f"sqlite:///{data / 'gamma.db'}")
    await asyncio.to_thread(database.create_tables)
    ids: list[str] = []
    requests: list[Mapping[str, Any]] = []
    try:
        for number, home in enumerate(homes):
            share = count // repositories + (number < count % repositories)
            if not share:
                continue
            await _earlier(database, home)
            first = await _launched(database, _push(home, 0), github)
            request = _request(first)
            copies = [(_push(home, each).job, f"models/idea-{each:05}") for each in range(1, share)]
            await database.write(lambda c, first=first, copies=copies: _copy(c, first, copies))  # type: ignore[misc]
            await _show_all(database, github, home, app)
            for job, branch in [(first.id, first.branch), *copies]:
                ids.append(job)
                requests.append(_renamed(request, {first.id: job, first.branch: branch}))
    finally:
        database.close()
    await _begun(data / "engine.db", ids)
    return Many(app, ids, requests)


async def _home(github: SandboxGitHub, app: App, number: int) -> Home:
    owner = f"team-{number}"
    github.create_user(owner)
    repository = github.create_repository(owner, "walker", {"gamma.yml": CONFIG, "train.py": "print('hello')\n"})
    main = await github.head(repository)
    sha = await github.commit(repository, "models/idea", {"train.py": "print('better')\n"}, "Try a wider network")
    return Home(repository, github.install(app, repository).id, main, sha)


def _push(home: Home, number: int) -> Push:
    repository = home.repository
    return Push(
        guid=f"{repository.full_name}#{number}",
        installation_id=home.installation_id,
        repository_id=repository.id,
        repository=repository.full_name,
        branch=f"models/idea-{number:05}",
        before=home.main_sha,
        after=home.sha,
        pusher=repository.owner.login,
        message="Try a wider network",
        pushed_at=float(int(time.time()) - 600),
        html_url=f"https://github.example/{repository.full_name}",
        changed_paths=("train.py",),
        default_branch="main",
    )


async def _earlier(database: Database, home: Home) -> None:
    """A succeeded job of the main training branch: what the others are compared with."""
    push = replace(_push(home, 0), guid=f"{home.repository.id}", branch="models/main", after=home.main_sha)
    job = new_job(push, details_url="http://127.0.0.1/jobs/0", now=time.time() - 7200)
    facts = replace(facts_of(job), state=State.SUCCEEDED, ended_at=time.time() - 3600)
    ended = replace(job, state=State.SUCCEEDED, run_id=run_of(job.id), facts=dump_facts(facts), turn=TAKEN)
    await Jobs(database).open(replace(ended, pushed_at=job.pushed_at - 7200, updated_at=time.time() - 3700))


async def _launched(database: Database, push: Push, github: SandboxGitHub) -> JobRecord:
    """A job as it is once its trainer has it and GitHub shows that it trains."""
    plan = decide(push, Files(CONFIG, CONFIG), executors=("sagemaker",), default_executor="sagemaker")
    assert isinstance(plan, Plan), plan
    now = time.time()
    jobs, pulls, surfaces = Jobs(database), Pulls(database), Surfaces(database)
    job = new_job(push, details_url=f"http://127.0.0.1/jobs/{push.job}", now=now - 600)
    cost = await Expenses(Spending(database), pulls, Path(), REGION).estimate(push, plan.config, "sagemaker")
    assert cost is not None, "SageMaker costs money"
    points = {name: (Point(100, value, now),) for name, value in METRICS.items()}
    facts = replace(
        facts_of(job),
        state=State.RUNNING,
        executor="sagemaker",
        command=" ".join(plan.command),
        baseline_branch="models/main",
        cost=cost,
        detail="",
        started_at=now - 500,
        wall_seconds=490.0,
        metrics=judge_metrics(Run("", "", "", metrics=points), None, plan.config.metrics),
    )
    recorded = {
        "config": plan.config.model_dump(mode="json"),
        "command": list(plan.command),
        "executor": "sagemaker",
        "baseline": "models/main",
    }
    job = await jobs.open(
        replace(
            job,
            state=State.RUNNING,
            executor="sagemaker",
            timeout_seconds=plan.config.train.timeout,
            run_id=run_of(job.id),
            plan=recorded,
            facts=dump_facts(facts),
            turn=TAKEN,
            launched_at=now - 590,
            estimate_usd=cost.most,
            fingerprint="f" * 64,
        )
    )
    await Presenter(jobs, pulls, surfaces, lambda: None).show_check(job)
    [check] = await surfaces.of_job(job.id)
    await surfaces.flushed(check, github.state.next_id())
    attempt = Attempt(job.id)
    launch = Launch(
        attempt=attempt.key,
        number=1,
        job=job.id,
        job_attempt=1,
        name=training_job_name(attempt, 1),
        state=LaunchState.CREATED,
        instance_type="ml.g5.xlarge",
        instance_count=1,
        spot=True,
        limit_seconds=2 * plan.config.train.timeout,
        recorded_at=now - 600,
        due_at=now - 600,
        status="InProgress",
        secondary="Training",
        modified_at=now - 500,
    )
    await Launches(database).record(launch, {"create": _request(job), "instances": ["ml.g5.xlarge"]})
    return job


def _request(job: JobRecord) -> dict[str, Any]:
    plan = decide(Push.from_json(job.push), Files(CONFIG, CONFIG), executors=("sagemaker",), default_executor="")
    assert isinstance(plan, Plan), plan
    spec = TrainingSpec(
        attempt=Attempt(job.id),
        source=Path(),
        command=plan.command,
        hyperparameters=plan.config.train.hyperparameters,
        environment={"MLFLOW_RUN_ID": run_of(job.id), "GAMMA_SHA": job.head_sha},
        timeout_seconds=plan.config.train.timeout,
        origin=Origin(job.repository_id, job.repository, job.branch, job.head_sha, "main"),
        sagemaker=plan.config.train.sagemaker,
    )
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1"
    return training_job(spec, Place(BUCKET, ROLE, REGION), image, f"sources/{job.repository_id}/{'d' * 64}.tar.gz")


def _copy(connection: Connection, first: JobRecord, copies: Sequence[tuple[str, str]]) -> None:
    """The rows of a job, once more for each of the others."""
    for table, own in (
        (job_rows, job_rows.c.id),
        (surface_rows, surface_rows.c.job),
        (launch_rows, launch_rows.c.job),
    ):
        for row in connection.execute(select(table).where(own == first.id)).mappings().all():
            made = [_renamed(dict(row), {first.id: job, first.branch: branch}) for job, branch in copies]
            connection.execute(insert(table), made) if made else None


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The same value, with other names in all of its texts."""
    match value:
        case str():
            for old, new in names.items():
                value = value.replace(old, new)
            return value
        case dict():
            return {key: _renamed(each, names) for key, each in value.items()}
        case list():
            return [_renamed(each, names) for each in value]
        case _:
            return value


async def _show_all(database: Database, github: SandboxGitHub, home: Home, app: App) -> None:
    """The check runs of all jobs are at GitHub; each surface knows the id of its own."""
    suite, _ = suite_for(github.forge, home.repository, app, home.sha, "models/idea", None)
    query = select(surface_rows.c.key, surface_rows.c.job).where(surface_rows.c.repository_id == home.repository.id)

    def work(connection: Connection) -> None:
        for key, job in connection.execute(query).all():
            run = _check_run(github, suite, job)
            change = surface_rows.update().where(surface_rows.c.key == key).values(github_id=run.id)
            connection.execute(change)

    await database.write(work)


def _check_run(github: SandboxGitHub, suite: CheckSuite, job: str) -> CheckRun:
    now = github.state.now()
    run = CheckRun(github.state.next_id(), suite, "gamma / train", "in_progress", now, external_id=job, started_at=now)
    suite.runs.append(run)
    return run


async def _begun(path: Path, ids: Sequence[str]) -> None:
    """The engine's rows of the workflows that launched them: one that ran, and copies of it."""
    done = asyncio.Event()

    async def train(steps: Steps, push: Values) -> Values:
        plan: Values = {}
        for name in ("open", "plan", "launch"):
            plan = await steps.step(name, _same, push)
        done.set()
        return plan

    engine = Engine(f"sqlite:///{path}", {"train": train})
    await engine.start()
    await engine.begin("train", ids[0], {"guid": "", "message": "x" * 500})
    await done.wait()
    while await engine.is_running(ids[0]):
        await asyncio.sleep(0.01)
    await engine.stop()
    await asyncio.to_thread(_copy_workflow, path, ids)


async def _same(push: Values) -> Values:
    return push


def _copy_workflow(path: Path, ids: Sequence[str]) -> None:
    with sqlite3.connect(path) as connection:
        for table in ("workflow_status", "operation_outputs"):
            rows = connection.execute(f"SELECT * FROM {table} WHERE workflow_uuid = ?", (ids[0],)).fetchall()
            for row in rows:
                marks = ",".join("?" * len(row))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", _copies(row, ids))
    connection.close()


def _copies(row: tuple[Any, ...], ids: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for job in ids[1:]:
        yield tuple(job if value == ids[0] else value for value in row)
