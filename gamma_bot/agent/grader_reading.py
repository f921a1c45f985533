"""Takes a sentence apart: names of metrics and parameters, numbers, placeholders, code and words."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from gamma_bot.agent.grader_words import IDIOMS
from gamma_bot.agent.placeholders import PLACEHOLDER

_IN_FULL = {"val": "validation", "valid": "validation", "train": "training", "acc": "accuracy", "eval": "evaluation"}
ASSIGNMENT = re.compile(r"\s*([\w./-]+)\s*(?:=|:|->|→)\s*(.+?)\s*")

_NUMBER = re.compile(r"[-+−]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+−]?\d+)?\s?%?")
_TOKEN = re.compile(
    r"(?P<placeholder>\[\[.*?\]\])"
    r"|(?P<code>`[^`]*`)"
    r"|(?P<number>(?<![\w.])[-+−–]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+−]?\d+)?(?P<unit>\s?%|\s?(?:percentage\s)?points?\b|\s?pp\b|\s?[x×](?!\w)|k\b|M\b)?(?![\w]))"
    r"|(?P<word>[^\W\d_][\w'’/.-]*[\w]|\w[\w'’/.-]*|\w)"
    r"|(?P<mark>[,:()])"
)


@dataclass(frozen=True)
class Word:
    """A piece of a sentence; ``name`` is that of a metric or parameter, however it is written."""

    kind: str  # placeholder | code | number | word | mark | metric | param
    text: str
    name: str = ""


class Reader:
    """Knows the names of a commit's metrics and parameters."""

    def __init__(self, metrics: Collection[str], params: Collection[str]) -> None:
        self._metrics = metrics
        self._params = params
        # The longest first: "val_loss" is not "loss".
        names = sorted([*metrics, *params], key=len, reverse=True)
        spoken = {form: name for name in reversed(names) for form in (*_spoken(name), name)}
        self._spoken = {key.lower(): name for key, name in spoken.items()}
        pattern = "|".join(re.escape(key) for key in sorted(spoken, key=len, reverse=True))
        self._names = re.compile(rf"(?<![\w`])(?:{pattern})(?![\w`])", re.IGNORECASE) if pattern else None

    def read(self, sentence: str) -> list[Word]:
        """The words of a sentence, in order."""
        for idiom in IDIOMS:
            sentence = idiom.sub(" ", sentence)
        return [word for piece, is_name in self._pieces(sentence) for word in self._tokens(piece, is_name=is_name)]

    def _kind_of(self, name: str) -> str:
        return "metric" if name in self._metrics else "param"

    def _pieces(self, sentence: str) -> Iterator[tuple[str, bool]]:
        """The sentence cut at bare names of metrics and parameters; none is looked for in code and placeholders."""
        for part in re.split(r"(\[\[.*?\]\]|`[^`]*`)", sentence):
            if part.startswith(("[[", "`")) or self._names is None:
                yield part, False
                continue
            end = 0
            for match in self._names.finditer(part):
                yield part[end : match.start()], False
                yield match[0], True
                end = match.end()
            yield part[end:], False

    def _tokens(self, piece: str, *, is_name: bool) -> Iterator[Word]:
        if is_name:
            name = self._spoken[piece.lower()]
            yield Word(self._kind_of(name), piece, name)
            return
        for match in _TOKEN.finditer(piece):
            kind, text = str(match.lastgroup if match.lastgroup != "unit" else "number"), match[0]
            if kind == "code":
                yield from self._code(text[1:-1].strip())
            else:
                yield Word(kind, text.strip())

    def _code(self, text: str) -> Iterator[Word]:
        if text in self._metrics or text in self._params:
            yield Word(self._kind_of(text), text, text)
        elif _NUMBER.fullmatch(text):
            yield Word("number", text)
        elif PLACEHOLDER.fullmatch(text):
            yield Word("placeholder", text)
        elif (match := ASSIGNMENT.fullmatch(text)) and match[1] in self._metrics and _NUMBER.fullmatch(match[2]):
            yield Word("metric", match[1], match[1])
            yield Word("number", match[2])
        elif (match := ASSIGNMENT.fullmatch(text)) and match[1] in self._params:
            yield Word("param", match[1], match[1])
            yield Word("code", text)
        else:
            yield Word("code", text)


def _spoken(name: str) -> Iterator[str]:
    """Other ways to write the name in a sentence: "val loss" and "validation loss" are "val_loss"."""
    parts = re.split("[_/]", name)
    if len(parts) > 1 and all(parts):
        yield " ".join(_IN_FULL.get(part.lower(), part) for part in parts)
        yield " ".join(parts)
