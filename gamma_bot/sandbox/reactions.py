"""Reactions: the same rules for a comment of the conversation, a comment on a line, and a review."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gamma_bot.sandbox.call import Answer, Call, Route, invalid, not_found
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model import Account, Reaction
from gamma_bot.sandbox.shapes_issues import REACTIONS, reaction_json


class Reactable(Protocol):
    """Whatever can be reacted to."""

    reactions: list[Reaction]


def add_reaction(forge: Forge, subject: Reactable, user: Account, content: str) -> tuple[Reaction, bool]:
    """React, or find the same reaction of the same person; whether it is new. GitHub sends no webhook for it."""
    for reaction in subject.reactions:
        if reaction.user is user and reaction.content == content:
            return reaction, False
    reaction = Reaction(forge.state.next_id(), user, content, forge.state.now())
    subject.reactions.append(reaction)
    forge.state.changed()
    return reaction, True


def reaction_routes(path: str, find: Callable[[Call], Reactable], permission: str) -> tuple[Route, ...]:
    """REST's endpoints for the reactions to what stands at ``path``."""

    async def list_reactions(call: Call) -> Answer:
        return _list(call, find(call))

    async def create_reaction(call: Call) -> Answer:
        return _create(call, find(call))

    async def delete_reaction(call: Call) -> Answer:
        return _delete(call, find(call))

    reads, writes = (f"{permission}:read",), (f"{permission}:write",)
    return (
        Route("GET", f"{path}/reactions", list_reactions, needs=reads),
        Route("POST", f"{path}/reactions", create_reaction, needs=writes, content=True),
        Route("DELETE", f"{path}/reactions/{{reaction_id}}", delete_reaction, needs=writes),
    )


def _list(call: Call, subject: Reactable) -> Answer:
    reactions = subject.reactions
    if "content" in call.query:
        reactions = [reaction for reaction in reactions if reaction.content == call.query["content"]]
    return Answer(200, [reaction_json(call.forge.urls, reaction) for reaction in call.page(reactions)])


def _create(call: Call, subject: Reactable) -> Answer:
    """GitHub answers 200 with the old reaction if the same one was there already."""
    content = call.json_object().get("content")
    if content not in REACTIONS:
        raise invalid("Reaction", "content", "invalid")
    reaction, is_new = add_reaction(call.forge, subject, call.account, content)
    return Answer(201 if is_new else 200, reaction_json(call.forge.urls, reaction))


def _delete(call: Call, subject: Reactable) -> Answer:
    """One's own reactions only."""
    wanted = call.number("reaction_id")
    reaction = next((reaction for reaction in subject.reactions if reaction.id == wanted), None)
    if reaction is None or reaction.user is not call.account:
        raise not_found()
    subject.reactions.remove(reaction)
    call.forge.state.changed()
    return Answer(204)
