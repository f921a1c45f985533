"""What a command takes, declared once with its words for people, and read from what somebody wrote.

A command's arguments are a frozen dataclass. Its fields are made by ``word`` (told by their place), ``option``
(``name=value``), ``free_options`` (all other ``name=value``) and ``line`` (all that follows the command, as it is);
usage, help and checks are derived from them.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal, TypeVar

from gamma_bot.commands.errors import BadArgument, CommandError, MissingArgument, UnknownOption
from gamma_bot.commands.words import Word

T = TypeVar("T")


class _Needed(Enum):
    NEEDED = "needed"


NEEDED: Final = _Needed.NEEDED


@dataclass(frozen=True)
class Unfit:
    """A text is not what it must be.

    Attributes:
        why: a clause like "it must be a whole number".
        given: the part that is wrong, if it is not all of it.
    """

    why: str
    given: str = ""


@dataclass(frozen=True)
class Argument:
    """One argument of a command.

    Attributes:
        field_name: the dataclass field it goes into.
        shown: as usage and errors name it: ``N``, ``instance``, ``name=value``.
        placeholder: what stands after the ``=`` of an option in the usage.
        about: what it is, in one sentence.
        reads: text to value.
    """

    field_name: str
    kind: Literal["word", "option", "free", "line"]
    shown: str
    placeholder: str
    about: str
    needed: bool
    reads: Callable[[Any], Any]

    @property
    def written(self) -> str:
        """As it stands in a usage line, without the brackets of what may be left out."""
        match self.kind:
            case "word" | "line":
                return self.shown
            case "option":
                return f"{self.shown}={self.placeholder}"
            case "free":
                return "name=value …"


def word(shown: str, about: str, reads: Callable[[str], T | Unfit], default: T | _Needed = NEEDED) -> T:
    """A word that is told by its place."""
    made: T = _field("word", shown, "", about, reads, default)
    return made


def option(shown: str, placeholder: str, about: str, reads: Callable[[str], T | Unfit], default: T) -> T:
    """``name=value`` with a name that is given."""
    made: T = _field("option", shown, placeholder, about, reads, default)
    return made


def free_options(about: str, reads: Callable[[Sequence[tuple[str, Word]]], T | Unfit]) -> T:
    """All ``name=value`` that are no option of the command, read together; also if there are none."""
    made: T = _field("free", "name=value", "", about, reads, NEEDED)
    return made


def line(shown: str, about: str, reads: Callable[[str], T | Unfit]) -> T:
    """Everything after the command, as it is written: an apostrophe in there opens no quote."""
    made: T = _field("line", shown, "", about, reads, NEEDED)
    return made


def arguments_of(takes: type[Any]) -> tuple[Argument, ...]:
    """The arguments that a dataclass declares, in their order."""
    return tuple(
        Argument(field_name=each.name, **each.metadata["argument"])
        for each in dataclasses.fields(takes)
        if "argument" in each.metadata
    )


def read_line(command: str, takes: type[T], argument: Argument, said: str) -> T | CommandError:
    """The one argument of a command that takes a whole line, or what is wrong with it."""
    if not said:
        return MissingArgument(command, argument.shown)
    value = argument.reads(said)
    if isinstance(value, Unfit):
        return BadArgument(command, argument.shown, said, value.why)
    return takes(**{argument.field_name: value})


def read_arguments(command: str, takes: type[T], words: Sequence[Word]) -> T | CommandError:
    """The arguments that the words mean, or the first thing that is wrong with them."""
    declared = arguments_of(takes)
    places = [each for each in declared if each.kind == "word"]
    options = {each.shown: each for each in declared if each.kind == "option"}
    free = next((each for each in declared if each.kind == "free"), None)
    values: dict[str, Any] = {}
    others: list[tuple[str, Word]] = []
    for given in words:
        # An "=" in a word for a command without options is a sign like any other: `metrics a=b`.
        name = given.name if options or free or not places else None
        if name is None:
            if not places:
                return _stray_word(command, given, takes_options=bool(options or free))
            argument = places.pop(0)
        elif name in options:
            argument = options[name]
            if argument.field_name in values:
                return BadArgument(command, name, given.value, "it is given twice; keep one of them")
        elif wrong := _unknown_option(command, name, given, options, free):
            return wrong
        else:
            others.append((name, given))
            continue
        value = argument.reads(given.text if name is None else given.value)
        if isinstance(value, Unfit):
            return BadArgument(command, argument.shown, given.text if name is None else given.value, value.why)
        values[argument.field_name] = value
    if missing := next((place for place in places if place.needed), None):
        return MissingArgument(command, missing.shown)
    if free is not None:
        read = free.reads(others)
        if isinstance(read, Unfit):
            return BadArgument(command, "", read.given, read.why)
        values[free.field_name] = read
    return takes(**values)


def yes_or_no(text: str) -> bool | Unfit:
    """Reads ``true`` or ``false``."""
    return text == "true" if text in ("true", "false") else Unfit("it must be `true` or `false`")


def whole_number(least: int, most: int) -> Callable[[str], int | Unfit]:
    """Reads a whole number within bounds."""

    def reads(text: str) -> int | Unfit:
        # More digits than this can't be within bounds, and int() refuses thousands of them.
        number = int(text) if re.fullmatch("[-+]?[0-9]{1,18}", text) else None
        if number is None or not least <= number <= most:
            return Unfit(f"it must be a whole number from {least:,} to {most:,}")
        return number

    return reads


def number(least: float, most: float) -> Callable[[str], float | Unfit]:
    """Reads a number within bounds, with or without a fraction."""

    def reads(text: str) -> float | Unfit:
        written = re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,4})?", text[:400])
        read = float(text) if written and len(text) <= 400 else None
        return (
            read
            if read is not None and least <= read <= most
            else Unfit(f"it must be a number from {least:g} to {most:g}")
        )

    return reads


def text(most: int) -> Callable[[str], str | Unfit]:
    """Reads any text that is not empty."""

    def reads(given: str) -> str | Unfit:
        if not given:
            return Unfit("it must not be empty")
        return given if len(given) <= most else Unfit(f"it may have at most {most:,} characters")

    return reads


def pattern(shape: str, wanted: str) -> Callable[[str], str | Unfit]:
    """Reads a text of a certain shape; ``wanted`` says what it must be, like "a commit's SHA"."""

    def reads(given: str) -> str | Unfit:
        return given if re.fullmatch(shape, given) else Unfit(f"it must be {wanted}")

    return reads


def choice(meanings: Mapping[str, T]) -> Callable[[str], T | Unfit]:
    """Reads one of a few words, in capitals or not."""

    def reads(given: str) -> T | Unfit:
        known = given.lower()
        if known in meanings:
            return meanings[known]
        *others, last = (f"`{each}`" for each in meanings)
        return Unfit(f"it must be {', '.join(others)} or {last}" if others else f"only {last} can stand here")

    return reads


def switch() -> Callable[[str], bool | Unfit]:
    """Reads yes or no."""
    return choice({"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False})


def closest(given: str, known: Sequence[str]) -> str | None:
    """The known name that was probably meant, if one is near enough."""
    folded = given.lower().lstrip("-").replace("-", "_")
    if len(folded) >= 3 and (longer := [name for name in known if name.startswith(folded)]):
        return longer[0]
    return next(iter(difflib.get_close_matches(folded, known, n=1, cutoff=0.6)), None)


def _field(kind: str, shown: str, placeholder: str, about: str, reads: Callable[[Any], object], default: object) -> Any:
    described = {
        "kind": kind,
        "shown": shown,
        "placeholder": placeholder,
        "about": about,
        "needed": default is NEEDED,
        "reads": reads,
    }
    metadata = {"argument": described}
    return field(metadata=metadata) if default is NEEDED else field(default=default, metadata=metadata)


def _stray_word(command: str, given: Word, *, takes_options: bool) -> CommandError:
    if takes_options:
        why = "only options like `name=value` can stand here, without blanks around the `=`"
    else:
        why = "nothing more can stand here"
    return BadArgument(command, "", given.text, why)


def _unknown_option(
    command: str, name: str, given: Word, options: Mapping[str, Argument], free: Argument | None
) -> CommandError | None:
    meant = closest(name, list(options))
    if free is None:
        return UnknownOption(command, name, meant)
    if name.startswith("-"):
        return UnknownOption(command, name, name.lstrip("-") or None)
    # `instnace=ml.g5.xlarge` is no hyperparameter that somebody forgot to name well: it would train, elsewhere.
    if meant is not None and not isinstance(options[meant].reads(given.value), Unfit):
        return UnknownOption(command, name, meant)
    return None
