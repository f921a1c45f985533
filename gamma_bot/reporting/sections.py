"""The parts that check runs and comments share: the metrics table, what it is compared with, the log, the artifacts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from gamma_bot.reporting.charts import resample, sparkline, xychart
from gamma_bot.reporting.facts import BaselineFacts, JobFacts, Judgement, MetricLine, State
from gamma_bot.reporting.log_lines import lines_to_show
from gamma_bot.reporting.markdown import Markdown, code, fence, link, prose, table, text
from gamma_bot.reporting.numbers import (
    count,
    format_bytes,
    format_change,
    format_moment,
    format_seconds,
    format_value,
)
from gamma_bot.reporting.titles import primary_line, ran_to_its_end, shown_metrics

_TREND_WIDTH = 12


@dataclass(frozen=True)
class Portions:
    """How much of each part is shown. What matters least is the first to shrink when a report is too long."""

    log_lines: int = 20
    artifacts: int = 20
    params: int = 40
    files: int = 30
    metrics: int = 40


PORTIONS = (
    Portions(),
    Portions(log_lines=20, artifacts=5, params=10, files=10, metrics=20),
    Portions(log_lines=5, artifacts=3, params=0, files=5, metrics=10),
    Portions(log_lines=0, artifacts=0, params=0, files=3, metrics=5),
)


def metrics_table(facts: JobFacts, limit: int) -> Markdown:
    """The metrics beside the baseline's; the primary one in bold. Empty if none was logged."""
    lines = shown_metrics(facts)
    if not lines:
        return Markdown()
    judging = ran_to_its_end(facts)
    against = any(line.baseline is not None for line in lines)
    with_best = any(_best(line) for line in lines)
    columns = [("Metric", "l"), ("This run" if judging else "So far", "r")]
    columns += [("Best", "r")] if with_best else []
    columns += [(_baseline_name(facts), "r")] if against else []
    columns += [("Change", "r"), ("", "l")] if against and judging else []
    columns += [("Trend", "l")]
    rows = [_metric_row(line, against=against, with_best=with_best, judging=judging) for line in lines[:limit]]
    shown = table([name for name, _ in columns], rows, "".join(align for _, align in columns))
    more = len(lines) - limit
    return Markdown(f"{shown}\n\n{count(more, 'more metric')} on the job's page.") if more > 0 else shown


def judged(line: MetricLine) -> str:
    """An arrow with its word, so that neither colour nor shape alone carries the meaning."""
    if line.judgement is Judgement.NO_BASELINE and line.baseline is not None:
        return "can't be compared"
    return {
        Judgement.BETTER: "▲ better",
        Judgement.SAME: "= same",
        Judgement.WORSE: "▼ worse",
        Judgement.CHANGED: "changed",
        Judgement.NO_BASELINE: "not in the baseline",
        Judgement.NOT_FINITE: "✖ not finite",
    }[line.judgement]


def compared_with(facts: JobFacts) -> Markdown:
    """Where the baseline's numbers come from, or why there are none."""
    baseline = facts.baseline
    if baseline is None and not facts.state.final:
        return Markdown()  # it is only looked for when the run is over
    if baseline is not None:
        job = link(code(baseline.job), baseline.url)
        commit = link(short(baseline.sha), _commit_url(facts, baseline.sha))
        where = f"Baseline: the last values of job {job}, {commit} on {code(baseline.branch)}{_promoted(baseline)}."
        lines = shown_metrics(facts)
        if lines and all(line.baseline is None for line in lines):
            where = f"{code(baseline.branch)} (job {job}, {commit}{_promoted(baseline)})"
            return Markdown(f"Nothing is compared: {where} logged none of these metrics.")
        unjudged = "" if ran_to_its_end(facts) or not facts.metrics else " This run is judged once it has ended."
        if facts.state.final and unjudged:
            unjudged = " This run did not reach its end, so it is not judged."
        return Markdown(where + unjudged)
    if facts.baseline_branch:
        return Markdown(f"No baseline: {code(facts.baseline_branch)} has no other finished run to compare with.")
    return Markdown("No baseline: there is no finished run to compare with.")


def champion_line(facts: JobFacts) -> Markdown:
    """That later runs are compared with this one; empty if they are not."""
    if facts.champion is None:
        return Markdown()
    since = format_moment(facts.champion.since)
    by = code(facts.champion.by)
    return Markdown(f"🏆 **Champion** since {since}, promoted by {by}: later runs are compared with this one.")


