"""GitHub's rate limits: 5,000 requests an hour, and the secondary limits against bursts of writes.

The numbers are GitHub's documented ones; a test lowers them to see a limit, or raises them to run a burst.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gamma_bot.sandbox.call import Actor, Anonymous, ApiError, InstallationActor

SECONDARY_MESSAGE = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. "
    "If you reach out to GitHub Support for help, please include the request ID."
)


@dataclass
class _Usage:
    """What one actor has used."""

    window_start: float
    used: int = 0
    in_flight: int = 0
    points: deque[tuple[float, int]] = field(default_factory=deque)
    content: deque[float] = field(default_factory=deque)


class QueryLimit(ApiError):
    """GraphQL tells of a spent hour in the body of an answer with status 200."""

    def body(self) -> dict[str, Any]:
        return {"errors": [{"type": "RATE_LIMITED", "message": self.message}]}


class Limits:
    """Counts requests per actor and refuses those over a limit."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.requests_per_hour = 5000
        self.anonymous_requests_per_hour = 60
        self.points_per_minute = 900
        self.graphql_points_per_minute = 2000
        self.content_per_minute = 80
        self.content_per_hour = 500
        self.concurrent = 100
        self._clock = clock
        self._usage: dict[tuple[str, str], _Usage] = {}

    def enter(self, actor: Actor, method: str, *, content: bool, resource: str = "core") -> None:
        """Count a request that begins.

        Raises:
            ApiError: it is over a limit; it must then not be answered otherwise, and ``leave`` must not be called.
        """
        now, usage = self._clock(), self._of(actor, resource)
        if usage.used >= self._hourly(actor):
            raise self.exhausted(actor, resource)
        while usage.points and usage.points[0][0] <= now - 60:
            usage.points.popleft()
        while usage.content and usage.content[0] <= now - 3600:
            usage.content.popleft()
        points = 1 if method in ("GET", "HEAD", "OPTIONS") else 5
        in_last_minute = sum(made > now - 60 for made in usage.content)
        if (
            usage.in_flight >= self.concurrent
            or sum(cost for _, cost in usage.points) + points > self._points(resource)
            or (content and (in_last_minute >= self.content_per_minute or len(usage.content) >= self.content_per_hour))
        ):
            raise secondary_limit(60)
        usage.used += 1
        usage.in_flight += 1
        usage.points.append((now, points))
        if content:
            usage.content.append(now)

    def leave(self, actor: Actor, *, free: bool, resource: str = "core") -> None:
        """Count a request that ends; ``free``: it was answered 304 and costs nothing of the hour."""
        usage = self._of(actor, resource)
        usage.in_flight -= 1
        if free:
            usage.used = max(0, usage.used - 1)

    def headers(self, actor: Actor, resource: str = "core") -> dict[str, str]:
        summary = self.summary(actor, resource)
        return {
            "X-RateLimit-Resource": resource,
            **{f"X-RateLimit-{name.capitalize()}": str(value) for name, value in summary.items()},
        }

    def summary(self, actor: Actor, resource: str = "core") -> dict[str, Any]:
        usage, limit = self._of(actor, resource), self._hourly(actor)
        reset = int(usage.window_start) + 3600
        return {"limit": limit, "remaining": max(0, limit - usage.used), "reset": reset, "used": usage.used}

    def exhausted(self, actor: Actor, resource: str = "core") -> ApiError:
        who = f"installation ID {actor.installation.id}" if isinstance(actor, InstallationActor) else actor.label
        message, headers = f"API rate limit exceeded for {who}.", {"X-RateLimit-Remaining": "0"}
        if resource == "graphql":
            return QueryLimit(200, message, headers=headers)
        return ApiError(403, message, headers=headers)

    def _points(self, resource: str) -> int:
        return self.graphql_points_per_minute if resource == "graphql" else self.points_per_minute

    def _hourly(self, actor: Actor) -> int:
        return self.anonymous_requests_per_hour if isinstance(actor, Anonymous) else self.requests_per_hour

    def _of(self, actor: Actor, resource: str) -> _Usage:
        now, key = self._clock(), (resource, actor.label)
        usage = self._usage.get(key)
        if usage is None:
            usage = self._usage[key] = _Usage(now)
        elif now >= usage.window_start + 3600:
            usage.window_start, usage.used = now, 0
        return usage


def secondary_limit(retry_after_seconds: int, status: int = 403) -> ApiError:
    return ApiError(status, SECONDARY_MESSAGE, headers={"Retry-After": str(retry_after_seconds)})
