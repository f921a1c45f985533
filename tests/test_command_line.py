"""What a person gets in a terminal: help, exit codes, words that say what to do, and never a secret or a traceback."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import click
import pytest
from click.testing import Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gamma_bot import __version__
from gamma_bot.cli import gamma
from gamma_bot.doctor import NEEDED_EVENTS, NEEDED_PERMISSIONS
from gamma_bot.sandbox.model import App
from gamma_bot.sandbox.server import SandboxGitHub
from gamma_bot.store.database import Database
from gamma_bot.store.inbox import Delivery, Inbox
from tests.harness import get

Run = Callable[..., Result]


def commands(
    group: click.Group = gamma, before: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands with the words that call them."""
    for name, found in group.commands.items():
        yield (*before, name), found
        if isinstance(found, click.Group):
            yield from commands(found, (*before, name))


COMMANDS = dict(commands())


# ── help ──


def test_help_names_every_command_with_a_summary(run: Run) -> None:
    shown = run("--help")

    assert shown.exit_code == 0
    for name, command in gamma.commands.items():
        (line,) = [line for line in shown.output.splitlines() if line.startswith(f"  {name} ")]
        assert (command.help or "")[:12] in line
    assert run("-h").output == shown.output
    assert run("--version").output == f"gamma {__version__}\n"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_that_begins_with_what_it_does(run: Run, words: tuple[str, ...]) -> None:
    shown = run(*words, "--help")

    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: gamma {' '.join(words)}")
    assert (COMMANDS[words].help or "").splitlines()[0][:30] in shown.output
    assert max(map(len, shown.output.splitlines())) <= 100


@pytest.mark.parametrize("words", [(name,) for name in gamma.commands], ids=" ".join)
def test_the_examples_in_a_commands_help_are_commands(run: Run, words: tuple[str, ...]) -> None:
    _, heading, examples = run(*words, "--help").output.partition("Examples:\n")

    assert heading
    assert examples.strip()
    for line in filter(None, map(str.strip, examples.splitlines())):
        typed = line.split(" > ")[0].split()
        arguments = typed[typed.index("gamma") + 1 :]
        assert all("GAMMA_" in word for word in typed[: typed.index("gamma")])
        longest = max((name for name in COMMANDS if name == tuple(arguments[: len(name)])), key=len)
        options = [name for parameter in COMMANDS[longest].params for name in parameter.opts]
        assert {word for word in arguments if word.startswith("-")} <= set(options), line


def test_a_word_that_is_no_command_is_answered_with_exit_code_2(run: Run) -> None:
    wrong = run("tarin")

    assert wrong.exit_code == 2
    assert "No such command 'tarin'" in wrong.output


# ── validate and init ──


def test_validate_says_that_all_is_well(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gamma.yml").write_text("version: 1\ntrain: {command: python train.py}\n")
    (tmp_path / "train.py").write_text("")

    well = run("validate")

    assert (well.exit_code, well.output) == (0, "gamma.yml: no problems found.\n")
    assert run("validate", str(tmp_path / "gamma.yml")).exit_code == 0


def test_validate_shows_each_mistake_at_its_line_and_ends_with_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gamma.yml").write_text("version: 1\ntrain:\n  comand: python train.py\n  timeout: soon\n")

    wrong = run("validate")

    assert wrong.exit_code == 1
    assert "gamma.yml:3:3: error: " in wrong.output
    assert "gamma.yml:4:" in wrong.output
    assert "command" in wrong.output
    assert wrong.output.endswith("problems found.\n")


def test_validate_of_a_folder_where_a_push_would_train_nothing_says_what_to_do(run: Run) -> None:
    wrong = run("validate")

    assert wrong.exit_code == 1
    assert "gamma init" in wrong.output
    assert "1 problem found." in wrong.output


def test_validate_of_a_path_that_is_not_there_is_a_wrong_command_line(run: Run) -> None:
    wrong = run("validate", "nowhere/gamma.yml")

    assert wrong.exit_code == 2
    assert "'nowhere/gamma.yml' does not exist" in wrong.output


def test_init_writes_a_repository_that_validates_and_says_how_to_go_on(run: Run, tmp_path: Path) -> None:
    written = run("init", "walker")

    assert written.exit_code == 0
    assert "wrote gamma.yml (" in written.output
    assert "git push origin HEAD:models/main" in written.output
    assert run("validate", "walker").exit_code == 0


def test_init_keeps_what_is_there_unless_it_is_forced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("mine")

    refused = run("init")

    assert refused.exit_code == 1
    assert "train.py" in refused.output
    assert "--force" in refused.output
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]
    assert run("init", "--force").exit_code == 0
    assert (tmp_path / "train.py").read_text() != "mine"