def reused_line(facts: JobFacts) -> Markdown:
    """That nothing was trained, and whose result this is; empty if it is the job's own."""
    if facts.reused is None:
        return Markdown()
    job = link(code(facts.reused.job), facts.reused.url)
    sha = facts.reused.sha
    commit = "this commit" if sha == facts.sha else link(short(sha), _commit_url(facts, sha))
    return Markdown(
        f"♻️ **Nothing was trained**: this is the result of job {job}, which trained the same code with the same "
        f"configuration at {commit}. {code('/gamma train force=true')} trains all the same."
    )


def chart(facts: JobFacts) -> Markdown:
    """The primary metric's course as a Mermaid chart with its legend in words; empty if there is none to draw."""
    primary = primary_line(facts)
    drawn = xychart(primary.name, primary.history, primary.baseline_history) if primary else None
    if primary is None or drawn is None:
        return Markdown()
    legend = f"{code(primary.name)} by step"
    if drawn.has_baseline:
        legend += f": blue is this run, orange is {_baseline_name(facts, 'the champion')}"
    end = primary.history[-1][0]
    gap = f" No finite value was logged after step {end:,}." if end < primary.step else ""
    note = f" {drawn.note}" if drawn.note else ""
    return Markdown(f"{fence(drawn.source, 'mermaid')}\n\n{legend}.{gap}{note}")


def links(facts: JobFacts, *, on_check: bool = False) -> Markdown:
    """Where to look further, besides the commit: only what is there.

    Args:
        on_check: it stands on the check run's page, which has GitHub's own link to the job's page.
    """
    places = [("MLflow run", facts.run_url)]
    if not on_check:
        places = [("Job page", facts.details_url), *places, ("Check", facts.check_url)]
    return Markdown(" · ".join(link(name, url) for name, url in places if url))


def circumstances(facts: JobFacts) -> Markdown:
    """How it was run: command, where, how long, exit status."""
    parts = [str(code(facts.command))] if facts.command else []
    if facts.executor:
        parts.append(f"on {code(facts.executor)}")
    if facts.wall_seconds is not None:
        parts.append(format_seconds(facts.wall_seconds))
    if facts.exit_code is not None:
        parts.append(f"exit status {facts.exit_code}")
    return Markdown(" · ".join(parts))


def run_line(facts: JobFacts, *, on_check: bool = False) -> Markdown:
    """How it was run and where to look further, in one line."""
    parts = (circumstances(facts), links(facts, on_check=on_check))
    return Markdown(" · ".join(part for part in parts if part))


def commit_line(facts: JobFacts) -> Markdown:
    """Which commit this is about, and whose push it was."""
    subject = facts.message.strip().split("\n", 1)[0]
    said = f" {text(subject, 120)}," if subject else ""
    return Markdown(f"{commit_link(facts)}{said} pushed to {code(facts.branch)} by {code(facts.pusher)}")


def commit_link(facts: JobFacts) -> Markdown:
    """The commit's short SHA, leading to it."""
    return link(short(facts.sha), facts.commit_url)


def broken_places(facts: JobFacts) -> Markdown:
    """Where the repository's code broke, each place with a link to it at this very commit.

    The title holds the message of a single one; of several, each is listed with its own.
    """
    places = [
        (link(code(f"{broken.path}:{broken.line}"), blob_url(facts, broken.path, broken.line)), broken)
        for broken in facts.broken_lines[:5]
    ]
    if len(places) == 1:
        place, broken = places[0]
        _, _, hint = broken.message.partition("\n\n")
        return Markdown(f"It broke at {place}. {prose(hint, 500)}".rstrip())
    return Markdown(
        "\n".join(
            f"- {place}: {text(broken.title, 100)}, {code(broken.message.split(chr(10), 1)[0], 300)}"
            for place, broken in places
        )
    )


def log_block(facts: JobFacts, limit: int) -> Markdown:
    """The newest lines of the log in a fence; empty if there are none to show.

    A traceback that ends a failed run is shown from its beginning, if it is not too long and there is room.
    """
    broke = facts.state is State.FAILED and not ran_to_its_end(facts)
    if broke and limit >= Portions.log_lines:
        limit = lines_to_show(facts.log_tail, limit)
    lines = list(facts.log_tail)[-limit:] if limit else []
    return fence(lines) if lines else Markdown()


