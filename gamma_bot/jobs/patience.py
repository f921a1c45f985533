"""Work with patience for what passes by itself; what does not becomes a value that says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from gamma_bot.github.errors import Forbidden, GitHubError, NotFound
from gamma_bot.jobs.engine import Values
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.tracking.runs import TrackingError
from gamma_bot.training.trainer import TrainerUnavailable

log = structlog.get_logger()


def careful(
    work: Callable[..., Awaitable[Values]], patience_seconds: float, redact: Callable[[str], str]
) -> Callable[..., Awaitable[Values]]:
    """A step that never raises: its value has ``failed`` and ``hint`` where it could not do its work.

    Args:
        patience_seconds: how long it goes on trying while GitHub, MLflow or the store are out of reach.
        redact: takes secrets out of the words of an error, which people will read.
    """

    async def run(*args: Any) -> Values:
        deadline, wait = time.monotonic() + patience_seconds, 0.5
        while True:
            try:
                return await work(*args)
            except (GitHubError, TrackingError, StoreUnavailable, TrainerUnavailable) as error:
                passing = not isinstance(error, GitHubError) or error.passes_by_itself
                asked = getattr(error, "retry_after_seconds", None) or 0.0
                if not passing or time.monotonic() + wait > deadline:
                    return {name: redact(words) for name, words in _explain(error).items()}
                log.warning("step.waits", step=work.__name__, error=str(error), retry_seconds=max(wait, asked))
                await asyncio.sleep(max(wait, asked))
                wait = min(60.0, wait * 2)
            except Exception:
                log.exception("step.failed", step=work.__name__)
                return {
                    "failed": "Gamma itself failed while it worked on this job.",
                    "hint": "The log of Gamma has the details. Push again to try once more.",
                }

    return run


def _explain(error: Exception) -> Values:
    match error:
        case Forbidden():
            hint = (
                "Let an owner check that the Gamma App is installed on this repository with the permissions of app.yml."
            )
        case NotFound():
            hint = "The commit or the repository is gone, or the Gamma App may not see it any more."
        case TrackingError():
            hint = "Is the MLflow server up and reachable from Gamma? `gamma doctor` checks it."
        case _:
            hint = "Push again to try once more."
    return {"failed": f"{error}.".replace("..", "."), "hint": hint}
