"""Holds a write-up against its input: what it refers to is there, its placeholders have values, its claims are true."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from gamma_bot.agent.cleaning import clean
from gamma_bot.agent.diff import quotes
from gamma_bot.agent.facts import Commit
from gamma_bot.agent.grader import Field, Grader
from gamma_bot.agent.placeholders import unresolved
from gamma_bot.agent.schema import Cause, Written

Place = tuple[str, int]

_SHORTEST_LOG_QUOTE = 6
_MOST_CHARACTERS = 4_000  # of all sentences; a good write-up has a third of it
_WEIGHTIEST = ("headline", "likely_cause", "suspects", "next_experiments", "what_changed", "metric_notes", "caveats")


@dataclass(frozen=True)
class Violation:
    """What is wrong, in words for the model, and the item that goes if it stays wrong."""

    place: Place
    text: str


class Checks:
    """What must hold for a write-up of one commit.

    Args:
        commit: as the model saw it.
    """

    def __init__(self, commit: Commit, secrets: Collection[str] = ()) -> None:
        self._commit = commit
        self._secrets = secrets
        self._grader = Grader(commit)
        self._files = {file.path: file for file in commit.files}

    def violations(self, written: Written) -> list[Violation]:
        """All that is wrong; empty if it can be shown."""
        found = [*self._references(written)]
        for place, field in _fields(written):
            problems = [*unresolved(field.text, self._grader.metrics), *self._grader.violations(field)]
            if clean(field.text, self._secrets) != field.text:
                problems.append("it has a secret, an HTML comment or characters that nobody sees")
            found += [Violation(place, f"{_name(place)}: {problem}") for problem in problems]
        return [*found, *_too_long(written)]

    def _references(self, written: Written) -> Iterator[Violation]:
        for at, change in enumerate(written.what_changed):
            if change.path not in self._files:
                yield _missing(("what_changed", at), f"{change.path!r} is no file of the diff")
        for at, note in enumerate(written.metric_notes):
            if note.metric not in self._grader.metrics:
                yield _missing(("metric_notes", at), f"{note.metric!r} is no metric of the input")
        for at, evidence in enumerate(written.likely_cause.evidence):
            if not self._exists(evidence.kind, evidence.ref):
                yield _missing(("evidence", at), f"{evidence.ref!r} is no {evidence.kind} of the input")
        if written.likely_cause.confidence != "low" and not written.likely_cause.evidence:
            yield _missing(("confidence", 0), f"confidence {written.likely_cause.confidence!r} needs evidence")
        for at, suspect in enumerate(written.suspects):
            if not self._commit.failed:
                yield _missing(("suspects", at), "the run did not fail")
            elif not self._stands_there(suspect.path, suspect.quote):
                yield _missing(("suspects", at), f"{suspect.quote!r} is no line of {suspect.path!r} in the input")
        for at, experiment in enumerate(written.next_experiments):
            if experiment.expected_metric and experiment.expected_metric not in self._grader.metrics:
                yield _missing(("next_experiments", at), f"{experiment.expected_metric!r} is no metric of the input")

    def _exists(self, kind: str, ref: str) -> bool:
        match kind:
            case "diff":
                return ref in self._files or any(ref == place.path for place in self._commit.broken)
            case "metric":
                return ref in self._grader.metrics
            case "param":
                return any(ref == param.name for param in self._commit.params)
            case _:
                wanted = " ".join(ref.split())
                lines = (" ".join(line.split()) for line in self._commit.log)
                return len(wanted) >= _SHORTEST_LOG_QUOTE and any(wanted in line for line in lines)

    def _stands_there(self, path: str, quote: str) -> bool:
        if path in self._files and quotes(self._files[path], quote):
            return True
        if not any(place.path == path for place in self._commit.broken):
            return False
        return any(line.strip() == quote.strip() for line in self._commit.log)  # a traceback shows the line of code


def without(written: Written, violations: Sequence[Violation]) -> Written:
    """The write-up without the items that are wrong."""
    gone = {violation.place for violation in violations}

    def kept(name: str) -> list[object]:
        return [item for at, item in enumerate(getattr(written, name)) if (name, at) not in gone]

    cause = written.likely_cause
    evidence = [item for at, item in enumerate(cause.evidence) if ("evidence", at) not in gone]
    confidence = cause.confidence if evidence and ("confidence", 0) not in gone else "low"
    if ("likely_cause", 0) in gone:
        cause = NO_CAUSE
    else:
        cause = cause.model_copy(update={"evidence": evidence, "confidence": confidence})
    lists = {name: kept(name) for name in _LISTS}
    headline = "" if ("headline", 0) in gone else written.headline
    return written.model_copy(update={"headline": headline, "likely_cause": cause, **lists})


# Stands for a cause that was taken out; a model can't write it, since its text may not be empty.
NO_CAUSE = Cause.model_construct(text="", confidence="low", evidence=[])

_LISTS = ("what_changed", "metric_notes", "suspects", "next_experiments", "caveats")


def has_substance(written: Written) -> bool:
    """Whether enough is left to be shown in place of the deterministic text."""
    return bool(written.headline and (written.likely_cause.text or written.what_changed or written.suspects))


def _fields(written: Written) -> Iterator[tuple[Place, Field]]:
    yield ("headline", 0), Field(written.headline, holds_verdict=True)
    for at, change in enumerate(written.what_changed):
        yield ("what_changed", at), Field(change.summary)
    for at, note in enumerate(written.metric_notes):
        yield ("metric_notes", at), Field(note.text, about=note.metric, holds_verdict=True)
    yield ("likely_cause", 0), Field(written.likely_cause.text)
    for at, suspect in enumerate(written.suspects):
        yield ("suspects", at), Field(suspect.why)
    for at, experiment in enumerate(written.next_experiments):
        yield ("next_experiments", at), Field(experiment.change, proposes=True, predicts=True)
        yield ("next_experiments", at), Field(experiment.why, predicts=True)
    for at, caveat in enumerate(written.caveats):
        yield ("caveats", at), Field(caveat)


def _too_long(written: Written) -> Iterator[Violation]:
    """The items that are too much: each may be as long as it is, and all of them together would bury the report."""
    sizes: dict[Place, int] = {}
    for place, field in _fields(written):
        sizes[place] = sizes.get(place, 0) + len(field.text)
    left = _MOST_CHARACTERS
    for place in sorted(sizes, key=lambda place: _WEIGHTIEST.index(place[0])):
        left -= sizes[place]
        if left < 0:
            yield _missing(
                place, f"all together is longer than {_MOST_CHARACTERS:,} characters; leave out what matters least"
            )


def _missing(place: Place, text: str) -> Violation:
    return Violation(place, f"{_name(place)}: {text}")


def _name(place: Place) -> str:
    name, at = place
    if name in ("headline", "likely_cause", "confidence"):
        return name if name != "confidence" else "likely_cause.confidence"
    return f"likely_cause.evidence[{at}]" if name == "evidence" else f"{name}[{at}]"


def runnable(change: str, params: Collection[str]) -> str:
    """The command that makes a proposed change, if it is one of parameters; else nothing."""
    found = re.findall(r"`([\w./-]{1,60})\s*=\s*([\w.+-]{1,40})`", change)
    known = [f"{name}={value}" for name, value in found if name in params]
    return f"/gamma train {' '.join(known)}" if known and len(known) == len(found) else ""