def log_note(facts: JobFacts) -> Markdown:
    """How much of the log is gone; empty if all of it was kept."""
    if not facts.log_dropped_bytes:
        return Markdown()
    return Markdown(f"{format_bytes(facts.log_dropped_bytes)} of the log are dropped; its end is kept.")


def artifacts_table(facts: JobFacts, limit: int) -> Markdown:
    """The files that the job left, the largest first."""
    if not (facts.artifacts or facts.artifacts_left_out) or not limit:
        return Markdown()
    ordered = sorted(facts.artifacts, key=lambda artifact: (-artifact[1], artifact[0]))
    rows = [[str(code(path)), format_bytes(size)] for path, size in ordered[:limit]]
    more = len(ordered) - limit
    if more > 0:
        rows.append([f"and {count(more, 'more file')}", format_bytes(sum(size for _, size in ordered[limit:]))])
    parts = [table(["File", "Size"], rows, "lr")] if rows else []
    if facts.artifacts_left_out:
        parts.append(Markdown(f"{left_out(facts)}."))
    return Markdown("\n\n".join(parts))


def left_out(facts: JobFacts) -> str:
    """How many files are not listed, and why: ``2 files with unprintable names left out``."""
    names = "an unprintable name" if facts.artifacts_left_out == 1 else "unprintable names"
    return f"{count(facts.artifacts_left_out, 'file')} with {names} left out"


def artifacts_heading(facts: JobFacts) -> Markdown:
    """How many files there are and how large they are together."""
    total = format_bytes(sum(size for _, size in facts.artifacts))
    return Markdown(f"{count(len(facts.artifacts), 'artifact')}, {total}")


def params_table(facts: JobFacts, limit: int) -> Markdown:
    """The parameters that the run logged."""
    if not facts.params or not limit:
        return Markdown()
    rows = [[str(code(name)), str(code(value, 120))] for name, value in list(facts.params.items())[:limit]]
    more = len(facts.params) - limit
    return table(["Parameter", "Value"], [*rows, [f"and {more:,} more", ""]] if more > 0 else rows)


def short(sha: str) -> Markdown:
    """The first seven characters of a SHA as a code span."""
    return code(sha[:7])


def blob_url(facts: JobFacts, path: str, line: int | None = None) -> str | None:
    """The file at the job's commit, on the GitHub that the commit's address points to."""
    root, slash, _ = facts.commit_url.partition("/commit/")
    if not slash:
        return None
    return f"{root}/blob/{facts.sha}/{quote(path)}" + (f"#L{line}" if line else "")


def _metric_row(line: MetricLine, *, against: bool, with_best: bool, judging: bool) -> Sequence[str]:
    value = format_value(line.last)
    cells = [f"**{code(line.name)}**", f"**{value}**"] if line.primary else [str(code(line.name)), value]
    if with_best:
        cells.append(_best(line))
    if against:
        cells.append(format_value(line.baseline) if line.baseline is not None else "")
    if against and judging:
        cells += [format_change(line.change, line.relative) if line.change is not None else "", judged(line)]
    return [*cells, _trend(line.history)]


def _trend(history: Sequence[tuple[int, float]]) -> str:
    if len(history) <= _TREND_WIDTH:
        return sparkline([value for _, value in history], _TREND_WIDTH)
    return sparkline(resample(history, history[0][0], history[-1][0], _TREND_WIDTH), _TREND_WIDTH)


def _best(line: MetricLine) -> str:
    if line.best is None or line.best == line.last or not math.isfinite(line.best):
        return ""
    return f"{format_value(line.best)} at step {line.best_step:,}" if line.best_step is not None else ""


def _baseline_name(facts: JobFacts, champion: str = "Champion") -> str:
    if facts.baseline is None:
        return "Baseline"
    return champion if facts.baseline.champion else str(code(facts.baseline.branch, 60))


def _promoted(baseline: BaselineFacts) -> str:
    if not baseline.champion:
        return ""
    by = f"promoted by {code(baseline.promoted_by)}" if baseline.promoted_by else "set in MLflow's model registry"
    return f": the champion, {by}"


def _commit_url(facts: JobFacts, sha: str) -> str | None:
    root, slash, _ = facts.commit_url.partition("/commit/")
    return f"{root}/commit/{quote(sha)}" if slash else None
