"""The composition root: builds every part of Gamma and hands it its collaborators."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO

import aiohttp
import structlog
from aiohttp import web

from gamma_bot.commands.conversation import Conversation, Remark
from gamma_bot.commands.jobs_desk import JobsDesk
from gamma_bot.commands.registry import build_registry
from gamma_bot.events.dispatch import Dispatcher
from gamma_bot.events.intents import TrainAgain
from gamma_bot.github.errors import GitHubError
from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.keys import SigningKey, signing_keys
from gamma_bot.ingress.tunnel import Tunnel
from gamma_bot.ingress.webhook import LARGEST_BODY_BYTES, Webhook
from gamma_bot.jobs.engine import Engine
from gamma_bot.jobs.flusher import Flusher
from gamma_bot.jobs.presenter import Presenter
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.story import Parts, Story
from gamma_bot.jobs.sweep import Sweep
from gamma_bot.jobs.watcher import Watcher
from gamma_bot.settings import Settings
from gamma_bot.store.database import Database, StoreUnavailable
from gamma_bot.store.inbox import Inbox
from gamma_bot.store.jobs import Jobs
from gamma_bot.store.pulls import PullRecord, Pulls
from gamma_bot.store.surfaces import Surfaces
from gamma_bot.tracking.open import open_tracking
from gamma_bot.tracking.runs import Tracking
from gamma_bot.training.local import LocalTrainer
from gamma_bot.training.processes import hide_memory
from gamma_bot.training.trainer import Trainer
from gamma_bot.web.health import Health
from gamma_bot.web.pages import JobPages

log = structlog.get_logger()


class WrongSettings(Exception):
    """What is configured can't work; the text says what to change."""


