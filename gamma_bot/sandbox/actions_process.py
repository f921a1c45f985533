"""One process of a step: its output line by line, and its end as the runner brings it about when a run is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gamma_bot.sandbox.model_actions import Machines, WorkflowRun
from gamma_bot.sandbox.state import State

_LONGEST_LINE_BYTES = 1 << 20


class Interrupted(Exception):
    """The run was cancelled, or its job took longer than it may."""


async def run_process(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], on_line: Callable[[str], None], *,
    run: WorkflowRun, state: State, machines: Machines, deadline: float, heeds_cancel: bool,
) -> int:  # fmt: skip
    """The exit status of a command that ran to its end.

    Args:
        deadline: of ``time.monotonic``.
        heeds_cancel: a step that runs although the run is being cancelled is ended by force and time only.

    Raises:
        Interrupted: it was ended.
    """
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=dict(environment), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        limit=_LONGEST_LINE_BYTES,
    )  # fmt: skip
    assert process.stdout is not None
    reading = asyncio.create_task(_read(process.stdout, on_line))
    waiting = asyncio.create_task(process.wait())
    interrupted = False
    try:
        while not waiting.done():
            cancelled = run.cancel == "forced" or (heeds_cancel and run.cancel != "")
            if cancelled or time.monotonic() >= deadline:
                interrupted = True
                await _end(process, waiting, machines, at_once=run.cancel == "forced")
                break
            change = asyncio.create_task(state.next_change())
            left = max(0.0, deadline - time.monotonic())
            await asyncio.wait({waiting, change}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
        status = await waiting
    finally:
        # What it started in the background ends with it, also when the sandbox is stopped.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.gather(waiting, reading, return_exceptions=True)
    if interrupted:
        raise Interrupted
    return status


async def _end(
    process: asyncio.subprocess.Process, waiting: asyncio.Task[int], machines: Machines, *, at_once: bool
) -> None:
    # The signals go to the step's own process, not to its children: a shell has to hand them on.
    if not at_once:
        for number, seconds in (
            (signal.SIGINT, machines.interrupt_seconds),
            (signal.SIGTERM, machines.terminate_seconds),
        ):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            await asyncio.wait({waiting}, timeout=seconds)
            if waiting.done():
                return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _read(stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # longer than any line may be: the stream has dropped it
            continue
        if not line:
            return
        on_line(line.decode(errors="replace").rstrip("\r\n"))
