"""Reactions: the sign of life that a command gets. There is one of ours at a time.

A place is ``issues/comments/ID``, ``pulls/comments/ID``, or ``node/ID`` for a review as a whole: REST has no reactions
for that, GraphQL has.
"""

from __future__ import annotations

import contextlib

from gamma_bot.github.errors import NotFound, Rejected
from gamma_bot.github.installation import Installation

# What we show, in REST's words and in GraphQL's.
_NAMES = {"eyes": "EYES", "rocket": "ROCKET", "-1": "THUMBS_DOWN", "confused": "CONFUSED"}

ADD = """
mutation ($subject: ID!, $content: ReactionContent!) {
  addReaction(input: {subjectId: $subject, content: $content}) {
    subject { reactionGroups { content viewerHasReacted } }
  }
}
"""
REMOVE = """
mutation ($subject: ID!, $content: ReactionContent!) {
  removeReaction(input: {subjectId: $subject, content: $content}) { clientMutationId }
}
"""


async def put(
    installation: Installation, repository: str, place: str, content: str, old: int | None, *, unsure: bool
) -> int | None:
    """Show one reaction of ours in the place of the one before; its id, where the next one will need it.

    Args:
        content: REST's name (``eyes``, ``rocket``, ``-1``, ``confused``).
        old: the id of our reaction that it replaces.
        unsure: an earlier try may have left one whose id nobody knows.

    Raises:
        GitHubError
    """
    kind, _, node = place.partition("/")
    if kind == "node":
        await _put_on_node(installation, node, _NAMES[content])
        return None
    path = f"/repos/{repository}/{place}/reactions"
    # GitHub answers 200 with the one that is there already: doing it twice is harmless.
    new = int((await installation.post(path, {"content": content}))["id"])
    others = set() if old is None else {old}
    if unsure:
        others |= await _ours(installation, path)
    for other in others - {new}:
        with contextlib.suppress(NotFound):  # gone already
            await installation.delete(f"{path}/{other}")
    return new


async def _ours(installation: Installation, path: str) -> set[int]:
    """The ids of all reactions of ours."""
    login = f"{(await installation.app.app())['slug']}[bot]"
    found = await installation.get_all(f"{path}?per_page=100")
    return {int(one["id"]) for one in found if (one.get("user") or {}).get("login") == login}


async def _put_on_node(installation: Installation, node: str, content: str) -> None:
    # Adding what is there already adds nothing; and the answer tells which others are ours.
    added = await installation.graphql(ADD, {"subject": node, "content": content})
    groups = added["addReaction"]["subject"]["reactionGroups"] or ()
    ours = {group["content"] for group in groups if group["viewerHasReacted"]}
    for other in sorted(ours & set(_NAMES.values()) - {content}):
        with contextlib.suppress(NotFound, Rejected):  # gone already
            await installation.graphql(REMOVE, {"subject": node, "content": other})
