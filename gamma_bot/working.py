"""What works behind the webhook endpoint: the parts, the workflows, and who calls whom are put together here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import aiohttp
import structlog

from gamma_bot.agents import Agent
from gamma_bot.commands.buttons import Buttons, Press
from gamma_bot.commands.conversation import Conversation, Remark
from gamma_bot.commands.jobs_desk import JobsDesk
from gamma_bot.commands.registry import build_registry
from gamma_bot.events.catch_up import CatchUp
from gamma_bot.events.dispatch import Dispatcher
from gamma_bot.github.errors import GitHubError
from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.keys import SigningKey
from gamma_bot.github.measures import metrics_of
from gamma_bot.jobs.asking import Asking
from gamma_bot.jobs.ending import EndOfStory
from gamma_bot.jobs.engine import ONLY_EXECUTOR, Engine
from gamma_bot.jobs.expenses import Expenses
from gamma_bot.jobs.flusher import Flusher
from gamma_bot.jobs.heads import Heads
from gamma_bot.jobs.installations import Installations
from gamma_bot.jobs.parts import Parts
from gamma_bot.jobs.presenter import Presenter
from gamma_bot.jobs.promotion import Promotion
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.reach import Reach
from gamma_bot.jobs.scheduler import Scheduler
from gamma_bot.jobs.story import Story
from gamma_bot.jobs.sweep import Sweep
from gamma_bot.jobs.watcher import Watcher
from gamma_bot.jobs.writing import Writing
from gamma_bot.membership import Membership
from gamma_bot.metrics import Metric
from gamma_bot.settings import Settings
from gamma_bot.store.actions_runs import ActionsRuns
from gamma_bot.store.database import Database, StoreUnavailable
from gamma_bot.store.inbox import Inbox
from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.store.leadership import Part
from gamma_bot.store.pauses import Pauses
from gamma_bot.store.projects import Projects
from gamma_bot.store.pulls import PullRecord, Pulls
from gamma_bot.store.spending import Spending
from gamma_bot.store.surfaces import Surfaces
from gamma_bot.tracking.runs import Tracking
from gamma_bot.training.trainer import Trainer

_DISPATCHER, _FLUSHER = "Dispatcher", "Flusher"
# How often parts look by themselves where other replicas may have work for them; mostly they are told at once.
_LOOK_SECONDS = 2.0

log = structlog.get_logger()


def watcher_of(executor: str) -> str:
    """The name of the part that watches an executor's jobs."""
    return f"Watcher {executor}"


@dataclass(frozen=True)
class Stores:
    """What is kept, by kind."""

    inbox: Inbox
    jobs: Jobs
    pulls: Pulls
    projects: Projects
    surfaces: Surfaces
    spending: Spending
    actions_runs: ActionsRuns


@dataclass(frozen=True)
class Pace:
    """How often and how long, in seconds.

    Attributes:
        write_interval: least time between two writes to one installation at GitHub.
        watch_interval: how often running jobs are looked at; ``None`` for what their trainers say is worth it.
        patience: how long a job waits for GitHub or MLflow before it gives up.
    """

    write_interval: float = 1.0
    watch_interval: float | None = None
    patience: float = 900.0


