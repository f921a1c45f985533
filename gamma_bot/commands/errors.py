"""What can be wrong with a command, as values, and the one place where they become words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from gamma_bot.commands.roles import Role
from gamma_bot.reporting.markdown import Markdown, code, prose, sentence
from gamma_bot.reporting.numbers import count


@dataclass(frozen=True)
class EmptyCommand:
    """``/gamma`` and nothing after it."""


@dataclass(frozen=True)
class UnknownCommand:
    """There is no such command; ``closest`` is the one that was probably meant."""

    given: str
    closest: str | None


@dataclass(frozen=True)
class BadArgument:
    """A word or a value is not what it must be.

    Attributes:
        name: the argument as the usage line calls it; empty for a word that belongs to none.
        why: a clause that says what it must be instead; code stands between backticks.
    """

    command: str
    name: str
    given: str
    why: str


@dataclass(frozen=True)
class MissingArgument:
    """The command needs a word that is not there."""

    command: str
    name: str


@dataclass(frozen=True)
class UnknownOption:
    """The command takes no such ``name=value``."""

    command: str
    given: str
    closest: str | None


@dataclass(frozen=True)
class UnclosedQuote:
    """A quote was opened and not closed before the end of the line."""

    quote: str


@dataclass(frozen=True)
class TooManyCommands:
    """The comment has more commands than one comment may have."""

    limit: int
    given: int


@dataclass(frozen=True)
class NotAllowed:
    """The person's role is not enough."""

    command: str
    needed: Role
    actual: Role


CommandError = (
    EmptyCommand
    | UnknownCommand
    | BadArgument
    | MissingArgument
    | UnknownOption
    | UnclosedQuote
    | TooManyCommands
    | NotAllowed
)


def explain(error: CommandError) -> Markdown:
    """What is wrong, what was probably meant, and where help is."""
    match error:
        case EmptyCommand():
            return Markdown(f"{code('/gamma')} needs the name of a command after it. {_HELP}")
        case UnknownCommand(given, closest):
            meant = f" Did you mean {code(f'/gamma {closest}')}?" if closest else ""
            return Markdown(f"I know no command {code(given, 60)}.{meant} {_HELP}")
        case BadArgument(command, name, given, why):
            typed, called = code(f"/gamma {command}"), code(given, 60)
            said = f"{code(name)} of {typed} can't be {called}" if name else f"{typed} can't take {called}"
            return Markdown(f"{said}: {_clause(why)} {_help_for(command)}")
        case MissingArgument(command, name):
            return Markdown(f"{code(f'/gamma {command}')} needs {code(name)} after it. {_help_for(command)}")
        case UnknownOption(command, given, closest):
            meant = f" Did you mean {code(f'{closest}=…')}?" if closest else ""
            return Markdown(f"{code(f'/gamma {command}')} has no option {code(given, 60)}.{meant} {_help_for(command)}")
        case UnclosedQuote(quote):
            return Markdown(
                f"The quote {code(quote)} is opened and never closed. Add the closing one, or put a backslash before it"
                f" to mean the sign itself. {_HELP}"
            )
        case TooManyCommands(limit, given):
            rest = given - limit
            left_out = "one was" if rest == 1 else f"{rest:,} were"
            return Markdown(
                f"A comment may hold {count(limit, 'command')} and this one has {given:,}: the last {left_out} left"
                " out. Write what is missing in another comment."
            )
        case NotAllowed(command, needed, actual):
            has = "no role here" if actual is Role.NONE else f"the role **{actual.label}**"
            return Markdown(
                f"{code(f'/gamma {command}')} needs the role **{needed.label}** in this repository, and you have {has}."
                f" Ask somebody who has it to write the command, or an admin to give it to you."
            )
        case _:
            assert_never(error)


_HELP = Markdown("`/gamma help` lists all commands.")


def _help_for(command: str) -> Markdown:
    return Markdown(f"{code(f'/gamma help {command}')} shows how it is written.")


def _clause(why: str) -> Markdown:
    return prose(sentence(why))
