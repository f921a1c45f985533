"""The end of a run in words: which ending it is, and one plain sentence for a person."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import assert_never

from gamma_bot.training.guarded_run import Cause, RunEnd, RunLimits
from gamma_bot.training.trainer import Ending, Outcome


def outcome_of(end: RunEnd, limits: RunLimits, *, failure: str, started_at: float, ended_at: float) -> Outcome:
    """What became of a command that ran.

    Args:
        failure: what the job itself wrote about its failure; empty if it wrote nothing.
    """
    ending, message = _judge(end, limits, failure)
    if end.survivors:
        message += " Some of its processes could not be ended; the machine needs a look."
    return Outcome(ending, message, end.exit_code, end.signal, started_at, ended_at)


def why_overdue(limit_seconds: float) -> str:
    """Why a command was ended whose supervisor did not do it."""
    limit = duration(limit_seconds)
    return (
        f"Ended because it ran far longer than its time limit of {limit}: the process that looked after it did not "
        "end it (halted, or kept from its work, which the job itself can do)."
    )


def why_not_started(command: Sequence[str], environment: Mapping[str, str], folder: Path, error: Exception) -> str:
    """Why a command could not even be started."""
    program = command[0] if command else ""
    if not program:
        return "The command is empty: name a program in gamma.yml under train.command."
    if isinstance(error, OSError) and error.errno == errno.E2BIG:
        return "The command could not be started: its arguments, variables and hyperparameters are too long together."
    if isinstance(error, ValueError):
        return f"The command could not be started: a word or a variable holds an impossible character ({error})."
    if "/" not in program and shutil.which(program, path=environment.get("PATH")) is None:
        return f"The command could not be started: no program “{program}” is installed where the job runs."
    if "/" in program and not (folder / program).exists():
        return f"The command could not be started: there is no file “{program}”."
    if isinstance(error, PermissionError):
        return f"The command could not be started: “{program}” is not executable (git update-index --chmod=+x)."
    if isinstance(error, OSError) and error.errno in (errno.ENOEXEC, errno.ENOENT):
        return f"The command could not be started: the first line of “{program}” must name an interpreter that exists."
    return f"The command could not be started: “{program}”: {getattr(error, 'strerror', None) or error}."


def duration(seconds: float) -> str:
    """``90 s``, ``10 min``, ``3 h``."""
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:.4g} min" if seconds < 7200 else f"{seconds / 3600:.4g} h"


def _judge(end: RunEnd, limits: RunLimits, failure: str) -> tuple[Ending, str]:
    killed = f"; it ignored SIGTERM and was killed {duration(limits.grace_seconds)} later"
    last = killed if end.ignored_sigterm else ""
    match end.cause:
        case Cause.STOP:
            return Ending.STOPPED, f"Stopped because somebody asked for it{last}."
        case Cause.TIME:
            limit = duration(limits.seconds)
            return Ending.TIME_LIMIT, f"Ended because it ran longer than its time limit of {limit}{last}."
        case Cause.MEMORY:
            limit = _size(limits.memory_bytes or 0)
            return Ending.MEMORY_LIMIT, f"Ended because it held {_size(end.figure)} of memory; its limit is {limit}."
        case Cause.PROCESSES:
            figures = f"{end.figure:,} processes at once; {limits.processes:,} are allowed"
            return Ending.USER_CODE, f"Ended because it ran {figures}."
        case None:
            pass
        case _:
            assert_never(end.cause)
    if end.exit_code == 0:
        return Ending.COMPLETED, "The command ended with exit status 0."
    if end.signal is None:
        message = f"The command ended with exit status {end.exit_code}"
    else:
        message = f"The command was ended by {end.signal}"
        if end.signal == "SIGKILL":
            message += ", which is often the machine running out of memory"
    return Ending.USER_CODE, f"{message}: {failure}" if failure else f"{message}."


def _size(count: int) -> str:
    return f"{count / (1 << 30):.3g} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.3g} MiB"
