"""What is told while a question is being answered, and the words for what the agent looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gamma_bot.agent.models import Usage


@dataclass(frozen=True)
class Status:
    """What the agent does now, in our own words: models are silent between calls of tools."""

    text: str


@dataclass(frozen=True)
class ToolDone:
    """A tool answered."""

    name: str
    ok: bool
    ms: int


@dataclass(frozen=True)
class Delta:
    """A piece of text as the model wrote it, not checked: to be shown as plain text and replaced by the answer."""

    text: str


@dataclass(frozen=True)
class Restart:
    """The pieces so far are void."""


@dataclass(frozen=True)
class UsageNow:
    """What all turns so far came to."""

    usage: Usage
    usd: float


@dataclass(frozen=True)
class Answered:
    """How it ended.

    Attributes:
        markdown: the checked answer; empty if there is none.
        why_not: why there is none, as ``WhyNot`` names it; empty otherwise.
        dropped: how many sentences were taken out because of a number that nothing shown accounts for.
        model: the one that answered.
        usage, usd: of everything that was tried.
        looked_at: the names of the tools that were called, in order.
        first_refusal: that a cap is reached is news in this repository this month.
        month_share: how much of the month's cap is used up.
    """

    markdown: str
    why_not: str = ""
    dropped: int = 0
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    usd: float = 0.0
    seconds: float = 0.0
    looked_at: Sequence[str] = ()
    stop: str = ""
    first_refusal: bool = False
    month_share: float = 0.0


Event = Status | ToolDone | Delta | Restart | UsageNow

THINKING = "Reading the question"

_STATUS = {
    "list_runs": "Looking at the newest runs",
    "get_run": "Looking at a run",
    "compare_runs": "Comparing two runs",
    "metric_history": "Looking at the course of a metric",
    "search_logs": "Searching a log",
    "list_commits": "Looking at the newest commits",
    "get_diff": "Reading a diff",
    "read_file": "Reading a file",
    "read_artifact": "Reading a file of a run",
}


def status_of(tool: str) -> str:
    """What a call of a tool is called for people. The name comes from a model: an unknown one is not repeated."""
    return _STATUS.get(tool, "Looking something up")
