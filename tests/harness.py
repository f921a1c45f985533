"""The whole of Gamma against the sandbox GitHub, as the story tests drive it: push, look, crash, restart.

Everything is real: HTTP both ways, Git, the database, the durable engine, a trainer that starts processes. Waits are
bounded, and one that runs out prints the history of what GitHub saw.
"""

from __future__ import annotations

import asyncio
import copy
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import aiohttp
from pydantic import SecretStr

from gamma_bot.app import Gamma as Service
from gamma_bot.sandbox.model import App, CheckRun, IssueComment, PullRequest, Repository
from gamma_bot.sandbox.server import SandboxGitHub
from gamma_bot.settings import Settings
from gamma_bot.tracking.runs import Tracking
from gamma_bot.training.trainer import Trainer
from tests.bot_forks import BotForks, ForkedBot
from tests.contract import assert_contract

Found = TypeVar("Found")

CODE = Path(__file__).parent.parent
SECRET = "sandbox-secret"
PERMISSIONS = {
    "actions": "write",
    "checks": "write",
    "contents": "read",
    "issues": "write",
    "metadata": "read",
    "pull_requests": "write",
}
EVENTS = (
    "push",
    "pull_request",
    "issue_comment",
    "pull_request_review",
    "pull_request_review_comment",
    "workflow_run",
    "repository",
)
PATIENCE_SECONDS = 40.0

# A training script that logs into MLflow through its REST API, by a socket: importing mlflow would take seconds in
# each test, and urllib.request as long as all the rest.
LOGGING_SCRIPT = """\
import json, os, socket, time

points = []

def log(key, value, step):
    points.append({"key": key, "value": value, "timestamp": int(time.time() * 1000), "step": step})

rate = json.loads(os.environ["SM_HPS"]).get("lr", 0.1)
for step in range(1, 4):
    log("score", rate * step, step)
    print("step", step, "score", rate * step, flush=True)

host, port = os.environ["MLFLOW_TRACKING_URI"].removeprefix("http://").split(":")
body = {"run_id": os.environ["MLFLOW_RUN_ID"], "metrics": points}
text = json.dumps(body)
with socket.create_connection((host, int(port))) as server:
    head = f"Host: {host}:{port}\\r\\nContent-Type: application/json\\r\\nContent-Length: {len(text)}"
    server.sendall(f"POST /api/2.0/mlflow/runs/log-batch HTTP/1.0\\r\\n{head}\\r\\n\\r\\n{text}".encode())
    answer = server.makefile().read()
assert " 200 " in answer.splitlines()[0], answer
"""

CONFIG = """\
version: 1
train:
  command: python train.py
  hyperparameters: {lr: 0.1}
metrics:
  score: {goal: maximize, primary: true}
"""


