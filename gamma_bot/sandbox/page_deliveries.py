"""The pages of the webhooks that went out: the list, one delivery, and sending it again."""

from __future__ import annotations

import json

from aiohttp import web

from gamma_bot.sandbox.model import Delivery, Repository
from gamma_bot.sandbox.page_frame import Frame, not_found

SHOWN_DELIVERIES = 60
SHOWN_PAYLOAD = 100_000  # characters


class DeliveryPages:
    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._forge = frame.forge

    async def deliveries(self, request: web.Request) -> web.Response:
        repository = self._frame.repository(request)
        return await self._frame.page(
            request,
            "sandbox_deliveries.html",
            repository,
            section="deliveries",
            deliveries=self._of(repository)[:SHOWN_DELIVERIES],
        )

    async def delivery(self, request: web.Request) -> web.Response:
        repository = self._frame.repository(request)
        delivery = self._find(request, repository)
        payload = json.dumps(delivery.payload, indent=2, ensure_ascii=False)
        if len(payload) > SHOWN_PAYLOAD:
            payload = f"{payload[:SHOWN_PAYLOAD]}\n… {len(payload) - SHOWN_PAYLOAD:,} more characters"
        return await self._frame.page(
            request, "sandbox_delivery.html", repository, section="deliveries", delivery=delivery, payload=payload
        )

    async def redeliver(self, request: web.Request) -> web.Response:
        repository = self._frame.repository(request)
        self._forge.webhooks.redeliver(self._find(request, repository))
        self._forge.state.changed()
        raise web.HTTPSeeOther(f"/{repository.full_name}/settings/deliveries")

    def _find(self, request: web.Request, repository: Repository) -> Delivery:
        wanted = int(request.match_info["delivery"])
        for delivery in self._of(repository):
            if delivery.id == wanted:
                return delivery
        raise not_found(f"webhook delivery {wanted} for {repository.full_name}; GitHub keeps them for three days")

    def _of(self, repository: Repository) -> list[Delivery]:
        """The repository's deliveries and those about the whole installation, newest first."""
        found = [
            delivery
            for installation in self._forge.state.installations_on(repository)
            for delivery in self._forge.webhooks.recent(installation.app)
            if delivery.repository_id in (repository.id, None)
        ]
        return sorted(found, key=lambda delivery: delivery.id, reverse=True)
