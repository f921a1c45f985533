"""The App's private key and the webhook's secret are exchanged while Gamma runs; a bad key is named at the start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from click.testing import Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr

from gamma_bot.github.errors import Forbidden
from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.keys import UnusableKey, signing_keys
from gamma_bot.sandbox.model import App
from gamma_bot.sandbox.server import SandboxGitHub
from gamma_bot.settings import Settings
from tests.harness import SECRET, Gamma

TRAIN = {"train.py": "print('trained')"}


@pytest.fixture(scope="module")
def next_key() -> str:
    """The key that takes the old one's place."""
    return _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))


@pytest.fixture
async def github(tmp_path: Path) -> AsyncIterator[SandboxGitHub]:
    async with SandboxGitHub(tmp_path / "github") as github:
        yield github


def _app_with(github: SandboxGitHub, key: str) -> App:
    github.create_user("ada")
    return github.create_app("Gamma", {"checks": "write"}, ["push"], private_key_pem=key)


def _jwt_answers(github: SandboxGitHub) -> list[int]:
    return [record.status for record in github.requests if record.route == "/app"]


# ── the key ──


async def test_the_first_key_signs_while_github_knows_it(github: SandboxGitHub, app_key: str, next_key: str) -> None:
    app = _app_with(github, app_key)
    async with aiohttp.ClientSession() as session:
        gamma = GitHubApp(session, api_url=github.api_url, app_id=str(app.id), keys=signing_keys(app_key + next_key))
        assert (await gamma.app())["slug"] == "gamma"
    assert _jwt_answers(github) == [200]


async def test_a_key_that_github_refuses_is_followed_by_the_next_which_is_remembered(
    github: SandboxGitHub, app_key: str, next_key: str
) -> None:
    app = _app_with(github, next_key)
    async with aiohttp.ClientSession() as session:
        gamma = GitHubApp(session, api_url=github.api_url, app_id=str(app.id), keys=signing_keys(app_key + next_key))
        await gamma.app()
        await gamma.app()
    assert _jwt_answers(github) == [401, 200, 200], "the refused key is tried once, not at every call"


async def test_keys_can_be_changed_back_and_forth_without_a_restart(
    github: SandboxGitHub, app_key: str, next_key: str
) -> None:
    app = _app_with(github, app_key)
    old_public = app.public_key_pem
    new_public = _public(next_key)
    async with aiohttp.ClientSession() as session:
        gamma = GitHubApp(session, api_url=github.api_url, app_id=str(app.id), keys=signing_keys(app_key + next_key))
        for public in (old_public, new_public, old_public):
            app.public_key_pem = public
            assert (await gamma.app())["slug"] == "gamma"
    assert _jwt_answers(github) == [200, 401, 200, 401, 200]


async def test_many_calls_at_once_find_the_right_key_together(
    github: SandboxGitHub, app_key: str, next_key: str
) -> None:
    app = _app_with(github, next_key)
    async with aiohttp.ClientSession() as session:
        gamma = GitHubApp(session, api_url=github.api_url, app_id=str(app.id), keys=signing_keys(app_key + next_key))
        found = await asyncio.gather(*(gamma.app() for _ in range(8)))
    assert {app["slug"] for app in found} == {"gamma"}


async def test_without_a_key_that_github_knows_the_refusal_is_told(
    github: SandboxGitHub, app_key: str, next_key: str
) -> None:
    other = _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    app = _app_with(github, other)
    async with aiohttp.ClientSession() as session:
        gamma = GitHubApp(session, api_url=github.api_url, app_id=str(app.id), keys=signing_keys(app_key + next_key))
        with pytest.raises(Forbidden, match="GitHub answered 401 to GET /app"):
            await gamma.app()
    assert _jwt_answers(github) == [401, 401]


