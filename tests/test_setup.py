"""``gamma setup`` from its page over GitHub's pages to an App that works, and all that can fail on the way."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import stat
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import yaml
from click.testing import Result
from pydantic import SecretStr

from gamma_bot import doctor
from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.keys import signing_keys
from gamma_bot.github.manifest import api_url_of, manifest, manifest_text, registration_url, web_url_of
from gamma_bot.sandbox.dispatch import all_routes
from gamma_bot.sandbox.faults import Fault, FaultKind
from gamma_bot.sandbox.page_manifest import EVENT_NEEDS, manifest_problems
from gamma_bot.sandbox.server import SandboxGitHub
from gamma_bot.settings import Settings, with_stored_app
from gamma_bot.setup import STATE_SECONDS, Redeemed, Setup, States, environment_lines
from gamma_bot.stored_app import FILE_NAME, StoredApp, StoredAppError, check_place, read_stored_app, write_stored_app
from tests import harness

HOME = "https://gamma.example.com"
CONVERSIONS = "/app-manifests/{code}/conversions"


class Browser:
    """Opens pages and presses their buttons, as a person's browser does."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.url = self.text = ""
        self.status = 0

    async def open(self, url: str, **headers: str) -> str:
        """Open an address; the page's text."""
        async with self.session.get(url, headers=headers) as answer:
            return await self._see(answer)

    async def press(self, **changes: str) -> str:
        """Send the page's last form, with some fields changed; the next page's text."""
        form = re.findall(r'<form method="post" action="([^"]*)">(.*?)</form>', self.text, re.DOTALL)[-1]
        inputs = re.findall(r'<input[^>]* name="([^"]*)" value="([^"]*)"', form[1])
        fields = {name: html.unescape(value) for name, value in inputs} | changes
        here = urlsplit(self.url)
        action = html.unescape(form[0])
        url = action if "://" in action else f"{here.scheme}://{here.netloc}{action}"
        origin = f"{here.scheme}://{here.netloc}"
        async with self.session.post(url, data=fields, headers={"Origin": origin}) as answer:
            return await self._see(answer)

    async def _see(self, answer: aiohttp.ClientResponse) -> str:
        self.url, self.status, self.text = str(answer.url), answer.status, await answer.text()
        return self.text


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def github(tmp_path: Path) -> AsyncIterator[SandboxGitHub]:
    async with SandboxGitHub(tmp_path / "github") as github:
        github.create_user("ada")
        github.create_organization("team")
        yield github


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession() as session:
        yield Browser(session)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def setup(github: SandboxGitHub, tmp_path: Path, clock: Clock) -> AsyncIterator[tuple[Setup, str]]:
    """A set-up whose page is served, and its address."""
    pages = _setup(github, lambda app: f"in {write_stored_app(tmp_path / 'data', app)}", clock)
    yield pages, await pages.start()
    await pages.stop()


def _setup(github: SandboxGitHub, keep: Callable[[StoredApp], str], clock: Clock | None = None) -> Setup:
    return Setup(
        web_url=github.url,
        api_url=github.api_url,
        organization=None,
        webhook_url=f"{HOME}/webhook",
        home_url=HOME,
        keep=keep,
        clock=clock or Clock(),
    )


def _conversions(github: SandboxGitHub) -> list[int]:
    return [record.status for record in github.requests if record.route == CONVERSIONS]