class Gamma:
    """One Gamma with one repository, and the people who use it."""

    def __init__(
        self, github: SandboxGitHub, folder: Path, app: App, repository: Repository, tracking_uri: str
    ) -> None:
        self.github = github
        self.folder = folder
        self.app = app
        self.repository = repository
        self.settings = Settings(
            _env_file=None,
            data_dir=folder / "data",
            port=0,
            public_url=None,
            local_jobs=2,
            github_api_url=github.api_url,
            github_app_id=str(app.id),
            github_private_key=SecretStr(app.private_key_pem),
            github_webhook_secret=SecretStr(SECRET),
            mlflow_tracking_uri=tracking_uri,
        )
        self.trainer: Trainer | None = None
        self.tracking: Tracking | None = None
        self.service: Service | None = None
        self.forks: BotForks | None = None
        self.process: asyncio.subprocess.Process | ForkedBot | None = None

    # ── the bot ──

    async def start(
        self, *, patience_seconds: float = 20, watch_interval_seconds: float = 0.1, **changes: object
    ) -> None:
        """Start the bot in this process, with some settings changed."""
        if changes:
            self.settings = self.settings.model_copy(update=changes)
        self.service = Service(
            self.settings,
            tracking=self.tracking,
            trainers={self.trainer.name: self.trainer} if self.trainer is not None else None,
            write_interval_seconds=0.0,
            watch_interval_seconds=watch_interval_seconds,
            patience_seconds=patience_seconds,
        )
        await self.service.start()
        self.app.hook.url = f"{self.service.url}/webhook"

    async def stop(self) -> None:
        """Stop the bot politely; jobs go on."""
        if self.service is not None:
            await self.service.stop()
            self.service = None

    async def restart(self) -> None:
        """Stop and start on the same data."""
        await self.stop()
        await self.start()

    def elsewhere(self, *, private: bool = False, **roles: str) -> Gamma:
        """The same running bot, in a new repository of another owner: stories that share a bot never meet.

        Args:
            roles: who may do what there, such as ``ada="write"``.
        """
        other = copy.copy(self)
        number = len(self.github.state.repositories)
        self.github.create_user(f"team-{number}")
        other.repository = self.github.create_repository(
            f"team-{number}", "walker", {"README.md": "# Walker\n"}, private=private, collaborators=roles
        )
        # An installation of its own: GitHub's limits count per installation, too.
        self.github.install(self.app, other.repository)
        return other

    # ── people ──

    async def push(
        self, branch: str, files: Mapping[str, str | bytes] | None = None, message: str = "Change", **more: object
    ) -> str:
        """Commit to a branch and push it; the new head SHA."""
        files = {"note.txt": f"{time.monotonic_ns()}"} if files is None else files
        return await self.github.commit(self.repository, branch, files, message, **more)

    async def open_pull_request(self, head: str, base: str, title: str = "A change") -> PullRequest:
        """Open a pull request."""
        return await self.github.open_pull_request(self.repository, head, base, title=title)

    # ── what people see ──

    def check_runs(self, sha: str, name: str = "gamma / train") -> list[CheckRun]:
        """The check runs of a commit by name, oldest first."""
        return [run for run in self.repository.check_runs if run.head_sha == sha and run.name == name]

    async def finished(self, sha: str, name: str = "gamma / train") -> CheckRun:
        """Wait until the check run of a commit is completed."""

        def completed() -> CheckRun | None:
            runs = self.check_runs(sha, name)
            return runs[-1] if runs and runs[-1].status == "completed" else None

        return await self.eventually(completed, f"{name} of {sha[:7]} to be completed")

    async def running(self, sha: str) -> CheckRun:
        """Wait until GitHub shows the job of a commit as in progress."""

        def in_progress() -> CheckRun | None:
            runs = [run for run in self.check_runs(sha) if run.status == "in_progress"]
            return next((run for run in runs if (run.output.title or "").startswith("Training")), None)

        return await self.eventually(in_progress, f"the job of {sha[:7]} to be shown as training")

    def comments(self, pull: PullRequest) -> list[IssueComment]:
        """Gamma's comments on a pull request, without its answers to commands."""
        own = [comment for comment in self.repository.comments_on(pull.number) if comment.app is self.app]
        return [comment for comment in own if not comment.body.startswith("<!-- gamma:reply:")]

    async def comment_says(self, pull: PullRequest, *words: str) -> str:
        """Wait until the one comment of a pull request contains all these words."""

        def found() -> str | None:
            comments = self.comments(pull)
            assert len(comments) <= 1, "one sticky comment per pull request (I5)"
            body = comments[0].body if comments else ""
            return body if body and all(word in body for word in words) else None

        return await self.eventually(found, f"the comment of #{pull.number} to say {words}")

    async def flushed(self) -> None:
        """Wait until GitHub shows all that the bot wants it to show."""
        assert self.service is not None
        service = self.service

        async def clean() -> bool | None:
            return True if await service.surfaces.count_dirty() == 0 else None

        await self.eventually(clean, "GitHub to show what the store says")

    async def dispatched(self) -> None:
        """Wait until every delivery was sent and handled."""
        assert self.service is not None
        service = self.service
        await self.github.wait_for_deliveries()

        async def none_waiting() -> bool | None:
            return True if not await service.inbox.waiting() else None

        await self.eventually(none_waiting, "all deliveries to be handled")

    async def eventually(
        self, look: Callable[[], Found | None] | Callable[[], Awaitable[Found | None]], what: str
    ) -> Found:
        """Look until there is something to see."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        pause = 0.02
        while True:
            seen = look()
            if isinstance(seen, Awaitable):
                pause = 0.05  # it asks the database
                seen = await seen
            if seen is not None:
                return seen
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {PATIENCE_SECONDS:.0f} s for {what}\n{self.history()}")
            await asyncio.sleep(pause)

    def history(self) -> str:
        """What GitHub saw and shows, for a failing test."""
        lines = ["── requests"]
        lines += [f"{r.method:6} {r.path} → {r.status}" for r in self.github.requests]
        lines.append("── check runs")
        for run in self.repository.check_runs:
            lines.append(f"{run.head_sha[:7]} {run.name}: {run.status} {run.conclusion} {run.output.title!r}")
            lines.append((run.output.summary or "")[:1500] + (run.output.text or "")[:1500])
        lines.append("── deliveries")
        lines += [f"{d.event}.{d.action} → {d.status_code} {d.status}" for d in self.app.deliveries]
        log = self.folder / "bot.log"
        lines += ["── bot", log.read_text()[-6000:]] if log.exists() else []
        return "\n".join(lines)

    # ── the bot as a process of its own, to be killed ──

    def environment(self) -> dict[str, str]:
        """What a bot process needs, and nothing else."""
        key = self.folder / "app.pem"
        key.write_text(self.app.private_key_pem)
        settings = self.settings
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("GAMMA_TEST_PYTHONPATH", ""),
            "GAMMA_DATA_DIR": str(settings.data_dir),
            "GAMMA_PORT": str(settings.port),
            "GAMMA_LOCAL_JOBS": str(settings.local_jobs),
            "GAMMA_GITHUB_API_URL": settings.github_api_url,
            "GAMMA_GITHUB_APP_ID": str(settings.github_app_id),
            "GAMMA_GITHUB_PRIVATE_KEY": str(key),
            "GAMMA_GITHUB_WEBHOOK_SECRET": SECRET,
            "GAMMA_MLFLOW_TRACKING_URI": str(settings.mlflow_tracking_uri),
        }
        if settings.database_url:
            environment["GAMMA_DATABASE_URL"] = settings.database_url
        return environment

    async def spawn(self, *arguments: str, code: Path = CODE, **environment: str) -> None:
        """Start the bot as a process (``tests/bot_process.py``) and wait until it is ready.

        Args:
            arguments: kill-points.
            code: a folder with the ``gamma_bot`` and the ``tests`` that shall run.
        """
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        arguments = (str(port_file), *arguments)
        environment = {**self.environment(), **environment}
        log_file = self.folder / "bot.log"
        if self.forks is not None and code == CODE:
            self.process = self.forks.start(arguments, environment, log_file)
        else:
            command = [sys.executable, "-m", "tests.bot_process", *arguments]
            with log_file.open("ab") as log:
                self.process = await asyncio.create_subprocess_exec(
                    *command, env=environment, cwd=code, stdout=log, stderr=log
                )

        def port() -> str | None:
            assert self.process is not None
            if self.process.returncode is not None and not port_file.exists():
                raise AssertionError(f"the bot did not start\n{self.history()}")
            return port_file.read_text() if port_file.exists() else None

        self.app.hook.url = f"http://127.0.0.1:{await self.eventually(port, 'the bot to be ready')}/webhook"

    async def kill(self) -> None:
        """``kill -9`` the bot process."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def killed(self) -> None:
        """Wait until the bot process has died of its kill-point."""
        assert self.process is not None
        await asyncio.wait_for(self.process.wait(), PATIENCE_SECONDS)


