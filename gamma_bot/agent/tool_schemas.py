"""The nine tools as the model is told of them: read-only, strict, every argument required.

They stand before everything else in a prompt, so they never change from call to call: the cache depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

STATES = ("queued", "preparing", "running", "succeeded", "failed", "cancelled", "skipped", "held")

MOST_RUNS = 20
MOST_POINTS = 60
MOST_MATCHES = 20
MOST_COMMITS = 30
MOST_LINES = 400
MOST_ARTIFACT_BYTES = 16_384

_RUN = "A run by its name, such as j3f1c9aa0b2d1, or by its MLflow id."


def schemas() -> Sequence[Mapping[str, Any]]:
    """What goes into ``tools`` of a request."""
    return [_tool(name, about, arguments) for name, about, arguments in _TOOLS]


def _text(about: str) -> dict[str, Any]:
    return {"type": "string", "description": about}


def _number(about: str) -> dict[str, Any]:
    return {"type": "integer", "description": about}


def _tool(name: str, about: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "name": name,
        "description": about,
        "strict": True,
        "input_schema": {
            "type": "object",
            "properties": dict(arguments),
            "required": list(arguments),
            "additionalProperties": False,
        },
    }


_TOOLS: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    (
        "list_runs",
        "The newest training runs of this project: names, states, commits, branches, and their primary metric.",
        {
            "limit": _number(f"How many, 1 to {MOST_RUNS}."),
            "status": {
                "type": "string",
                "enum": ["", *STATES],
                "description": "Only runs in this state; empty for all.",
            },
        },
    ),
    (
        "get_run",
        "One run: state and reason, commit, parameters, metrics with baseline and verdict, names of its artifacts.",
        {"run_id": _text(_RUN)},
    ),
    (
        "compare_runs",
        "Two runs side by side: every metric of both with the difference (b minus a), and the parameters that differ.",
        {"run_a": _text(_RUN), "run_b": _text(_RUN)},
    ),
    (
        "metric_history",
        "How a metric went in a run: thinned points, and minimum, maximum, first, last and slope over all of them.",
        {
            "run_id": _text(_RUN),
            "metric": _text("The metric's name as get_run writes it."),
            "points": _number(f"How many points, 2 to {MOST_POINTS}."),
        },
    ),
    (
        "search_logs",
        "Lines of a run's log that contain a text. Not a regular expression: * stands for anything, case is ignored.",
        {
            "run_id": _text(_RUN),
            "pattern": _text("What a line must contain; empty for the newest lines."),
            "max_matches": _number(f"How many lines, 1 to {MOST_MATCHES}; the newest ones if there are more."),
        },
    ),
    (
        "list_commits",
        "The newest commits up to the one that is asked about.",
        {
            "path": _text("Only commits that changed this file or folder; empty for all."),
            "limit": _number(f"How many, 1 to {MOST_COMMITS}."),
        },
    ),
    (
        "get_diff",
        "What changed between two commits, as patches.",
        {
            "from_sha": _text("The older commit; empty for the one that the newer commit's push began at."),
            "to_sha": _text("The newer commit; empty for the one that is asked about."),
            "path": _text("Only this file or folder; empty for all."),
        },
    ),
    (
        "read_file",
        "Lines of a text file of the repository.",
        {
            "sha": _text("At which commit; empty for the one that is asked about."),
            "path": _text("The file's path from the repository's root."),
            "start": _number("The first line, from 1."),
            "lines": _number(f"How many lines, 1 to {MOST_LINES}."),
        },
    ),
    (
        "read_artifact",
        "The beginning of a text or JSON file that a run left.",
        {
            "run_id": _text(_RUN),
            "path": _text("As get_run or an empty path names it; an empty path lists the files."),
            "max_bytes": _number(f"How much of it, 1 to {MOST_ARTIFACT_BYTES}."),
        },
    ),
)
