"""How a command is declared: one decorator from which parser, help, documentation and permissions are derived."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar, get_type_hints

from gamma_bot.commands.arguments import Argument, arguments_of, closest
from gamma_bot.commands.roles import Role
from gamma_bot.reporting.markdown import Markdown

Context = TypeVar("Context")
Args = TypeVar("Args")


@dataclass(frozen=True)
class Reply:
    """What is answered. ``ok`` is false if the command was understood and allowed, but could not be done."""

    body: Markdown
    ok: bool = True


class Group(StrEnum):
    """What commands are sorted by in help and documentation."""

    LOOK = "Look"
    TRAIN = "Train and stop"
    DECIDE = "Decide"


@dataclass(frozen=True)
class Command:
    """A command and all that is known of it.

    Attributes:
        usage: how it is written, without ``/gamma``.
        summary: what it does, in one sentence.
        examples: lines that can be written as they are, without ``/gamma``.
        needs: the role that it takes.
        reads: it only shows something, so that anybody may give it where anybody can see the repository.
        costs: it only shows something, too, but each time it costs money: gamma.yml can open it to readers, where
            these were all invited.
        also: other names that people try; they only lead to "did you mean".
        takes: the dataclass of its arguments.
        handler: what carries it out.
        details: more sentences for its help.
    """

    name: str
    usage: str
    summary: str
    examples: Sequence[str]
    needs: Role
    reads: bool
    also: Sequence[str]
    takes: type[Any]
    handler: Callable[[Any, Any], Awaitable[Reply]]
    details: str = ""
    costs: bool = False

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """What can stand after its name."""
        return arguments_of(self.takes)

    @property
    def group(self) -> Group:
        """Where help lists it."""
        if self.reads or self.costs:
            return Group.LOOK
        return Group.TRAIN if self.needs <= Role.WRITE else Group.DECIDE


def command(
    name: str,
    *,
    usage: str,
    summary: str,
    examples: Sequence[str],
    needs: Role,
    reads: bool = False,
    also: Sequence[str] = (),
    details: str = "",
    costs: bool = False,
) -> Callable[[Callable[[Context, Args], Awaitable[Reply]]], Command]:
    """Declare the function below as a command. It is known to nobody until a ``Registry`` is made with it."""

    def declare(handler: Callable[[Context, Args], Awaitable[Reply]]) -> Command:
        takes = get_type_hints(handler)["args"]
        return Command(name, usage, summary, tuple(examples), needs, reads, tuple(also), takes, handler, details, costs)

    return declare


class Registry:
    """The commands that this Gamma knows, in the order in which help lists them."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self._commands: dict[str, Command] = {}
        for each in commands:
            if each.name in self._commands:
                raise ValueError(f"two commands are called {each.name}")
            self._commands[each.name] = each

    def __iter__(self) -> Iterator[Command]:
        return iter(self._commands.values())

    def get(self, name: str) -> Command | None:
        """The command of that name, in capitals or not."""
        return self._commands.get(name.lower())

    def closest(self, given: str) -> str | None:
        """The name of the command that was probably meant."""
        meant = {name: each.name for each in self for name in each.also} | {name: name for name in self._commands}
        found = given.lower() if given.lower() in meant else closest(given, list(meant))
        return meant[found] if found else None

    def in_group(self, group: Group) -> list[Command]:
        """The commands of a group, in order."""
        return [each for each in self if each.group is group]
