"""Buttons of our check runs: Re-run, Re-run all, Stop, Train again. GitHub shows them to people with write access."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gamma_bot.commands.desk import TrainAgain
from gamma_bot.events import payload as read
from gamma_bot.events.intents import Ignored, Intent, StopJob

EVENTS = ("check_run", "check_suite")


def understand(event: str, guid: str, payload: Mapping[str, Any], app_id: str) -> Intent:
    """What was pressed. Suites of other Apps come to every App that may write checks; they are not ours."""
    action, subject = payload.get("action"), payload.get(event) or {}
    app = subject.get("app") or {}
    if app_id not in (str(app.get("id")), str(app.get("client_id"))):
        return Ignored("a check of another App")
    by = read.sender(payload).login
    if event == "check_suite":
        if action != "rerequested":
            return Ignored(f"check_suite.{action} changes nothing")
        return TrainAgain(guid, by, repository_id=read.repository(payload).id, sha=read.sha(subject, "head_sha", event))
    job = str(subject.get("external_id") or "")
    if action == "rerequested":
        return TrainAgain(guid, by, job=job)
    if action == "requested_action":
        match (payload.get("requested_action") or {}).get("identifier"):
            case "retry":
                return TrainAgain(guid, by, job=job)
            case "stop":
                return StopJob(job, by)
    return Ignored(f"check_run.{action} changes nothing")
