"""A comment becomes commands that can be carried out, and errors that can be explained. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gamma_bot.commands.arguments import read_arguments, read_line
from gamma_bot.commands.comment_lines import command_lines
from gamma_bot.commands.declaration import Command, Registry
from gamma_bot.commands.errors import CommandError, EmptyCommand, TooManyCommands, UnclosedQuote, UnknownCommand
from gamma_bot.commands.words import Unclosed, split_words

MOST_COMMANDS = 10


@dataclass(frozen=True)
class Understood:
    """A command and its arguments, an instance of what the command ``takes``."""

    command: Command
    args: Any


@dataclass(frozen=True)
class Parsed:
    """One command line of a comment.

    Attributes:
        index: from 0; the same whenever the same comment is read.
        line: the line's number in the comment, from 1.
        text: the line as written, from ``/gamma`` on, without blanks at its end.
    """

    index: int
    line: int
    text: str
    result: Understood | CommandError


def parse_comment(body: str, registry: Registry) -> tuple[Parsed, ...]:
    """The commands of a comment in their order; empty for a comment that is none of ours."""
    lines = command_lines(body)
    parsed = [
        Parsed(index, each.number, f"/gamma {each.rest}".rstrip(), parse_line(each.rest, registry))
        for index, each in enumerate(lines[:MOST_COMMANDS])
    ]
    if len(lines) > MOST_COMMANDS:
        first = lines[MOST_COMMANDS]
        error = TooManyCommands(MOST_COMMANDS, len(lines))
        parsed.append(Parsed(MOST_COMMANDS, first.number, f"/gamma {first.rest}".rstrip(), error))
    return tuple(parsed)


def parse_line(rest: str, registry: Registry) -> Understood | CommandError:
    """What stands after ``/gamma``."""
    name, said = (*rest.split(maxsplit=1), "", "")[:2]
    asked = registry.get(name)
    if asked is not None and (whole := next((each for each in asked.arguments if each.kind == "line"), None)):
        line = read_line(asked.name, asked.takes, whole, said.strip())
        return Understood(asked, line) if isinstance(line, asked.takes) else line
    words = split_words(rest)
    if isinstance(words, Unclosed):
        return UnclosedQuote(words.quote)
    if not words:
        return EmptyCommand()
    command = registry.get(words[0].text)
    if command is None:
        return UnknownCommand(words[0].text, registry.closest(words[0].text))
    args = read_arguments(command.name, command.takes, words[1:])
    return Understood(command, args) if isinstance(args, command.takes) else args
