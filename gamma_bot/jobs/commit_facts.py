"""From a job's recorded facts to what a write-up is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gamma_bot.agent.facts import BrokenAt, Commit, FileChange, Judged, Metric, MetricRule, Param, PastRun, Project
from gamma_bot.config.schema import GammaConfig
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.record import facts_of, stored_config
from gamma_bot.reporting.facts import JobFacts, MetricLine
from gamma_bot.reporting.numbers import format_percent, format_signed, format_value
from gamma_bot.reporting.titles import primary_line, ran_to_its_end, shown_metrics
from gamma_bot.store.jobs import JobRecord


def commit_facts(
    job: JobRecord, before: Mapping[str, str] | None, past: Sequence[JobRecord], headlines: Mapping[str, str]
) -> Commit:
    """All that may be said of a job that is over.

    Args:
        before: the parameters of the baseline's run and its hyperparameters; ``None`` if they are not known.
        past: earlier jobs of the project, the newest first.
        headlines: what was written about these, by job.
    """
    push, facts, config = Push.from_json(job.push), facts_of(job), stored_config(job.plan)
    repository_url, _, _ = facts.commit_url.partition("/commit/")
    ended = ran_to_its_end(facts)
    return Commit(
        project_facts(job, push, facts, config),
        job.id,
        facts.branch,
        facts.sha,
        failed=not ended,
        why=facts.why,
        message=facts.message,
        executor=facts.executor,
        exit_code=facts.exit_code,
        gate_failed=facts.gate_failed or "",
        compared_with=facts.compared_with or "",
        metrics=[metric_facts(line) for line in shown_metrics(facts)] if ended else [],
        params=_params({**hyperparameters(job), **facts.params}, before),
        files=[FileChange(f.path, f.status, f.additions, f.deletions, f.patch) for f in facts.changed_files],
        broken=[BrokenAt(b.path, b.line, b.title, b.message) for b in (*facts.broken_lines, *facts.printed_tracebacks)],
        log=facts.log_tail,
        past=[_past(facts_of(other), headlines.get(other.id, "")) for other in past],
        url=repository_url,
    )


def hyperparameters(job: JobRecord) -> Mapping[str, str]:
    """What gamma.yml gave to a job, as text: scripts need not log it."""
    return {name: str(value) for name, value in stored_config(job.plan).train.hyperparameters.items()}


def project_facts(job: JobRecord, push: Push, facts: JobFacts, config: GammaConfig) -> Project:
    """What stays the same from push to push."""
    rules = sorted(config.metrics.items())
    return Project(
        job.repository_id,
        facts.repo,
        default_branch=push.default_branch,
        baseline=facts.baseline_branch,
        command=facts.command,
        rules=[
            MetricRule(name, rule.goal or "", rule.primary, rule.tolerance, rule.gate or "") for name, rule in rules
        ],
        notes=config.agent.notes,
    )


def metric_facts(line: MetricLine) -> Metric:
    """A metric with its numbers as the table in the same comment has them."""
    printed = {"current": format_value(line.last)}
    if line.baseline is not None:
        printed["baseline"] = format_value(line.baseline)
    if line.change is not None:
        printed["delta"] = format_signed(line.change)
    if line.relative is not None:
        printed["rel"] = format_percent(line.relative)
    return Metric(
        line.name,
        Judged(line.judgement.value),
        line.last,
        printed,
        goal=line.goal or "",
        primary=line.primary,
        baseline=line.baseline,
        delta=line.change,
        relative=line.relative,
        tolerance=line.tolerance,
        best=line.best,
        best_step=line.best_step,
        step=line.step,
    )


def _params(now: Mapping[str, str], before: Mapping[str, str] | None) -> list[Param]:
    """Those of the run, and those that only the baseline had."""
    if before is None:
        return [Param(name, value) for name, value in sorted(now.items())]
    found = [
        Param(name, now.get(name), before.get(name), changed=now.get(name) != before.get(name))
        for name in sorted({*now, *before})
    ]
    return [param for param in found if param.value is not None or param.changed]


def _past(facts: JobFacts, headline: str) -> PastRun:
    line = primary_line(facts) if ran_to_its_end(facts) else None
    metrics = {line.name: line.last} if line is not None else {}
    outcome = line.judgement.value if line is not None else facts.state.value
    return PastRun(facts.sha, outcome, metrics, headline)
