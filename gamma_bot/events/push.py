"""``push``: to a branch that trains, it is the wish to train."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gamma_bot.config.branches import matches_branch
from gamma_bot.events import payload as read
from gamma_bot.events.intents import Ignored, Intent, TrainPush
from gamma_bot.jobs.push import SKIP_MARKER, Push

_HEADS = "refs/heads/"
# GitHub lists at most this many commits in a payload; a longer list is cut, so it no longer tells all paths.
_MOST_COMMITS = 2048


def understand(guid: str, payload: Mapping[str, Any], branches: Sequence[str]) -> Intent:
    """What a push means.

    Args:
        branches: patterns of branches that train (``models``, ``models/*``).
    """
    ref, after = str(payload.get("ref", "")), str(payload.get("after", ""))
    if not ref.startswith(_HEADS):
        return Ignored("not a branch")
    branch = ref.removeprefix(_HEADS)
    if not matches_branch(branches, branch):
        return Ignored(f"branch {branch} does not train")
    if payload.get("deleted") or not after.strip("0"):
        return Ignored("the branch was deleted")
    if not read.is_for_the_app(payload):
        return Ignored(read.NOT_FOR_THE_APP)
    sender, repository = read.sender(payload), read.repository(payload)
    head = payload.get("head_commit") or {}
    message = str(head.get("message") or "")
    return TrainPush(
        Push(
            guid=guid,
            installation_id=read.installation_id(payload),
            repository_id=repository.id,
            repository=repository.full_name,
            branch=branch,
            before=read.sha(payload, "before"),
            after=read.sha(payload, "after"),
            pusher=str((payload.get("pusher") or {}).get("name") or sender.login),
            message=message,
            pushed_at=_unix(payload["repository"].get("pushed_at")) or _unix(head.get("timestamp")),
            html_url=repository.html_url,
            changed_paths=_changed_paths(payload),
            default_branch=repository.default_branch,
            skip=SKIP_MARKER in message.lower(),
        ),
        bot=sender.login if sender.is_bot else "",
    )


def _changed_paths(payload: Mapping[str, Any]) -> tuple[str, ...] | None:
    commits = payload.get("commits") or []
    # A forced push can drop commits, which its list of new commits doesn't show.
    if not commits or len(commits) >= _MOST_COMMITS or payload.get("forced"):
        return None
    paths: dict[str, None] = {}
    for commit in commits:
        for kind in ("added", "modified", "removed"):
            paths.update(dict.fromkeys(str(path) for path in commit.get(kind) or ()))
    return tuple(paths) or None


def _unix(moment: object) -> float:
    """Unix seconds of a number, or of an ISO time; 0 for neither."""
    if isinstance(moment, int | float):
        return float(moment) if math.isfinite(moment) else 0.0
    try:
        return datetime.fromisoformat(str(moment).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
