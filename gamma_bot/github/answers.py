"""What is in GitHub's answers: its times, and what a refusal means; everything that fails is a ``GitHubError``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

import aiohttp
import gidgethub

from gamma_bot.github.errors import Forbidden, GitHubError, NotFound, Rejected

# GitHub: wait at least a minute when it does not say how long.
LEAST_PAUSE_SECONDS = 60.0


@asynccontextmanager
async def translated(route: str) -> AsyncIterator[None]:
    """Turn everything that gidgethub and aiohttp raise into ``GitHubError``."""
    route = route.split("?")[0]
    try:
        yield
    except gidgethub.HTTPException as error:
        raise from_status(error.status_code, str(error), error.headers, route) from None
    except (gidgethub.GitHubException, KeyError, ValueError) as error:
        # gidgethub lets these through for answers that are no GitHub answers (a proxy's error page, say).
        raise GitHubError(0, f"an answer that is not GitHub's ({type(error).__name__})", route) from None
    except TimeoutError:
        raise GitHubError(0, "no answer in time", route) from None
    except aiohttp.ClientError as error:
        raise GitHubError(0, f"the connection failed ({type(error).__name__})", route) from None


def from_status(status: int, message: str, headers: Mapping[str, str] | None, route: str) -> GitHubError:
    """The error that an HTTP status and its headers stand for."""
    code, route = int(status), route.split("?")[0]
    wait = pause_seconds(message, headers or {}, limited=code == 429) if code in (403, 429) else None
    if wait is not None:
        return GitHubError(code, message, route, wait)
    if code == 404:
        return NotFound(code, message, route)
    if code in (401, 403):
        return Forbidden(code, message, route)
    if code < 500:
        return Rejected(code, message, route)
    return GitHubError(code, message, route)


def pause_seconds(message: str, headers: Mapping[str, str], *, limited: bool) -> float | None:
    """How long a refusal asks to wait; ``None`` if it is no limit.

    Args:
        limited: it is a limit for sure, whatever its words and headers say.
    """
    headers = {name.lower(): value for name, value in headers.items()}
    if "retry-after" in headers:
        return _seconds(headers["retry-after"])
    if headers.get("x-ratelimit-remaining") == "0":
        return max(1.0, _seconds(headers.get("x-ratelimit-reset", "")) - time.time())
    return LEAST_PAUSE_SECONDS if limited or "secondary rate limit" in message.lower() else None


def unix_time(text: str) -> float:
    """GitHub's "2026-11-23T10:00:00Z" as Unix seconds."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _seconds(text: str) -> float:
    """A header's number of seconds; a minute where it is something else (HTTP allows a date)."""
    return float(text) if text.strip().isdigit() else LEAST_PAUSE_SECONDS
