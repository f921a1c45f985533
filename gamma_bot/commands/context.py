"""What a command knows when it is carried out: where it was written, by whom, and what it may ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from gamma_bot.commands.declaration import Registry, Reply
from gamma_bot.commands.desk import Desk
from gamma_bot.commands.pull import PullContext
from gamma_bot.commands.roles import Role
from gamma_bot.jobs.asking import Asking
from gamma_bot.jobs.writing import Writing
from gamma_bot.reporting.markdown import Markdown

__all__ = ["CommandContext", "PullContext", "Reply"]


async def _shown_to_nobody(_words: Markdown) -> None:
    """Where an answer comes at once, nobody has to be told that it is coming."""


@dataclass(frozen=True)
class CommandContext:
    """All that surrounds a command.

    Attributes:
        author: the login of the person who wrote it.
        role: that person's role in the repository.
        comment_sha: the pull request's head when the comment was written; ``None`` if that is not known.
        request: what makes a second run of the same command harmless: the comment's id and the command's index.
        overrides: which roles commands take here, where gamma.yml on the default branch says so.
        asking: who answers questions; ``None`` where nobody can.
        writing: who writes about commits; ``None`` where nobody can.
        progress: shows words in the place of the answer until it is there.
    """

    pull: PullContext
    author: str
    role: Role
    comment_sha: str | None
    request: str
    desk: Desk
    registry: Registry
    overrides: Mapping[str, Role] = field(default_factory=dict)
    asking: Asking | None = None
    writing: Writing | None = None
    progress: Callable[[Markdown], Awaitable[None]] = _shown_to_nobody
