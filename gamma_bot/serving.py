"""Keeps a started Gamma up until it is told to end, and ends it in order."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gamma_bot.app import Gamma

# Steps under way get as long to come to their end. Docker kills ten seconds after its SIGTERM.
_DRAIN_SECONDS = 6.0
_END_SECONDS = 5.0


async def until_told(service: Gamma) -> int:
    """Serve until SIGTERM, SIGINT, or until other replicas take this one for dead; the exit code."""
    told: asyncio.Queue[signal.Signals | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.put_nowait, number)
    losing = asyncio.create_task(_when_lost(service, told), name="Serving")
    why = await told.get()
    losing.cancel()
    if why is None:
        _say("Other replicas heard nothing of this one for too long and went on with its work. It ends; start it anew.")
        end_within(3 * _END_SECONDS)
        await service.stop()
        end_within(_END_SECONDS)
        return 1
    _say("Stopping; running jobs go on and are found again at the next start.")
    # Others go on, and a load balancer may not know yet. Who presses Ctrl-C has no load balancer.
    lingers = service.membership is not None and why == signal.SIGTERM
    linger_seconds = service.settings.drain_seconds if lingers else 0.0
    end_within(max(linger_seconds, _DRAIN_SECONDS) + 3 * _END_SECONDS)
    await service.stop(linger_seconds=linger_seconds, drain_seconds=_DRAIN_SECONDS)
    end_within(_END_SECONDS)
    return 0


async def _when_lost(service: Gamma, told: asyncio.Queue[signal.Signals | None]) -> None:
    if service.membership is not None:
        await service.membership.lost.wait()
        told.put_nowait(None)


def end_within(seconds: float) -> None:
    """End this process in so many seconds even if a thread does not want to; what it did last is in its exit code.

    The engine's threads wait for a lost database without end, and Python waits for them. Nothing gets lost without
    them: whatever was answered or recorded is in the database already, and the rest is done again at the next start.
    """

    def end() -> None:
        time.sleep(seconds)
        _say("Ended without the database, which does not answer. What was under way goes on later.")
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _say(words: str) -> None:
    click.echo(words, err=True)
