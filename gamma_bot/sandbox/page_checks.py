"""How checks look and what the pages say about them: the icon, the words, the sum over a commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gamma_bot.sandbox.model import Annotation, CheckRun, CheckSuite, Repository


@dataclass(frozen=True)
class Look:
    """One state as a page shows it; ``kind`` names the style."""

    kind: str
    glyph: str
    words: str


_RUNNING = {
    "queued": Look("pending", "○", "Queued"),
    "in_progress": Look("pending", "●", "In progress"),
}
_DONE = {
    "success": Look("success", "✓", "Successful"),
    "failure": Look("failure", "✗", "Failing"),
    "timed_out": Look("failure", "✗", "Timed out"),
    "action_required": Look("failure", "!", "Action required"),
    "cancelled": Look("neutral", "⊘", "Cancelled"),
    "neutral": Look("neutral", "–", "Neutral"),
    "skipped": Look("neutral", "–", "Skipped"),
    "stale": Look("neutral", "–", "Stale"),
}


def look_of(status: str, conclusion: str | None) -> Look:
    """The icon and the word for a check run, a suite, or the whole of a commit."""
    if status != "completed":
        return _RUNNING.get(status, _RUNNING["queued"])
    return _DONE.get(conclusion or "", Look("neutral", "–", conclusion or "Completed"))


def suites_of(repository: Repository, head_sha: str) -> list[CheckSuite]:
    """The suites of a commit that have a run: an empty suite (an App that never reported) is not shown."""
    return [suite for suite in repository.suites.values() if suite.head_sha == head_sha and suite.runs]


def latest_runs(suites: Iterable[CheckSuite]) -> list[CheckRun]:
    return [run for suite in suites for run in suite.latest_runs]


def roll_up(runs: Sequence[CheckRun]) -> Look | None:
    """The commit's one icon: what failed counts more than what runs, and that more than what passed."""
    if not runs:
        return None
    looks = [look_of(run.status, run.conclusion) for run in runs]
    finished = sum(run.status == "completed" for run in runs)
    words = f"{sum(look.kind in ('success', 'neutral') for look in looks)} / {len(runs)} checks OK"
    if any(look.kind == "failure" for look in looks):
        return Look("failure", "✗", words)
    if finished < len(runs):
        return Look("pending", "●", f"{finished} / {len(runs)} checks completed")
    if any(look.kind == "success" for look in looks):
        return Look("success", "✓", words)
    return Look("neutral", "–", words)


def verdict(runs: Sequence[CheckRun]) -> Look | None:
    """The heading of the merge box: unlike the commit's icon, it waits for every check before it judges."""
    if not runs:
        return None
    looks = [look_of(run.status, run.conclusion) for run in runs]
    failing = sum(look.kind == "failure" for look in looks)
    if any(run.status != "completed" for run in runs):
        return Look("pending", "●", "Some checks haven’t completed yet")
    if failing == len(runs):
        return Look("failure", "✗", "All checks have failed")
    if failing or any(run.conclusion == "cancelled" for run in runs):
        return Look("failure", "✗", "Some checks were not successful")
    return Look("success", "✓", "All checks have passed")


def counted_words(runs: Sequence[CheckRun]) -> str:
    """The line below the heading: ``1 failing, 1 in progress, and 2 successful checks``."""
    counts = Counter(look_of(run.status, run.conclusion).words.lower() for run in by_urgency(runs))
    parts = [f"{count} {word}" for word, count in counts.items()]
    if len(parts) > 1:
        parts[-1] = f"and {parts[-1]}"
    return f"{(', ' if len(parts) > 2 else ' ').join(parts)} {'check' if len(runs) == 1 else 'checks'}"


def by_urgency(runs: Iterable[CheckRun]) -> list[CheckRun]:
    """What failed first, then what runs, then the rest, as the merge box lists them."""
    order = {"failure": 0, "pending": 1, "neutral": 2, "success": 3}
    return sorted(runs, key=lambda run: order[look_of(run.status, run.conclusion).kind])


def run_words(run: CheckRun, now: str) -> str:
    """The line behind a check's name: ``Successful in 2m 5s``, ``In progress for 40s``, ``Queued``."""
    look = look_of(run.status, run.conclusion)
    if run.status == "queued" or not run.started_at:
        return look.words
    spent = duration_words(run.started_at, run.completed_at or now)
    if run.status == "in_progress":
        return f"{look.words} for {spent}"
    return f"{look.words} {'in' if look.kind == 'success' else 'after'} {spent}"


def duration_words(start: str, end: str) -> str:
    """The time between two ISO times as ``1h 2m``, ``2m 5s`` or ``8s``."""
    first, last = _moment(start), _moment(end)
    seconds = max(0, int((last - first).total_seconds())) if first and last else 0
    hours, minutes, rest = seconds // 3600, seconds % 3600 // 60, seconds % 60
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"


def ago_words(moment: str, now: str) -> str:
    """How long ago an ISO time was: ``now``, ``5 minutes ago``, ``on 3 May 2026``."""
    then, present = _moment(moment), _moment(now)
    if then is None or present is None:
        return moment
    seconds = (present - then).total_seconds()
    if seconds < 45:
        return "now"
    for size, unit, below in ((60, "minute", 3600), (3600, "hour", 86_400), (86_400, "day", 30 * 86_400)):
        if seconds < below:
            count = max(1, round(seconds / size))
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return f"on {then.day} {then:%b %Y}"


@dataclass(frozen=True)
class SnippetLine:
    number: int
    text: str
    marked: bool


def snippet(annotation: Annotation, text: str, around: int = 2, longest: int = 12) -> list[SnippetLine]:
    """The lines that an annotation is about, with a little around them."""
    lines = text.splitlines()
    first = max(1, annotation.start_line - around)
    last = min(len(lines), annotation.end_line + around, first + longest - 1)
    return [
        SnippetLine(number, lines[number - 1], annotation.start_line <= number <= annotation.end_line)
        for number in range(first, last + 1)
    ]


def _moment(iso: str) -> datetime | None:
    # An App may send anything as started_at: with an offset, without one, or no time at all.
    try:
        parsed = datetime.fromisoformat(iso.replace("Z", "+00:00"))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
