"""What ``POST /webhook`` answers, and that what it took is on the disk."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from gamma_bot.ingress.signature import is_signed_by
from gamma_bot.ingress.webhook import LARGEST_BODY_BYTES, Webhook
from gamma_bot.store.database import Database
from gamma_bot.store.inbox import Delivery, Inbox, Stored

OLD, NEW = b"old-secret", b"new-secret"


class Endpoint:
    """The endpoint over a real database."""

    def __init__(self, url: str, database: Database, inbox: Inbox, session: aiohttp.ClientSession) -> None:
        self.url, self.database, self.inbox, self.session = url, database, inbox, session

    async def post(self, body: bytes, secret: bytes | None = NEW, path: str = "/webhook", **headers: str) -> int:
        """Deliver a body; the answer's status."""
        sent = {"X-GitHub-Event": "ping", "X-GitHub-Delivery": "guid-1", "Content-Type": "application/json"}
        if secret is not None:
            sent["X-Hub-Signature-256"] = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        wanted = {name: value for name, value in sent.items() if value != ""}
        async with self.session.post(self.url + path, data=body, headers=wanted) as answer:
            return answer.status


@pytest.fixture
async def endpoint(tmp_path: Path, database_url: str | None) -> AsyncIterator[Endpoint]:
    database = Database(database_url or f"sqlite:///{tmp_path / 'gamma.db'}")
    database.create_tables()
    inbox = Inbox(database)
    app = web.Application(client_max_size=LARGEST_BODY_BYTES)
    Webhook(inbox, [OLD, NEW]).add_routes(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        yield Endpoint(f"http://127.0.0.1:{runner.addresses[0][1]}", database, inbox, session)
    await runner.cleanup()
    inbox.close()
    database.close()


async def test_a_signed_delivery_is_stored_as_it_came(endpoint: Endpoint) -> None:
    body = json.dumps({"zen": "é ☃"}).encode()

    assert await endpoint.post(body) == 202

    (stored,) = await endpoint.inbox.waiting()
    assert (stored.guid, stored.event, stored.body, stored.state) == ("guid-1", "ping", body, "stored")


async def test_both_addresses_take_deliveries(endpoint: Endpoint) -> None:
    assert await endpoint.post(b"{}", path="/api/webhooks/github") == 202


async def test_a_known_guid_is_answered_200_and_stored_once(endpoint: Endpoint) -> None:
    statuses = await asyncio.gather(*(endpoint.post(b"{}") for _ in range(12)))

    assert sorted(statuses) == [200] * 11 + [202]
    assert len(await endpoint.inbox.waiting()) == 1


async def test_both_secrets_are_good_while_one_is_rotated_out(endpoint: Endpoint) -> None:
    assert await endpoint.post(b"{}", secret=OLD, X_GitHub_Delivery="a") == 202
    assert await endpoint.post(b"{}", secret=NEW, X_GitHub_Delivery="b") == 202


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X_Hub_Signature_256": ""}, 401),
        ({"X_Hub_Signature_256": "sha256=" + "0" * 64}, 401),
        ({"X_Hub_Signature_256": "sha1=" + "0" * 40}, 401),
        ({"X_Hub_Signature_256": "sha256=é"}, 401),
        ({"X_GitHub_Event": ""}, 400),
        ({"X_GitHub_Delivery": ""}, 400),
        ({"X_GitHub_Delivery": "x" * 300}, 400),
    ],
)
async def test_bad_deliveries_are_refused_and_not_stored(
    endpoint: Endpoint, headers: dict[str, str], status: int
) -> None:
    assert await endpoint.post(b"{}", **headers) == status
    assert await endpoint.inbox.waiting() == []


async def test_a_wrong_signature_wins_over_missing_headers(endpoint: Endpoint) -> None:
    """Whoever can't sign learns nothing about what else is wrong."""
    assert await endpoint.post(b"{}", secret=b"wrong", X_GitHub_Event="", X_GitHub_Delivery="") == 401


async def test_the_largest_payload_of_github_is_taken_and_a_larger_one_is_not(endpoint: Endpoint) -> None:
    assert await endpoint.post(b" " * LARGEST_BODY_BYTES) == 202
    assert await endpoint.post(b" " * (LARGEST_BODY_BYTES + 1), X_GitHub_Delivery="big") == 413


async def test_a_store_that_is_down_answers_503_and_loses_nothing_it_took(endpoint: Endpoint) -> None:
    assert await endpoint.post(b"{}") == 202
    with endpoint.database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gamma_deliveries RENAME TO away"))
    assert await endpoint.post(b"{}", X_GitHub_Delivery="guid-2") == 503
    with endpoint.database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO gamma_deliveries"))

    assert await endpoint.post(b"{}", X_GitHub_Delivery="guid-2") == 202
    assert [row.guid for row in await endpoint.inbox.waiting()] == ["guid-1", "guid-2"]


async def test_a_burst_with_known_and_new_guids_is_told_apart(endpoint: Endpoint) -> None:
    offered = [Delivery(f"g{number % 50}", "push", b"{}", 0.0) for number in range(120)]

    stored = await asyncio.gather(*(endpoint.inbox.offer(delivery) for delivery in offered))

    assert stored.count(Stored.NEW) == 50
    assert len(await endpoint.inbox.waiting(limit=200)) == 50


@given(body=st.binary(max_size=200), header=st.text(max_size=100))
def test_no_header_that_was_not_made_with_the_secret_is_believed(body: bytes, header: str) -> None:
    assert not is_signed_by(body, header, [NEW])
    assert is_signed_by(body, "sha256=" + hmac.new(NEW, body, hashlib.sha256).hexdigest(), [OLD, NEW])
