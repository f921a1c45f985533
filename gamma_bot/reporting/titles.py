"""The one line that says how a job is: the check run's title and the comment's headline."""

from __future__ import annotations

import re
from typing import assert_never

from gamma_bot.reporting.facts import JobFacts, Judgement, MetricLine, State
from gamma_bot.reporting.markdown import clip, plain
from gamma_bot.reporting.numbers import (
    count,
    format_percent,
    format_seconds,
    format_signed,
    format_value,
)

# A sentence that goes on after a colon; a name at its start keeps its capital.
_STARTS_A_SENTENCE = re.compile(r"^(The|This|There|It|A|An|Nothing|Nobody|Up)(?= )")
_LIMIT = 255  # GitHub refuses a longer title


def title(facts: JobFacts) -> str:
    """Plain text of at most 255 characters; backticks are left out, since a title is no Markdown."""
    return clip(plain(_title(facts).replace("`", ""), _LIMIT), _LIMIT)


def mark(facts: JobFacts) -> str:
    """A sign for the state, always beside words that say the same."""
    match facts.state:
        case State.QUEUED:
            return "⏳"
        case State.PREPARING:
            return "📦"
        case State.RUNNING:
            return "🏃"
        case State.SUCCEEDED:
            primary = primary_line(facts)
            return "⚠️" if primary and primary.judgement is Judgement.WORSE else "✅"
        case State.FAILED:
            return "❌"
        case State.CANCELLED:
            return "⏹️"
        case State.SKIPPED:
            return "⏭️"
        case State.HELD:
            return "✋"
        case _:
            assert_never(facts.state)


def ran_to_its_end(facts: JobFacts) -> bool:
    """Its last values are final. Those of a run that was cut short must not be judged against a finished one's."""
    return facts.state is State.SUCCEEDED or (facts.state is State.FAILED and facts.exit_code == 0)


def says_why(facts: JobFacts) -> bool:
    """The title already says all of ``why``: below it, that need not be said again."""
    said = plain(facts.why.replace("`", "").strip().rstrip("."), _LIMIT).lower()
    shown = title(facts).lower()
    return said in shown or _after_a_colon(said) in shown


def primary_line(facts: JobFacts) -> MetricLine | None:
    """The metric that the job is judged by, if it logged one."""
    return next((line for line in facts.metrics if line.primary), None)


def shown_metrics(facts: JobFacts) -> list[MetricLine]:
    """The metrics a reader wants, in their order: MLflow's ``system/`` ones stay on its own pages."""
    return [line for line in facts.metrics if line.primary or not line.name.startswith("system/")]


def _title(facts: JobFacts) -> str:
    match facts.state:
        case State.QUEUED:
            return _with_detail("Waiting" if facts.waits else "Queued", facts.detail)
        case State.PREPARING:
            return _with_detail("Preparing", facts.detail)
        case State.RUNNING:
            primary = primary_line(facts)
            parts = [
                _with_detail("Training", facts.detail),
                f"{plain(primary.name, 60)} {format_value(primary.last)}" if primary else "",
                format_seconds(facts.wall_seconds) if facts.wall_seconds and facts.wall_seconds >= 1 else "",
            ]
            return " · ".join(part for part in parts if part)
        case State.SUCCEEDED:
            return _succeeded(facts)
        case State.FAILED:
            return _failed(facts)
        case State.CANCELLED:
            return _with_detail("Cancelled", _after_a_colon(facts.why))
        case State.SKIPPED:
            return _with_detail("Skipped", _after_a_colon(facts.why))
        case State.HELD:
            return _with_detail("Waiting for /gamma approve", _after_a_colon(facts.why))
        case _:
            assert_never(facts.state)


def _succeeded(facts: JobFacts) -> str:
    primary = primary_line(facts)
    if primary is not None:
        return compared(primary, facts)
    took = f" in {format_seconds(facts.wall_seconds)}" if facts.wall_seconds is not None else ""
    number = len(shown_metrics(facts))
    return f"Trained{took}, {count(number, 'metric')} logged" if number else f"Trained{took}, no metrics logged"


def _failed(facts: JobFacts) -> str:
    gate = next((line for line in facts.metrics if line.name == facts.gate_failed), None)
    if gate is not None and gate.judgement is Judgement.WORSE:
        return f"Gate failed: {compared(gate, facts)}"
    if facts.broken_lines:
        broken = facts.broken_lines[0]
        first = next((line for line in broken.message.splitlines() if line.strip()), "")
        return f"Broke at {plain(broken.path, 120)}:{broken.line}: {broken.title}: {first}"
    return facts.why.rstrip(".") or "Failed"


def compared(line: MetricLine, facts: JobFacts) -> str:
    """A metric and how it stands to the baseline: ``return 198.4 (+62.1, +46 %), better than models``."""
    shown = f"{plain(line.name, 100)} {format_value(line.last)}"
    branch = plain(facts.baseline.branch, 60) if facts.baseline else "the baseline"
    if facts.baseline is not None and facts.baseline.champion:
        branch = "the champion"
    amount = ""
    if line.change:
        share = f", {format_percent(line.relative)}" if line.relative is not None else ""
        amount = f" ({format_signed(line.change)}{share})"
    match line.judgement:
        case Judgement.BETTER:
            return f"{shown}{amount}, better than {branch}"
        case Judgement.WORSE:
            return f"{shown}{amount}, worse than {branch}"
        case Judgement.SAME:
            return f"{shown}{amount}, within tolerance of {branch}" if line.change else f"{shown}, the same as {branch}"
        case Judgement.CHANGED:
            return f"{shown}{amount} against {branch}"
        case Judgement.NO_BASELINE:
            if facts.baseline is not None and line.baseline is None:
                return f"{shown}, nothing to compare with: {branch} never logged it"
            return f"{shown}, nothing to compare with yet"
        case Judgement.NOT_FINITE:
            return f"{shown} at step {line.step:,}"
        case _:
            assert_never(line.judgement)


def _after_a_colon(why: str) -> str:
    """A sentence whose own colon became a semicolon: two colons in one title read as a mistake."""
    return why.replace(": ", "; ")


def _with_detail(state: str, detail: str) -> str:
    said = _STARTS_A_SENTENCE.sub(lambda match: match[0].lower(), detail.strip().rstrip("."))
    return f"{state}: {said}" if said else state
