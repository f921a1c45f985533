"""What people press in the Checks tab: our buttons, Re-run and Re-run all. GitHub lets who may write press them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gamma_bot.commands.buttons import COMMANDS, Press
from gamma_bot.events import payload as read
from gamma_bot.events.intents import Ignored, Intent, PressButton

EVENTS = ("check_run", "check_suite")


def understand(event: str, guid: str, payload: Mapping[str, Any], app_id: str) -> Intent:
    """What was pressed. Suites of other Apps come to every App that may write checks; they are not ours."""
    action, subject = payload.get("action"), payload.get(event) or {}
    app = subject.get("app") or {}
    if app_id not in (str(app.get("id")), str(app.get("client_id"))):
        return Ignored("a check of another App")
    if event == "check_suite":
        if action != "rerequested":
            return Ignored(f"check_suite.{action} changes nothing")
        return _pressed("rerun", guid, payload, sha=read.sha(subject, "head_sha", event))
    job = str(subject.get("external_id") or "")
    button = (payload.get("requested_action") or {}).get("identifier") if action == "requested_action" else None
    if action == "rerequested":
        button = "rerun"
    if button not in COMMANDS or not job:
        return Ignored(f"check_run.{action} changes nothing")
    return _pressed(str(button), guid, payload, job=job)


def _pressed(button: str, guid: str, payload: Mapping[str, Any], *, job: str = "", sha: str = "") -> PressButton:
    repository = read.repository(payload)
    press = Press(
        guid=guid,
        by=read.sender(payload).login,
        button=button,
        repository_id=repository.id,
        default_branch=repository.default_branch,
        private=repository.private,
        job=job,
        sha=sha,
    )
    return PressButton(press, read.place(payload))
