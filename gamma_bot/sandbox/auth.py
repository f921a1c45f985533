"""Who makes a request: an App with its JWT, an installation with its token, a person with theirs, or nobody."""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Any

import jwt

from gamma_bot.sandbox.call import Actor, Anonymous, ApiError, AppActor, InstallationActor, UserActor
from gamma_bot.sandbox.model import App, Installation, InstallationToken, Repository, State

TOKEN_SECONDS = 3600
JWT_SECONDS = 600


def authenticate(state: State, authorization: str) -> Actor:
    """The actor behind an ``Authorization`` header.

    Raises:
        ApiError: 401, because the credentials are wrong, malformed or too old.
    """
    if not authorization:
        return Anonymous()
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            _, _, credentials = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise ApiError(401, "Bad credentials") from None
    elif scheme.lower() not in ("bearer", "token"):
        raise ApiError(401, "Bad credentials")
    return actor_of(state, credentials.strip())


def actor_of(state: State, credentials: str) -> Actor:
    """The actor who holds a token or JWT."""
    if credentials.startswith("ghs_"):
        token = state.tokens.get(credentials)
        if token is None or token.expires_at <= state.clock() or token.installation.id not in state.installations:
            raise ApiError(401, "Bad credentials")
        if token.installation.suspended_at:
            raise ApiError(403, "This installation has been suspended")
        return InstallationActor(token)
    if credentials.count(".") == 2:
        return AppActor(_app_of(state, credentials), credentials)
    for account in state.accounts.values():
        if account.token and secrets.compare_digest(account.token.encode(), credentials.encode()):
            return UserActor(account)
    raise ApiError(401, "Bad credentials")


def mint(
    state: State, installation: Installation, repositories: list[Repository] | None, permissions: dict[str, str],
    *, stateless: bool,
) -> InstallationToken:  # fmt: skip
    """A new token for an hour; ``stateless``: in the long form (``ghs_<app id>_<JWT>``) that GitHub is moving to."""
    text = f"ghs_{secrets.token_hex(18)}"
    if stateless:
        parts = [secrets.token_urlsafe(length) for length in (60, 200, 120)]
        text = f"ghs_{installation.app.id}_{'.'.join(parts)}"
    token = InstallationToken(text, installation, state.clock() + TOKEN_SECONDS, repositories, permissions)
    state.tokens[text] = token
    return token


def _app_of(state: State, token: str) -> App:
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        app = _issuer(state, claims.get("iss"))
        if app is None:
            raise ApiError(404, "Integration not found")
        nothing_else = dict.fromkeys(("verify_exp", "verify_iat", "verify_nbf", "verify_aud", "verify_iss"), False)
        jwt.decode(token, app.public_key_pem, algorithms=["RS256"], options=nothing_else)  # type: ignore[arg-type]
    except jwt.InvalidTokenError:
        raise ApiError(401, "A JSON web token could not be decoded") from None
    now, issued, expires = state.clock(), claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int) or issued > now:
        message = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
        raise ApiError(401, message)
    if not isinstance(expires, int) or expires <= now:
        message = (
            "'Expiration time' claim ('exp') must be a numeric value representing "
            "the future time at which the assertion expires"
        )
        raise ApiError(401, message)
    # GitHub measures the ten minutes from now, so a clock that is a minute behind (iat 60 s back) still passes.
    if expires > now + JWT_SECONDS:
        raise ApiError(401, "'Expiration time' claim ('exp') is too far in the future")
    return app


def _issuer(state: State, issuer: object) -> App | None:
    """The App that a JWT names, by its id or its client id."""
    return next((app for app in state.apps.values() if str(issuer) in (str(app.id), app.client_id)), None)
