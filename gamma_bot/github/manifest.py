"""Registering Gamma's GitHub App from ``app.yml``: the manifest, the address it is posted to, and the conversion."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import yaml
from cachetools import LRUCache
from gidgethub.aiohttp import GitHubAPI

from gamma_bot.github.answers import translated
from gamma_bot.github.client import API_VERSION
from gamma_bot.github.errors import GitHubError

_TRIES = 3
_LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})")


@dataclass(frozen=True)
class CreatedApp:
    """What GitHub answers once, and never again, when an App is created from a manifest."""

    id: str
    slug: str
    html_url: str
    client_id: str
    client_secret: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    pem: str = field(repr=False)


def manifest_text() -> str:
    """``app.yml``: inside the package in a wheel, beside it in a source tree."""
    package = Path(__file__).resolve().parents[1]
    places = (package / "app.yml", package.parent / "app.yml")
    return next((place for place in places if place.is_file()), places[-1]).read_text(encoding="utf-8")


def manifest(text: str, *, webhook_url: str, redirect_url: str, home_url: str | None = None) -> dict[str, Any]:
    """What GitHub takes as a manifest: ``app.yml`` with this installation's addresses.

    Args:
        text: the content of ``app.yml``.
        webhook_url: where GitHub delivers webhooks to.
        redirect_url: where GitHub leads the browser with the code.
        home_url: the App's home page; ``app.yml``'s own if there is none.
    """
    made: dict[str, Any] = yaml.safe_load(text)
    made["hook_attributes"] = {"url": webhook_url, "active": True}
    made["redirect_url"] = redirect_url
    if home_url:
        made["url"] = home_url
    return made


def registration_url(web_url: str, organization: str | None, state: str) -> str:
    """The page of GitHub that takes the manifest, for an organisation or for whoever is signed in.

    Raises:
        ValueError: no organisation can have this name.
    """
    if organization is not None and not _LOGIN.fullmatch(organization):
        raise ValueError(f"{organization!r} can't be the name of an organisation at GitHub")
    owner = f"/organizations/{quote(organization)}" if organization else ""
    return f"{web_url}{owner}/settings/apps/new?{urlencode({'state': state})}"


def api_url_of(web_url: str) -> str:
    """The API of a GitHub by the address that people open: github.com, Enterprise Cloud on ghe.com, or a server.

    Raises:
        ValueError: this is no address of a GitHub.
    """
    parts = urlsplit(web_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise ValueError(f"{web_url!r} is no address of a GitHub; it looks like https://github.example.com")
    host = parts.netloc
    if parts.hostname in ("github.com", "www.github.com", "api.github.com"):
        return "https://api.github.com"
    if parts.hostname.endswith(".ghe.com"):
        return f"https://api.{host.removeprefix('api.')}"
    return f"{parts.scheme}://{host}/api/v3"


def web_url_of(api_url: str) -> str:
    """The address that people open, by the API's."""
    parts = urlsplit(api_url)
    if parts.path.rstrip("/") == "/api/v3":
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}://{parts.netloc.removeprefix('api.')}"


async def convert(session: aiohttp.ClientSession, api_url: str, code: str) -> CreatedApp:
    """Exchange the code of GitHub's redirect for the App's credentials; works once, for an hour.

    Raises:
        NotFound: the code is wrong, too old, or was used already.
        GitHubError
    """
    api = GitHubAPI(session, "gamma-bot", base_url=api_url, cache=LRUCache(maxsize=1))
    path = f"/app-manifests/{quote(code, safe='')}/conversions"
    for attempt in range(1, _TRIES + 1):
        try:
            # The code is a secret until it is used: the route of an error must not carry it.
            async with translated("POST /app-manifests/:code/conversions"):
                call = api.post(path, data=b"", extra_headers={"X-GitHub-Api-Version": API_VERSION})
                answer = await asyncio.wait_for(call, 30)
                if not isinstance(answer, dict):
                    raise ValueError("no App")
                return CreatedApp(
                    id=str(answer["id"]),
                    slug=answer["slug"],
                    html_url=answer["html_url"],
                    client_id=answer["client_id"],
                    client_secret=answer["client_secret"],
                    webhook_secret=answer["webhook_secret"] or "",
                    pem=answer["pem"],
                )
        except GitHubError as error:
            # Repeating is safe: a code that GitHub has converted already gives nothing a second time.
            if attempt == _TRIES or not error.passes_by_itself or (error.retry_after_seconds or 0) > 5:
                raise
            await asyncio.sleep(error.retry_after_seconds or 0.3 * attempt)
    raise AssertionError("unreachable")
