"""What pydantic found wrong with ``gamma.yml``, in words for people who know neither pydantic nor Gamma's code."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError

from gamma_bot.config.errors import KeyPath, clipped, dotted
from gamma_bot.config.schema import GammaConfig
from gamma_bot.config.section import Section, Wants

# What a name must look like, where that is not plain.
_NAMES = {"permissions": "Write a command as it follows `/gamma`, without the slash: retry."}
_CLOCK = re.compile(r"\d+:\d\d(:\d\d)?")


@dataclass(frozen=True)
class Complaint:
    """One mistake in words.

    Attributes:
        key_path: what to show; ``at_key`` if it is the key itself rather than its value.
        about: all values that play a part in it.
        set_aside: what to leave out to read the rest.
    """

    key_path: KeyPath
    message: str
    hint: str
    at_key: bool
    about: tuple[KeyPath, ...]
    set_aside: tuple[KeyPath, ...]


def explain(error: ValidationError, values: Mapping[str, Any]) -> list[Complaint]:
    """All complaints of one validation, one for each value."""
    found: dict[tuple[KeyPath, bool], Complaint] = {}
    for details in error.errors(include_url=False):
        # pydantic adds words of its own to the way: the members of a union, "[key]".
        key_path = _known_part(details["loc"], values)
        kind, context = details["type"], details.get("ctx", {})
        at_key = kind == "extra_forbidden" or details["loc"][-1:] == ("[key]",)
        value = _at(values, key_path)
        if kind == "rule":
            complaint = _rule(key_path, context, at_key)
        elif kind == "extra_forbidden":
            hint = _unknown_key_hint(key_path)
            complaint = _single(key_path, f"`{dotted(key_path)}` is not a key that Gamma knows", hint, at_key)
        elif at_key:
            hint = _NAMES.get(str(key_path[0]), "")
            complaint = _single(key_path, f"`{clipped(str(key_path[-1]))}` can't be a name here", hint, at_key)
        else:
            wanted, choices = _wanted(key_path)
            message = f"`{dotted(key_path)}` must be {wanted}, not {what_is(value)}"
            complaint = _single(key_path, message, _hint(key_path, value, wanted, choices), at_key)
        found.setdefault((key_path, at_key), complaint)
    return list(found.values())


def what_is(value: object) -> str:
    """A value in words, to follow "not"."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {clipped(str(value))}"
        case str():
            return f"`{clipped(' '.join(value.split()))}`" if value.strip() else "empty text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def closest(given: str, known: Collection[str]) -> str | None:
    """The known name that was most likely meant, if one is near."""
    folded = given.strip().lower().replace("-", "_")
    by_folded = {name.replace("-", "_"): name for name in known}
    close = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    if not close and len(folded) >= 3:
        close = [name for name in by_folded if name.startswith(folded)][:1]
    return by_folded[close[0]] if close else None


def _single(key_path: KeyPath, message: str, hint: str, at_key: bool) -> Complaint:
    return Complaint(key_path, message, hint, at_key, (key_path,), (key_path,))


def _rule(key_path: KeyPath, context: Mapping[str, Any], at_key: bool) -> Complaint:
    about = tuple((*key_path, key) for key in context["keys"])
    return Complaint(
        about[-1] if about else key_path,
        f"`{dotted(key_path)}`: {context['message']}",
        context["hint"],
        at_key,
        about or (key_path,),
        about[1:] or (key_path,),
    )


def _known_part(location: Sequence[str | int], values: Any) -> KeyPath:
    known: KeyPath = ()
    for key in location:
        inside = isinstance(values, dict) and key in values
        inside = inside or (isinstance(values, list) and isinstance(key, int) and key < len(values))
        if not inside:
            break
        known, values = (*known, key), values[key]
    return known


def _at(values: Any, key_path: KeyPath) -> Any:
    for key in key_path:
        values = values[key]
    return values


def _wanted(key_path: KeyPath) -> tuple[str, tuple[str, ...]]:
    """What the value must be, in words, and the texts it may be if they can be counted."""
    kind, words = _type_of(key_path)
    if get_origin(kind) is Literal:
        choices = tuple(str(choice) for choice in get_args(kind))
        return f"{', '.join(choices[:-1])} or {choices[-1]}" if len(choices) > 1 else choices[0], choices
    if words is not None:
        return words, ()
    if isinstance(kind, type) and issubclass(kind, Section):
        return f"a mapping with keys like `{next(iter(kind.model_fields))}:`", ()
    return "something else", ()


def _type_of(key_path: KeyPath) -> tuple[Any, str | None]:
    """The type at the end of the way and the words for it."""
    kind: Any = GammaConfig
    wants: Wants | None = None
    for number, key in enumerate(key_path):
        if isinstance(kind, type) and issubclass(kind, Section):
            field = kind.model_fields[str(key)]
            kind, wants = _bare(field.annotation, field.metadata)
        elif get_origin(kind) is dict and _says_itself(get_args(kind)[1]):
            kind, wants = get_args(kind)[1], None
        else:
            assert wants is not None, key_path[: number + 1]
            return None, wants.item
    return kind, wants.value if wants else None


def _bare(annotation: Any, metadata: Sequence[Any] = ()) -> tuple[Any, Wants | None]:
    """A type without ``| None`` and ``Annotated``, and the ``Wants`` that was found on the way."""
    wants = next((each for each in metadata if isinstance(each, Wants)), None)
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        kind, inner_wants = _bare(inner, more)
        return kind, wants or inner_wants
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            kind, inner_wants = _bare(members[0])
            return kind, wants or inner_wants
    return annotation, wants


def _says_itself(kind: Any) -> bool:
    """Whether what a mapping holds needs no words of the mapping's."""
    return _is_section(kind) or get_origin(kind) is Literal


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _unknown_key_hint(key_path: KeyPath) -> str:
    given = str(key_path[-1])
    section, _ = _type_of(key_path[:-1])
    allowed = list(section.model_fields)
    listed = f"Keys that may stand here: {', '.join(allowed)}."
    if close := closest(given, allowed):
        return f"Did you mean `{close}`? {listed}"
    for name, field in GammaConfig.model_fields.items():
        kind, _ = _bare(field.annotation, field.metadata)
        if _is_section(kind) and given in kind.model_fields and key_path[:-1] != (name,):
            return f"It belongs under `{name}:`. {listed}"
    if given in GammaConfig.model_fields:
        return f"It belongs at the beginning of a line, not under `{dotted(key_path[:-1])}`. {listed}"
    return listed


def _hint(key_path: KeyPath, value: object, wanted: str, choices: Collection[str]) -> str:
    if isinstance(value, str):
        if value in choices:
            return "Write it without quotes."
        if choices:
            close = closest(value, choices)
            return f"Did you mean `{close}`?" if close else ""
        if wanted == "true or false":
            said = value.strip().lower()
            if said in ("yes", "on", "no", "off", "true", "false"):
                return f"Write `{'true' if said in ('yes', 'on', 'true') else 'false'}`, without quotes."
        if wanted.startswith("a duration") and _CLOCK.fullmatch(value.strip()):
            return "Write 1m30s for a minute and a half, or 1h30m for an hour and a half."
    if (
        key_path[:2] == ("train", "command")
        and isinstance(value, list)
        and all(isinstance(word, str) for word in value)
    ):
        return f"Write the words in one line: `command: {clipped(' '.join(value))}`."
    if key_path[:2] == ("train", "hyperparameters") and len(key_path) > 2 and isinstance(value, dict | list):
        return (
            "Give each value a name of its own, like `optimizer_lr: 0.01`, or put them into a file of the repository."
        )
    return ""
