"""What the input of a write-up says: which values there are, and what stands in it word by word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gamma_bot.agent.facts import Commit, Metric, Param
from gamma_bot.agent.grader_numbers import as_number


class Input:
    """A commit, as a grader asks about it."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self.metrics: Mapping[str, Metric] = {metric.name: metric for metric in commit.metrics}
        self.params: Mapping[str, Param] = {p.name: p for p in commit.params if p.name not in self.metrics}
        self._known = _known_text(commit)
        self._causes = _causes(commit)

    @property
    def primary(self) -> Metric | None:
        """The metric that a run is judged by first."""
        return self._commit.primary

    def knows(self, fragment: str) -> bool:
        """Whether just this stands somewhere in the input, not as a part of a longer word or number."""
        return _stands_in(fragment, self._known)

    def quotes_number(self, number: str) -> bool:
        """Whether a number that is said of nothing we know is a parameter's, or stands in what broke the run.

        That it stands in a diff, a log or a message is not enough: there it may be part of somebody's claim.
        """
        return _stands_in(number, self._causes)

    def count_of(self, noun: str) -> set[float]:
        """How many there are of what can be counted; empty if that is not known."""
        commit = self._commit
        match noun:
            case "file" | "files":
                return {float(len(commit.files))}
            case "line" | "lines":
                sums = [(f.additions, f.deletions) for f in commit.files]
                return {
                    float(n) for pair in [*sums, *[tuple(map(sum, zip(*sums, strict=True)))] * bool(sums)] for n in pair
                }
            case "metric" | "metrics":
                return {float(len(commit.metrics))}
            case "parameter" | "parameters" | "setting" | "settings":
                return {float(sum(param.changed for param in commit.params))}
            case "run" | "runs":
                return {float(len(commit.past)), 1.0}
            case _:
                values = [p.value for p in commit.params if noun.rstrip("s") in p.name.lower()]
                values += [p.before for p in commit.params if noun.rstrip("s") in p.name.lower()]
                found = {number for value in values if value and (number := as_number(value)) is not None}
                return found | {float(m.step) for m in commit.metrics if noun.startswith(("step", "epoch"))}


def _stands_in(fragment: str, text: str) -> bool:
    wanted = " ".join(fragment.split())
    return bool(wanted) and re.search(rf"(?<![\w.]){re.escape(wanted)}(?!\w|\.\d)", text) is not None


def _causes(commit: Commit) -> str:
    """What is short and to the point: any number in it may be repeated."""
    parts = [commit.why, *(f"{b.line} {b.error} {b.message}" for b in commit.broken)]
    parts += [value for p in commit.params for value in (p.value, p.before) if value is not None]
    return "\n".join([*parts, str(commit.exit_code)])


def _known_text(commit: Commit) -> str:
    """All that a write-up may quote, with single spaces."""
    parts: Iterable[str] = (
        commit.branch,
        commit.sha[:7],
        commit.compared_with[:7],
        commit.message,
        commit.why,
        f"exit code {commit.exit_code}" if commit.exit_code is not None else "",
        *(f"{file.path}\n{_unmarked(file.patch or '')}" for file in commit.files),
        *(f"{b.path} line {b.line} {b.path}:{b.line} {b.error} {b.message}" for b in commit.broken),
        *(f"{p.name} {value}" for p in commit.params for value in (p.value, p.before) if value is not None),
        *(metric.name for metric in commit.metrics),
        *commit.log,
    )
    return "\n".join(" ".join(line.split()) for part in parts for line in part.splitlines())


def _unmarked(patch: str) -> str:
    return "\n".join(line[1:] for line in patch.splitlines() if not line.startswith("@@"))
