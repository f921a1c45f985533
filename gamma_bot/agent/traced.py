"""Traces each number of an answer back to what the model was shown: a metric's number to that metric, no other.

A write-up is graded against the facts of one commit (``grader.py``); an answer speaks of whatever the tools returned,
so here the ground is collected as it is shown. What can't be traced is told to the model once, and then taken out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gamma_bot.agent.cited import without_citations
from gamma_bot.agent.grader_words import DIRECTIONS

_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>[-+−]?)(?P<digits>\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE](?P<power>[-+]?\d{1,3}))?(?P<unit>\s?%|\s?percent\b)?"
    r"(?![\w]|\.\d)"
)
_SENTENCE = re.compile(r"[^\n]*?(?:[.!?](?=\s|$)|\n|$)")
_FENCE = re.compile(r"(?ms)^ {0,3}(```+|~~~+).*?(?:^ {0,3}\1|\Z)")
_CODE = re.compile(r"`+([^`]*)`+")
_ASSIGNED = re.compile(r"\s*([^\s=:]+)\s*[=:]\s*(\S+)\s*")
_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+")
_ROW = re.compile(r"\s*\|")
_WORD_AFTER = re.compile(r"\s+[A-Za-z`]")

# Under these keys our tools tell values of the metric that a ``name`` or a ``metric`` beside them names …
_VALUES = ("last", "best", "baseline", "a", "b", "min", "max", "first", "points", "tolerance")
# … and under these how much it moved, which is also told without its sign: "fell by 0.04".
_CHANGES = ("delta", "change", "slope_per_step")
_SHARES = ("rel",)


@dataclass(frozen=True)
class Untraced:
    """A number that nothing shown accounts for: as it is written, and the sentence that it stands in."""

    number: str
    sentence: str
    metrics: tuple[str, ...]

    def __str__(self) -> str:
        of = f" for {' or '.join(self.metrics)}" if self.metrics else ""
        return f"{self.number}{of}, in: {self.sentence.strip()[:200]}"


@dataclass
class _Metric:
    values: set[float]
    changes: set[float]
    shares: set[float]


class Ground:
    """The numbers that were shown.

    Args:
        shown: JSON values as the model got them, and texts such as the question.
    """

    def __init__(self, shown: Iterable[Any]) -> None:
        self._metrics: dict[str, _Metric] = {}
        self._params: set[str] = set()
        self._numbers: set[float] = set()
        self._texts: dict[str, set[float]] = {}
        for each in shown:
            self._learn(each)
        names = [*self._metrics, *(name for name in self._params if name not in self._metrics)]
        spoken = {name.lower(): name for name in names} | {name.lower().replace("_", " "): name for name in names}
        self._spoken: Mapping[str, str] = spoken
        pattern = "|".join(re.escape(name) for name in sorted(spoken, key=len, reverse=True))
        self._names = re.compile(rf"(?<![\w/]){'(?:' + pattern + ')'}(?![\w/])", re.IGNORECASE) if pattern else None

    def untraced(self, answer: str) -> list[Untraced]:
        """The numbers of an answer that nothing shown accounts for."""
        return [untraced for _, found in self._judged(answer) for untraced in found]

    def without_untraced(self, answer: str) -> tuple[str, int]:
        """The answer without the sentences (table rows, list items) that hold such numbers, and how many these were."""
        kept: list[str] = []
        dropped = 0
        for piece, found in self._judged(answer):
            dropped += bool(found)
            kept.append(piece if not found else "\n" if piece.endswith("\n") else "")
        return re.sub(r"\n{3,}", "\n\n", "".join(kept)).strip(), dropped

    def _judged(self, answer: str) -> Iterator[tuple[str, list[Untraced]]]:
        """The answer in pieces; what stands in code blocks is quoted or proposed, and not judged."""
        place = 0
        for fence in _FENCE.finditer(answer):
            yield from self._pieces(answer[place : fence.start()])
            yield fence[0], []
            place = fence.end()
        yield from self._pieces(answer[place:])

    def _pieces(self, prose: str) -> Iterator[tuple[str, list[Untraced]]]:
        about: tuple[str, ...] = ()
        for line in prose.splitlines(keepends=True):
            if not line.strip():
                about = ()
            whole = _ITEM.match(line) or _ROW.match(line)
            for piece in [line] if whole else [match[0] for match in _SENTENCE.finditer(line) if match[0]]:
                heard = without_citations(_ITEM.sub("", piece, count=1))
                about = self._named(heard) or about
                yield piece, [Untraced(number, piece, about) for number in self._wrong(heard, about)]

    def _named(self, sentence: str) -> tuple[str, ...]:
        if self._names is None:
            return ()
        return tuple(dict.fromkeys(self._spoken[match[0].lower()] for match in self._names.finditer(sentence)))

    def _wrong(self, sentence: str, about: Collection[str]) -> Iterator[str]:
        claimed = {DIRECTIONS[word] for word in re.findall("[a-z]+", sentence.lower()) if word in DIRECTIONS}
        direction = claimed.pop() if len(claimed) == 1 else 0
        bare = self._names.sub(" metric ", sentence) if self._names is not None else sentence
        for text, names in self._stated(bare, sentence, about):
            for match in _NUMBER.finditer(text):
                literal = _Literal(match)
                counts = literal.is_small_count and _WORD_AFTER.match(text[match.end() :])
                if not counts and not self._holds(literal, names, direction):
                    yield match[0].strip()

    def _stated(self, bare: str, sentence: str, about: Collection[str]) -> Iterator[tuple[str, Collection[str]]]:
        """The texts of a sentence that state numbers: its words, and code that is a number or gives one to a metric."""
        yield _CODE.sub(" code ", bare), about
        for code in _CODE.finditer(sentence):
            inner = code[1].strip()
            assigned = _ASSIGNED.fullmatch(inner)
            if _NUMBER.fullmatch(inner):
                yield inner, about
            elif assigned and (name := self._spoken.get(assigned[1].lower())) in self._metrics:
                yield assigned[2], (name,)

    def _holds(self, literal: _Literal, named: Collection[str], direction: int) -> bool:
        names = named or self._metrics
        # Steps, counts and dates are about whatever a sentence is about.
        if (literal.is_whole or not named) and any(literal.quotes(value) for value in self._numbers):
            return True
        if self._stands_beside(literal, () if literal.is_whole else named):
            return True
        # A decimal in a sentence about a metric is that metric's, or stands beside its name in a log or a file.
        return any(_is_of(self._metrics[name], literal, direction) for name in names if name in self._metrics)

    def _stands_beside(self, literal: _Literal, names: Collection[str]) -> bool:
        """Whether a text that was shown has the number, and with it one of these names, if there are any."""
        for text, numbers in self._texts.items():
            if any(literal.quotes(value) for value in numbers) and (
                not names or any(name.lower() in text for name in names)
            ):
                return True
        return False

    def _learn(self, value: Any) -> None:
        match value:
            case dict():
                name = value.get("name", value.get("metric"))
                name = name if isinstance(name, str) and any(key in value for key in (*_VALUES, *_CHANGES)) else ""
                for key, item in value.items():
                    self._read(str(key))
                    of = self._metric(name) if name else None
                    if of is not None and key in (*_VALUES, *_CHANGES, *_SHARES):
                        target = of.values if key in _VALUES else of.changes if key in _CHANGES else of.shares
                        self._bind(item, target)
                    elif key == "params" and isinstance(item, dict):
                        self._learn_params(item)
                    else:
                        self._learn(item)
            case list() | tuple():
                for item in value:
                    self._learn(item)
            case str():
                self._read(value)
            case bool() | None:
                pass
            case int() | float():
                self._numbers.add(float(value))

    def _learn_params(self, params: Mapping[str, Any]) -> None:
        for name, value in params.items():
            self._params.add(str(name))
            for one in value.values() if isinstance(value, dict) else [value]:
                self._read(f"{name}={one}")

    def _bind(self, item: Any, target: set[float]) -> None:
        match item:
            case bool():
                pass
            case int() | float():
                target.add(float(item))
            case {"step": step, "value": value}:
                self._numbers.add(float(step))
                self._bind(value, target)
            case [int() as step, value]:  # a point of a history
                self._numbers.add(float(step))
                self._bind(value, target)
            case list():
                for point in item:
                    self._bind(point, target)
            case dict():  # `a` and `b` of compare_runs are whole runs where they stand beside `metrics`
                self._learn(item)
            case str():
                self._read(item)

    def _read(self, text: str) -> None:
        for line in text.lower().splitlines():
            if line not in self._texts and (numbers := {_Literal(match).value for match in _NUMBER.finditer(line)}):
                self._texts[line] = numbers

    def _metric(self, name: str) -> _Metric:
        return self._metrics.setdefault(name, _Metric(set(), set(), set()))


class _Literal:
    """A number as it is written."""

    def __init__(self, match: re.Match[str]) -> None:
        digits = match["digits"].replace(",", "")
        power = int(match["power"] or 0)
        negative = match["sign"] in ("-", "−")
        self.is_signed = bool(match["sign"])
        self.is_percent = bool(match["unit"])
        self.is_whole = digits.isdigit() and not power and not match["unit"]
        self.value = float(f"{'-' if negative else ''}{digits}e{power}")
        self.is_small_count = not match["sign"] and digits.isdigit() and self.value <= 10 and not match["unit"]
        # A word such as "1234e567", which may begin a SHA, is too large for a float.
        self._half = 0.5 * 10.0 ** min(300, power - len(digits.partition(".")[2]))
        self._significant = len(digits.replace(".", "").lstrip("0"))

    def rounds(self, value: float) -> bool:
        """Whether it is that value, rounded to the decimals that are written; nothing is rounded to zero."""
        if not math.isfinite(value) or (self.value == 0) != (value == 0):
            return False
        return abs(self.value - value) <= self._half * (1 + 1e-6) + 1e-12 * abs(value)

    def quotes(self, value: float) -> bool:
        """Whether it is that value as it stands somewhere; a coarse rounding would be one of anything."""
        same = math.isclose(self.value, value, rel_tol=1e-9, abs_tol=0.0)
        return same or (self._significant >= 4 and self.rounds(value))


def _is_of(metric: _Metric, literal: _Literal, direction: int) -> bool:
    if literal.is_percent:
        values = {value * 100 for value in metric.values if abs(value) <= 1}
        changes = {share * 100 for share in metric.shares}
    else:
        values, changes = metric.values, metric.changes
    if any(literal.rounds(value) for value in values):
        return True
    for change in changes:
        if literal.rounds(change) and (direction == 0 or literal.is_signed or (change > 0) == (direction > 0)):
            return True
        # "fell by 0.04" of a change of -0.04: the word has to carry the sign.
        if not literal.is_signed and change < 0 and direction <= 0 and literal.rounds(-change):
            return True
    return False
