"""The pages that create a GitHub App from a manifest: what it asks for, a name, a button, and back with a code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from gamma_bot.sandbox.apps import register_manifest
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model import Account
from gamma_bot.sandbox.page_frame import Frame, PageError, not_found

# Events of a repository, and what an App must hold to be told of them; one of the named permissions is enough.
EVENT_NEEDS: Mapping[str, tuple[str, ...]] = {
    "push": ("contents",),
    "pull_request": ("pull_requests",),
    "pull_request_review": ("pull_requests",),
    "pull_request_review_comment": ("pull_requests",),
    "issue_comment": ("issues", "pull_requests"),
    "issues": ("issues",),
    "check_run": ("checks",),
    "check_suite": ("checks",),
    "repository": ("metadata",),
    "workflow_job": ("actions",),
    "workflow_run": ("actions",),
}
_LEVELS = ("read", "write", "admin")


class ManifestPages:
    """``/settings/apps/new``, for a person and for an organisation."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._forge = frame.forge

    async def show(self, request: web.Request) -> web.Response:
        """What another page posts here. It changes nothing yet, so it may come from anywhere."""
        form = await request.post()
        manifest = _manifest(form.get("manifest"))
        return await self._ask(request, manifest, self._owner(request), request.query.get("state", ""))

    async def create(self, request: web.Request) -> web.Response:
        """The button: the App is made, and the browser goes where the manifest says."""
        form = await request.post()
        manifest = _manifest(form.get("manifest"))
        manifest["name"] = str(form.get("name", "")).strip() or manifest["name"]
        state, owner = str(form.get("state", "")), self._owner(request)
        try:
            code = register_manifest(self._forge, owner, manifest)
        except ValueError:
            problem = f"Name {manifest['name']!r} is already taken. Choose another one."
            return await self._ask(request, manifest, owner, state, problem=problem)
        target = str(manifest["redirect_url"])
        query = urlencode({"code": code, "state": state})
        location = f"{target}{'&' if urlsplit(target).query else '?'}{query}"
        return web.Response(status=302, headers={"Location": location})

    async def _ask(
        self, request: web.Request, manifest: dict[str, Any], owner: Account, state: str, problem: str = ""
    ) -> web.Response:
        answer = await self._frame.page(
            request,
            "sandbox_manifest.html",
            status=422 if problem else 200,
            owner=owner,
            manifest=manifest,
            manifest_json=json.dumps(manifest, ensure_ascii=False),
            state=state,
            problem=problem,
            action=request.path.removesuffix("/confirmed"),
        )
        # Browsers apply form-action to the redirect that follows the form, too.
        target = urlsplit(str(manifest["redirect_url"]))
        policy = answer.headers["Content-Security-Policy"]
        allowed = f"form-action 'self' {target.scheme}://{target.netloc}"
        answer.headers["Content-Security-Policy"] = policy.replace("form-action 'self'", allowed)
        return answer

    def _owner(self, request: web.Request) -> Account:
        name = request.match_info.get("organization")
        if name is None:
            person = self._frame.person(request)
            if person is None:
                raise PageError(401, "Nobody is signed in", "The sandbox has no people yet.")
            return person
        return _organization(self._forge, name)


def manifest_problems(manifest: Mapping[str, Any]) -> list[str]:
    """What GitHub would refuse in a manifest, as far as the sandbox knows."""
    problems = [f"{name} is missing" for name in ("name", "url", "redirect_url") if not manifest.get(name)]
    hook = manifest.get("hook_attributes") or {}
    for name, url in (("url", manifest.get("url")), ("hook_attributes.url", hook.get("url"))):
        if url and urlsplit(str(url)).scheme not in ("http", "https"):
            problems.append(f"{name} is no web address")
    permissions = manifest.get("default_permissions") or {}
    problems += [f"{name}: {level} is no level" for name, level in permissions.items() if level not in _LEVELS]
    for event in manifest.get("default_events") or []:
        needs = EVENT_NEEDS.get(event)
        if needs is None:
            problems.append(f"the event {event} is unknown")
        elif not any(need in permissions for need in needs):
            problems.append(f"the event {event} needs the permission {' or '.join(needs)}")
    return problems


def _manifest(text: object) -> dict[str, Any]:
    try:
        manifest = json.loads(str(text))
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise PageError(422, "No manifest", "The form field manifest must hold a JSON object.")
    problems = manifest_problems(manifest)
    if problems:
        raise PageError(422, "The manifest can't be used", f"{'; '.join(problems)}.")
    return manifest


def _organization(forge: Forge, name: str) -> Account:
    account = forge.state.account(name)
    if account is None or account.type != "Organization":
        raise not_found(f"organisation {name}")
    return account
