"""What YAML's parser complains about, in words for people who don't know its grammar."""

from __future__ import annotations

import re

import yaml
from yaml.reader import ReaderError

from gamma_bot.config.errors import Problem

_QUOTES_HINT = 'Put the text in quotes: "…".'


def syntax_problem(error: Exception, text: str) -> Problem:
    """The parser's error as a problem at its line and column."""
    if isinstance(error, ReaderError):
        return _at(
            text,
            error.position,
            f"there is a character that YAML does not allow (U+{_code_point(error):04X})",
            "Delete it; it may be invisible in your editor.",
        )
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return _at(text, 0, "this is not valid YAML: the code of a character in it is out of range", "")
    index: int = min(error.problem_mark.index, len(text))
    opened: int | None = error.context_mark.index if error.context_mark is not None else None
    message, hint, place = _words(error, text, index, opened)
    return _at(text, place, message, hint)


def _words(error: yaml.MarkedYAMLError, text: str, index: int, opened: int | None) -> tuple[str, str, int]:
    """Message, hint and the place to show."""
    problem, context = error.problem or "", error.context or ""
    tab = _tab_in_indentation(text, index)
    if tab is not None:
        return "this line is indented with a tab", "YAML allows only spaces there: replace the tab by two spaces.", tab
    if "mapping values are not allowed" in problem:
        return (
            "there is a `:` where no key can end",
            "Is the line above it without a `:`, or this one indented too far? "
            f"Or does its text have a colon in it? {_QUOTES_HINT}",
            index,
        )
    if "could not find expected ':'" in problem:
        begin = opened if opened is not None else index
        return (
            "this line has no `:` between a key and a value",
            "Write `key: value`, with a blank after the colon.",
            begin,
        )
    if "quoted scalar" in context and opened is not None:
        if "unexpected end" in problem or "document separator" in problem:
            return "the quote that opens here is never closed", "Add the closing quote.", opened
        return f"the quoted text can't be read: {problem}", r"In double quotes, write a backslash as \\.", index
    if "expected ',' or" in problem and opened is not None:
        bracket = "}" if "}" in problem else "]"
        return (
            "the bracket that opens here is not closed",
            f"Add the `{bracket}`, or a comma between two values.",
            opened,
        )
    if "<stream end>" in problem:
        return "the file ends in the middle of something", "Close the brackets and quotes that are open.", index
    if "cannot start any token" in problem:
        found = text[index : index + 1]
        return (
            f"a value can't begin with `{found}`" if found != "`" else "a value can't begin with a backquote",
            (_QUOTES_HINT),
            index,
        )
    if "block collection" in context or "block mapping" in context or "block end" in problem:
        return (
            "this line does not fit the lines above it",
            "Lines of the same list or mapping begin in the same column.",
            index,
        )
    if "undefined tag handle" in problem or "tag" in context:
        return "YAML tags (`!…`) are not allowed", "Put text that begins with ! in quotes.", index
    return f"this is not valid YAML: {problem or context or 'it ends too early'}", "", index


def _tab_in_indentation(text: str, index: int) -> int | None:
    begin = text.rfind("\n", 0, index) + 1
    indentation = re.compile(r"[ \t]*").match(text, begin)
    assert indentation is not None  # it matches nothing too
    tab = indentation[0].find("\t")
    return begin + tab if tab >= 0 else None


def _code_point(error: ReaderError) -> int:
    character: int | str | bytes = error.character
    return character if isinstance(character, int) else ord(character)


def _at(text: str, index: int, message: str, hint: str) -> Problem:
    begin_of_line = text.rfind("\n", 0, index) + 1
    line, column = text.count("\n", 0, index) + 1, index - begin_of_line + 1
    return Problem(message, hint, line=line, column=column, end_line=line, end_column=column)
