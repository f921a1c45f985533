"""The life of an installation and of the repositories it covers: they come, move, are closed for a while, and go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gamma_bot.events import payload as read
from gamma_bot.events.intents import Ignored, Intent
from gamma_bot.jobs.installations import InstallationNews, PermissionsGranted, ProjectNews
from gamma_bot.store.projects import Place, ProjectState

EVENTS = ("installation", "installation_repositories", "repository")


def understand(event: str, payload: Mapping[str, Any]) -> Intent:
    """What became of an installation, of its choice of repositories, or of one of them."""
    if not read.is_for_the_app(payload):
        return Ignored(read.NOT_FOR_THE_APP)
    by = read.sender(payload).login
    match event, payload.get("action"):
        case "installation", "created":
            return ProjectNews(_places(payload, "repositories"), ProjectState.ACTIVE, first=True)
        case "installation", "deleted":
            why = f"The App was uninstalled by `{by}`."
            places = _places(payload, "repositories")
            return InstallationNews(read.installation_id(payload), ProjectState.FORGOTTEN, why, places)
        case "installation", "suspend":
            why = f"The installation was suspended by `{by}`."
            return InstallationNews(read.installation_id(payload), ProjectState.SUSPENDED, why)
        case "installation", "unsuspend":
            return InstallationNews(read.installation_id(payload), ProjectState.ACTIVE)
        case "installation", "new_permissions_accepted":
            return PermissionsGranted(read.installation_id(payload))
        case "installation_repositories", "added":
            return ProjectNews(_places(payload, "repositories_added"), ProjectState.ACTIVE)
        case "installation_repositories", "removed":
            why = f"The repository was taken from the installation by `{by}`."
            return ProjectNews(_places(payload, "repositories_removed"), ProjectState.FORGOTTEN, why)
        case "repository", "deleted":
            why = f"The repository was deleted by `{by}`."
            return ProjectNews((read.place(payload),), ProjectState.FORGOTTEN, why)
        case "repository", "archived":
            why = f"The repository was archived by `{by}`."
            return ProjectNews((read.place(payload),), ProjectState.ARCHIVED, why)
        case "repository", "unarchived":
            return ProjectNews((read.place(payload),), ProjectState.ACTIVE)
        case "repository", "renamed" | "transferred" if not read.repository(payload).archived:
            return ProjectNews((read.place(payload),), ProjectState.ACTIVE)
        case "repository", "renamed" | "transferred":
            return ProjectNews((read.place(payload),), ProjectState.ARCHIVED, "The repository is archived.")
        case _, action:
            return Ignored(f"{event}.{action} changes nothing for Gamma")


def _places(payload: Mapping[str, Any], key: str) -> Sequence[Place]:
    installation_id = read.installation_id(payload)
    found = payload.get(key) or ()
    if not isinstance(found, Sequence) or not all(isinstance(part, Mapping) for part in found):
        raise read.PayloadError(f"{key} is no list of repositories")
    return tuple(Place(read.number(part, "id", key), read.full_name(part, key), installation_id) for part in found)