async def _command(folder: Path, *arguments: str, **environment: str) -> tuple[asyncio.subprocess.Process, str]:
    """Start ``gamma setup``; the process and the address that it names."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from gamma_bot.cli import main; main()", "setup", *arguments),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    line = (await asyncio.wait_for(process.stderr.readline(), 30)).decode()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found, line
    return process, found[0]


async def _ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode(), err.decode()


# ── the whole way ──


async def test_an_organisation_gets_its_app_and_gamma_can_use_it(
    github: SandboxGitHub, browser: Browser, tmp_path: Path
) -> None:
    process, page = await _command(
        tmp_path, "--organization", "team", "--github", github.url, "--public-url", f"{HOME}/", GAMMA_DATA_DIR="kept"
    )
    seen = await browser.open(page)
    assert "the organisation <b>team</b>" in seen
    assert "Issues" in seen
    assert "Create GitHub App for team" in await browser.press()
    done = await browser.press(name="Team Gamma")
    assert browser.status == 200
    assert f'href="{github.url}/apps/team-gamma/installations/new"' in done

    status, out, err = await _ended(process)
    assert (status, out) == (0, "")
    assert f"install it on your repositories at {github.url}/apps/team-gamma/installations/new" in err

    app = github.state.app_by_slug("team-gamma")
    assert app is not None
    assert app.owner.login == "team"
    assert app.hook.url == f"{HOME}/webhook"
    assert app.permissions == doctor.NEEDED_PERMISSIONS
    assert tuple(app.events) == doctor.NEEDED_EVENTS
    kept = tmp_path / "kept" / FILE_NAME
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert [path.name for path in kept.parent.iterdir()] == [FILE_NAME]
    for secret in (app.client_secret, app.hook.secret or "", app.private_key_pem.splitlines()[1]):
        assert secret not in out + err + done, "what is stored is shown nowhere (I8)"

    settings = with_stored_app(Settings(_env_file=None, data_dir=tmp_path / "kept"))
    assert settings.webhook_secrets == ((app.hook.secret or "").encode(),)
    assert await _slug(settings) == "team-gamma"
    assert github.violations == []


async def test_print_gives_lines_for_a_secret_store_and_leaves_no_file(
    github: SandboxGitHub, browser: Browser, tmp_path: Path
) -> None:
    channel = "https://smee.example.com/abc"
    process, page = await _command(
        tmp_path, "--print", "--tunnel", channel, GAMMA_GITHUB_API_URL=github.api_url, GAMMA_DATA_DIR="kept"
    )
    assert "your own account" in await browser.open(page)
    assert "Create GitHub App for ada" in await browser.press()
    assert "in the terminal" in await browser.press()
    status, out, err = await _ended(process)
    assert status == 0
    assert f"gamma serve --tunnel {channel}" in err

    app = github.state.app_by_slug("gamma")
    assert app is not None
    assert app.owner.login == "ada"
    assert app.hook.url == channel
    names = [line.split("=")[0] for line in out.splitlines()]
    assert len(set(names)) == len(names) == 6
    assert all(name.startswith("GAMMA_GITHUB_") for name in names)
    assert not (tmp_path / "kept").exists()

    file = tmp_path / "gamma.env"
    file.write_text(out)
    settings = Settings(_env_file=file)
    assert await _slug(settings) == "gamma"
    assert settings.webhook_secrets == ((app.hook.secret or "").encode(),)
    assert (settings.github_client_id, settings.github_client_secret) == (app.client_id, SecretStr(app.client_secret))


async def _slug(settings: Settings) -> str:
    """Prove that the id, the key and the address fit together."""
    async with aiohttp.ClientSession() as session:
        gamma = GitHubApp(
            session,
            api_url=settings.github_api_url,
            app_id=settings.github_app_id or "",
            keys=signing_keys(settings.private_key or ""),
        )
        return str((await gamma.app())["slug"])


# ── the command line ──


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "GitHub must know where to deliver webhooks"),
        (["--public-url", "gamma.example.com"], 2, "--public-url needs a web address"),
        (["--public-url", HOME, "--organization", "../evil"], 2, "can't be the name of an organisation"),
        (["--public-url", HOME, "--github", "github.example.com"], 2, "is no address of a GitHub"),
        (["--public-url", HOME], 1, "holds an App already. Keep it, or say --force"),
    ],
)
def test_a_command_line_that_can_not_work_is_refused_before_a_page_is_served(
    run: Callable[..., Result], tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    write_stored_app(tmp_path / "gamma-data", _stored())
    result = run("setup", *arguments)
    assert result.exit_code == status
    assert words in " ".join(result.stderr.split())
    assert result.stdout == ""


# ── what can go wrong on the way ──


async def test_a_code_with_a_foreign_state_is_not_even_asked_for(
    github: SandboxGitHub, setup: tuple[Setup, str], browser: Browser, tmp_path: Path
) -> None:
    _pages, url = setup
    await browser.open(url)
    code = github.create_app_from_manifest({"name": "Evil"}, "ada")
    for query in (f"code={code}&state=guessed", f"code={code}", f"code={code}&state=%F0%9F%98%80"):
        assert "This did not begin here" in await browser.open(f"{url}/created?{query}")
        assert browser.status == 403
    assert _conversions(github) == []
    assert not (tmp_path / "data").exists()


async def test_a_state_is_good_for_one_use(github: SandboxGitHub, setup: tuple[Setup, str], browser: Browser) -> None:
    _pages, url = setup
    state = await _state(browser, url)
    assert "The code is used up" in await browser.open(f"{url}/created?code=unknown&state={state}")
    assert browser.status == 410
    code = github.create_app_from_manifest({"name": "Evil"}, "ada")
    assert "This did not begin here" in await browser.open(f"{url}/created?code={code}&state={state}")
    assert _conversions(github) == [404]


async def test_a_state_is_good_for_an_hour(
    github: SandboxGitHub, setup: tuple[Setup, str], browser: Browser, clock: Clock
) -> None:
    _pages, url = setup
    await browser.open(url)
    await browser.press()
    clock.now += STATE_SECONDS + 1
    assert "Too late" in await browser.press()
    assert browser.status == 410
    assert _conversions(github) == []


async def test_an_app_is_kept_once_and_its_page_can_be_reloaded(
    github: SandboxGitHub, setup: tuple[Setup, str], browser: Browser, tmp_path: Path
) -> None:
    pages, url = setup
    await browser.open(url)
    await browser.press()
    first = await browser.press()
    created = await pages.created()
    assert await browser.open(browser.url) == _with_nonce_of(first, browser.text)
    assert "is created" in await browser.open(url)
    assert _conversions(github) == [201]
    assert read_stored_app(tmp_path / "data") == created
    assert created.pem not in repr(created)


async def test_a_network_that_fails_for_a_while_costs_a_reload(
    github: SandboxGitHub, setup: tuple[Setup, str], browser: Browser
) -> None:
    pages, url = setup
    github.faults.add(Fault("POST", "/conversions$", FaultKind.DROP_BEFORE, times=3))
    await browser.open(url)
    await browser.press()
    page = await browser.press()
    assert browser.status == 502
    assert "GitHub could not be reached" in page
    assert "Reload this page" in page
    code = parse_qs(urlsplit(browser.url).query)["code"][0]
    assert code not in page
    assert "is created" in await browser.open(browser.url)
    assert (await pages.created()).slug == "gamma"
    assert github.faults.pending == []


async def test_a_dropped_answer_is_asked_for_again_without_the_person(
    github: SandboxGitHub, setup: tuple[Setup, str], browser: Browser
) -> None:
    pages, url = setup
    github.faults.add(Fault("POST", "/conversions$", FaultKind.STATUS, status=502, times=2))
    await browser.open(url)
    await browser.press()
    assert "is created" in await browser.press()
    assert (await pages.created()).slug == "gamma"


async def test_a_name_that_is_taken_is_chosen_again_at_github(
    github: SandboxGitHub, setup: tuple[Setup, str], browser: Browser
) -> None:
    pages, url = setup
    github.create_app("Gamma", {}, [])
    await browser.open(url)
    await browser.press()
    assert "already taken" in await browser.press()
    assert browser.status == 422
    assert "is created" in await browser.press(name="Gamma of ada")
    assert (await pages.created()).slug == "gamma-of-ada"


async def test_an_app_that_can_not_be_stored_is_reported_with_what_to_do(
    github: SandboxGitHub, browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    pages = _setup(github, lambda app: f"in {write_stored_app(tmp_path / 'file', app)}")
    url = await pages.start()
    await browser.open(url)
    await browser.press()
    page = await browser.press()
    assert browser.status == 500
    with pytest.raises(StoredAppError, match=r"its key is lost\. Delete the new App on GitHub"):
        await pages.created()
    app = github.state.app_by_slug("gamma")
    assert app is not None
    assert app.client_secret not in page
    await pages.stop()


async def test_the_pages_answer_to_this_machine_only(setup: tuple[Setup, str], browser: Browser) -> None:
    _pages, url = setup
    for path in ("/", "/created?code=a&state=b"):
        page = await browser.open(url + path, Host="rebound.example.com")
        assert browser.status == 403
        assert "manifest" not in page


def test_states_are_random_single_and_bounded(clock: Clock) -> None:
    states = States(clock)
    issued = [states.issue() for _ in range(60)]
    assert len(set(issued)) == 60
    assert all(len(state) >= 40 for state in issued)
    assert states.redeem(issued[0]) is Redeemed.UNKNOWN, "the oldest are forgotten"
    assert states.redeem(issued[-1]) is Redeemed.FINE
    assert states.redeem(issued[-1]) is Redeemed.UNKNOWN
    assert states.redeem(issued[-2][:-1]) is Redeemed.UNKNOWN
    assert states.redeem("\ud800") is Redeemed.UNKNOWN
    clock.now += STATE_SECONDS
    assert states.redeem(issued[-2]) is Redeemed.EXPIRED


# ── the stored App ──


def _stored(**changes: str) -> StoredApp:
    values = {
        "api_url": "https://github.example.com/api/v3",
        "id": "7",
        "slug": "gamma",
        "html_url": "https://github.example.com/apps/gamma",
        "client_id": "Iv23",
        "client_secret": "client secret",
        "webhook_secret": "webhook secret",
        "pem": "-----BEGIN …",
    }
    return StoredApp(**{**values, **changes})


def test_a_stored_app_is_replaced_by_force_only_and_nothing_half_written_stays(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    assert read_stored_app(folder) is None
    check_place(folder, force=False)
    path = write_stored_app(folder, _stored())
    for attempt in (
        lambda: write_stored_app(folder, _stored(id="8")),
        lambda: check_place(folder, force=False),
    ):
        with pytest.raises(StoredAppError, match="holds an App already"):
            attempt()
    assert read_stored_app(folder) == _stored()
    folder.chmod(0o755)
    write_stored_app(folder, _stored(id="8"), force=True)
    assert read_stored_app(folder) == _stored(id="8")
    assert [entry.name for entry in folder.iterdir()] == [FILE_NAME]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_settings_take_the_stored_app_where_the_environment_says_nothing(tmp_path: Path) -> None:
    write_stored_app(tmp_path, _stored())
    settings = with_stored_app(Settings(_env_file=None, data_dir=tmp_path))
    assert settings.github_app_id == "7"
    assert settings.github_api_url == "https://github.example.com/api/v3"
    assert settings.webhook_secrets == (b"webhook secret",)
    assert settings.github_client_secret == SecretStr("client secret")

    rotating = Settings(_env_file=None, data_dir=tmp_path, github_webhook_secret=SecretStr("old,new"))
    assert with_stored_app(rotating).webhook_secrets == (b"old", b"new"), "the environment wins"
    assert with_stored_app(rotating).github_app_id == "7"


@pytest.mark.parametrize("named", [{"github_app_id": "9"}, {"github_api_url": "https://api.github.com"}])
def test_a_stored_app_is_not_mixed_with_another_one(tmp_path: Path, named: dict[str, str]) -> None:
    write_stored_app(tmp_path, _stored())
    settings = Settings(_env_file=None, data_dir=tmp_path, **named)
    assert with_stored_app(settings) == settings


def test_a_damaged_stored_app_is_named_unless_the_environment_makes_it_needless(tmp_path: Path) -> None:
    for damage in ("", "[]", "{}", '{"id": 7}', "\x00"):
        (tmp_path / FILE_NAME).write_text(damage)
        with pytest.raises(StoredAppError, match="is damaged"):
            with_stored_app(Settings(_env_file=None, data_dir=tmp_path))
    complete = Settings(
        _env_file=None,
        data_dir=tmp_path,
        github_app_id="1",
        github_private_key=SecretStr("key"),
        github_webhook_secret=SecretStr("secret"),
    )
    assert with_stored_app(complete) is complete


def test_printed_lines_are_one_line_each() -> None:
    lines = environment_lines(_stored(pem="-----BEGIN A-----\nAAAA\n-----END A-----\n")).splitlines()
    assert lines[-1] == r'GAMMA_GITHUB_PRIVATE_KEY="-----BEGIN A-----\nAAAA\n-----END A-----"'
    assert len(lines) == 6


# ── the manifest ──


def test_the_manifest_is_app_yml_with_the_addresses_of_this_gamma() -> None:
    made = manifest(manifest_text(), webhook_url="https://a/webhook", redirect_url="http://127.0.0.1:1/created")
    written = yaml.safe_load(manifest_text())
    assert made["hook_attributes"] == {"url": "https://a/webhook", "active": True}
    assert made["redirect_url"] == "http://127.0.0.1:1/created"
    assert {key: made[key] for key in written if key != "hook_attributes"} == {
        key: value for key, value in written.items() if key != "hook_attributes"
    }
    assert manifest(manifest_text(), webhook_url="", redirect_url="", home_url=HOME)["url"] == HOME
    assert made["public"] is False
    assert manifest_problems(made) == []
    json.dumps(made)


def test_app_yml_asks_for_what_gamma_needs_and_no_more() -> None:
    asked = yaml.safe_load(manifest_text())
    assert asked["default_permissions"] == doctor.NEEDED_PERMISSIONS == harness.PERMISSIONS
    assert tuple(asked["default_events"]) == doctor.NEEDED_EVENTS == tuple(harness.EVENTS)
    known_to_github = {need.split(":")[0] for route in all_routes() for need in route.needs}
    for needs in EVENT_NEEDS.values():
        known_to_github.update(needs)
    assert set(asked["default_permissions"]) - {"metadata"} <= known_to_github
    writes = [name for name, level in asked["default_permissions"].items() if level != "read"]
    assert sorted(writes) == ["actions", "checks", "issues", "pull_requests"], "no write access to code"


def test_each_permission_and_event_of_app_yml_has_its_reason() -> None:
    lists = manifest_text().split("default_permissions:")[1].splitlines()
    entries = [line for line in lists if re.match(r"  (- )?[a-z_]+(:|$| )", line)]
    assert len(entries) == len(doctor.NEEDED_PERMISSIONS) + len(doctor.NEEDED_EVENTS)
    assert [line for line in entries if not re.search(r" # \S.{10,}", line)] == []


@pytest.mark.parametrize(
    ("web", "api"),
    [
        ("https://github.com", "https://api.github.com"),
        ("https://team.ghe.com", "https://api.team.ghe.com"),
        ("https://github.example.com", "https://github.example.com/api/v3"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000/api/v3"),
    ],
)
def test_the_addresses_of_pages_and_api_belong_together(web: str, api: str) -> None:
    assert api_url_of(web) == api_url_of(f"{web}/") == api_url_of(api) == api
    assert web_url_of(api) == web


def test_the_manifest_is_posted_for_a_person_or_for_an_organisation() -> None:
    assert registration_url("https://g", None, "a b&c") == "https://g/settings/apps/new?state=a+b%26c"
    assert registration_url("https://g", "team", "s") == "https://g/organizations/team/settings/apps/new?state=s"
    for name in ("", "a/b", "a b", "-a", "x" * 40):
        with pytest.raises(ValueError, match="can't be the name"):
            registration_url("https://g", name, "s")


async def _state(browser: Browser, url: str) -> str:
    await browser.open(url)
    action = re.search(r'action="([^"]*)"', browser.text)
    assert action is not None
    return parse_qs(urlsplit(html.unescape(action[1])).query)["state"][0]


def _with_nonce_of(page: str, other: str) -> str:
    nonce = re.search(r'nonce="([^"]*)"', other)
    assert nonce is not None
    return re.sub(r'nonce="[^"]*"', nonce[0], page)
