"""The expressions of workflow files: ``${{ inputs.name }}`` in a text, and what stands after ``if:``.

What a stand-in needs and no more: contexts, literals, comparisons, ``&&``, ``||``, ``!`` and a few functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_EMBEDDED = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?)|'(?P<text>(?:[^']|'')*)'|(?P<sign>==|!=|<=|>=|&&|\|\||[!()<>,])"
    r"|(?P<name>[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*))"
)
_LITERALS = {"true": True, "false": False, "null": None}


class WrongExpression(ValueError):
    """The text is no expression, or one that the sandbox does not know."""


def filled(value: Any, contexts: Mapping[str, Any]) -> Any:
    """A value of the file with its expressions replaced; one that is nothing but an expression keeps its type."""
    if isinstance(value, dict):
        return {key: filled(item, contexts) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, contexts) for item in value]
    if not isinstance(value, str):
        return value
    whole = _EMBEDDED.fullmatch(value.strip())
    if whole and "${{" not in whole[1]:
        return evaluate(whole[1], contexts)
    return _EMBEDDED.sub(lambda found: as_text(evaluate(found[1], contexts)), value)


def evaluate(text: str, contexts: Mapping[str, Any]) -> Any:
    """The value of an expression. A context holds values, mappings, and functions under their names.

    Raises:
        WrongExpression
    """
    return _Parser(text, contexts).whole()


def is_true(value: Any) -> bool:
    """What ``if:`` takes for true."""
    return value not in (None, False, "", 0)


def as_text(value: Any) -> str:
    """A value as it stands in a text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, indent=2) if isinstance(value, dict | list) else str(value)


class _Parser:
    def __init__(self, text: str, contexts: Mapping[str, Any]) -> None:
        self._text, self._contexts, self._position = text, contexts, 0
        self._kind, self._token = "", ""
        self._next()

    def whole(self) -> Any:
        value = self._either()
        if self._kind:
            raise WrongExpression(f"Unexpected symbol: '{self._token}' in '{self._text.strip()}'")
        return value

    def _next(self) -> None:
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            if self._text[self._position :].strip():
                raise WrongExpression(f"Unexpected symbol in '{self._text.strip()}'")
            self._kind, self._token = "", ""
            return
        self._kind, self._position = str(match.lastgroup), match.end()
        self._token = match[self._kind]

    def _takes(self, *signs: str) -> str:
        if self._kind == "sign" and self._token in signs:
            taken = self._token
            self._next()
            return taken
        return ""

    def _either(self) -> Any:
        value = self._both()
        while self._takes("||"):
            other = self._both()
            value = value if is_true(value) else other
        return value

    def _both(self) -> Any:
        value = self._comparison()
        while self._takes("&&"):
            other = self._comparison()
            value = other if is_true(value) else value
        return value

    def _comparison(self) -> Any:
        value = self._single()
        while sign := self._takes("==", "!="):
            same = _folded(value) == _folded(self._single())
            value = same if sign == "==" else not same
        return value

    def _single(self) -> Any:
        if self._takes("!"):
            return not is_true(self._single())
        if self._takes("("):
            value = self._either()
            self._expect(")")
            return value
        kind, token = self._kind, self._token
        self._next()
        match kind:
            case "number":
                return float(token)
            case "text":
                return token.replace("''", "'")
            case "name":
                return self._call(token) if self._takes("(") else self._named(token)
        raise WrongExpression(f"Unexpected symbol: '{token}' in '{self._text.strip()}'")

    def _call(self, name: str) -> Any:
        arguments = []
        while not self._takes(")"):
            arguments.append(self._either())
            if not self._takes(","):
                self._expect(")")
                break
        own = self._contexts.get(name)
        if callable(own):
            return own(*arguments)
        if name not in _FUNCTIONS:
            raise WrongExpression(f"Unrecognized function: '{name}'")
        try:
            return _FUNCTIONS[name](*arguments)
        except (TypeError, ValueError) as error:
            raise WrongExpression(f"{name}: {error}") from None

    def _named(self, path: str) -> Any:
        if path in _LITERALS:
            return _LITERALS[path]
        first, *rest = path.split(".")
        if first not in self._contexts:
            raise WrongExpression(f"Unrecognized named-value: '{first}'")
        value = self._contexts[first]
        for name in rest:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            raise WrongExpression(f"'{sign}' is missing in '{self._text.strip()}'")


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "fromJSON": lambda text: json.loads(as_text(text)),
    "toJSON": lambda value: json.dumps(value, indent=2),
    "contains": lambda whole, part: (
        part in whole if isinstance(whole, list) else as_text(part).lower() in as_text(whole).lower()
    ),
    "startsWith": lambda text, start: as_text(text).lower().startswith(as_text(start).lower()),
    "format": lambda template, *values: re.sub(r"\{(\d+)\}", lambda found: as_text(values[int(found[1])]), template),
}
