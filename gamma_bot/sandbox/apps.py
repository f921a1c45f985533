"""Apps: registering, installations, tokens, and the list of webhook deliveries."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gamma_bot.sandbox.auth import mint
from gamma_bot.sandbox.call import (
    Access,
    Answer,
    ApiError,
    AppActor,
    Call,
    InstallationActor,
    Route,
    invalid,
    moved,
    not_found,
)
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model import Account, App, Delivery, HookConfig, Installation, Repository, iso_time
from gamma_bot.sandbox.shapes import app_json, delivery_json, hook_config_json, installation_json, repository_json

MANIFEST_CODE_SECONDS = 3600
_LEVELS = ("read", "write", "admin")


async def get_app(call: Call) -> Answer:
    app = _app(call)
    count = sum(installation.app is app for installation in call.forge.state.installations.values())
    return Answer(200, {**app_json(call.forge.urls, app), "installations_count": count})


async def list_installations(call: Call) -> Answer:
    mine = [one for one in call.forge.state.installations.values() if one.app is _app(call)]
    return Answer(200, [installation_json(call.forge.urls, one) for one in call.page(mine)])


async def get_installation(call: Call) -> Answer:
    return Answer(200, installation_json(call.forge.urls, _installation(call)))


async def get_repository_installation(call: Call) -> Answer:
    """Also of a suspended one; an old name of the repository leads on."""
    state, elsewhere = call.forge.state, None
    if "repository_id" in call.params:
        repository = state.repository_by_id(call.number("repository_id"))
    else:
        name = f"{call.params['owner']}/{call.params['repo']}"
        repository, elsewhere = state.repository(name), state.moved(name)
    for found in filter(None, (repository, elsewhere)):
        for installation in state.installations_on(found):
            if installation.app is _app(call):
                if found is elsewhere:
                    raise moved(call.address_by_id(found), permanently=True)
                return Answer(200, installation_json(call.forge.urls, installation))
    raise not_found()


async def create_token(call: Call) -> Answer:
    """A token for an hour, on request for fewer repositories and permissions than the installation has."""
    installation, state = _installation(call), call.forge.state
    if installation.suspended_at:
        raise ApiError(403, "This installation has been suspended")
    wanted = call.body if isinstance(call.body, dict) else {}
    permissions = _narrow(installation.permissions, wanted.get("permissions"))
    repositories = _choose(installation, wanted)
    token = mint(state, installation, repositories, permissions, stateless=call.forge.stateless_tokens)
    body: dict[str, Any] = {
        "token": token.token,
        "expires_at": iso_time(token.expires_at),
        "permissions": permissions,
        "repository_selection": installation.repository_selection if repositories is None else "selected",
    }
    if repositories is not None:
        body["repositories"] = [repository_json(call.forge.urls, repository) for repository in repositories]
    return Answer(201, body)


async def list_accessible_repositories(call: Call) -> Answer:
    assert isinstance(call.actor, InstallationActor)
    reachable = [one for one in call.actor.installation.repositories if call.actor.reaches(one)]
    shown = [repository_json(call.forge.urls, repository) for repository in call.page(reachable)]
    selection = call.actor.installation.repository_selection
    return Answer(200, {"total_count": len(reachable), "repositories": shown, "repository_selection": selection})


async def list_deliveries(call: Call) -> Answer:
    """Newest first; ``cursor`` is where the page before ended."""
    deliveries, status = call.forge.webhooks.recent(_app(call)), call.query.get("status")
    if status == "success":
        deliveries = [one for one in deliveries if 200 <= one.status_code < 400]
    elif status == "failure":
        deliveries = [one for one in deliveries if 400 <= one.status_code < 600]
    if "cursor" in call.query:
        mark = call.query["cursor"].removeprefix("v1_")
        if not mark.isdecimal():
            raise ApiError(400, "Invalid cursor")
        deliveries = [one for one in deliveries if one.id < int(mark)]
    shown = deliveries[: call.per_page()]
    if len(deliveries) > len(shown):
        call.headers["Link"] = f'<{call.link(cursor=f"v1_{shown[-1].id}")}>; rel="next"'
    return Answer(200, [delivery_json(one) for one in shown])


async def get_delivery(call: Call) -> Answer:
    return Answer(200, delivery_json(_delivery(call), full=True))


async def redeliver(call: Call) -> Answer:
    call.forge.webhooks.redeliver(_delivery(call))
    return Answer(202, {})


async def get_hook_config(call: Call) -> Answer:
    return Answer(200, hook_config_json(_app(call).hook))


async def update_hook_config(call: Call) -> Answer:
    hook, body = _app(call).hook, call.json_object()
    if body.get("content_type", "json") not in ("json", "form"):
        raise invalid("Hook", "content_type", "invalid")
    hook.url, hook.secret = body.get("url", hook.url), body.get("secret", hook.secret)
    hook.content_type = body.get("content_type", hook.content_type)
    hook.insecure_ssl = str(body.get("insecure_ssl", hook.insecure_ssl))
    call.forge.state.changed()
    return Answer(200, hook_config_json(hook))


async def convert_manifest(call: Call) -> Answer:
    """The only time that the private key and the secrets are shown."""
    found = call.forge.state.manifest_codes.pop(call.params["code"], None)
    if found is None or found[1] <= call.forge.clock():
        raise not_found()
    app = found[0]
    secrets_of_app = {
        "client_secret": app.client_secret,
        "webhook_secret": app.hook.secret,
        "pem": app.private_key_pem,
    }
    return Answer(201, {**app_json(call.forge.urls, app), **secrets_of_app})


def register_app(
    forge: Forge, owner: Account, name: str, permissions: Mapping[str, str], events: Sequence[str], *,
    webhook_url: str, webhook_secret: str | None, description: str = "", external_url: str = "",
    private_key_pem: str | None = None,
) -> App:  # fmt: skip
    """Register an App and its bot user; without a key it gets a new one."""
    state = forge.state
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if state.app_by_slug(slug) or state.account(f"{slug}[bot]"):
        raise ValueError(f"an App with the slug {slug!r} exists already; choose another name")
    now, app_id = state.now(), state.next_id()
    bot = Account(state.next_id(), f"{slug}[bot]", "Bot", f"{slug}[bot]", "", now)
    bot.email = f"{bot.id}+{bot.login}@users.noreply.github.example"
    state.accounts[bot.login.lower()] = bot
    private_pem, public_pem = _key_pair(private_key_pem)
    app = App(
        id=app_id, slug=slug, name=name, owner=owner, bot=bot, description=description,
        external_url=external_url or f"{forge.urls.web}/apps/{slug}", client_id=f"Iv23li{secrets.token_hex(7)}",
        client_secret=secrets.token_hex(20), private_key_pem=private_pem, public_key_pem=public_pem,
        permissions={"metadata": "read", **permissions}, events=list(events),
        hook=HookConfig(webhook_url, webhook_secret), created_at=now, updated_at=now,
    )  # fmt: skip
    state.apps[app.id] = app
    state.changed()
    return app


def register_manifest(forge: Forge, owner: Account, manifest: Mapping[str, Any]) -> str:
    """What "Create GitHub App from manifest" does; answers the code, good for an hour and one conversion."""
    hook = manifest.get("hook_attributes") or {}
    app = register_app(
        forge, owner, manifest["name"], manifest.get("default_permissions") or {}, manifest.get("default_events") or [],
        webhook_url=hook.get("url", ""), webhook_secret=secrets.token_hex(20),
        description=manifest.get("description", ""), external_url=manifest.get("url", ""),
    )  # fmt: skip
    app.hook.active = bool(hook.get("active", True))
    code = secrets.token_hex(20)
    forge.state.manifest_codes[code] = (app, forge.clock() + MANIFEST_CODE_SECONDS)
    return code


def _app(call: Call) -> App:
    assert isinstance(call.actor, AppActor)
    return call.actor.app


def _installation(call: Call) -> Installation:
    installation = call.forge.state.installations.get(call.number("installation_id"))
    if installation is None or installation.app is not _app(call):
        raise not_found()
    return installation


def _delivery(call: Call) -> Delivery:
    wanted = call.number("delivery_id")
    delivery = next((one for one in call.forge.webhooks.recent(_app(call)) if one.id == wanted), None)
    if delivery is None:
        raise not_found()
    return delivery


def _narrow(granted: dict[str, str], wanted: object) -> dict[str, str]:
    if not isinstance(wanted, dict) or not wanted:
        return dict(granted)
    for name, level in wanted.items():
        if level not in _LEVELS or name not in granted or _LEVELS.index(level) > _LEVELS.index(granted[name]):
            raise ApiError(422, "The permissions requested are not granted to this installation.")
    return {"metadata": "read", **wanted}


def _choose(installation: Installation, wanted: dict[str, Any]) -> list[Repository] | None:
    names, ids = wanted.get("repositories"), wanted.get("repository_ids")
    if names is None and ids is None:
        return None
    chosen = [one for one in installation.repositories if one.name in (names or ()) or one.id in (ids or ())]
    if len(chosen) < len(names or ()) + len(ids or ()):
        message = (
            "There is at least one repository that does not exist or is not accessible to the parent installation."
        )
        raise ApiError(422, message)
    return chosen


def _key_pair(private_key_pem: str | None) -> tuple[str, str]:
    if private_key_pem is None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private_key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ).decode()
    else:  # not checked: that takes longer than everything else here, and the key is the test's own
        loaded = serialization.load_pem_private_key(private_key_pem.encode(), None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(loaded, rsa.RSAPrivateKey), "GitHub Apps sign with RSA keys"
        key = loaded
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private_key_pem, public.decode()


_INSTALLATION = "/app/installations/{installation_id}"
_DELIVERY = "/app/hook/deliveries/{delivery_id}"

ROUTES = (
    Route("GET", "/app", get_app, Access.APP),
    Route("GET", "/app/installations", list_installations, Access.APP),
    Route("GET", _INSTALLATION, get_installation, Access.APP),
    Route("POST", f"{_INSTALLATION}/access_tokens", create_token, Access.APP),
    Route("GET", "/repos/{owner}/{repo}/installation", get_repository_installation, Access.APP),
    Route("GET", "/installation/repositories", list_accessible_repositories, Access.INSTALLATION),
    Route("GET", "/app/hook/deliveries", list_deliveries, Access.APP),
    Route("GET", _DELIVERY, get_delivery, Access.APP),
    Route("POST", f"{_DELIVERY}/attempts", redeliver, Access.APP),
    Route("GET", "/app/hook/config", get_hook_config, Access.APP),
    Route("PATCH", "/app/hook/config", update_hook_config, Access.APP),
    Route("POST", "/app-manifests/{code}/conversions", convert_manifest, Access.ANYONE),
)
