"""What the sandbox remembers of Apps: where they are installed, their tokens, their webhook deliveries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from gamma_bot.sandbox.ids import node_id

if TYPE_CHECKING:
    from gamma_bot.sandbox.model import Account, Repository


@dataclass(eq=False)
class HookConfig:
    """Where an App's webhooks go, and how they are signed."""

    url: str
    secret: str | None
    content_type: Literal["json", "form"] = "json"
    insecure_ssl: str = "0"
    active: bool = True


@dataclass(eq=False)
class Delivery:
    """One attempt to deliver a webhook. A redelivery is a new record with the same ``guid``."""

    id: int
    guid: str
    app: App
    event: str
    action: str | None
    installation_id: int | None
    repository_id: int | None
    delivered_at: str
    redelivery: bool
    url: str
    request_headers: dict[str, str]
    request_body: bytes
    payload: dict[str, Any]
    status: str = "pending"
    """GitHub's words: ``OK``, ``Invalid HTTP Response: 500``, ``timed out``, ``failed to connect to host``."""
    status_code: int = 0
    """0 while it is under way and when no answer came."""
    duration_seconds: float = 0.0
    response_headers: dict[str, str] | None = None
    response_body: str | None = None


@dataclass(eq=False)
class App:
    """A registered GitHub App. It owns its bot user."""

    id: int
    slug: str
    name: str
    owner: Account
    bot: Account
    description: str
    external_url: str
    client_id: str
    client_secret: str
    private_key_pem: str
    public_key_pem: str
    permissions: dict[str, str]
    events: list[str]
    hook: HookConfig
    created_at: str
    updated_at: str
    deliveries: list[Delivery] = field(default_factory=list)
    """Oldest first."""

    @property
    def node_id(self) -> str:
        return node_id("A", self.id)


@dataclass(eq=False)
class Installation:
    """An App on an account, for some or all of its repositories."""

    id: int
    app: App
    account: Account
    repositories: list[Repository]
    repository_selection: Literal["all", "selected"]
    permissions: dict[str, str]
    events: list[str]
    created_at: str
    updated_at: str
    suspended_at: str | None = None
    suspended_by: Account | None = None

    def covers(self, repository: Repository) -> bool:
        return repository in self.repositories


@dataclass(eq=False)
class InstallationToken:
    """A ``ghs_…`` token: an hour of an installation, perhaps for fewer repositories and permissions."""

    token: str
    installation: Installation
    expires_at: float
    repositories: list[Repository] | None
    """None: all that the installation covers at the time of the request."""
    permissions: dict[str, str]
