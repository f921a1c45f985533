"""Reactions on comments: the sign of life that a command gets."""

from __future__ import annotations

from gamma_bot.github.errors import NotFound
from gamma_bot.github.gateway import Installation


async def put(installation: Installation, repository: str, comment: str, content: str, old: int | None) -> int:
    """Show one reaction of ours in the place of the one before; its id.

    Args:
        comment: ``issues/comments/ID`` or ``pulls/comments/ID``.
        content: GitHub's name (``eyes``, ``rocket``, ``-1``, ``confused``).
        old: the id of our reaction that it replaces.

    Raises:
        GitHubError
    """
    path = f"/repos/{repository}/{comment}/reactions"
    # GitHub answers 200 with the one that is there already: doing it twice is harmless.
    new = int((await installation.post(path, {"content": content}))["id"])
    if old is not None and old != new:
        try:
            await installation.delete(f"{path}/{old}")
        except NotFound:
            return new  # gone already
    return new
