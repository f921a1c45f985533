"""``push``: to a branch that trains, it is the wish to train."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gamma_bot.config.branches import matches_branch
from gamma_bot.events.intents import Ignored, Intent, TrainPush
from gamma_bot.jobs.push import SKIP_MARKER, Push

_HEADS = "refs/heads/"
_FULL_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*/(?!\.\.?$)[A-Za-z0-9_.-]+")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# GitHub lists at most this many commits in a payload; a longer list is cut, so it no longer tells all paths.
_MOST_COMMITS = 2048


def understand(guid: str, payload: Mapping[str, Any], branches: Sequence[str], own_login: str | None) -> Intent:
    """What a push means.

    Args:
        branches: patterns of branches that train (``models``, ``models/*``).
        own_login: Gamma's own account (``gamma[bot]``), whose pushes would be a loop; ``None`` if not known.
    """
    ref, after = str(payload.get("ref", "")), str(payload.get("after", ""))
    if not ref.startswith(_HEADS):
        return Ignored("not a branch")
    branch = ref.removeprefix(_HEADS)
    if not matches_branch(branches, branch):
        return Ignored(f"branch {branch} does not train")
    if payload.get("deleted") or not after.strip("0"):
        return Ignored("the branch was deleted")
    installation = (payload.get("installation") or {}).get("id")
    if installation is None:
        return Ignored("not sent to the App: no installation")
    sender = (payload.get("sender") or {}).get("login")
    pusher = (payload.get("pusher") or {}).get("name") or sender or "unknown"
    if own_login is not None and own_login in (sender, pusher):
        return Ignored("Gamma's own push")
    repository = payload["repository"]
    full_name, before = str(repository["full_name"]), str(payload.get("before", ""))
    # These become parts of addresses and of rows: a payload of another shape is no push of GitHub's.
    if not _FULL_NAME.fullmatch(full_name) or not _SHA.fullmatch(after) or not _SHA.fullmatch(before):
        raise ValueError(f"not a push as GitHub sends it: repository {full_name!r}, {before!r} to {after!r}")
    head = payload.get("head_commit") or {}
    message = str(head.get("message") or "")
    return TrainPush(
        Push(
            guid=guid,
            installation_id=_id(installation),
            repository_id=_id(repository["id"]),
            repository=full_name,
            branch=branch,
            before=before,
            after=after,
            pusher=str(pusher),
            message=message,
            pushed_at=_unix(repository.get("pushed_at")) or _unix(head.get("timestamp")),
            html_url=_web_address(repository.get("html_url")),
            changed_paths=_changed_paths(payload),
            default_branch=str(repository.get("default_branch") or repository.get("master_branch") or "main"),
            skip=SKIP_MARKER in message.lower(),
        )
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


def _id(value: object) -> int:
    number = int(str(value))
    if not 0 < number < 2**63:
        raise ValueError(f"not an id: {number}")
    return number


def _web_address(value: object) -> str:
    return str(value) if str(value).startswith(("https://", "http://")) else ""


def _unix(moment: object) -> float:
    """Unix seconds of a number, or of an ISO time; 0 for neither."""
    if isinstance(moment, int | float):
        return float(moment) if math.isfinite(moment) else 0.0
    try:
        return datetime.fromisoformat(str(moment).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
