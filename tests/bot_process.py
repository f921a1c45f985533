"""A bot to be killed: the real service in a process of its own, with points at which it kills itself.

    python -m tests.bot_process PORT_FILE [KILL_POINT …]

A kill-point is ``before:submit``, ``after:submit``, ``before:open_run`` … The process dies there by SIGKILL, as in a
crash: nothing is cleaned up. GAMMA_TEST_SHARED names the folder of a trainer that several bots share. With
GAMMA_TEST_ACTIONS it trains in GitHub Actions, too, and kill-points are around GitHub and the table there:
``before:dispatch``, ``after:claim`` … An end in order leaves the exit code in PORT_FILE.exit.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from gamma_bot.app import Gamma
from gamma_bot.serving import until_told
from gamma_bot.settings import Settings
from gamma_bot.tracking.open import open_tracking
from gamma_bot.training.local import LocalTrainer
from gamma_bot.training.trainer import Trainer


class Mortal:
    """Passes every call on to the real part, and dies at its kill-points."""

    def __init__(self, part: Any, points: set[str]) -> None:
        self._part = part
        self._points = points

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if f"before:{name}" not in self._points and f"after:{name}" not in self._points:
            return found

        async def call(*args: Any, **more: Any) -> Any:
            if f"before:{name}" in self._points:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = await found(*args, **more)
            if f"after:{name}" in self._points:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return call


def let_die_in_actions(points: set[str]) -> None:
    """Put kill-points around what the trainer for GitHub Actions asks of GitHub and of its table."""
    from gamma_bot import app

    build = app.actions_trainer

    def mortal(*args: Any) -> Any:
        trainer: Any = build(*args)
        trainer._workflows, trainer._runs = Mortal(trainer._workflows, points), Mortal(trainer._runs, points)
        trainer._sweep_seconds, trainer._settle_seconds = 0.2, 1.0
        return trainer

    app.actions_trainer = mortal


async def main() -> None:
    """Run until killed."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.dev.ConsoleRenderer(colors=False)])
    port_file, points = Path(sys.argv[1]), set(sys.argv[2:])
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    async with aiohttp.ClientSession() as session:
        tracking = open_tracking(
            settings.tracking_uri,
            artifact_root=settings.data_dir / "mlflow",
            public_url=None,
            http_session=session,
        )
        trainer: Trainer = LocalTrainer(settings.data_dir / "jobs", slots=settings.local_jobs)
        if shared := os.environ.get("GAMMA_TEST_SHARED"):
            from tests.shared_stand_ins import SharedTracking, SharedTrainer

            trainer, tracking = SharedTrainer(Path(shared)), SharedTracking()
        trainers = {trainer.name: Mortal(trainer, points)}
        in_actions = os.environ.get("GAMMA_TEST_ACTIONS")
        if in_actions:
            let_die_in_actions(points)
        service = Gamma(
            settings,
            tracking=Mortal(tracking, points),
            trainers=None if in_actions else trainers,
            write_interval_seconds=0.0,
            watch_interval_seconds=0.05,
            patience_seconds=float(os.environ.get("GAMMA_TEST_PATIENCE", "20")),
            dead_seconds=float(os.environ.get("GAMMA_TEST_DEAD", "15")),
        )
        await service.start()
        port_file.with_suffix(".new").write_text(service.url.rpartition(":")[2])
        port_file.with_suffix(".new").rename(port_file)
        code = await until_told(service)
        port_file.with_suffix(".exit").write_text(str(code))


if __name__ == "__main__":
    asyncio.run(main())
