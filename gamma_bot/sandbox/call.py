"""What one API request is to the function that answers it: ``Call`` in, ``Answer`` out, ``ApiError`` for a refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote, urlencode

from gamma_bot.sandbox.model import Account, App, Installation, InstallationToken, Repository

if TYPE_CHECKING:
    from gamma_bot.sandbox.forge import Forge

Item = TypeVar("Item")
DOCUMENTATION_URL = "https://docs.github.com/rest"


class ApiError(Exception):
    """An answer that refuses the request, in GitHub's words."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        errors: Sequence[Mapping[str, str] | str] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"message": self.message, **self.extra}
        if self.errors:
            body["errors"] = self.errors
        return {**body, "documentation_url": DOCUMENTATION_URL, "status": str(self.status)}


def not_found() -> ApiError:
    """Also the answer for what exists but must not be seen."""
    return ApiError(404, "Not Found")


def moved(address: str, *, permanently: bool) -> ApiError:
    """What GitHub answers to an old name; a write keeps its method and body on the way (307)."""
    status, message = (301, "Moved Permanently") if permanently else (307, "Temporary Redirect")
    return ApiError(status, message, headers={"Location": address}, extra={"url": address})


def forbidden(message: str = "Resource not accessible by integration") -> ApiError:
    return ApiError(403, message)


def invalid(resource: str, field_name: str, code: str, message: str = "") -> ApiError:
    """422 for one field, such as ``invalid("IssueComment", "body", "too_long", "body is too long")``."""
    error = {"resource": resource, "field": field_name, "code": code}
    if message:
        error["message"] = message
    return ApiError(422, "Validation Failed", errors=[error])


def invalid_request(message: str) -> ApiError:
    """422 as GitHub words it when a request does not fit the endpoint's schema."""
    return ApiError(422, f"Invalid request.\n\n{message}")


@dataclass(frozen=True)
class Anonymous:
    label: str = "anonymous"
    secret: str = ""


@dataclass(frozen=True)
class AppActor:
    """An App with its own JWT."""

    app: App
    secret: str

    @property
    def label(self) -> str:
        return f"app:{self.app.slug}"


@dataclass(frozen=True)
class InstallationActor:
    token: InstallationToken

    @property
    def installation(self) -> Installation:
        return self.token.installation

    @property
    def label(self) -> str:
        return f"installation:{self.installation.id}"

    @property
    def secret(self) -> str:
        return self.token.token

    def holds(self, permission: str) -> bool:
        """Whether the token has a permission such as ``checks:write``; write includes read."""
        name, level = permission.split(":")
        if name == "metadata":
            return level == "read"
        held = self.token.permissions.get(name)
        return held in ("write", "admin") or (held == "read" and level == "read")

    def reaches(self, repository: Repository) -> bool:
        chosen = self.token.repositories
        return self.installation.covers(repository) and (chosen is None or repository in chosen)


@dataclass(frozen=True)
class UserActor:
    account: Account

    @property
    def label(self) -> str:
        return f"user:{self.account.login}"

    @property
    def secret(self) -> str:
        return self.account.token


Actor = Anonymous | AppActor | InstallationActor | UserActor


@dataclass(frozen=True)
class Answer:
    """``body`` is answered as JSON; ``data`` as it is."""

    status: int = 200
    body: Any = None
    data: bytes | None = None
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


class Access(Enum):
    """Who may call an endpoint at all."""

    ANYONE = auto()
    APP = auto()
    INSTALLATION = auto()
    REPOSITORY = auto()
    """Whoever sees the repository and holds one of ``Route.needs``."""


Handler = Callable[["Call"], Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    """An endpoint, named by GitHub's own template.

    Attributes:
        needs: an installation token must hold one of these; empty: the handler checks.
        role: what a person needs for it.
        apps_only: no person may call it, whatever their role.
        content: counts towards the limit of content-making requests.
        resource: whose hourly limit it counts towards.
    """

    method: str
    path: str
    handler: Handler
    access: Access = Access.REPOSITORY
    needs: tuple[str, ...] = ()
    role: str = "read"
    apps_only: bool = False
    content: bool = False
    resource: Literal["core", "graphql"] = "core"


@dataclass
class Call:
    forge: Forge
    route: Route
    actor: Actor
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    accept: str
    found: Repository | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> Repository:
        assert self.found is not None, f"{self.route.path} has no repository"
        return self.found

    @property
    def account(self) -> Account:
        """Who acts: the person, or the bot user of the App."""
        match self.actor:
            case UserActor(account):
                return account
            case InstallationActor():
                return self.actor.installation.app.bot
            case _:
                raise ApiError(401, "Requires authentication")

    @property
    def app(self) -> App | None:
        """The App behind an installation token."""
        return self.actor.installation.app if isinstance(self.actor, InstallationActor) else None

    def require(self, *alternatives: str) -> None:
        """Refuse an installation token that holds none of these permissions."""
        if isinstance(self.actor, InstallationActor) and not any(map(self.actor.holds, alternatives)):
            raise ApiError(
                403, "Resource not accessible by integration",
                headers={"X-Accepted-GitHub-Permissions": "; ".join(need.replace(":", "=") for need in alternatives)},
            )  # fmt: skip

    def number(self, name: str) -> int:
        """A path parameter that must be a number; anything else is not found."""
        text = self.params[name]
        if not text.isdecimal():
            raise not_found()
        return int(text)

    def json_object(self) -> dict[str, Any]:
        if not isinstance(self.body, dict):
            raise ApiError(400, "Body should be a JSON object")
        return self.body

    def text_field(self, name: str, resource: str, *, required: bool = True) -> str | None:
        value = self.json_object().get(name)
        if value is None and not required:
            return None
        if value is None or value == "":
            raise invalid(resource, name, "missing_field")
        if not isinstance(value, str):
            raise invalid_request(f"For 'properties/{name}', {value!r} is not a string.")
        return value

    def page(self, items: Sequence[Item]) -> Sequence[Item]:
        """The part of a list that was asked for; the ``Link`` header tells where the rest is."""
        per_page, page = self.per_page(), max(1, self._query_number("page", 1))
        last = max(1, -(-len(items) // per_page))
        targets = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        if page >= last:
            del targets["next"], targets["last"]
        if page == 1:
            del targets["prev"], targets["first"]
        if targets:
            self.headers["Link"] = ", ".join(
                f'<{self.link(page=str(number))}>; rel="{name}"' for name, number in targets.items()
            )
        return items[(page - 1) * per_page : page * per_page]

    def per_page(self) -> int:
        return min(100, max(1, self._query_number("per_page", 30)))

    def link(self, **changed: str) -> str:
        names = {"owner": self.repository.owner.login, "repo": self.repository.name} if self.found else {}
        path = self.route.path.format(**{**self.params, **names})
        return f"{self.forge.urls.api}{path}?{urlencode({**self.query, **changed})}"

    def address_by_id(self, repository: Repository) -> str:
        """This request's address with the repository's id instead of its name, which may change."""
        rest = self.route.path.removeprefix("/repos/{owner}/{repo}").format(**self.params)
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"{self.forge.urls.api}/repositories/{repository.id}{quote(rest)}{query}"

    def _query_number(self, name: str, default: int) -> int:
        text = self.query.get(name, "")
        return int(text) if text.isdecimal() else default
