"""A bare HTTP client for the sandbox's API, and a sandbox with an App that is ready to use."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gamma_bot.sandbox.model import App, Installation, Repository
from gamma_bot.sandbox.server import SandboxGitHub

PERMISSIONS = {
    "actions": "write", "checks": "write", "contents": "read", "issues": "write", "pull_requests": "write",
    "metadata": "read",
}  # fmt: skip
EVENTS = [
    "check_run", "check_suite", "issue_comment", "pull_request", "pull_request_review", "pull_request_review_comment",
    "push", "repository", "workflow_job", "workflow_run",
]  # fmt: skip


@dataclass
class Reply:
    status: int
    headers: Any
    body: Any
    data: bytes


@dataclass
class Received:
    """A webhook that arrived."""

    headers: dict[str, str]
    body: bytes
    payload: dict[str, Any]

    @property
    def name(self) -> str:
        action = self.payload.get("action")
        return self.headers["X-GitHub-Event"] + (f".{action}" if action else "")


@dataclass
class Stage:
    """A sandbox with one repository, one App that is installed on it, and a receiver of its webhooks."""

    github: SandboxGitHub
    session: aiohttp.ClientSession
    app: App
    repository: Repository
    installation: Installation
    received: list[Received] = field(default_factory=list)
    answer_status: int = 200

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str = "", headers: dict[str, str] | None = None
    ) -> Reply:
        """One request to the API; ``path`` may be a whole address, as in a Link header."""
        url = path if path.startswith("http") else f"{self.github.api_url}{path}"
        sent = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28", **(headers or {})}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        async with self.session.request(method, url, json=body, headers=sent, allow_redirects=False) as response:
            data = await response.read()
            is_json = response.headers.get("Content-Type", "").startswith("application/json")
            return Reply(response.status, response.headers, await response.json() if is_json else None, data)

    async def query(self, text: str, *, token: str, **variables: Any) -> Reply:
        """One GraphQL query or mutation."""
        body = {"query": text, "variables": variables}
        return await self.call("POST", f"{self.github.url}/api/graphql", body, token=token)

    def jwt(self, **claims: Any) -> str:
        now = int(time.time())
        basics = {"iss": str(self.app.id), "iat": now - 60, "exp": now + 540}
        return jwt.encode({**basics, **claims}, _loaded(self.app.private_key_pem), algorithm="RS256")

    async def token(self, **wanted: Any) -> str:
        path = f"/app/installations/{self.installation.id}/access_tokens"
        reply = await self.call("POST", path, wanted or None, token=self.jwt())
        assert reply.status == 201, reply.body
        return str(reply.body["token"])

    def names(self) -> list[str]:
        return [delivery.name for delivery in self.received]


@cache
def signing_key() -> str:
    """One key for all tests, because making one takes a while."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


@asynccontextmanager
async def open_stage(folder: Path) -> AsyncIterator[Stage]:
    received: list[Received] = []
    holder: list[Stage] = []

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        received.append(Received(dict(request.headers), body, await request.json()))
        return web.Response(status=holder[0].answer_status if holder else 200, text="seen")

    application = web.Application(client_max_size=30 * 1024 * 1024)
    application.router.add_post("/webhook", receive)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/webhook"
    try:
        async with SandboxGitHub(folder) as github, aiohttp.ClientSession() as session:
            github.create_user("ada", name="Ada Lovelace")
            github.create_user("guest")
            files = {"README.md": "# Walker\n", "src/train.py": "rate = 0.1\nsteps = 10\n"}
            repository = github.create_repository("ada", "walker", files, collaborators={"grace": "maintain"})
            github.create_user("grace")
            app = github.create_app("Gamma Test", PERMISSIONS, EVENTS, address, "s3cret", private_key_pem=signing_key())
            installation = github.install(app, repository)
            stage = Stage(github, session, app, repository, installation, received)
            holder.append(stage)
            await github.wait_for_deliveries()
            yield stage
            await github.wait_for_deliveries()
            failures = [one for one in github.violations if one.startswith("the sandbox failed")]
            assert not failures, failures
    finally:
        await runner.cleanup()


@cache
def _loaded(pem: str) -> rsa.RSAPrivateKey:
    """Read once: that takes longer than the call it signs."""
    key = serialization.load_pem_private_key(pem.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key
