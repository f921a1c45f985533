"""The whole service in one process: what is opened, in which order, and how it is let go of again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import aiohttp
import structlog
from aiohttp import web

from gamma_bot.agents import Agent, agent_of
from gamma_bot.data_directory import DataDirectory
from gamma_bot.events.catch_up import CatchUp
from gamma_bot.executors import actions_trainer, default_first, trainers_of
from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.keys import signing_keys
from gamma_bot.ingress.tunnel import Tunnel
from gamma_bot.ingress.webhook import LARGEST_BODY_BYTES, Webhook
from gamma_bot.jobs.asking import Asking
from gamma_bot.jobs.writing import Summarised, Writing
from gamma_bot.membership import Membership, new_replica_id
from gamma_bot.metrics import Metric, by, only
from gamma_bot.redaction import redacted
from gamma_bot.settings import Settings
from gamma_bot.store.actions_runs import ActionsRuns
from gamma_bot.store.database import Database, StoreUnavailable
from gamma_bot.store.inbox import Inbox
from gamma_bot.store.jobs import Jobs
from gamma_bot.store.projects import Projects
from gamma_bot.store.pulls import Pulls
from gamma_bot.store.replicas import DEAD_SECONDS
from gamma_bot.store.spending import Spending
from gamma_bot.store.surfaces import Surfaces
from gamma_bot.tracking.open import open_tracking
from gamma_bot.tracking.runs import Tracking
from gamma_bot.training.processes import hide_memory
from gamma_bot.training.trainer import HoldsConnections, Trainer
from gamma_bot.web.agent_api import AgentApi, Summary
from gamma_bot.web.health import Health
from gamma_bot.web.pages import JobPages
from gamma_bot.working import Pace, Stores, Working, github_app, watcher_of

log = structlog.get_logger()


class Gamma:
    """The whole service in one process.

    ``start`` returns when ``/readyz`` says yes; ``stop`` lets running jobs run: they are found again at the next start.

    Args:
        tracking, trainers: take the place of what the settings would give; for whoever embeds Gamma.
        write_interval_seconds: least time between two writes to one installation at GitHub.
        watch_interval_seconds: how often running jobs are looked at, if not as their trainers say.
        patience_seconds: how long a job waits for GitHub or MLflow before it gives up.
        dead_seconds: after how long a silence another replica's work is taken over.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        tracking: Tracking | None = None,
        trainers: Mapping[str, Trainer] | None = None,
        write_interval_seconds: float = 1.0,
        watch_interval_seconds: float | None = None,
        patience_seconds: float = 900.0,
        dead_seconds: float = DEAD_SECONDS,
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
        self.trainers: Mapping[str, Trainer] = {}
        self._pace = Pace(write_interval_seconds, watch_interval_seconds, patience_seconds)
        replica = None if self.database.is_sqlite else new_replica_id()
        self._data_directory = DataDirectory(settings.data_dir, replica)
        self.membership: Membership | None = None
        if replica is not None:
            self.membership = Membership(
                settings, self.database, self._data_directory, replica, dead_seconds=dead_seconds
            )
        self._agent: Agent | None = None
        self._is_leaving = False
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._tunnel: asyncio.Task[None] | None = None
        self._working: Working | None = None

    @property
    def catch_up(self) -> CatchUp | None:
        """Who looks for missed webhooks, once Gamma works."""
        return self._working.catch_up if self._working is not None else None

    async def start(self) -> None:
        """Open the store, take webhooks, and go on with what an earlier process left.

        Raises:
            StoreUnavailable: the database can't be used.
            OSError: the address is taken, or the private key's file can't be read.
            WrongSettings: they name an executor that is not here, a model without prices, or a data directory in use.
            UnusableKey: what is set as the private key is none.
        """
        hide_memory()  # local jobs run as the same user: they must not read our keys from /proc
        self._data_directory.hold()
        agent = self._agent = agent_of(self.settings, self.database)
        private_key = self.settings.private_key  # before anything is opened: the likeliest mistake of an operator
        keys = signing_keys(private_key) if private_key is not None else ()
        await asyncio.to_thread(self.database.create_tables)
        session = self._session = aiohttp.ClientSession()
        self.tracking = self._tracking or open_tracking(
            self.settings.tracking_uri,
            artifact_root=self.settings.data_dir / "mlflow" / "artifacts",
            public_url=self.settings.mlflow_public_url,
            http_session=session,
        )
        github: GitHubApp | None = None
        if keys and self.settings.github_app_id:
            interval = self._pace.write_interval
            github = await github_app(
                self.settings,
                session,
                self.database,
                keys,
                write_interval_seconds=interval,
                may_write=self._may_write,
            )
        actions = actions_trainer(self.settings, github, self.database) if github is not None else None
        self.trainers = default_first(
            self._trainers or trainers_of(self.settings, self.database, self._term, actions), self.settings.executor
        )
        if github is not None and self.membership is not None:
            await self.membership.join(self._embeds())
        await self._listen()
        if github is not None:
            stores = Stores(
                self.inbox,
                self.jobs,
                self.pulls,
                self.projects,
                self.surfaces,
                Spending(self.database),
                ActionsRuns(self.database),
            )
            self._working = Working(
                self.settings,
                stores,
                github,
                self.tracking,
                self.trainers,
                self._pace,
                self.membership,
                agent,
                url=self.url,
                redact=self._redact,
            )
            await self._working.start()
        if self.settings.tunnel_url:
            tunnel = Tunnel(session, self.settings.tunnel_url, self._webhook)
            self._tunnel = asyncio.create_task(tunnel.run(), name="Tunnel")
        log.info("gamma.started", url=self.url, data_dir=str(self.settings.data_dir))

    async def stop(self, *, linger_seconds: float = 0.0, drain_seconds: float = 0.0) -> None:
        """Stop working, stop taking deliveries, keep everything.

        Args:
            linger_seconds: how long deliveries are taken at least: load balancers go on sending for a moment.
            drain_seconds: how long steps that have begun may take to come to their end.
        """
        self._is_leaving = True
        lingering = asyncio.create_task(asyncio.sleep(linger_seconds))
        if self._tunnel is not None:
            self._tunnel.cancel()
            await asyncio.gather(self._tunnel, return_exceptions=True)
        if self._working is not None:
            await self._working.stop(drain_seconds=drain_seconds)
        if self.membership is not None:
            await self.membership.leave()
        await lingering
        if self._runner is not None:
            await self._runner.cleanup()
        if self.membership is not None:
            await self.membership.leadership.told()
        self.inbox.close()
        for trainer in self.trainers.values():
            if isinstance(trainer, HoldsConnections):
                await trainer.close()
        if self._agent is not None:
            await self._agent.claude.close()
        if self._session is not None:
            await self.tracking.close()
            await self._session.close()
        self.database.close()
        self._data_directory.release()

    async def _listen(self) -> None:
        app = web.Application(client_max_size=LARGEST_BODY_BYTES)
        self._webhook.add_routes(app)
        checks = {"process": self._own_problem, "store": self._store_problem, "engine": self._engine_problem}
        Health(checks, self._metrics).add_routes(app)
        JobPages(self.jobs, self.trainers, listed=self.settings.public_url is None).add_routes(app)
        token = self.settings.api_token.get_secret_value() if self.settings.api_token else ""
        AgentApi(token, self.projects, self._asking, self._summary).add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.host, self.settings.port, backlog=512)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = self.settings.public_url or f"http://{self.settings.host}:{port}"

    def _asking(self) -> Asking | None:
        return self._working.asking if self._working is not None else None

    def _summary(self) -> Callable[[int, str, bool], Awaitable[Summary | None]] | None:
        return partial(_summary, self._working.writing) if self._working is not None else None

    def _on_stored(self) -> None:
        if self._working is not None:
            self._working.wake()

    async def other_hosts(self) -> Sequence[str]:
        """Where the other replicas run that are alive now.

        Raises:
            StoreUnavailable
        """
        if self.membership is None:
            return ()
        return [one.host for one in await self.membership.replicas.alive() if one.id != self.membership.id]

    def _may_write(self) -> bool:
        return self.membership is None or self.membership.leadership.is_in_touch or self._is_leaving

    def _term(self, executor: str) -> int:
        return 1 if self.membership is None else self.membership.leadership.term(watcher_of(executor))

    def _embeds(self) -> set[str]:
        mlflow = self._tracking is None and self.settings.mlflow_tracking_uri is None
        return {*({"local"} & self.trainers.keys()), *({"mlflow"} if mlflow else ())}

    async def _own_problem(self) -> str | None:
        if self.membership is not None and self.membership.lost.is_set():
            return "taken for dead by the others"
        return "leaving" if self._is_leaving else None

    async def _store_problem(self) -> str | None:
        try:
            await self.inbox.probe()
        except StoreUnavailable as error:
            # The reason can name hosts and users: it is for the log, not for everybody who can reach the port.
            log.warning("store.unavailable", error=str(error))
            return "unreachable"
        return None

    async def _engine_problem(self) -> str | None:
        if self._tunnel is not None and self._tunnel.done():
            return "ended: Tunnel"
        return self._working.problem if self._working is not None else None

    async def _metrics(self) -> Sequence[Metric]:
        deliveries, jobs = await self.inbox.counts(), await self.jobs.counts()
        dirty, projects = await self.surfaces.count_dirty(), await self.projects.counts()
        return [
            Metric("gamma_deliveries", "gauge", "Webhooks by what became of them.", by("state", deliveries)),
            Metric("gamma_jobs", "gauge", "Jobs by their state.", by("state", jobs)),
            Metric("gamma_projects", "gauge", "Repositories by whether they are in reach.", by("state", projects)),
            Metric("gamma_surfaces_dirty", "gauge", "What GitHub does not show yet as it should.", only(dirty)),
            *(await self._working.metrics() if self._working is not None else ()),
        ]


async def _summary(writing: Writing, repository_id: int, sha: str, force: bool) -> Summary | None:
    found = await writing.summary(repository_id, sha, force=force)
    if not isinstance(found, Summarised):
        return None
    row = found.row
    return Summary(row.sha, found.text, row.headline, row.rung, row.model, row.prompt_version, found.is_new)