def test_init_for_a_script_of_ones_own_writes_a_gamma_yml_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print(1)")

    written = run("init", "--config-only")

    assert written.exit_code == 0
    assert "name your script in gamma.yml" in written.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gamma.yml", "train.py"]
    assert run("validate").exit_code == 0


def test_init_says_git_init_only_where_it_is_needed(run: Run, tmp_path: Path) -> None:
    assert "git init" in run("init", "first").output
    (tmp_path / ".git").mkdir()
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "README.md").write_text("mine")

    inside = run("init", "second").output

    assert "git init" not in inside
    assert "kept README.md" in inside


# ── deliveries ──


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that holds four deliveries: one waits, one is done, one is parked, one is to be tried again."""

    async def fill() -> None:
        database = Database(f"sqlite:///{tmp_path / 'data' / 'gamma.db'}")
        database.create_tables()
        inbox = Inbox(database)
        for guid, event, body in (
            ("aa11", "ping", b'{"zen": "Keep it logically awesome \\u2603"}'),
            ("aa22", "push", b'{"ref": "refs/heads/models"}'),
            ("bb33", "push", b"\xff no JSON"),
            ("cc44", "issue_comment", b"{}"),
        ):
            await inbox.offer(Delivery(guid, event, body, 1_700_000_000.0))
        rows = {row.guid: row.seq for row in await inbox.waiting()}
        await inbox.done({rows["aa22"]: "job j0123"})
        await inbox.failed(rows["bb33"], "KeyError: 'repository'", again_in_seconds=None)
        await inbox.failed(rows["cc44"], "TimeoutError: no answer", again_in_seconds=10)
        await inbox.failed(rows["cc44"], "ValueError: on\ntwo lines", again_in_seconds=3600)
        inbox.close()
        database.close()

    asyncio.run(fill())
    return tmp_path / "data"


def test_deliveries_are_listed_newest_first_with_what_became_of_them(run: Run, data: Path) -> None:
    listed = run("deliveries", "list", GAMMA_DATA_DIR=str(data))

    assert listed.exit_code == 0
    again, parked, done, stored = listed.output.splitlines()
    assert re.search(
        r"cc44 +issue_comment +stored +after 2 failed tries, next at [-\d]+ [:\d]+: ValueError: on two", again
    )
    assert parked.split(maxsplit=5)[2:] == ["bb33", "push", "parked", "after 1 failed try: KeyError: 'repository'"]
    assert done.split()[2:] == ["aa22", "push", "done", "job", "j0123"]
    assert stored.split()[2:] == ["aa11", "ping", "stored"]


def test_deliveries_can_be_narrowed_down(run: Run, data: Path, tmp_path: Path) -> None:
    parked = run("deliveries", "list", "--state", "parked", GAMMA_DATA_DIR=str(data)).output
    newest = run("deliveries", "list", "--limit", "1", GAMMA_DATA_DIR=str(data)).output

    assert [line.split()[2] for line in parked.splitlines()] == ["bb33"]
    assert [line.split()[2] for line in newest.splitlines()] == ["cc44"]
    assert run("deliveries", "list", GAMMA_DATA_DIR=str(tmp_path / "new")).output == "No deliveries.\n"
    assert run("deliveries", "list", "--state", "lost", GAMMA_DATA_DIR=str(data)).exit_code == 2


def test_a_delivery_is_shown_with_its_payload_by_the_beginning_of_its_guid(run: Run, data: Path) -> None:
    shown = run("deliveries", "show", "aa1", GAMMA_DATA_DIR=str(data))

    assert shown.exit_code == 0
    head, _, payload = shown.output.partition("\n\n")
    assert "delivery  aa11" in head
    assert "state     stored" in head
    assert json.loads(payload) == {"zen": "Keep it logically awesome ☃"}
    parked = run("deliveries", "show", "bb33", GAMMA_DATA_DIR=str(data)).output
    assert "state     parked after 1 failed try\nresult    KeyError: 'repository'\n" in parked
    assert "no JSON" in parked
    again = run("deliveries", "show", "cc44", GAMMA_DATA_DIR=str(data)).output
    assert re.search(r"state     stored after 2 failed tries, next at [-\d]+ [:\d]+\nresult    ValueError: on", again)


@pytest.mark.parametrize("command", ["show", "replay"])
@pytest.mark.parametrize("guid", ["aa", "zz", "%"])
def test_a_guid_that_names_no_single_delivery_is_refused(run: Run, data: Path, command: str, guid: str) -> None:
    wrong = run("deliveries", command, guid, GAMMA_DATA_DIR=str(data))

    assert wrong.exit_code == 1
    assert f"begins with '{guid}'" in wrong.output
    assert "gamma deliveries list" in wrong.output


def test_a_parked_delivery_is_replayed(run: Run, data: Path) -> None:
    replayed = run("deliveries", "replay", "bb", GAMMA_DATA_DIR=str(data))

    assert replayed.exit_code == 0
    assert "bb33 waits to be handled again" in replayed.output
    assert (
        run("deliveries", "list", "--state", "parked", GAMMA_DATA_DIR=str(data)).output == "No deliveries are parked.\n"
    )
    assert "bb33" in run("deliveries", "list", "--state", "stored", GAMMA_DATA_DIR=str(data)).output


def test_a_store_that_is_no_database_is_told_in_a_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gamma.db").write_text("not a database, but long enough to look like one" * 10)

    wrong = run("deliveries", "list", GAMMA_DATA_DIR=str(tmp_path))

    assert wrong.exit_code == 1
    assert wrong.output.startswith("Error: the store can't be read: ")


@pytest.mark.parametrize("value", ["nonsense", "mysql://localhost/gamma"])
def test_a_database_that_can_not_be_one_is_told_in_a_line(run: Run, value: str) -> None:
    for command in (["deliveries", "list"], ["serve"]):
        wrong = run(*command, GAMMA_DATABASE_URL=value, GAMMA_PORT="0")

        assert wrong.exit_code == 1
        (line,) = wrong.output.splitlines()
        assert "GAMMA_DATABASE_URL" in line


def test_a_data_directory_that_can_not_be_one_is_told_in_a_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    wrong = run("deliveries", "list", GAMMA_DATA_DIR=str(tmp_path / "file" / "data"))

    assert wrong.exit_code == 1
    (line,) = wrong.output.splitlines()
    assert "file/data" in line


# ── the environment ──


@pytest.mark.parametrize("command", [("serve",), ("doctor",), ("deliveries", "list")], ids=" ".join)
@pytest.mark.parametrize(
    ("name", "value"), [("GAMMA_PORT", "http"), ("GAMMA_PORT", "70000"), ("GAMMA_LOCAL_JOBS", "0")]
)
def test_a_value_that_can_not_be_used_is_named_by_its_variable(
    run: Run, command: tuple[str, ...], name: str, value: str
) -> None:
    wrong = run(*command, **{name: value})

    assert wrong.exit_code == 2
    assert f"{name}: " in wrong.output
    assert wrong.output.count("GAMMA_") == 1


def test_a_dot_env_file_counts_and_a_variable_wins_over_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GAMMA_PORT=nonsense\n")

    assert "GAMMA_PORT: " in run("deliveries", "list").output
    assert run("deliveries", "list", GAMMA_PORT="8080").exit_code == 0


# ── doctor ──


@pytest.fixture
async def github(tmp_path: Path) -> AsyncIterator[SandboxGitHub]:
    async with SandboxGitHub(tmp_path / "github") as sandbox:
        yield sandbox


@pytest.fixture
def app(github: SandboxGitHub, app_key: str) -> App:
    """An App with what ``app.yml`` asks for."""
    return github.create_app("Gamma", NEEDED_PERMISSIONS, NEEDED_EVENTS, private_key_pem=app_key)


@pytest.fixture
def examine(run: Run, github: SandboxGitHub, app: App, mlflow_uri: str) -> Any:
    """``gamma doctor`` for this App: its exit code, and its findings by name with what to do."""

    async def examined(**changes: str) -> tuple[Result, dict[str, tuple[str, str]]]:
        environment = {
            "GAMMA_GITHUB_API_URL": github.api_url,
            "GAMMA_GITHUB_APP_ID": str(app.id),
            "GAMMA_GITHUB_PRIVATE_KEY": app.private_key_pem,
            "GAMMA_GITHUB_WEBHOOK_SECRET": "a-webhook-secret",
            "GAMMA_MLFLOW_TRACKING_URI": mlflow_uri,
            **changes,
        }
        result = await asyncio.to_thread(run, "doctor", **environment)
        assert "a-webhook-secret" not in result.output
        assert "PRIVATE KEY-----" not in result.output
        return result, findings(result.output)

    return examined


def findings(output: str) -> dict[str, tuple[str, str]]:
    """What doctor found, by name: the mark, and the words with what to do."""
    found: dict[str, tuple[str, str]] = {}
    name = ""
    for line in output.splitlines():
        if line.startswith(("  ok   ", "  BAD  ")):
            name = line[7:22].strip()
            found[name] = (line[2:5].strip(), line[23:])
        elif line.strip().startswith("→"):
            found[name] = (found[name][0], f"{found[name][1]} {line.strip()}")
    return found


def test_doctor_without_a_configuration_says_what_to_set(run: Run, mlflow_uri: str) -> None:
    result = run("doctor", GAMMA_MLFLOW_TRACKING_URI=mlflow_uri)

    assert result.exit_code == 1
    found = findings(result.output)
    assert found["GitHub App"][0] == found["webhook secret"][0] == "BAD"
    assert "GAMMA_GITHUB_WEBHOOK_SECRET" in found["webhook secret"][1]
    assert "GAMMA_GITHUB_APP_ID" in found["GitHub App"][1]
    assert "GAMMA_GITHUB_PRIVATE_KEY" in found["GitHub App"][1]
    assert result.output.endswith("Gamma can't do its work until this is mended.\n")


async def test_doctor_is_content_where_all_is_well(examine: Any, app: App) -> None:
    result, found = await examine()

    assert result.exit_code == 0, result.output
    assert {mark for mark, _ in found.values()} == {"ok"}
    assert app.slug in found["GitHub App"][1]
    assert result.output.endswith("All is well.\n")


async def test_doctor_knows_the_key_of_another_app(examine: Any) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )

    result, found = await examine(GAMMA_GITHUB_PRIVATE_KEY=other.decode())

    assert result.exit_code == 1
    assert found["GitHub App"][0] == "BAD"
    assert "401" in found["GitHub App"][1]
    assert "belong together" in found["GitHub App"][1]


@pytest.mark.parametrize(
    ("granted", "missing"), [({"checks": "read"}, "checks: write"), ({"contents": ""}, "contents: read")]
)
async def test_doctor_names_the_permission_that_is_missing(
    examine: Any, app: App, granted: dict[str, str], missing: str
) -> None:
    kept = {name: level for name, level in (NEEDED_PERMISSIONS | granted).items() if level}
    app.permissions = replace(app, permissions=kept).permissions

    result, found = await examine()

    assert result.exit_code == 1
    assert found["permissions"][0] == "BAD"
    assert f"missing {missing} →" in found["permissions"][1]
    assert [name for name, (mark, _) in found.items() if mark == "BAD"] == ["permissions"]


async def test_doctor_names_the_event_that_never_comes(examine: Any, app: App) -> None:
    app.events = [event for event in NEEDED_EVENTS if event != "push"]

    result, found = await examine()

    assert result.exit_code == 1
    assert "not subscribed to push" in found["events"][1]


async def test_doctor_finds_each_place_that_does_not_answer(examine: Any, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "file").write_text("")

    result, found = await examine(
        GAMMA_GITHUB_API_URL=nobody, GAMMA_MLFLOW_TRACKING_URI=nobody, GAMMA_DATA_DIR=str(tmp_path / "file" / "data")
    )

    assert result.exit_code == 1
    bad = {name: words for name, (mark, words) in found.items() if mark == "BAD"}
    assert set(bad) == {"data directory", "store", "MLflow", "GitHub App"}
    assert "GAMMA_DATA_DIR" in bad["data directory"]
    assert "GAMMA_MLFLOW_TRACKING_URI" in bad["MLflow"]
    assert "GAMMA_GITHUB_API_URL" in bad["GitHub App"]


# ── serve ──


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_serve_on_a_port_that_is_taken_says_so(run: Run, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        wrong = run("serve", GAMMA_PORT=port, GAMMA_DATA_DIR=str(tmp_path / "data"))

    assert wrong.exit_code == 1
    (line,) = wrong.output.splitlines()
    assert line.startswith("gamma: can't start: ")
    assert port in line
    assert "address already in use" in line


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("nowhere/app.pem", "nowhere/app.pem"),
        ("-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0LWJ5dGVz\n-----END RSA PRIVATE KEY-----", "damaged"),
        ("-----BEGIN RSA PRIVATE KEY-----", "-----END"),
    ],
    ids=["no such file", "damaged", "half"],
)
def test_serve_with_a_key_that_can_not_be_used_says_so_in_a_line(
    run: Run, tmp_path: Path, key: str, words: str
) -> None:
    wrong = run(
        *("serve",),
        GAMMA_GITHUB_APP_ID="7",
        GAMMA_GITHUB_PRIVATE_KEY=key,
        GAMMA_PORT="0",
        GAMMA_DATA_DIR=str(tmp_path / "data"),
    )

    assert wrong.exit_code == 1
    (line,) = wrong.output.splitlines()
    assert line.startswith("gamma: can't start: ")
    assert "GAMMA_GITHUB_PRIVATE_KEY" in line
    assert words in line
    assert "c2VjcmV0" not in line


def test_serve_without_a_place_for_its_data_says_so_in_a_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    wrong = run("serve", GAMMA_PORT="0", GAMMA_DATA_DIR=str(tmp_path / "file" / "data"))

    assert wrong.exit_code == 1
    (line,) = wrong.output.splitlines()
    assert str(tmp_path / "file") in line


async def test_serve_reports_what_is_on_answers_and_ends_politely(tmp_path: Path, app_key: str) -> None:
    port = free_port()
    secrets = {
        "GAMMA_GITHUB_PRIVATE_KEY": app_key,
        "GAMMA_GITHUB_CLIENT_SECRET": "secret-of-the-client",
        "GAMMA_ANTHROPIC_API_KEY": "secret-of-claude",
        "GAMMA_MLFLOW_TRACKING_URI": "http://mlflow:secret-of-mlflow@127.0.0.1:9",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("gamma"), "serve"],
            env={"PATH": os.environ["PATH"], "GAMMA_PORT": str(port), "GAMMA_GITHUB_APP_ID": "7", **secrets},
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        status, ready = await answered(f"{address}/readyz", process)
        alive, _ = await get(f"{address}/healthz")
        async with aiohttp.ClientSession() as session, session.post(f"{address}/webhook", data=b"{}") as refused:
            webhook = (refused.status, await refused.text())
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        code = await asyncio.to_thread(process.wait, 20)
    finally:
        process.kill()
        process.wait()

    report = (tmp_path / "log").read_text()
    assert (status, alive, json.loads(ready)["status"]) == (200, 200, "ok")
    assert webhook[0] == 503
    assert "set GAMMA_GITHUB_WEBHOOK_SECRET" in webhook[1]
    assert code == 0
    assert time.monotonic() - asked < 5, "nothing is waited for at the end"
    assert f"listens on {address}" in report
    assert "off  webhooks" in report
    assert "on   GitHub App" in report
    assert "Stopping" in report
    assert "Traceback" not in report
    for secret in ("secret-of-", app_key.splitlines()[1]):
        assert secret not in report


async def answered(url: str, process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """The first answer of a server that starts."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return await get(url)
        except OSError:
            assert process.poll() is None, "the process ended"
            assert time.monotonic() < deadline, f"no answer from {url} within 30 s"
            await asyncio.sleep(0.05)
