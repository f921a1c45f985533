"""Reads the parts of a payload that every event has, and refuses what GitHub would not send.

They become parts of addresses, of rows and of words: whoever needs one of them gets it from here, checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gamma_bot.store.projects import Place

_FULL_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*/(?!\.\.?$)[A-Za-z0-9_.-]+")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LOGIN = re.compile(r"[A-Za-z0-9_-]{1,100}(\[bot\])?")

NOT_FOR_THE_APP = "not sent to the App: no installation"


class PayloadError(ValueError):
    """A payload of another shape than GitHub's; the text says where."""


@dataclass(frozen=True)
class RepositoryPart:
    """What a payload says of its repository."""

    id: int
    full_name: str
    default_branch: str
    private: bool
    archived: bool
    html_url: str


@dataclass(frozen=True)
class Sender:
    """Who caused the event. Without a login (GitHub knows of nobody) they are "somebody"."""

    login: str
    is_bot: bool


def is_for_the_app(payload: Mapping[str, Any]) -> bool:
    """Whether it came to the App. A webhook that somebody set up on a repository has no installation."""
    return payload.get("installation") is not None


def installation_id(payload: Mapping[str, Any]) -> int:
    """The installation that the event came through.

    Raises:
        PayloadError
    """
    return number(_part(payload, "installation"), "id", "installation")


def repository(payload: Mapping[str, Any]) -> RepositoryPart:
    """The repository that the event is about.

    Raises:
        PayloadError
    """
    part = _part(payload, "repository")
    address = part.get("html_url")
    return RepositoryPart(
        id=number(part, "id", "repository"),
        full_name=full_name(part, "repository"),
        default_branch=str(part.get("default_branch") or part.get("master_branch") or "main"),
        private=bool(part.get("private")),
        archived=bool(part.get("archived")),
        html_url=str(address) if str(address).startswith(("https://", "http://")) else "",
    )


def place(payload: Mapping[str, Any]) -> Place:
    """The repository and the installation that leads to it.

    Raises:
        PayloadError
    """
    part = _part(payload, "repository")
    return Place(number(part, "id", "repository"), full_name(part, "repository"), installation_id(payload))


def sender(payload: Mapping[str, Any]) -> Sender:
    """Who caused the event.

    Raises:
        PayloadError
    """
    part = payload.get("sender") or {}
    if not isinstance(part, Mapping):
        raise PayloadError(f"sender is no object: {part!r:.100}")
    login = part.get("login")
    if login is not None and not (isinstance(login, str) and _LOGIN.fullmatch(login)):
        raise PayloadError(f"sender.login is no login: {login!r:.100}")
    return Sender(login or "somebody", part.get("type") == "Bot")


def number(part: Mapping[str, Any], key: str, where: str) -> int:
    """An id or a number of a pull request: positive, and small enough for the store.

    Raises:
        PayloadError
    """
    value = part.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise PayloadError(f"{where}.{key} is no id: {value!r:.100}")
    return value


def full_name(part: Mapping[str, Any], where: str) -> str:
    """A repository's ``owner/name``.

    Raises:
        PayloadError
    """
    value = part.get("full_name")
    if not isinstance(value, str) or not _FULL_NAME.fullmatch(value) or len(value) > 300:
        raise PayloadError(f"{where}.full_name is no name of a repository: {value!r:.100}")
    return value


def sha(part: Mapping[str, Any], key: str, where: str = "payload") -> str:
    """The id of a commit.

    Raises:
        PayloadError
    """
    value = part.get(key)
    if not isinstance(value, str) or not _SHA.fullmatch(value):
        raise PayloadError(f"{where}.{key} is no commit: {value!r:.100}")
    return value


def _part(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = payload.get(name)
    if not isinstance(part, Mapping):
        raise PayloadError(f"{name} is no object: {part!r:.100}")
    return part
