"""What a write-up claims in its sentences, held against the made-up facts: numbers, directions, verdicts.

Simpler than the product's grader, and of another make: names and numbers are cut out of each sentence, and a claim
holds if it is true of one of the metrics or parameters that the sentence names. A sentence that names none speaks of
the field's metric, or of the primary one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gamma_bot.agent.facts import Commit, Judged, Metric, Param
from gamma_bot.agent.schema import Written

_LITERAL = re.compile(
    r"(?<![\w.])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?:\s?%|x\b|\s(?:seconds|minutes|hours|[GM]B))?(?!\w)"
)
_FROM_TO = re.compile(r"\bfrom\s+(\S+?)\s+to\s+(\S+?)(?=[\s,;:.]|$)")
_RISES = r"\b(?:rose|rises|risen|increased|climbed|grew|jumped|went up)\b"
_FALLS = r"\b(?:fell|falls|fallen|decreased|dropped|declined|shrank|went down)\b"
_BETTER = r"\b(?:improv\w+|better|outperform\w*|beats?)\b"
_WORSE = r"\b(?:worse\w*|regress\w*|degrad\w+|hurts?)\b"
_SAME = r"\b(?:unchanged|identical|no change|did not move|within (?:its|the) tolerance)\b"
_HEDGED = r"\b(?:may|might|could|would|should|if|whether|likely|probably|perhaps|expect\w*|not|never|no longer)\b|n't\b"
_NUMBER_WORD = (
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fifteen|seventeen|twenty|thirty|forty|fifty"
    r"|sixty|seventy|eighty|ninety|hundred|half a|a third|a quarter)[\s-]+(?:percent|per cent|points?|times|fold)\b"
    r"|\b(?:ten|three|four|five)fold\b"
)
_FACTORS = {r"\bdoubl(?:ed|es)\b": 2.0, r"\btripl(?:ed|es)\b": 3.0, r"\bhalv(?:ed|es)\b": 0.5}
_FIRST = 0xE000  # of the private characters that stand for names, code and placeholders


@dataclass(frozen=True)
class _Text:
    """One text of a write-up; in what is proposed or hoped for nothing is claimed to have happened."""

    text: str
    about: str = ""
    proposes: bool = False


def claims(commit: Commit, written: Written) -> Iterator[str]:
    """What is claimed and not so."""
    for text in _texts(written):
        before: Sequence[Metric | Param] = [m for m in commit.metrics if m.name == text.about]
        for sentence in _sentences(commit, text):
            yield from sentence.problems(before or [m for m in commit.metrics if m.primary])
            before = sentence.subjects or before


def _texts(written: Written) -> Iterator[_Text]:
    yield _Text(written.headline)
    yield from (_Text(each.summary) for each in written.what_changed)
    yield from (_Text(each.text, each.metric) for each in written.metric_notes)
    yield _Text(written.likely_cause.text)
    yield from (_Text(each.why) for each in written.suspects)
    for each in written.next_experiments:
        yield _Text(f"{each.change} {each.why}", proposes=True)
    yield from (_Text(each) for each in written.caveats)


def _sentences(commit: Commit, text: _Text) -> Iterator[_Sentence]:
    names = sorted([*(m.name for m in commit.metrics), *(p.name for p in commit.params)], key=len, reverse=True)
    pattern = "|".join([r"\[\[.*?\]\]", r"`[^`]*`", *(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names)])
    pieces: list[str] = []

    def masked(match: re.Match[str]) -> str:
        pieces.append(match[0])
        return chr(_FIRST + len(pieces) - 1)

    for sentence in re.split(r"(?<=[.!?;])\s+", re.sub(pattern, masked, text.text)):
        yield _Sentence(commit, text, sentence, {chr(_FIRST + at): piece for at, piece in enumerate(pieces)})


class _Sentence:
    def __init__(self, commit: Commit, text: _Text, masked: str, pieces: dict[str, str]) -> None:
        self._commit = commit
        self._text = text
        self._masked = masked
        self._pieces = {mark: piece for mark, piece in pieces.items() if mark in masked}
        self._metrics = {metric.name: metric for metric in commit.metrics}
        self._params = {param.name: param for param in commit.params}
        named = [self._name_of(piece) for piece in self._pieces.values()]
        self.subjects = [{**self._params, **self._metrics}[name] for name in named if name]

    def problems(self, default: Sequence[Metric | Param]) -> Iterator[str]:
        """What is not so.

        Args:
            default: what is spoken of if nothing is named.
        """
        subjects = self.subjects or default
        yield from self._placeholders()
        yield from self._numbers(subjects)
        if self._text.proposes or re.search(_HEDGED, self._masked, re.IGNORECASE):
            return
        metrics = [each for each in subjects if isinstance(each, Metric)]
        yield from self._directions(subjects)
        for pattern, judged in ((_BETTER, Judged.BETTER), (_WORSE, Judged.WORSE), (_SAME, Judged.SAME)):
            if self._says(pattern) and metrics and not any(metric.judged is judged for metric in metrics):
                yield f"verdict: {judged.value} is said of {metrics[0].name}"

    def _says(self, pattern: str) -> bool:
        return re.search(pattern, self._masked, re.IGNORECASE) is not None

    def _name_of(self, piece: str) -> str:
        """The metric or parameter that a piece names; empty for other code."""
        inner = piece.strip("`[]").strip()
        inner = inner.rpartition(".")[0] if piece.startswith("[[") else inner
        assigned = re.split(r"\s*[=:]\s*", inner)[0]
        return next((name for name in (inner, assigned) if name in self._metrics or name in self._params), "")

    def _placeholders(self) -> Iterator[str]:
        for piece in self._pieces.values():
            if piece.startswith("[["):
                name, _, field = piece[2:-2].rpartition(".")
                if name not in self._metrics or field not in self._metrics[name].printed:
                    yield f"references: {piece} names nothing"
        if "[[" in self._masked or "]]" in self._masked:
            yield "references: brackets that do not close"
        for before, after in _FROM_TO.findall(self._masked):
            for mark, field in ((before, "baseline"), (after, "current")):
                piece = self._pieces.get(mark, "")
                if piece.startswith("[[") and not piece.endswith(f".{field}]]"):
                    yield f"numbers: {piece} stands where the {field} belongs"

    def _numbers(self, subjects: Sequence[Metric | Param]) -> Iterator[str]:
        for literal in _LITERAL.findall(self._masked):
            if not any(_rounds(literal, value) for value in self._values(subjects, is_share="%" in literal)):
                yield f"numbers: {literal} comes from nowhere"
        for piece in self._pieces.values():
            inner = piece.strip("`")
            if self._text.proposes or not piece.startswith("`") or not re.search(r"\d", inner):
                continue
            if not self._stands_in_the_input(inner) and not self._is_assignment(inner):
                yield f"numbers: `{inner}` does not stand in the input"
        for before, after in _FROM_TO.findall(self._masked):
            yield from self._from_to(subjects, before, after)
        if self._says(_NUMBER_WORD):
            yield "numbers: one is written as a word"
        for pattern, factor in _FACTORS.items():
            if self._says(pattern) and not any(_has_factor(each, factor) for each in subjects):
                yield f"numbers: nothing changed by the factor {factor:g}"

    def _from_to(self, subjects: Sequence[Metric | Param], before: str, after: str) -> Iterator[str]:
        literals = [self._pieces.get(mark, mark).strip("`") for mark in (before, after)]
        if not all(_LITERAL.fullmatch(literal) for literal in literals):
            return
        pairs = [pair for each in subjects if (pair := _pair(each)) is not None]
        if not any(_rounds(literals[0], old) and _rounds(literals[1], new) for old, new in pairs):
            yield f"numbers: nothing went from {literals[0]} to {literals[1]}"

    def _values(self, subjects: Sequence[Metric | Param], *, is_share: bool) -> list[float]:
        commit = self._commit
        found = [
            float(len(commit.files)),
            float(commit.exit_code or 0),
            *(float(place.line) for place in commit.broken),
        ]
        found += [float(value) for place in commit.broken for value in re.findall(r"\d+", place.message)]
        for each in subjects:
            found += _pair(each) or ()
            if isinstance(each, Param):
                continue
            change = each.relative if is_share else each.delta
            if change is not None:
                found += [change * (100 if is_share else 1), abs(change) * (100 if is_share else 1)]
            found += [each.current, each.tolerance]
            if is_share:
                found += [
                    value * 100 for value in (each.current, each.baseline) if value is not None and abs(value) <= 1
                ]
        return found

    def _directions(self, subjects: Sequence[Metric | Param]) -> Iterator[str]:
        for pattern, wanted in ((_RISES, 1), (_FALLS, -1)):
            moved = [
                (pair[1] > pair[0]) - (pair[1] < pair[0]) for each in subjects if (pair := _pair(each)) is not None
            ]
            if subjects and self._says(pattern) and wanted not in moved:
                yield f"verdict: {subjects[0].name} is said to have {'risen' if wanted > 0 else 'fallen'}"

    def _stands_in_the_input(self, text: str) -> bool:
        commit = self._commit
        parts = [commit.message, commit.branch, commit.sha[:7], commit.compared_with[:7], commit.why, *commit.log]
        parts += [f"{file.path}\n{file.patch}" for file in commit.files]
        parts += [f"{place.path}:{place.line} {place.message}" for place in commit.broken]
        parts += [value for p in commit.params for value in (p.name, p.value, p.before) if value]
        parts += [metric.name for metric in commit.metrics]
        return re.search(rf"(?<![\w.]){re.escape(text)}(?![\w])(?!\.\d)", "\n".join(parts)) is not None

    def _is_assignment(self, text: str) -> bool:
        name, _, value = text.partition("=")
        param = self._params.get(name.strip())
        return param is not None and value.strip() in (param.value, param.before)


def _pair(each: Metric | Param) -> tuple[float, float] | None:
    if isinstance(each, Metric):
        return (each.baseline, each.current) if each.baseline is not None else None
    try:
        return float(each.before or ""), float(each.value or "")
    except ValueError:
        return None


def _has_factor(each: Metric | Param, factor: float) -> bool:
    pair = _pair(each)
    return pair is not None and pair[0] != 0 and abs(pair[1] / pair[0] / factor - 1) < 0.15


def _rounds(literal: str, value: float) -> bool:
    """Whether a number is a value at the digits it is written with."""
    bare = literal.rstrip("%").strip().replace(",", "").replace("−", "-")
    if bare[-1].isalpha():
        return False  # a time, a size or a factor: there are none in the facts
    digits, _, exponent = bare.lower().partition("e")
    last_digit = 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))
    if value and last_digit > abs(value):
        return False  # no digit of it is left
    return abs(float(bare) - value) <= last_digit / 2 * (1 + 1e-6)
