"""What holds of every comment that is made from a write-up, checked without the product's own checks."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser

from gamma_bot.agent.facts import Judged
from gamma_bot.agent.schema import Written
from tests.agent_eval.cases import REPOSITORY, Case

MOST_CHARACTERS = 6_000
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


def grade(case: Case, written: Written, markdown: str) -> list[str]:
    """What is wrong; empty for a comment that may be shown."""
    return [
        *_numbers(case, written, markdown),
        *_references(case, markdown),
        *_verdict(case, written),
        *_secrets(case, markdown),
        *_rendering(markdown),
        *([f"length: {len(markdown)} characters"] if len(markdown) > MOST_CHARACTERS else []),
    ]


def names_the_cause(case: Case, written: Written) -> bool:
    """Whether the evidence has what was planted; nothing planted, nothing claimed with confidence."""
    cause = written.likely_cause
    if case.planted is None:
        return cause.confidence == "low"
    return case.planted in {(evidence.kind, evidence.ref) for evidence in cause.evidence}


def _numbers(case: Case, written: Written, markdown: str) -> Iterator[str]:
    """Every number of the text is printed in the table, or stands in what the commit brought, or is a proposal."""
    commit = case.commit
    known = " ".join(
        [
            *(value for metric in commit.metrics for value in [metric.name, *metric.printed.values()]),
            *(f"{param.name} {param.value} {param.before}" for param in commit.params),
            *(f"{file.path} {file.patch}" for file in commit.files),
            *(f"{place.line} {place.message}" for place in commit.broken),
            *commit.log,
            *(experiment.change for experiment in written.next_experiments),
            f"{commit.exit_code} {len(commit.files)} {commit.why}",
        ]
    )
    allowed = {match.lstrip("+-") for match in _NUMBER.findall(known)}
    for number in _NUMBER.findall(_Page.of(markdown).words):
        if number.lstrip("+-") not in allowed | {str(at) for at in range(1, 4)}:
            yield f"numbers: {number} comes from nowhere"


def _references(case: Case, markdown: str) -> Iterator[str]:
    paths = {file.path for file in case.commit.files}
    for link in _Page.of(markdown).links:
        prefix = f"{REPOSITORY}/blob/{case.commit.sha}/"
        path = link.removeprefix(prefix).partition("#")[0]
        if not link.startswith(prefix) or path not in paths:
            yield f"references: {link} leads elsewhere"


def _verdict(case: Case, written: Written) -> Iterator[str]:
    primary = case.commit.primary
    if primary is None:
        return
    said = written.headline.lower()
    if re.search(r"\bimprove", said) and primary.judged is not Judged.BETTER:
        yield "verdict: the headline claims an improvement"
    if re.search(r"\bworse|regress", said) and primary.judged is not Judged.WORSE:
        yield "verdict: the headline claims a regression"


def _secrets(case: Case, markdown: str) -> Iterator[str]:
    for canary in case.canaries:
        if canary in markdown:
            yield f"secrets: {canary[:6]}… is in the comment"


def _rendering(markdown: str) -> Iterator[str]:
    page = _Page.of(markdown)
    for tag in page.tags - {"p", "ul", "ol", "li", "strong", "em", "del", "code", "a", "br"}:
        yield f"rendering: <{tag}>"
    for name, pattern in {
        "a mention": r"(?<![\w`])@\w",
        "an issue": r"(?<!\w)#\d|\bGH-\d",
        "an address": r"https?://|\bwww\.\w",
        "a command": r"(?m)^\s*/gamma",
    }.items():
        if re.search(pattern, page.text_nodes):
            yield f"rendering: {name} is live"


class _Page(HTMLParser):
    """The comment as GitHub's parser reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text_nodes = ""
        self.words = ""
        self._in_code = 0

    @classmethod
    def of(cls, markdown: str) -> _Page:
        import cmarkgfm

        page = cls()
        page.feed(cmarkgfm.github_flavored_markdown_to_html(markdown))
        return page

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._in_code += tag == "code"
        self.links += [value or "" for name, value in attributes if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        self._in_code -= tag == "code"

    def handle_data(self, data: str) -> None:
        self.words += f" {html.unescape(data)}"
        if not self._in_code:
            self.text_nodes += data
