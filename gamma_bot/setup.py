"""``gamma setup``: creates Gamma's GitHub App with one press of a button on GitHub, and keeps what GitHub says once.

A page on this machine posts the manifest to GitHub; GitHub asks the person, creates the App and leads the browser back
with a code; the code is exchanged for the App's key and secrets.
Source: https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jinja2
from aiohttp import web
from markupsafe import Markup

from gamma_bot.github.errors import GitHubError, NotFound
from gamma_bot.github.manifest import convert, manifest, manifest_text, registration_url
from gamma_bot.reporting.templates import template_folder
from gamma_bot.stored_app import StoredApp, StoredAppError

STATE_SECONDS = 3600.0
"""As long as GitHub's code is good: a person may have to find the owner of the organisation first."""
_KEPT_STATES = 50
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Redeemed(Enum):
    """What a state that came back is worth."""

    FINE = auto()
    EXPIRED = auto()
    UNKNOWN = auto()


class States:
    """Random words that go to GitHub and come back once: without them any page could hand us an App of its own."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ends: dict[str, float] = {}

    def issue(self) -> str:
        """A new state, good for an hour and one use; the oldest ones are forgotten."""
        state = secrets.token_urlsafe(32)
        self._ends[state] = self._clock() + STATE_SECONDS
        while len(self._ends) > _KEPT_STATES:
            del self._ends[next(iter(self._ends))]
        return state

    def redeem(self, given: str) -> Redeemed:
        """Use a state up. The comparison takes the same time wherever the first difference is."""
        found: str | None = None
        for state in self._ends:
            if hmac.compare_digest(state.encode(), given.encode("utf-8", "surrogatepass")):
                found = state
        if found is None:
            return Redeemed.UNKNOWN
        return Redeemed.FINE if self._ends.pop(found) > self._clock() else Redeemed.EXPIRED

    def give_back(self, state: str) -> None:
        """Let a state be used again, since nothing came of its use."""
        self._ends[state] = self._clock() + STATE_SECONDS


class Setup:
    """The pages of one set-up, on this machine only.

    Args:
        web_url: GitHub's address for people; ``api_url``: its API's.
        organization: whose App it becomes; ``None`` for the person who is signed in at GitHub.
        webhook_url: where GitHub will deliver webhooks to.
        home_url: Gamma's address for people, if it has one.
        keep: stores the App and says where, such as "in the terminal"; raises ``StoredAppError``.
    """

    def __init__(
        self,
        *,
        web_url: str,
        api_url: str,
        organization: str | None,
        webhook_url: str,
        home_url: str | None,
        keep: Callable[[StoredApp], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        registration_url(web_url, organization, "")  # a name that can't be is refused before anybody opens a page
        self._web_url = web_url
        self._api_url = api_url
        self._organization = organization
        self._webhook_url = webhook_url
        self._home_url = home_url
        self._keep = keep
        self._states = States(clock)
        self._app: StoredApp | None = None
        self._kept = ""
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._ended: asyncio.Future[StoredApp] = asyncio.get_running_loop().create_future()
        self._url = ""
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(template_folder() / "pages"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )

    async def start(self, port: int = 0) -> str:
        """Serve the pages; the address to open.

        Raises:
            OSError: the port is taken.
        """
        application = web.Application()
        application.router.add_get("/", self._begin)
        application.router.add_get("/created", self._created)
        self._session = aiohttp.ClientSession()
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=5.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self._url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self._url

    async def created(self) -> StoredApp:
        """Wait until the App was created and kept.

        Raises:
            StoredAppError: GitHub created the App, but it could not be kept.
        """
        return await asyncio.shield(self._ended)

    async def stop(self) -> None:
        """Let the last page reach the browser, and end."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
        self._ended.cancel()

    async def _begin(self, request: web.Request) -> web.Response:
        """The page with the button that posts the manifest to GitHub."""
        if not _is_loopback(request):
            return self._failed(403, "This page is for this machine only", f"Open {self._url} instead.")
        if self._app is not None:
            return self._done(self._app)
        asked = manifest(
            manifest_text(),
            webhook_url=self._webhook_url,
            redirect_url=f"{self._url}/created",
            home_url=self._home_url,
        )
        return self._page(
            "setup.html",
            action=registration_url(self._web_url, self._organization, self._states.issue()),
            manifest=json.dumps(asked, ensure_ascii=False),
            asked=asked,
            owner=self._organization,
            host=urlsplit(self._web_url).netloc,
        )

    async def _created(self, request: web.Request) -> web.Response:
        """Where GitHub leads the browser with ``code`` and ``state``."""
        if not _is_loopback(request):
            return self._failed(403, "This page is for this machine only", f"Open {self._url} instead.")
        code, state = request.query.get("code", ""), request.query.get("state", "")
        if self._app is not None:
            return self._done(self._app)
        if not code or len(code) > 200:
            words = "This address is where GitHub leads after it has created the App, with a code. There is none in it."
            return self._failed(400, "The code is missing", words)
        match self._states.redeem(state):
            case Redeemed.UNKNOWN:
                words = (
                    "The state in the address is not one that this page has given out, or it was used before. "
                    "Whoever led you here may want to hand you an App of their own. Nothing was stored."
                )
                return self._failed(403, "This did not begin here", words)
            case Redeemed.EXPIRED:
                words = "More than an hour has passed since the page was opened, so GitHub's code is no good any more."
                return self._failed(410, "Too late", f"{words} {_DELETE_AND_REPEAT}")
            case Redeemed.FINE:
                return await self._exchange(code, state)

    async def _exchange(self, code: str, state: str) -> web.Response:
        assert self._session is not None
        try:
            made = await convert(self._session, self._api_url, code)
        except NotFound:
            words = "GitHub does not know the code: it is good for one hour and one use."
            return self._failed(410, "The code is used up", f"{words} {_DELETE_AND_REPEAT}")
        except GitHubError as error:
            if error.passes_by_itself:
                self._states.give_back(state)
                words = "The App is created, but its key could not be fetched. Reload this page to try again."
                return self._failed(502, "GitHub could not be reached", f"{error}. {words}")
            return self._failed(502, "GitHub refused", f"{error}. {_DELETE_AND_REPEAT}")
        app = StoredApp(
            api_url=self._api_url,
            id=made.id,
            slug=made.slug,
            html_url=made.html_url,
            client_id=made.client_id,
            client_secret=made.client_secret,
            webhook_secret=made.webhook_secret,
            pem=made.pem,
        )
        try:
            self._kept = self._keep(app)
        except StoredAppError as error:
            words = f"{error}. The App {app.slug} exists at GitHub, but its key is lost. {_DELETE_AND_REPEAT}"
            if not self._ended.done():
                self._ended.set_exception(StoredAppError(words))
            return self._failed(500, "The App could not be stored", words)
        self._app = app
        if not self._ended.done():
            self._ended.set_result(app)
        return self._done(app)

    def _done(self, app: StoredApp) -> web.Response:
        return self._page("setup_done.html", app=app, kept=self._kept)

    def _failed(self, status: int, heading: str, explanation: str) -> web.Response:
        return self._page("setup_failed.html", status=status, heading=heading, explanation=explanation, url=self._url)

    def _page(self, template: str, *, status: int = 200, **values: Any) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        # Inside the page: after the last one nobody is here any more to serve a style sheet.
        style = Markup((template_folder() / "pages" / "gamma.css").read_text(encoding="utf-8"))  # noqa: S704 - our own
        text = self._templates.get_template(template).render(nonce=nonce, style=style, **values)
        headers = {
            # Browsers apply form-action to redirects too, and GitHub may lead to an organisation's own sign-in first.
            "Content-Security-Policy": (
                f"default-src 'none'; style-src 'nonce-{nonce}'; form-action https: http:; base-uri 'none'; "
                "frame-ancestors 'none'"
            ),
            "X-Content-Type-Options": "nosniff",
            # Code and state stand in the address: it must not travel on. The origin may, so that forms have one.
            "Referrer-Policy": "origin",
            "Cache-Control": "no-store",
        }
        return web.Response(text=text, content_type="text/html", status=status, headers=headers)


def environment_lines(app: StoredApp) -> str:
    """The App as ``GAMMA_…`` lines, one each, as a ``.env`` file and most secret stores take them."""
    values = {
        "GAMMA_GITHUB_API_URL": app.api_url,
        "GAMMA_GITHUB_APP_ID": app.id,
        "GAMMA_GITHUB_CLIENT_ID": app.client_id,
        "GAMMA_GITHUB_CLIENT_SECRET": app.client_secret,
        "GAMMA_GITHUB_WEBHOOK_SECRET": app.webhook_secret,
        # Settings read the two characters \n as a line break, so that the key fits on one line.
        "GAMMA_GITHUB_PRIVATE_KEY": f'"{app.pem.strip()}"'.replace("\r\n", "\n").replace("\n", "\\n"),
    }
    return "\n".join(f"{name}={value}" for name, value in values.items())


_DELETE_AND_REPEAT = (
    "Delete the new App on GitHub (Settings → Developer settings → GitHub Apps → Advanced), and begin again."
)


def _is_loopback(request: web.Request) -> bool:
    """Whether the browser asked for this machine: a name that somebody points at it must not read the page."""
    return urlsplit(f"//{request.host}").hostname in _LOOPBACK
