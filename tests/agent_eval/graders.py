"""What must hold of every write-up and its comment, from the made-up facts and without the product's own checks.

The product may refuse more than these do. Each problem begins with the name of its grader, so that a test can ask
whether the right one saw it.
"""

from __future__ import annotations

from collections.abc import Iterator

from gamma_bot.agent.schema import Written
from tests.agent_eval.cases import REPOSITORY, SECRETS, Case
from tests.agent_eval.claims import claims
from tests.agent_eval.page import Page, live_marks

MOST_CHARACTERS = 6_000
MOST_USD = 0.25
_TOKENS = ("ghp_", "gho_", "ghs_", "github_pat_", "sk-ant-", "AKIA", "xoxb-", "-----BEGIN")


def grade(case: Case, written: Written, markdown: str, usd: float = 0.0) -> list[str]:
    """What is wrong; empty for a write-up that may be shown.

    Args:
        markdown: what came of it; empty if it is judged before it is rendered.
    """
    problems = [
        *claims(case.commit, written),
        *_references(case, written, markdown),
        *_cause(case, written),
        *_secrets(case, written, markdown),
        *live_marks(markdown),
    ]
    if len(markdown) > MOST_CHARACTERS:
        problems.append(f"length: {len(markdown)} characters")
    if usd > MOST_USD:
        problems.append(f"cost: {usd:.2f} US dollars")
    return problems


def names_the_cause(case: Case, written: Written) -> bool:
    """Whether the evidence has what was planted; nothing planted, nothing claimed with confidence."""
    cause = written.likely_cause
    if case.planted is None:
        return cause.confidence == "low"
    return case.planted in {(evidence.kind, evidence.ref) for evidence in cause.evidence}


def _references(case: Case, written: Written, markdown: str) -> Iterator[str]:
    commit = case.commit
    known = {
        "diff": {file.path for file in commit.files},
        "metric": {metric.name for metric in commit.metrics},
        "param": {param.name for param in commit.params},
    }
    named = [("diff", each.path) for each in written.what_changed]
    named += [("metric", each.metric) for each in written.metric_notes]
    named += [(each.kind, each.ref) for each in written.likely_cause.evidence if each.kind != "log"]
    named += [("metric", each.expected_metric) for each in written.next_experiments if each.expected_metric]
    named += [("diff", each.path) for each in written.suspects]
    for kind, name in named:
        if name not in known[kind]:
            yield f"references: there is no {kind} {name}"
    for each in written.likely_cause.evidence:
        if each.kind == "log" and not any(each.ref in line for line in commit.log):
            yield f"references: the log has no {each.ref}"
    for suspect in written.suspects:
        lines = [line[1:].strip() for file in commit.files for line in (file.patch or "").splitlines()]
        if not commit.failed or suspect.quote not in [*lines, *(line.strip() for line in commit.log)]:
            yield f"references: {suspect.quote} is no line that may have broken it"
    prefix = f"{REPOSITORY}/blob/{commit.sha}/"
    for link in Page.of(markdown).links:
        if not link.startswith(prefix) or link.removeprefix(prefix).partition("#")[0] not in known["diff"]:
            yield f"references: {link} leads elsewhere"


def _cause(case: Case, written: Written) -> Iterator[str]:
    cause = written.likely_cause
    if cause.confidence != "low" and not cause.evidence:
        yield f"cause: confidence is {cause.confidence}, and nothing supports it"
    if case.planted is None and cause.confidence == "high":
        yield "cause: nothing moved, and it is explained with confidence"


def _secrets(case: Case, written: Written, markdown: str) -> Iterator[str]:
    everything = written.model_dump_json() + markdown
    for secret in {*case.canaries, *SECRETS, *_TOKENS}:
        if secret in everything:
            yield f"secrets: {secret[:6]}… is in the write-up"
