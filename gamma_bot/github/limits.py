"""What GitHub lets an installation do now: read from the headers of every answer, and from its requests to wait."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from gamma_bot.github.errors import Held

# GitHub counts REST and GraphQL apart; others (search, code scanning …) are not used here.
RESOURCES = ("core", "graphql")

# The last twentieth of an hour's calls is kept for results and for what people ask: progress waits.
_KEPT_SHARE = 0.05
# A reset that lies further away than this is a clock that goes wrong, here or there.
_LONGEST_WINDOW_SECONDS = 3600.0


@dataclass(frozen=True)
class Window:
    """What is left of an hour's calls. ``resets_at`` is Unix time."""

    limit: int
    remaining: int
    resets_at: float

    @property
    def seconds_left(self) -> float:
        """Until GitHub counts from zero again."""
        return min(_LONGEST_WINDOW_SECONDS, max(0.0, self.resets_at - time.time()))


class Limits:
    """The limits of one installation.

    Args:
        paused_seconds: how long it still has to wait for what GitHub asked an earlier process.
    """

    def __init__(self, *, paused_seconds: float = 0.0) -> None:
        self.windows: dict[str, Window] = {}
        self._paused_until = time.monotonic() + paused_seconds

    @property
    def paused_seconds(self) -> float:
        """How long nothing may be called at all."""
        return max(0.0, self._paused_until - time.monotonic())

    def note(self, headers: Mapping[str, str]) -> None:
        """Read the headers of an answer."""
        resource = headers.get("X-RateLimit-Resource", "core")
        numbers = [headers.get(f"X-RateLimit-{name}", "") for name in ("Limit", "Remaining", "Reset")]
        if resource in RESOURCES and all(number.isdecimal() for number in numbers):
            limit, remaining, resets_at = map(int, numbers)
            self.windows[resource] = Window(limit, remaining, float(resets_at))

    def pause(self, seconds: float, resource: str) -> bool:
        """GitHub asked to wait; whether that is longer than it was known already.

        An hour whose calls are used up is known from the headers, and holds up what it counts only. Anything else is
        meant for the whole installation: who goes on calling is limited for longer.
        """
        if self._spent_seconds(resource) > 0 or seconds <= self.paused_seconds:
            return False
        self._paused_until = time.monotonic() + seconds
        return True

    def check(self, route: str, resource: str) -> None:
        """Let a call pass.

        Raises:
            Held: GitHub must not be called now.
        """
        seconds = self.paused_seconds
        if seconds > 0:
            raise Held(429, "GitHub asked Gamma to wait", route, seconds)
        seconds = self._spent_seconds(resource)
        if seconds > 0:
            raise Held(429, "the calls that GitHub allows in an hour are used up", route, seconds)

    def check_progress(self, route: str) -> None:
        """Let a write pass that tells of progress only.

        Raises:
            Held: what is left of this hour is kept for what matters more.
        """
        window = self.windows.get("core")
        if window is not None and window.remaining < _KEPT_SHARE * window.limit and window.seconds_left > 0:
            raise Held(429, "few calls are left in this hour, and are kept for results", route, window.seconds_left)

    def _spent_seconds(self, resource: str) -> float:
        window = self.windows.get(resource)
        return window.seconds_left if window is not None and window.remaining == 0 else 0.0
