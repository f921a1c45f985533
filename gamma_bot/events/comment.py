"""Comments, reviews and review comments on a pull request: where ``/gamma …`` is typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gamma_bot.commands.conversation import Remark
from gamma_bot.events import payload as read
from gamma_bot.events.intents import Ignored, Intent, RunCommands

EVENTS = ("issue_comment", "pull_request_review", "pull_request_review_comment")
_NEW = {"issue_comment": "created", "pull_request_review": "submitted", "pull_request_review_comment": "created"}


def understand(event: str, guid: str, payload: Mapping[str, Any]) -> Intent:
    """What somebody wrote. An edited comment is no new command: people mend typos without wanting a second job."""
    if payload.get("action") != _NEW[event]:
        return Ignored(f"{event}.{payload.get('action')} is no new command")
    sender = read.sender(payload)
    if sender.is_bot:
        return Ignored("written by a bot")
    written = payload.get("review" if event == "pull_request_review" else "comment") or {}
    body = str(written.get("body") or "")
    if "/gamma" not in body:
        return Ignored("no command in it")
    if not read.is_for_the_app(payload):
        return Ignored(read.NOT_FOR_THE_APP)
    repository, written_id = read.repository(payload), read.number(written, "id", event)
    if event == "issue_comment":
        issue = payload.get("issue") or {}
        if not issue.get("pull_request"):
            return Ignored("an issue, not a pull request")
        number, place = read.number(issue, "number", "issue"), f"issues/comments/{written_id}"
    else:
        number = read.number(payload["pull_request"], "number", "pull_request")
        comment = event == "pull_request_review_comment"
        place = f"pulls/comments/{written_id}" if comment else f"node/{written['node_id']}"
    return RunCommands(
        Remark(
            guid=guid,
            installation_id=read.installation_id(payload),
            repository_id=repository.id,
            repository=repository.full_name,
            default_branch=repository.default_branch,
            private=repository.private,
            number=number,
            comment=written_id,
            place=place,
            author=sender.login,
            body=body,
        )
    )
