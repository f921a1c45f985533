"""Parser, help, documentation, did-you-mean and permissions say the same of every command."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

import gamma_bot.commands as package
from gamma_bot.commands.answer import Reaction
from gamma_bot.commands.declaration import Command, Registry
from gamma_bot.commands.docs import commands_page
from gamma_bot.commands.errors import NotAllowed, UnknownCommand, UnknownOption, explain
from gamma_bot.commands.parser import Understood, parse_comment, parse_line
from gamma_bot.commands.permissions import allowed, needed_role
from gamma_bot.commands.registry import build_registry
from gamma_bot.commands.roles import Role
from tests.command_desk import PULL, Conversation, MemoryDesk
from tests.command_examples import compare
from tests.job_facts import BETTER

REGISTRY = build_registry()
COMMANDS = list(REGISTRY)
ROOT = Path(__file__).parents[1]
every_command = pytest.mark.parametrize("command", COMMANDS, ids=[each.name for each in COMMANDS])

# What issue 3 says of each command, written a second time on purpose.
NEEDED = {
    "help": (Role.READ, Role.NONE),
    "status": (Role.READ, Role.NONE),
    "metrics": (Role.READ, Role.NONE),
    "logs": (Role.READ, Role.NONE),
    "artifacts": (Role.READ, Role.NONE),
    "config": (Role.READ, Role.NONE),
    "simulate": (Role.READ, Role.NONE),
    "cost": (Role.READ, Role.NONE),
    "summary": (Role.WRITE, Role.WRITE),
    "ask": (Role.WRITE, Role.WRITE),
    "train": (Role.WRITE, Role.WRITE),
    "retry": (Role.WRITE, Role.WRITE),
    "stop": (Role.WRITE, Role.WRITE),
    "skip": (Role.WRITE, Role.WRITE),
    "approve": (Role.MAINTAIN, Role.MAINTAIN),
    "promote": (Role.MAINTAIN, Role.MAINTAIN),
}


def test_the_documentation_is_made_from_the_commands() -> None:
    assert (ROOT / "docs/commands.md").read_text() == commands_page(REGISTRY), (
        "Run `python -m gamma_bot.commands.docs > docs/commands.md`."
    )


def test_the_page_is_what_the_program_prints() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "gamma_bot.commands.docs"], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert printed.stdout == commands_page(REGISTRY)


def test_importing_a_command_tells_no_registry() -> None:
    assert compare.name not in [each.name for each in build_registry()]
    assert REGISTRY.get("compare") is None


def test_two_commands_can_t_have_the_same_name() -> None:
    with pytest.raises(ValueError, match="compare"):
        Registry([compare, compare])


async def test_a_later_command_is_one_file() -> None:
    registry = Registry([*COMMANDS, compare])
    (parsed,) = parse_comment("/gamma compare j1 by=0.1", registry)

    assert isinstance(parsed.result, Understood)
    assert "### `compare`" in commands_page(registry)
    assert explain(UnknownCommand("comapre", registry.closest("comapre"))).count("/gamma compare") == 1


@every_command
def test_every_command_has_a_file_of_its_own(command: Command) -> None:
    file = Path(next(iter(package.__path__))) / f"{command.name}.py"

    assert command.handler.__module__ == f"gamma_bot.commands.{command.name}"
    assert f'"""``/gamma {command.name}``' in file.read_text()


@every_command
def test_every_example_is_understood(command: Command) -> None:
    assert command.examples
    for example in command.examples:
        (parsed,) = parse_comment(f"/gamma {example}", REGISTRY)
        assert isinstance(parsed.result, Understood), (example, parsed.result)
        assert parsed.result.command is command


@every_command
def test_usage_names_exactly_the_arguments(command: Command) -> None:
    expected = [
        each.written if each.needed and each.kind != "free" else f"[{each.written}]" for each in command.arguments
    ]

    assert command.usage == " ".join([command.name, *expected])


