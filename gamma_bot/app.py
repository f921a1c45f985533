"""The composition root: builds every part of Gamma and hands it its collaborators."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO

import aiohttp
import structlog
from aiohttp import web

from gamma_bot.commands.buttons import Buttons, Press
from gamma_bot.commands.conversation import Conversation, Remark
from gamma_bot.commands.jobs_desk import JobsDesk
from gamma_bot.commands.registry import build_registry
from gamma_bot.events.catch_up import CatchUp
from gamma_bot.events.dispatch import Dispatcher
from gamma_bot.github.errors import GitHubError
from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.keys import SigningKey, signing_keys
from gamma_bot.github.measures import metrics_of
from gamma_bot.ingress.tunnel import Tunnel
from gamma_bot.ingress.webhook import LARGEST_BODY_BYTES, Webhook
from gamma_bot.jobs.engine import Engine
from gamma_bot.jobs.flusher import Flusher
from gamma_bot.jobs.heads import Heads
from gamma_bot.jobs.installations import Installations
from gamma_bot.jobs.presenter import Presenter
from gamma_bot.jobs.promotion import Promotion
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.reach import Reach
from gamma_bot.jobs.scheduler import Scheduler
from gamma_bot.jobs.story import Parts, Story
from gamma_bot.jobs.sweep import Sweep
from gamma_bot.jobs.watcher import Watcher
from gamma_bot.metrics import Metric, by, only
from gamma_bot.redaction import redacted
from gamma_bot.settings import Settings
from gamma_bot.store.database import Database, StoreUnavailable
from gamma_bot.store.inbox import Inbox
from gamma_bot.store.jobs import Jobs
from gamma_bot.store.pauses import Pauses
from gamma_bot.store.projects import Projects
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
        self._redact = partial(redacted, secrets=settings.secrets)
        self.inbox = Inbox(self.database, on_stored=self._on_stored, redact=self._redact)
        self.jobs = Jobs(self.database)
        self.pulls = Pulls(self.database)
        self.projects = Projects(self.database)
        self.surfaces = Surfaces(self.database, redact=self._redact)
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
        self._github: GitHubApp | None = None
        self._dispatcher: Dispatcher | None = None
        self._flusher: Flusher | None = None
        self.catch_up: CatchUp | None = None
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
        Health({"store": self._store_problem, "engine": self._engine_problem}, self._metrics).add_routes(app)
        JobPages(self.jobs, self.trainers, listed=self.settings.public_url is None).add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.host, self.settings.port, backlog=512)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = self.settings.public_url or f"http://{self.settings.host}:{port}"

    async def _start_working(self, keys: tuple[SigningKey, ...], app_id: str) -> None:
        assert self._session is not None
        pauses = Pauses(self.database)

        async def keep_pause(installation_id: int, until: float) -> None:
            with contextlib.suppress(StoreUnavailable):  # then the next process has to learn it from GitHub
                await pauses.keep(installation_id, until)

        github = self._github = GitHubApp(
            self._session,
            api_url=self.settings.github_api_url,
            app_id=app_id,
            keys=keys,
            write_interval_seconds=self._write_interval,
            paused_until=await pauses.running(),
            on_pause=keep_pause,
        )
        self._flusher = Flusher(github, self.surfaces)
        presenter = Presenter(self.jobs, self.pulls, self.surfaces, self._flusher.wake)
        reach = Reach(github, self.projects)
        story = Story(
            Parts(
                jobs=self.jobs,
                pulls=self.pulls,
                presenter=presenter,
                reach=reach,
                trainers=self.trainers,
                tracking=self.tracking,
                data_dir=self.settings.data_dir,
                branches=self.settings.branches,
                page_url=self._page_url,
                patience_seconds=self._patience,
                redact=self._redact,
            )
        )
        flusher = self._flusher

        async def train(push: Push) -> None:
            await heads.begin(push)

        desk = JobsDesk(
            self.jobs,
            self.pulls,
            github,
            self.trainers,
            story,
            Promotion(self.jobs, self.tracking, presenter.show_job),
            self.settings.branches,
            begin=train,
            page_url=self._page_url,
        )
        registry = build_registry()
        conversation = Conversation(github, self.surfaces, desk, registry, flusher.wake, redact=self._redact)
        buttons = Buttons(
            self.jobs, reach, desk, registry, presenter, patience_seconds=self._patience, redact=self._redact
        )
        engine = Engine(
            self.settings.engine_url,
            {"train": story.train, "command": conversation.answer, "button": buttons.press},
        )
        await engine.start()
        self._engine = engine

        async def converse(remark: Remark) -> None:
            await engine.begin("command", f"command-{remark.repository_id}-{remark.comment}", asdict(remark))

        async def press(pressed: Press) -> None:
            await engine.begin("button", f"button-{pressed.guid}", asdict(pressed))

        async def show_pull_request(seen: PullRecord) -> None:
            pull = await self.pulls.seen(seen)
            if pull.is_open:
                await presenter.show_comment(pull.repository_id, pull.branch, pull.number, pull.head_sha)

        installations = Installations(github, self.projects, self.jobs, flusher.wake)
        own_login = _OwnLogin(github)
        heads = Heads(
            self.jobs,
            self.inbox,
            reach,
            engine,
            self.settings.branches,
            own_login=own_login,
            page_url=self._page_url,
        )
        self._dispatcher = Dispatcher(
            self.inbox,
            self.settings.branches,
            train=heads.delivered,
            show_pull_request=show_pull_request,
            converse=converse,
            press=press,
            meet=installations.meet,
            heard=installations.heard,
            own_login=own_login,
            app_id=app_id,
        )
        watcher = Watcher(
            self.jobs, presenter, engine, self.trainers, self.tracking, interval_seconds=self._watch_interval
        )
        scheduler = Scheduler(self.jobs, presenter, engine, interval_seconds=self._watch_interval)
        sweep = Sweep(self.jobs, presenter, engine, self.trainers, self.tracking)
        self.catch_up = CatchUp(
            github,
            self.inbox,
            reconcile=heads.reconcile,
            relayed=self.settings.tunnel_url is not None,
            pause_seconds=self._write_interval,
        )
        self._tasks = [
            asyncio.create_task(part.run(), name=type(part).__name__)
            for part in (self._dispatcher, self._flusher, watcher, scheduler, sweep, self.catch_up)
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

    async def _metrics(self) -> Sequence[Metric]:
        deliveries, jobs = await self.inbox.counts(), await self.jobs.counts()
        dirty, projects = await self.surfaces.count_dirty(), await self.projects.counts()
        return [
            Metric("gamma_deliveries", "gauge", "Webhooks by what became of them.", by("state", deliveries)),
            Metric("gamma_jobs", "gauge", "Jobs by their state.", by("state", jobs)),
            Metric("gamma_projects", "gauge", "Repositories by whether they are in reach.", by("state", projects)),
            Metric("gamma_surfaces_dirty", "gauge", "What GitHub does not show yet as it should.", only(dirty)),
            *(self.catch_up.metrics if self.catch_up is not None else ()),
            *(metrics_of(self._github) if self._github is not None else ()),
        ]


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
