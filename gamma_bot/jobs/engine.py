"""The durable engine: DBOS, set up the way Gamma needs it, and kept behind a few verbs.

DBOS is one per process and keeps a registry of workflows; both end with ``stop``. Nothing else imports it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import structlog
from sqlalchemy import make_url

from gamma_bot.store.database import IDLE_IN_TRANSACTION_SECONDS

# A constant of ours: by default it is a hash of the workflows' source, and then a deploy strands what is in flight.
# Change the code of a workflow only behind ``Steps.changed``.
APPLICATION_VERSION = "gamma-1"
ONLY_EXECUTOR = "gamma"
_MOST_IN_A_QUERY = 500

Values = Mapping[str, Any]

log = structlog.get_logger()


class Steps(Protocol):
    """What a workflow may do that must be remembered."""

    async def step(self, name: str, work: Callable[..., Awaitable[Values]], *args: Any) -> Values:
        """Run ``work`` and record what it returns. After a crash it may run again: work is idempotent."""

    async def receive(self, topic: str, timeout_seconds: float) -> Values | None:
        """Sleep until somebody sends a message; ``None`` after the time-out."""

    async def changed(self, name: str) -> bool:
        """True for workflows that reach this place after the code changed: run the new code for them."""


Workflow = Callable[[Steps, Values], Awaitable[Values]]
Registered = Callable[[Values], Coroutine[Any, Any, Values]]


class Engine:
    """Starts workflows, sends them messages, and finishes after a crash what had begun.

    Args:
        url: SQLAlchemy URL of the engine's own tables.
        workflows: by name; the name is stored, so it never changes.
        executor: whose workflows are resumed at the start, and under whose name new ones are begun.
    """

    def __init__(self, url: str, workflows: Mapping[str, Workflow], *, executor: str = ONLY_EXECUTOR) -> None:
        self._url = url
        self._workflows = dict(workflows)
        self._executor = executor
        self._steps = _DbosSteps()
        self._registered: dict[str, Registered] = {}

    async def start(self) -> None:
        """Open the engine and resume every workflow that a crash interrupted."""
        from dbos import DBOS, DBOSPortableJSONSerializer

        parsed = make_url(self._url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            # DBOS leaves SQLite at its rollback journal, which is half as fast and blocks readers.
            with sqlite3.connect(parsed.database) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            connection.close()
        DBOS(
            config={
                "name": "gamma",
                "system_database_url": self._url,
                "application_version": APPLICATION_VERSION,
                "executor_id": self._executor,
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": "WARNING",
                "max_executor_threads": 16,
                "notification_listener_polling_interval_sec": 0.2,
                "sys_db_idle_transaction_timeout_sec": IDLE_IN_TRANSACTION_SECONDS,
            }
        )
        logging.getLogger("dbos").setLevel(logging.WARNING)
        for name, workflow in self._workflows.items():
            self._registered[name] = _register(name, workflow, self._steps)
        # On the loop's own thread, for some ten milliseconds: DBOS resumes workflows on the loop it is launched from,
        # and from any other thread it would run them on a loop of its own, where our sessions don't work.
        DBOS.launch()

    async def begin(self, name: str, workflow_id: str, values: Values) -> None:
        """Start a workflow. The same id again starts nothing."""
        # In a context of its own: a step that starts another workflow would make it a child of its own workflow.
        loop = asyncio.get_running_loop()
        await loop.create_task(self._begin(name, workflow_id, values), context=contextvars.Context())

    async def _begin(self, name: str, workflow_id: str, values: Values) -> None:
        from dbos import DBOS, SetWorkflowID

        with SetWorkflowID(workflow_id):
            await DBOS.start_workflow_async(self._registered[name], dict(values))

    async def send(self, workflow_id: str, topic: str, message: Values, *, once: str) -> None:
        """Wake a workflow. A message with the same ``once`` arrives once."""
        from dbos import DBOS

        await DBOS.send_async(workflow_id, dict(message), topic, idempotency_key=once)

    async def is_running(self, workflow_id: str) -> bool:
        """Whether a workflow is under way here or waits to be resumed."""
        from dbos import DBOS

        status = await DBOS.get_workflow_status_async(workflow_id)
        return status is not None and status.status in ("PENDING", "ENQUEUED")

    async def over_among(self, workflow_ids: Collection[str]) -> set[str]:
        """Those of these workflows that were begun and have ended, in whatever way."""
        from dbos import DBOS

        wanted, found = list(workflow_ids), set[str]()
        for start in range(0, len(wanted), _MOST_IN_A_QUERY):
            known = await DBOS.list_workflows_async(
                workflow_ids=wanted[start : start + _MOST_IN_A_QUERY], load_input=False, load_output=False
            )
            found |= {each.workflow_id for each in known if each.status not in ("PENDING", "ENQUEUED")}
        return found

    async def executors(self) -> set[str]:
        """Who has workflows under way, dead or alive."""
        from dbos import DBOS

        found = await DBOS.list_workflows_async(status="PENDING", load_input=False, load_output=False)
        return {workflow.executor_id for workflow in found if workflow.executor_id is not None}

    async def take_over(self, executors: Collection[str]) -> int:
        """Go on with the workflows of others, here or wherever an engine is free; how many there were.

        One of theirs that is not dead after all runs into its next record, which is refused, and stops there.
        """
        from dbos import DBOS

        found = await DBOS.list_workflows_async(
            status="PENDING", executor_id=list(executors), load_input=False, load_output=False
        )
        if found:
            await DBOS.resume_workflows_async([workflow.workflow_id for workflow in found])
        return len(found)

    async def drain(self, longest_seconds: float) -> None:
        """Let the steps under way come to their end, and no other one begin."""
        self._steps.closed = True
        try:
            async with asyncio.timeout(longest_seconds):
                await self._steps.idle.wait()
        except TimeoutError:
            log.warning("engine.steps_cut_short", steps=self._steps.under_way, after_seconds=longest_seconds)

    async def stop(self, *, longest_seconds: float = 5.0) -> None:
        """Let go of everything. Workflows under way stay pending and go on at the next start.

        DBOS's threads wait for a lost database without end. After ``longest_seconds`` they are left to themselves.
        """
        from dbos import DBOS

        # DBOS had made its own thread pool the loop's default one, and shuts it down: what is under way needs another.
        loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(thread_name_prefix="gamma")
        loop.set_default_executor(threads)
        letting_go = threading.Thread(target=DBOS.destroy, kwargs={"destroy_registry": True}, daemon=True)
        letting_go.start()
        await asyncio.to_thread(letting_go.join, longest_seconds)
        loop.set_default_executor(threads)  # each call of a workflow that was under way put DBOS's pool back
        if letting_go.is_alive():
            log.warning("engine.left_behind", after_seconds=longest_seconds, why="its database does not answer")


class _DbosSteps:
    """``Steps`` by DBOS. The workflow that calls is known to DBOS from the context.

    Attributes:
        closed: no step begins any more; workflows wait for the end of the process, and go on in another one.
        under_way: how many steps have begun and are not recorded yet.
        idle: set while there are none.
    """

    def __init__(self) -> None:
        self.closed = False
        self.under_way = 0
        self.idle = asyncio.Event()
        self.idle.set()

    async def step(self, name: str, work: Callable[..., Awaitable[Values]], *args: Any) -> Values:
        from dbos import DBOS

        async def run() -> dict[str, Any]:
            return dict(await work(*args))

        if self.closed:
            await asyncio.Future()
        self.under_way += 1
        self.idle.clear()
        try:
            return await DBOS.run_step_async({"name": name}, run)
        finally:
            self.under_way -= 1
            if not self.under_way:
                self.idle.set()

    async def receive(self, topic: str, timeout_seconds: float) -> Values | None:
        from dbos import DBOS

        message = await DBOS.recv_async(topic, timeout_seconds)
        return dict(message) if message is not None else None

    async def changed(self, name: str) -> bool:
        from dbos import DBOS

        return await DBOS.patch_async(name)


def _register(name: str, workflow: Workflow, steps: Steps) -> Registered:
    from dbos import DBOS

    async def run(values: Values) -> Values:
        return dict(await workflow(steps, values))

    run.__qualname__ = f"gamma.{name}"
    return DBOS.workflow(name=name)(run)
