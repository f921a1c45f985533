"""The prompt of a write-up: what never changes first, so that it is cached, and then the commit within its budgets.

The API caches a prefix, in the order tools, system, messages. So the system blocks hold nothing that differs from push
to push: no time, no SHA, no job. Everything that others wrote stands in JSON strings below the user's message.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from gamma_bot.agent.accounting import tokens_of
from gamma_bot.agent.cleaning import clean, clean_lines
from gamma_bot.agent.diff import fitting_diff
from gamma_bot.agent.facts import Commit, Metric, PastRun, Project
from gamma_bot.agent.log_extract import extract
from gamma_bot.agent.models import Model
from gamma_bot.agent.schema import output_format

MAX_OUTPUT_TOKENS = 4_000


@dataclass(frozen=True)
class Budgets:
    """The most tokens of each section, by our estimate; what is more is left out, and the prompt says so."""

    card: int = 1_400
    metrics: int = 3_000
    params: int = 1_000
    diff: int = 12_000
    diff_file: int = 6_000
    log: int = 3_000
    past: int = 1_500
    whole: int = 28_000


BUDGETS = Budgets()


@dataclass(frozen=True)
class Prompt:
    """A prompt.

    Attributes:
        system: the blocks that are the same for every write-up of a project.
        user: the sections about one commit.
        shown: all text of the sections, for whoever checks that an answer quotes what is there.
        cut: what was left out for lack of room, in words for a reader.
    """

    system: Sequence[Mapping[str, Any]]
    user: Sequence[Mapping[str, Any]]
    shown: Commit
    cut: Sequence[str] = field(default_factory=tuple)

    def request(self, model: Model) -> dict[str, Any]:
        """What ``messages.stream`` takes."""
        config: dict[str, Any] = {"format": output_format()}
        if model.effort is not None:
            config["effort"] = model.effort
        return {
            "max_tokens": MAX_OUTPUT_TOKENS,
            "system": list(self.system),
            "messages": [{"role": "user", "content": list(self.user)}],
            "output_config": config,
        }


def policy() -> str:
    """What a model is told of its work; the same bytes in every prompt."""
    return (files("gamma_bot.agent") / "prompts" / "policy.md").read_text(encoding="utf-8")


def prompt_version() -> str:
    """Names the policy, the form of the answer and the budgets: what is written anew when they change."""
    parts = json.dumps([policy(), output_format(), vars(BUDGETS)], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:12]


def stable_prefix(project: Project, secrets: Collection[str] = ()) -> list[dict[str, Any]]:
    """The system blocks: the policy and the project's card, cached for an hour."""
    card = {
        "baseline_branch": project.baseline,
        "command": project.command,
        "default_branch": project.default_branch,
        "metrics": {
            rule.name: {
                "gate": rule.gate,
                "goal": rule.goal or "not said",
                "primary": rule.primary,
                "tolerance": rule.tolerance,
            }
            for rule in project.rules
        },
        "notes_of_the_team": project.notes,
        "repository": project.repository,
    }
    text = _dump(_cleaned(card, secrets))
    if tokens_of(text) > BUDGETS.card:
        names = sorted(rule.name for rule in project.rules)
        card |= {"metrics": names[:100], "notes_of_the_team": project.notes[:1000]}
        text = _dump(_cleaned(card, secrets))[: BUDGETS.card * 3]
    return [
        {"type": "text", "text": policy()},
        {
            "type": "text",
            "text": f"# Project card\n\n{text}",
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        },
    ]