@asynccontextmanager
async def gamma_with_repository(
    folder: Path,
    key: str,
    tracking_uri: str,
    *,
    files: Mapping[str, str | bytes] | None = None,
    private: bool = False,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Gamma]:
    """A sandbox GitHub with a repository that has the App; the bot is not started yet.

    At the end: no request was outside GitHub's published contract, nothing forbidden was done, nothing is left open.
    """
    async with SandboxGitHub(folder / "github", clock=clock) as github:
        github.create_user("ada")
        repository = github.create_repository(
            "ada", f"walker-{time.monotonic_ns()}", dict(files or {"README.md": "# Walker\n"}), private=private
        )
        # Until the bot runs, GitHub delivers to a port where nobody listens.
        nowhere = "http://127.0.0.1:9/webhook"
        app = github.create_app("Gamma", PERMISSIONS, EVENTS, nowhere, SECRET, private_key_pem=key)
        github.install(app, repository)
        gamma = Gamma(github, folder, app, repository, tracking_uri)
        try:
            yield gamma
        finally:
            await gamma.stop()
            if gamma.process is not None:
                await gamma.kill()
            _end_leftovers(folder)
        assert github.violations == []
        assert_contract(github.requests)
        names = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        own = ("flush ", "Dispatcher", "Flusher", "Watcher", "Scheduler", "Sweep", "CatchUp")
        leftover = [name for name in names if name.startswith(own)]
        assert leftover == [], "no task is left open"


async def get(url: str) -> tuple[int, str]:
    """Status and text of a page."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


def training_processes(folder: Path) -> list[int]:
    """Processes of jobs under this data directory that are alive."""
    marker = str(folder).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"GAMMA_ATTEMPT=" in environment and marker in environment:
                found.append(int(entry.name))
    return found


def _end_leftovers(folder: Path) -> None:
    for process in training_processes(folder):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