class Working:
    """Everything that runs once Gamma knows its GitHub App.

    Args:
        membership: this process among several replicas; ``None`` for the only one, which does everything.
        url: the address that links in reports lead to; known once Gamma listens.
        redact: takes secrets out of words that people will read.
    """

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        github: GitHubApp,
        tracking: Tracking,
        trainers: Mapping[str, Trainer],
        pace: Pace,
        membership: Membership | None,
        agent: Agent,
        *,
        url: str,
        redact: Callable[[str], str],
    ) -> None:
        self._github = github
        self._url = url
        self._membership = membership
        self._tasks: list[asyncio.Task[None]] = []
        jobs, surfaces = stores.jobs, stores.surfaces
        flusher = Flusher(github, surfaces, look_seconds=_LOOK_SECONDS if membership is not None else None)
        show = self._waking(_FLUSHER, flusher.wake)
        presenter = Presenter(
            jobs, stores.pulls, surfaces, show, agent.texts, agent.told, has_model=agent.claude.available
        )
        reach = Reach(github, stores.projects)
        expenses = Expenses(stores.spending, stores.pulls, settings.data_dir, settings.aws_region or "")
        of_jobs = Parts(
            jobs=jobs,
            pulls=stores.pulls,
            presenter=presenter,
            reach=reach,
            trainers=trainers,
            tracking=tracking,
            expenses=expenses,
            data_dir=settings.data_dir,
            branches=settings.branches,
            page_url=self._page_url,
            patience_seconds=pace.patience,
            redact=redact,
        )
        story = Story(of_jobs)

        async def train(push: Push) -> None:
            await heads.begin(push)

        desk = JobsDesk(
            jobs,
            stores.pulls,
            github,
            trainers,
            story,
            Promotion(jobs, tracking, presenter.show_job),
            expenses,
            settings.branches,
            begin=train,
            page_url=self._page_url,
            ledger=agent.ledger,
        )
        registry = build_registry()
        writing = self.writing = Writing(
            of_jobs, agent.writer(settings), agent.texts, month_cap=agent.ledger.caps.month
        )

        async def write_about(job: JobRecord) -> None:
            try:
                if writing.wants(job):
                    await engine.begin("write up", f"write-up-{job.id}-{job.attempt}", {"job": job.id})
            except Exception:  # the verdict is told, and that is what counts
                log.exception("write_up.not_begun", job=job.id)

        self.asking = Asking(
            agent.asker(settings, url),
            agent.asks,
            jobs,
            reach,
            tracking,
            trainers,
            write_up_of=writing.text_of,
            page_url=self._page_url,
        )
        conversation = Conversation(
            github, surfaces, desk, registry, show, asking=self.asking, writing=writing, redact=redact
        )
        buttons = Buttons(jobs, reach, desk, registry, presenter, patience_seconds=pace.patience, redact=redact)
        engine = self._engine = Engine(
            settings.engine_url,
            {
                "train": story.train,
                "finish": EndOfStory(of_jobs, write_about).finish,
                "write up": writing.write_up,
                "command": conversation.answer,
                "button": buttons.press,
            },
            executor=membership.id if membership is not None else ONLY_EXECUTOR,
        )

        async def converse(remark: Remark) -> None:
            await engine.begin("command", f"command-{remark.repository_id}-{remark.comment}", asdict(remark))

        async def press(pressed: Press) -> None:
            await engine.begin("button", f"button-{pressed.guid}", asdict(pressed))

        async def show_pull_request(seen: PullRecord) -> None:
            pull = await stores.pulls.seen(seen)
            if pull.is_open:
                await presenter.show_comment(pull.repository_id, pull.branch, pull.number, pull.head_sha)

        installations = Installations(github, stores.projects, jobs, show)
        own_login = _OwnLogin(github)
        heads = Heads(
            jobs,
            stores.inbox,
            reach,
            engine,
            settings.branches,
            own_login=own_login,
            page_url=self._page_url,
        )
        dispatcher = Dispatcher(
            stores.inbox,
            settings.branches,
            train=heads.delivered,
            show_pull_request=show_pull_request,
            converse=converse,
            press=press,
            meet=installations.meet,
            heard=installations.heard,
            hint=stores.actions_runs.hint,
            own_login=own_login,
            app_id=settings.github_app_id or "",
        )
        watchers = {
            watcher_of(name): Watcher(jobs, presenter, engine, trainer, tracking, look_seconds=pace.watch_interval)
            for name, trainer in trainers.items()
        }
        scheduler = Scheduler(jobs, presenter, engine, interval_seconds=pace.watch_interval or 0.5)
        sweep = Sweep(jobs, presenter, engine, trainers, tracking)
        self.catch_up = CatchUp(
            github,
            stores.inbox,
            reconcile=heads.reconcile,
            relayed=settings.tunnel_url is not None,
            pause_seconds=pace.write_interval,
        )
        self._parts = {
            # Both begin the jobs of pushes, under one lock of this process: they run in the same one.
            _DISPATCHER: Part(partial(_together, dispatcher.run, self.catch_up.run), dispatcher.wake),
            _FLUSHER: Part(flusher.run, flusher.wake),
            **{name: Part(watcher.run) for name, watcher in watchers.items()},
            "Scheduler": Part(scheduler.run),
            "Sweep": Part(sweep.run),
        }
        if membership is not None:
            self._parts["TakeOver"] = Part(membership.take_over(engine).run)
        self.wake = self._waking(_DISPATCHER, dispatcher.wake)  # a delivery was stored

    async def start(self) -> None:
        """Resume what an earlier process left, and begin to work."""
        await self._engine.start()
        if self._membership is not None:
            elections = self._membership.take_part(self._parts)
            self._tasks = [asyncio.create_task(elections, name="Leadership")]
        else:
            self._tasks = [asyncio.create_task(part.run(), name=name) for name, part in self._parts.items()]

    async def stop(self, *, drain_seconds: float = 0.0) -> None:
        """Let go of everything; what is under way goes on at the next start, or in another replica at once.

        Args:
            drain_seconds: how long steps that have begun may take to come to their end.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._engine.drain(drain_seconds)
        await self._engine.stop()

    @property
    def problem(self) -> str | None:
        """What does not work any more, in a few words."""
        dead = [task.get_name() for task in self._tasks if task.done()]
        if self._membership is not None:
            dead += sorted(self._membership.leadership.crashed)
        return f"ended: {', '.join(dead)}" if dead else None

    async def metrics(self) -> Sequence[Metric]:
        """What the parts count and measure."""
        among = await self._membership.metrics(self._parts) if self._membership is not None else ()
        return [*self.catch_up.metrics, *metrics_of(self._github), *among]

    def _waking(self, name: str, wake: Callable[[], None]) -> Callable[[], None]:
        """What wakes a part, wherever it runs."""
        return wake if self._membership is None else partial(self._membership.leadership.wake, name)

    def _page_url(self, job: str) -> str:
        return f"{self._url}/jobs/{job}"


async def _together(*runs: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(run())


async def github_app(
    settings: Settings,
    session: aiohttp.ClientSession,
    database: Database,
    keys: tuple[SigningKey, ...],
    *,
    write_interval_seconds: float,
    may_write: Callable[[], bool],
) -> GitHubApp:
    """Gamma's App at GitHub, which keeps the pauses that GitHub asked for.

    Raises:
        StoreUnavailable
    """
    pauses = Pauses(database)

    async def keep_pause(installation_id: int, until: float) -> None:
        with contextlib.suppress(StoreUnavailable):  # then the next process has to learn it from GitHub
            await pauses.keep(installation_id, until)

    return GitHubApp(
        session,
        api_url=settings.github_api_url,
        app_id=settings.github_app_id or "",
        keys=keys,
        write_interval_seconds=write_interval_seconds,
        paused_until=await pauses.running(),
        on_pause=keep_pause,
        may_write=may_write,
    )


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
