"""What check runs show: **gamma / train** for a job, **gamma / config** for ``gamma.yml``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, assert_never

from gamma_bot.reporting.facts import Annotation, BrokenLine, CheckReport, JobFacts, State
from gamma_bot.reporting.markdown import Markdown, clip, fit, log_line, plain
from gamma_bot.reporting.numbers import count
from gamma_bot.reporting.templates import render, render_fitting
from gamma_bot.reporting.titles import title

LIMIT = 65_535  # characters that GitHub takes, for summary and text each
_MAX_ANNOTATIONS = 40  # GitHub takes 50 in one request
_MAX_PRINTED = 10
_TITLE_LIMIT = 255
_BACKTICKS = re.compile(r"`([^`\n]+)`")


class Problem(Protocol):
    """Something wrong in ``gamma.yml``, with its place; lines and columns count from 1."""

    @property
    def line(self) -> int | None: ...
    @property
    def column(self) -> int | None: ...
    @property
    def end_line(self) -> int | None: ...
    @property
    def end_column(self) -> int | None: ...
    @property
    def message(self) -> str: ...
    @property
    def hint(self) -> str | None: ...
    @property
    def warning(self) -> bool: ...


def check_report(facts: JobFacts, *, written: Markdown | None = None, written_by: str = "") -> CheckReport:
    """What **gamma / train** shows of the job now.

    Args:
        written: a checked write-up, made by ``written_by``.
    """
    status, conclusion = _github_state(facts.state)
    has_text = facts.state.final or facts.state is State.RUNNING
    return CheckReport(
        status=status,
        conclusion=conclusion,
        title=title(facts),
        summary=render_fitting("checks/summary.md.j2", facts, LIMIT, written=written, written_by=written_by),
        text=render_fitting("checks/text.md.j2", facts, LIMIT) if has_text else "",
        annotations=(
            *(_annotation(broken) for broken in facts.broken_lines[:_MAX_ANNOTATIONS]),
            *(_notice(printed) for printed in facts.printed_tracebacks[:_MAX_PRINTED]),
        ),
    )


def config_mistakes_report(problems: Sequence[Problem], path: str = "gamma.yml") -> CheckReport:
    """What **gamma / config** shows of a file that can't be used: each problem, at its line."""
    shown = problems[:_MAX_ANNOTATIONS]
    return CheckReport(
        status="completed",
        conclusion="failure",
        title=_problems_title(problems, path),
        summary=fit(render("checks/config_mistakes.md.j2", path=path, problems=shown, number=len(problems)), LIMIT),
        annotations=tuple(_problem_annotation(problem, path) for problem in shown),
    )


def config_notices_report(notices: Sequence[Problem], path: str = "gamma.yml") -> CheckReport:
    """What **gamma / config** shows where keys count on the default branch only; it blocks nobody."""
    annotations = (_problem_annotation(problem, path) for problem in notices[:_MAX_ANNOTATIONS] if problem.line)
    return CheckReport(
        status="completed",
        conclusion="neutral",
        title=f"{count(len(notices), 'value')} of {path} taken from the default branch",
        summary=fit(render("checks/config_notices.md.j2", problems=notices[:_MAX_PRINTED]), LIMIT),
        annotations=tuple(replace(annotation, level="warning") for annotation in annotations),
    )


def config_fine_report(path: str = "gamma.yml") -> CheckReport:
    """What **gamma / config** shows once the file can be used again."""
    return CheckReport(
        status="completed",
        conclusion="success",
        title=f"{path} is fine",
        summary=render("checks/config_fine.md.j2", path=path),
    )


def nothing_to_train_report() -> CheckReport:
    """What **gamma / config** shows where there is nothing to run yet: how to begin. It blocks nobody."""
    return CheckReport(
        status="completed",
        conclusion="neutral",
        title="Nothing to train yet: no gamma.yml and no train.py",
        summary=render("checks/nothing_to_train.md.j2"),
    )


def _github_state(state: State) -> tuple[str, str | None]:
    match state:
        case State.QUEUED:
            return "queued", None
        case State.PREPARING | State.RUNNING:
            return "in_progress", None
        case State.SUCCEEDED:
            return "completed", "success"
        case State.FAILED:
            return "completed", "failure"
        case State.CANCELLED:
            return "completed", "cancelled"
        case State.SKIPPED:
            return "completed", "neutral"
        case State.HELD:
            return "completed", "action_required"
        case _:
            assert_never(state)


def _problems_title(problems: Sequence[Problem], path: str) -> str:
    if not problems:
        return f"{path} can't be used"
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    place = f"{path}, line {first.line}" if first.line else path
    return clip(plain(f"{place}: {first.message.replace('`', '')}"), _TITLE_LIMIT - len(more)) + more


def _annotation(broken: BrokenLine) -> Annotation:
    return Annotation(
        path=broken.path,
        start_line=broken.line,
        end_line=broken.line,
        level="failure",
        title=_unquoted(broken.title),
        message=_lines(broken.message) or "It broke here.",
    )


def _notice(printed: BrokenLine) -> Annotation:
    """A traceback in the log of a command that exited with status 0: worth a look, and nothing failed."""
    return Annotation(
        path=printed.path,
        start_line=printed.line,
        end_line=printed.line,
        level="notice",
        title="A traceback was printed",
        message=_lines(f"{printed.title}: {printed.message}\n\nThe command went on and exited with status 0."),
    )


def _problem_annotation(problem: Problem, path: str) -> Annotation:
    line = problem.line or 1
    end_line = max(line, problem.end_line or line)
    # GitHub refuses columns on an annotation of several lines. What has no place in the file is told at its beginning.
    columns = end_line == line and (problem.column is not None or problem.line is None)
    # The title says what is wrong and the message what to do; a title alone can't be sent, so it gives way then.
    title, message = (problem.message, problem.hint) if problem.hint else (_kind(problem, path), problem.message)
    return Annotation(
        path=path,
        start_line=line,
        end_line=end_line,
        level="warning" if problem.warning else "failure",
        title=_unquoted(title),
        message=_lines(message),
        start_column=problem.column or 1 if columns else None,
        end_column=max(problem.end_column or 1, problem.column or 1) if columns else None,
    )


def _lines(message: str) -> str:
    """Text of several lines for an annotation, which shows it as it is: backticks would stay backticks."""
    quoted = _BACKTICKS.sub("“\\1”", message)
    return clip("\n".join(log_line(line) for line in quoted.split("\n")), 10_000)


def _unquoted(title: str) -> str:
    return plain(title.replace("`", ""))


def _kind(problem: Problem, path: str) -> str:
    return f"Warning about {path}" if problem.warning else f"Mistake in {path}"