@every_command
def test_every_name_and_option_is_found_when_mistyped(command: Command) -> None:
    for wrong in {f"{command.name}x", command.name[:-1], command.name[1] + command.name[0] + command.name[2:]}:
        assert parse_line(wrong, REGISTRY) == UnknownCommand(wrong, command.name)
    for other in command.also:
        assert parse_line(other, REGISTRY) == UnknownCommand(other, command.name)
    for option in (each for each in command.arguments if each.kind == "option"):
        value = "true" if option.placeholder == "true" else "ml.g5.xlarge"
        wrong = f"{option.shown[:-1]}={value}"
        assert parse_line(f"{command.name} {wrong}", REGISTRY) == UnknownOption(
            command.name, option.shown[:-1], option.shown
        )


def test_no_other_name_means_two_things() -> None:
    names = [name for each in COMMANDS for name in (each.name, *each.also)]

    assert len(names) == len(set(names))


@every_command
@pytest.mark.parametrize(("role", "private"), list(product(Role, (True, False))))
async def test_a_command_asks_for_its_role_and_no_more(command: Command, role: Role, private: bool) -> None:
    needed = NEEDED[command.name][0 if private else 1]
    talk = Conversation(MemoryDesk([BETTER], log=["done"]), pull=replace(PULL, private=private))

    (answer,) = await talk.say(f"/gamma {command.examples[0]}", role)

    if role >= needed:
        assert allowed(command, role, private, {}) is None
        needs_agent = command.name in ("ask", "summary")  # there is none here
        done = Reaction.NOT_UNDERSTOOD if needs_agent else Reaction.DONE
        assert answer.reaction is done, answer.body
    else:
        assert allowed(command, role, private, {}) == NotAllowed(command.name, needed, role)
        assert answer.reaction is Reaction.NOT_ALLOWED
        assert f"**{needed.label}**" in answer.body
        assert role.label in answer.body
        assert (talk.desk.held, talk.desk.answered) == ([BETTER], {})


@every_command
async def test_help_tells_usage_examples_and_role(command: Command) -> None:
    talk = Conversation(overrides={command.name: Role.ADMIN})
    one = await talk.read(f"/gamma help {command.name}")
    every = await talk.read("/gamma help")
    page = commands_page(REGISTRY)

    for said in (one, page):
        assert f"`/gamma {command.usage}`: {command.summary}" in said
        assert all(f"`/gamma {example}`" in said for example in command.examples)
        assert all(f"| `{each.written}` |" in said for each in command.arguments)
    assert one.endswith("Role needed: admin")
    assert re.search(rf"^\| `/gamma {re.escape(command.usage)}` \|.*\| admin \|$", every, re.MULTILINE)
    assert f"[`{command.name}`](#{command.name})" in page


@pytest.mark.parametrize(
    ("name", "override", "private", "needed"),
    [
        ("train", Role.MAINTAIN, False, Role.MAINTAIN),
        ("train", Role.TRIAGE, False, Role.TRIAGE),
        ("train", Role.READ, False, Role.TRIAGE),
        ("train", Role.NONE, True, Role.TRIAGE),
        ("approve", Role.READ, True, Role.WRITE),
        ("approve", Role.ADMIN, True, Role.ADMIN),
        ("ask", Role.READ, True, Role.READ),
        ("ask", Role.READ, False, Role.TRIAGE),
        ("ask", Role.NONE, True, Role.READ),
        ("logs", Role.WRITE, False, Role.WRITE),
        ("logs", Role.NONE, True, Role.READ),
        ("logs", Role.NONE, False, Role.NONE),
    ],
)
def test_gamma_yml_may_ask_for_another_role_within_bounds(
    name: str, override: Role, private: bool, needed: Role
) -> None:
    command = REGISTRY.get(name)
    assert command is not None

    assert needed_role(command, private, {name: override, "other": Role.ADMIN}) is needed


@pytest.mark.parametrize(
    ("name", "permission", "role"),
    [
        ("admin", "admin", Role.ADMIN),
        ("maintain", "write", Role.MAINTAIN),
        ("write", "write", Role.WRITE),
        ("triage", "read", Role.TRIAGE),
        ("read", "read", Role.READ),
        ("none", "none", Role.NONE),
        ("Release engineers", "write", Role.WRITE),
        ("Auditors", "read", Role.READ),
        ("", "admin", Role.ADMIN),
        ("", "", Role.NONE),
        ("owner", "everything", Role.NONE),
    ],
)
def test_a_role_is_read_from_github_s_answer(name: str, permission: str, role: Role) -> None:
    assert Role.from_role_name(name, permission) is role