class Gamma:
    """The whole service in one process.

    ``start`` returns when ``/readyz`` says yes; ``stop`` lets running jobs run: they are found again at the next start.

    Args:
        tracking, trainers: take the place of what the settings would give; for whoever embeds Gamma.
        write_interval_seconds: least time between two writes to one installation at GitHub.
        watch_interval_seconds: how often running jobs are looked at.
        patience_seconds: how long a job waits for GitHub or MLflow before it gives up.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        tracking: Tracking | None = None,
        trainers: Mapping[str, Trainer] | None = None,
        write_interval_seconds: float = 1.0,
        watch_interval_seconds: float = 0.5,
        patience_seconds: float = 900.0,
    ) -> None:
        self.settings = settings
        self.database = Database(settings.store_url)
        self.inbox = Inbox(self.database, on_stored=self._on_stored)
        self.jobs = Jobs(self.database)
        self.pulls = Pulls(self.database)
        self.surfaces = Surfaces(self.database)
        self.url = settings.public_url or ""
        self._webhook = Webhook(self.inbox, settings.webhook_secrets)
        self._tracking = tracking
        self._trainers = trainers
        self._write_interval = write_interval_seconds
        self._watch_interval = watch_interval_seconds
        self._patience = patience_seconds
        self._lock: IO[bytes] | None = None
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._engine: Engine | None = None
        self._dispatcher: Dispatcher | None = None
        self._flusher: Flusher | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the store, take webhooks, and go on with what an earlier process left.

        Raises:
            StoreUnavailable: the database can't be used.
            OSError: the address is taken, or the private key's file can't be read.
            WrongSettings: they name an executor that is not here, or a data directory that is in use.
            UnusableKey: what is set as the private key is none.
        """
        hide_memory()  # local jobs run as the same user: they must not read our keys from /proc
        self._lock = _lock(self.settings.data_dir)
        private_key = self.settings.private_key  # before anything is opened: the likeliest mistake of an operator
        keys = signing_keys(private_key) if private_key is not None else ()
        await asyncio.to_thread(self.database.create_tables)
        self._session = aiohttp.ClientSession()
        self.tracking = self._tracking or open_tracking(
            self.settings.tracking_uri,
            artifact_root=self.settings.data_dir / "mlflow" / "artifacts",
            public_url=self.settings.mlflow_public_url,
            http_session=self._session,
        )
        local = LocalTrainer(self.settings.data_dir / "jobs", slots=self.settings.local_jobs)
        self.trainers = self._by_default_first(self._trainers or {"local": local})
        await self._listen()
        if keys and self.settings.github_app_id:
            await self._start_working(keys, self.settings.github_app_id)
        if self.settings.tunnel_url:
            tunnel = Tunnel(self._session, self.settings.tunnel_url, self._webhook)
            self._tasks.append(asyncio.create_task(tunnel.run(), name="Tunnel"))
        log.info("gamma.started", url=self.url, data_dir=str(self.settings.data_dir))

    async def stop(self) -> None:
        """Stop taking deliveries, stop telling, keep everything."""
        if self._runner is not None:
            await self._runner.cleanup()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._engine is not None:
            await self._engine.stop()
        self.inbox.close()
        if self._session is not None:
            await self.tracking.close()
            await self._session.close()
        self.database.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _by_default_first(self, trainers: Mapping[str, Trainer]) -> dict[str, Trainer]:
        default = self.settings.executor
        if default not in trainers:
            raise WrongSettings(f"GAMMA_EXECUTOR={default}: this Gamma can train on {', '.join(trainers)} only")
        return {default: trainers[default], **trainers}

    async def _listen(self) -> None:
        app = web.Application(client_max_size=LARGEST_BODY_BYTES)
        self._webhook.add_routes(app)
        Health({"store": self._store_problem, "engine": self._engine_problem}, self._gauges).add_routes(app)
        JobPages(self.jobs, self.trainers, listed=self.settings.public_url is None).add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.host, self.settings.port, backlog=512)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = self.settings.public_url or f"http://{self.settings.host}:{port}"

    async def _start_working(self, keys: tuple[SigningKey, ...], app_id: str) -> None:
        assert self._session is not None
        github = GitHubApp(
            self._session,
            api_url=self.settings.github_api_url,
            app_id=app_id,
            keys=keys,
            write_interval_seconds=self._write_interval,
        )
        self._flusher = Flusher(github, self.surfaces)
        presenter = Presenter(self.jobs, self.pulls, self.surfaces, self._flusher.wake)
        story = Story(
            Parts(
                jobs=self.jobs,
                pulls=self.pulls,
                presenter=presenter,
                github=github,
                trainers=self.trainers,
                tracking=self.tracking,
                data_dir=self.settings.data_dir,
                branches=self.settings.branches,
                page_url=self._page_url,
                patience_seconds=self._patience,
            )
        )
        flusher = self._flusher

        async def train(push: Push) -> None:
            await engine.begin("train", push.job, push.to_json())

        desk = JobsDesk(
            self.jobs,
            self.pulls,
            github,
            self.trainers,
            story,
            self.settings.branches,
            begin=train,
            page_url=self._page_url,
        )
        conversation = Conversation(github, self.surfaces, desk, build_registry(), flusher.wake)
        engine = Engine(self.settings.engine_url, {"train": story.train, "command": conversation.answer})
        await engine.start()
        self._engine = engine

        async def converse(remark: Remark) -> None:
            await engine.begin("command", f"command-{remark.repository_id}-{remark.comment}", asdict(remark))

        async def train_again(asked: TrainAgain) -> str:
            found = await self.jobs.get(asked.job) if asked.job else None
            if not asked.job:
                found = next(iter(await self.jobs.of_commit(asked.repository_id, asked.sha)), None)
            if found is None:
                return "no such job"
            return f"job {(await desk.repeat(found, asked.by, asked.guid)).job} trains it again"

        async def show_pull_request(seen: PullRecord) -> None:
            pull = await self.pulls.seen(seen)
            if pull.is_open:
                await presenter.show_comment(pull.repository_id, pull.branch, pull.number, pull.head_sha)

        self._dispatcher = Dispatcher(
            self.inbox,
            self.settings.branches,
            train=train,
            show_pull_request=show_pull_request,
            converse=converse,
            train_again=train_again,
            stop=desk.stop_job,
            own_login=_OwnLogin(github),
            app_id=app_id,
        )
        watcher = Watcher(
            self.jobs, presenter, engine, self.trainers, self.tracking, interval_seconds=self._watch_interval
        )
        sweep = Sweep(self.jobs, presenter, engine, self.trainers, self.tracking)
        self._tasks = [
            asyncio.create_task(part.run(), name=type(part).__name__)
            for part in (self._dispatcher, self._flusher, watcher, sweep)
        ]

    def _page_url(self, job: str) -> str:
        return f"{self.url}/jobs/{job}"

    def _on_stored(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.wake()

    async def _store_problem(self) -> str | None:
        try:
            await self.inbox.probe()
        except StoreUnavailable as error:
            # The reason can name hosts and users: it is for the log, not for everybody who can reach the port.
            log.warning("store.unavailable", error=str(error))
            return "unreachable"
        return None

    async def _engine_problem(self) -> str | None:
        dead = [task.get_name() for task in self._tasks if task.done()]
        return f"ended: {', '.join(dead)}" if dead else None

    async def _gauges(self) -> Mapping[str, float]:
        deliveries = await self.inbox.counts()
        states = await self.jobs.counts()
        return {
            **{f'gamma_deliveries{{state="{state}"}}': float(count) for state, count in deliveries.items()},
            **{f'gamma_jobs{{state="{state}"}}': float(count) for state, count in states.items()},
            "gamma_surfaces_dirty": float(await self.surfaces.count_dirty()),
        }


def _lock(data_dir: Path) -> IO[bytes]:
    """Hold the data directory: two processes would both work through the same inbox."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = (data_dir / "gamma.lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise WrongSettings(
            f"another gamma works on the data directory {data_dir}; stop it, or set GAMMA_DATA_DIR"
        ) from None
    return file


class _OwnLogin:
    """The bot's own account, asked for once."""

    def __init__(self, github: GitHubApp) -> None:
        self._github = github
        self._login: str | None = None

    async def __call__(self) -> str | None:
        if self._login is None:
            try:
                self._login = f"{(await self._github.app())['slug']}[bot]"
            except GitHubError as error:
                log.warning("app.unknown", error=str(error))
        return self._login
