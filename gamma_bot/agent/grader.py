"""Checks each statement about a number or a direction against the data of the metric or parameter that it names.

A literal number must be a rounding, at the decimals it is written with, of a value that can be derived for what the
sentence names; "from" must be the baseline and "to" the current value; words like "rose" and "improved" must agree with
the data. What can't be derived is a violation: a write-up that invents a number is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from gamma_bot.agent.facts import Commit, Metric
from gamma_bot.agent.grader_amounts import amounts_in_words, foreign_numbers
from gamma_bot.agent.grader_input import Input
from gamma_bot.agent.grader_numbers import Subject
from gamma_bot.agent.grader_reading import Reader, Word
from gamma_bot.agent.grader_statement import Field, Statement

__all__ = ["Field", "Grader"]

_QUOTED = re.compile(r"`[^`]*`|\[\[.*?\]\]")
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n+")


class Grader:
    """Knows what is true of a commit, and what stands in its input."""

    def __init__(self, commit: Commit) -> None:
        self._known = Input(commit)
        self._reader = Reader(self._known.metrics, self._known.params)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The metrics of the commit, by name."""
        return self._known.metrics

    def violations(self, field: Field) -> list[str]:
        """What is not true in a text, or can't be known; in words for the model."""
        found: list[str] = []
        last: Subject | None = self.metrics.get(field.about)
        for sentence in _sentences(field.text):
            words = self._reader.read(sentence)
            subjects = {at: self._subject(word) for at, word in enumerate(words) if word.kind in ("metric", "param")}
            statement = Statement(self._known, field, words, subjects, last)
            problems = [*statement.problems(), *_without_digits(sentence)]
            found += [f"{problem}, in {sentence.strip()[:200]!r}" for problem in problems]
            last = subjects[max(subjects)] if subjects else last
        return found

    def _subject(self, word: Word) -> Subject:
        return self.metrics[word.name] if word.kind == "metric" else self._known.params[word.name]


def _without_digits(sentence: str) -> Iterator[str]:
    prose = _QUOTED.sub(" ", sentence)
    yield from (f"the number {words!r} is written as a word" for words in amounts_in_words(prose))
    yield from (f"the number {sign!r} can't be compared with the data" for sign in foreign_numbers(prose))


def _sentences(text: str) -> Iterator[str]:
    """The sentences; a dot in code or in a placeholder ends none."""
    masked = _QUOTED.sub(lambda match: "_" * len(match[0]), text)
    start = 0
    for end in _SENTENCE_END.finditer(masked):
        yield text[start : end.start()]
        start = end.end()
    yield text[start:]
