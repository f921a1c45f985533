"""An installation's token: minted once for all who ask at the same time, kept for its hour, replaced when refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

_MARGIN_SECONDS = 5 * 60


class InstallationToken:
    """The token of one installation.

    Args:
        mint: a new token and the Unix time at which it ends.
    """

    def __init__(self, mint: Callable[[], Awaitable[tuple[str, float]]]) -> None:
        self._mint = mint
        self._minting = asyncio.Lock()
        self._token: tuple[str, float] | None = None

    async def get(self) -> str:
        """A token that is good for some minutes at least.

        Raises:
            GitHubError
        """
        async with self._minting:
            if self._token is None or self._token[1] - time.time() < _MARGIN_SECONDS:
                self._token = await self._mint()
            return self._token[0]

    def refused(self, token: str) -> None:
        """GitHub no longer takes this one; if nobody has replaced it yet, the next who asks does."""
        if self._token is not None and self._token[0] == token:
            self._token = None

    def renew(self) -> None:
        """Whoever asks next mints one."""
        self._token = None