def write_up_prompt(commit: Commit, secrets: Collection[str] = ()) -> Prompt:
    """All that a model is told about a commit, redacted and within the budgets."""
    shown = _cleaned_commit(commit, secrets)
    cut: list[str] = []
    diff, left_out = fitting_diff(shown.files, BUDGETS.diff, BUDGETS.diff_file)
    if left_out:
        cut.append("The model saw only a part of the diff.")
    metrics = _fitting([_metric(each) for each in _by_weight(shown.metrics)[:40]], BUDGETS.metrics)
    if len(metrics) < len(shown.metrics):
        cut.append("The model saw only a part of the metrics.")
    params = [
        _without_empty({"name": p.name, "value": p.value, "before": p.before, "changed": p.changed})
        for p in shown.params
    ]
    params.sort(key=lambda each: (not each.get("changed"), each["name"]))
    sections: list[tuple[str, Any]] = [
        ("job", _job(shown)),
        ("metrics", metrics),
        ("params", _fitting(params, BUDGETS.params)),
        (
            "traceback",
            [{"path": b.path, "line": b.line, "error": b.error, "message": b.message} for b in shown.broken[:5]],
        ),
        ("past", _fitting([_past(run) for run in shown.past[:5]], BUDGETS.past)),
        ("diff", {"files": diff, "left_out": left_out}),
        ("log", extract(shown.log, BUDGETS.log)),
    ]
    blocks = [{"type": "text", "text": _dump({"about": name, "data": data})} for name, data in sections if data]
    blocks.append({"type": "text", "text": "Write about this run, in the form that is asked for."})
    return Prompt(stable_prefix(commit.project, secrets), blocks, shown, cut)


def _cleaned_commit(commit: Commit, secrets: Collection[str]) -> Commit:
    """The commit with every text in it as a model may see it. Names keep their place in the facts, cleaned alike."""
    from dataclasses import replace

    def text(value: str) -> str:
        return clean(value, secrets)

    return replace(
        commit,
        branch=text(commit.branch)[:300],
        why=text(commit.why)[:1000],
        message=text(commit.message)[:2000],
        metrics=[replace(m, name=text(m.name)[:250]) for m in commit.metrics],
        params=[
            replace(
                p,
                name=text(p.name)[:250],
                value=_param(p.name, p.value, text),
                before=_param(p.name, p.before, text),
            )
            for p in commit.params
        ],
        files=[
            replace(f, path=text(f.path), patch=text(f.patch[:400_000]) if f.patch is not None else None)
            for f in commit.files[:300]
        ],
        gate_failed=text(commit.gate_failed)[:250],
        broken=[
            replace(b, path=text(b.path), error=text(b.error)[:250], message=text(b.message)[:500])
            for b in commit.broken
        ],
        log=clean_lines((line[:2000] for line in commit.log[-2000:]), secrets),
        past=[
            replace(
                run,
                headline=text(run.headline)[:300],
                metrics={text(name)[:250]: value for name, value in run.metrics.items()},
            )
            for run in commit.past
        ],
    )


def _param(name: str, value: str | None, text: Callable[[str], str]) -> str | None:
    """A value is judged with its name: ``api_key`` says what no pattern would see."""
    if value is None:
        return None
    return text(f"{name}={value}").partition("=")[2][:300]


def _job(commit: Commit) -> dict[str, Any]:
    return _without_empty(
        {
            "outcome": "failed" if commit.failed else "succeeded",
            "why": commit.why,
            "gate_failed": commit.gate_failed,
            "exit_code": commit.exit_code,
            "branch": commit.branch,
            "sha": commit.sha[:7],
            "compared_with": commit.compared_with[:7],
            "commit_message": commit.message,
            "executor": commit.executor,
        }
    )


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "name": metric.name,
        "judged": metric.judged.value,
        "goal": metric.goal or "not said",
        "primary": metric.primary,
        "tolerance": metric.tolerance,
        **dict(sorted(metric.printed.items())),
    }


def _past(run: PastRun) -> dict[str, Any]:
    metrics = {name: float(f"{value:.4g}") for name, value in sorted(run.metrics.items())[:8]}
    return _without_empty({"sha": run.sha[:7], "outcome": run.outcome, "metrics": metrics, "headline": run.headline})


def _by_weight(metrics: Sequence[Metric]) -> list[Metric]:
    """The primary one first, then what has a goal, then what moved."""
    return sorted(metrics, key=lambda m: (not m.primary, not m.goal, m.judged == "same", m.name))


def _fitting(items: Sequence[Any], tokens: int) -> list[Any]:
    found: list[Any] = []
    left = tokens
    for item in items:
        left -= tokens_of(_dump(item)) + 1
        if left < 0:
            break
        found.append(item)
    return found


def _cleaned(value: Any, secrets: Collection[str]) -> Any:
    if isinstance(value, str):
        return clean(value, secrets)
    if isinstance(value, dict):
        return {clean(str(key), secrets): _cleaned(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, secrets) for item in value]
    return value


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, "", (), [], {}, False)}


def _dump(value: Any) -> str:
    """The same bytes for the same values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
