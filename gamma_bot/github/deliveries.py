"""GitHub's list of what it sent to the App's webhook, and the request to send one of them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from gamma_bot.github.answers import unix_time
from gamma_bot.github.gateway import GitHubApp

_PATH = "/app/hook/deliveries"


@dataclass(frozen=True)
class SentDelivery:
    """One attempt to deliver a webhook. Attempts to deliver the same one have the same GUID.

    Attributes:
        sent_at: Unix seconds, GitHub's clock.
        answered: what the webhook's address is set to said yes. False also while the attempt is under way.
    """

    id: int
    guid: str
    event: str
    action: str
    repository_id: int
    sent_at: float
    answered: bool


async def sent_deliveries(app: GitHubApp, cursor: str | None) -> tuple[Sequence[SentDelivery], str | None]:
    """A page of the attempts of the last days, the newest first, and the cursor of the page after it.

    Raises:
        GitHubError
    """
    page, following = await app.get_page(f"{_PATH}?per_page=100" + (f"&cursor={quote(cursor)}" if cursor else ""))
    return [_sent(item) for item in page], following


async def send_again(app: GitHubApp, delivery: int) -> None:
    """Ask GitHub to deliver once more: with the same GUID, to the webhook's address of today.

    Raises:
        GitHubError
    """
    await app.post(f"{_PATH}/{delivery}/attempts")


def _sent(item: Mapping[str, Any]) -> SentDelivery:
    return SentDelivery(
        id=int(item["id"]),
        guid=str(item["guid"]),
        event=str(item["event"]),
        action=str(item.get("action") or ""),
        repository_id=int(item.get("repository_id") or 0),
        sent_at=unix_time(item["delivered_at"]),
        answered=200 <= int(item["status_code"]) < 300,
    )