async def test_a_push_trains_after_the_old_key_was_deleted_at_github(stage: Gamma, next_key: str) -> None:
    both = SecretStr(stage.app.private_key_pem + next_key)
    await stage.start(github_private_key=both)
    stage.app.public_key_pem = _public(next_key)  # the owner deletes the old key

    sha = await stage.push("models", TRAIN)

    assert (await stage.finished(sha)).conclusion == "success"


def test_keys_come_as_blocks_of_one_text_or_as_paths(tmp_path: Path, app_key: str, next_key: str) -> None:
    old, new, both = tmp_path / "old.pem", tmp_path / "new.pem", tmp_path / "both.pem"
    old.write_text(app_key)
    new.write_text(next_key)
    both.write_text(f"# kept by ada\r\n{app_key}\n{next_key}")
    expected = signing_keys(app_key) + signing_keys(next_key)
    one_line = (app_key + next_key).replace("\n", "\\n")
    for given in (app_key + next_key, f"{old}, {new}", str(both), one_line, f"{old},{both}"):
        settings = Settings(_env_file=None, github_private_key=SecretStr(given))
        assert signing_keys(settings.private_key or "") == expected


def test_what_can_not_sign_is_named_in_one_line_that_shows_nothing_of_it(next_key: str) -> None:
    password = rsa.generate_private_key(public_exponent=65537, key_size=1024).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    damaged = next_key.splitlines()
    damaged[3] = damaged[3][::-1]
    bad = {
        "holds no PEM block": "nothing of the kind",
        "public key, not a private key": _public(next_key),
        "protected by a password": password.decode(),
        "is damaged": "\n".join(damaged),
        "another kind": _pem(ec.generate_private_key(ec.SECP256R1())),
        "block 2 of 2: this is a public key": next_key + _public(next_key),
    }
    for words, text in bad.items():
        with pytest.raises(UnusableKey, match=words) as raised:
            signing_keys(text)
        message = str(raised.value)
        assert "GAMMA_GITHUB_PRIVATE_KEY" in message
        assert "\n" not in message
        assert not any(line in message for line in text.splitlines() if len(line) > 20 and "KEY" not in line)


def test_a_key_without_its_first_line_is_not_repeated_as_a_path(next_key: str) -> None:
    settings = Settings(_env_file=None, github_private_key=SecretStr("".join(next_key.splitlines()[1:-1])))
    with pytest.raises(OSError, match="a text that is no path") as raised:
        settings.private_key  # noqa: B018
    assert next_key.splitlines()[1] not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can't be read: No such file or directory"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "public key, not a private key"),
        (b"\xff\xfe\x00binary", "it is no text file"),
    ],
)
def test_gamma_serve_ends_with_one_clear_line_if_the_key_is_unusable(
    run: Callable[..., Result], tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "app.pem"
    if content is not None:
        path.write_bytes(content)
    result = run("serve", GAMMA_PORT="0", GAMMA_GITHUB_APP_ID="1", GAMMA_GITHUB_PRIVATE_KEY=str(path))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("gamma: can't start: GAMMA_GITHUB_PRIVATE_KEY")
    assert words in result.stderr


# ── the webhook's secret ──


async def test_both_webhook_secrets_are_good_while_one_is_rotated_out(stage: Gamma) -> None:
    await stage.start(github_webhook_secret=SecretStr(f"{SECRET}, the-next-one"))
    assert (await stage.finished(await stage.push("models", TRAIN))).conclusion == "success"

    stage.app.hook.secret = "the-next-one"  # the owner changes it at GitHub
    assert (await stage.finished(await stage.push("models", {"a.txt": "1"}))).conclusion == "success"

    await stage.stop()
    await stage.start(github_webhook_secret=SecretStr("the-next-one"))
    stage.app.hook.secret = SECRET
    await stage.push("models", {"a.txt": "2"})
    await stage.github.wait_for_deliveries()
    assert stage.app.deliveries[-1].status_code == 401


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def _public(pem: str) -> str:
    key = serialization.load_pem_private_key(pem.encode(), None).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
