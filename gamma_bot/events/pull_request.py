"""``pull_request``: where the comment of a branch belongs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gamma_bot.config.branches import matches_branch
from gamma_bot.events import payload as read
from gamma_bot.events.intents import Ignored, Intent, PullRequestSeen
from gamma_bot.github.repository import pull_request
from gamma_bot.store.pulls import PullRecord

_ACTIONS = ("opened", "reopened", "synchronize", "edited", "closed", "ready_for_review")


def understand(payload: Mapping[str, Any], branches: Sequence[str]) -> Intent:
    """What happened to a pull request that Gamma may comment on."""
    action = payload.get("action")
    if action not in _ACTIONS:
        return Ignored(f"pull_request.{action} changes nothing for Gamma")
    pull = pull_request(payload["pull_request"])
    repository_id = read.repository(payload).id
    if pull.head_repository_id != repository_id:
        return Ignored("a pull request from a fork")
    if not matches_branch(branches, pull.head_branch):
        return Ignored(f"branch {pull.head_branch} does not train")
    return PullRequestSeen(
        PullRecord(
            repository_id,
            pull.number,
            pull.head_branch,
            pull.head_sha,
            pull.base_branch,
            pull.updated_at,
            is_open=pull.state == "open",
        )
    )
