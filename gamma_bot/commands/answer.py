"""A parsed command is carried out if its author may give it; in any case there is an answer and a reaction."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gamma_bot.commands.context import CommandContext
from gamma_bot.commands.errors import NotAllowed, explain
from gamma_bot.commands.parser import Parsed, Understood
from gamma_bot.commands.permissions import allowed
from gamma_bot.reporting.comments import LIMIT
from gamma_bot.reporting.markdown import Markdown, fit

# Left free for what stands around an answer in its comment.
_ROOM = 1_000


class Reaction(StrEnum):
    """GitHub's names of the reactions that a command gets."""

    SEEN = "eyes"
    DONE = "rocket"
    NOT_ALLOWED = "-1"
    NOT_UNDERSTOOD = "confused"


@dataclass(frozen=True)
class Answer:
    """The words and the reaction that end a command."""

    body: Markdown
    reaction: Reaction


async def answer(parsed: Parsed, context: CommandContext) -> Answer:
    """Carry a command out, or say why not."""
    if not isinstance(parsed.result, Understood):
        return Answer(explain(parsed.result), Reaction.NOT_UNDERSTOOD)
    command = parsed.result.command
    denied: NotAllowed | None = allowed(command, context.role, context.pull.private, context.overrides)
    if denied is not None:
        return Answer(explain(denied), Reaction.NOT_ALLOWED)
    reply = await command.handler(context, parsed.result.args)
    return Answer(fit(reply.body, LIMIT - _ROOM), Reaction.DONE if reply.ok else Reaction.NOT_UNDERSTOOD)
