"""Comments, reviews and review comments on a pull request: where ``/gamma …`` is typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gamma_bot.commands.conversation import Remark
from gamma_bot.events.intents import Ignored, Intent, RunCommands

EVENTS = ("issue_comment", "pull_request_review", "pull_request_review_comment")
_NEW = {"issue_comment": "created", "pull_request_review": "submitted", "pull_request_review_comment": "created"}


def understand(event: str, guid: str, payload: Mapping[str, Any]) -> Intent:
    """What somebody wrote. An edited comment is no new command: people mend typos without wanting a second job."""
    if payload.get("action") != _NEW[event]:
        return Ignored(f"{event}.{payload.get('action')} is no new command")
    sender = payload.get("sender") or {}
    if sender.get("type") == "Bot":
        return Ignored("written by a bot")
    written = payload.get("review" if event == "pull_request_review" else "comment") or {}
    body = str(written.get("body") or "")
    if "/gamma" not in body:
        return Ignored("no command in it")
    if event == "issue_comment":
        issue = payload.get("issue") or {}
        if not issue.get("pull_request"):
            return Ignored("an issue, not a pull request")
        number, place = issue["number"], f"issues/comments/{int(written['id'])}"
    else:
        number = payload["pull_request"]["number"]
        comment = event == "pull_request_review_comment"
        place = f"pulls/comments/{int(written['id'])}" if comment else f"node/{written['node_id']}"
    return RunCommands(
        Remark(
            guid=guid,
            installation_id=int(payload["installation"]["id"]),
            repository_id=int(payload["repository"]["id"]),
            repository=str(payload["repository"]["full_name"]),
            default_branch=str(payload["repository"].get("default_branch") or "main"),
            private=bool(payload["repository"].get("private")),
            number=int(number),
            comment=int(written["id"]),
            place=place,
            author=str(sender.get("login") or ""),
            body=body,
        )
    )
