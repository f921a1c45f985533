"""What GitHub tells of the runs of GitHub Actions: of those that train a job of ours, that there is news."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gamma_bot.events.intents import Ignored, Intent, RunMoved

EVENTS = ("workflow_run",)

# An attempt's key in a run's name. Anybody can name a run so: it leads to a look at GitHub and to nothing else.
_KEY = re.compile(r"\bj[0-9a-f]{12}-[1-9][0-9]{0,5}\b")


def understand(payload: Mapping[str, Any]) -> Intent:
    """Which attempt a run belongs to. What became of it, GitHub is asked: deliveries come late and out of order."""
    run = payload.get("workflow_run") or {}
    if run.get("event") != "workflow_dispatch":
        return Ignored("a run of GitHub Actions that nobody dispatched")
    repository_id = int((payload.get("repository") or {}).get("id") or 0)
    key = _KEY.search(str(run.get("display_title") or run.get("name") or ""))
    return RunMoved(key[0], repository_id) if key else Ignored("a run of GitHub Actions that is not Gamma's")
