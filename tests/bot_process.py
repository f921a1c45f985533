"""A bot to be killed: the real service in a process of its own, with points at which it kills itself.

    python -m tests.bot_process PORT_FILE [KILL_POINT …]

A kill-point is ``before:submit``, ``after:submit``, ``before:open_run`` … The process dies there by SIGKILL, as in a
crash: nothing is cleaned up.
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
from gamma_bot.settings import Settings
from gamma_bot.tracking.open import open_tracking
from gamma_bot.training.local import LocalTrainer


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
        trainer = LocalTrainer(settings.data_dir / "jobs", slots=settings.local_jobs)
        service = Gamma(
            settings,
            tracking=Mortal(tracking, points),
            trainers={"local": Mortal(trainer, points)},
            write_interval_seconds=0.0,
            watch_interval_seconds=0.05,
            patience_seconds=float(os.environ.get("GAMMA_TEST_PATIENCE", "20")),
        )
        await service.start()
        port_file.with_suffix(".new").write_text(service.url.rpartition(":")[2])
        port_file.with_suffix(".new").rename(port_file)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
