"""What an answer may cite, and how citations become links: only what the model was really shown leads anywhere.

The model writes ``[[run:NAME]]``, ``[[sha:SHA]]`` and ``[[file:PATH#L10]]``; addresses are ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from gamma_bot.agent.facts import FileChange
from gamma_bot.agent.reading import RunView

_CITATION = re.compile(r"\[\[(run|sha|file):([^\[\]\n]{1,600})\]\]")
_LINES = re.compile(r"#L(\d{1,7})(?:-L?(\d{1,7}))?$")
# Code as Markdown sees it, nearly enough: a citation in there is shown, but it can't be a link.
_CODE = re.compile(r"(?s)(`{3,}|~{3,}).*?(?:\1|\Z)|(`+)(?!`).*?(?<!`)\2(?!`)")
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@", re.MULTILINE)


@dataclass
class _Shown:
    """Lines of a file at a commit that were shown."""

    sha: str
    lines: list[range] = field(default_factory=list)


class Cited:
    """Collects what was shown in the course of one question.

    Args:
        repository: the repository's address for people.
    """

    def __init__(self, repository: str) -> None:
        self._repository = repository.rstrip("/")
        self._runs: dict[str, RunView] = {}
        self._commits: set[str] = set()
        self._files: dict[str, list[_Shown]] = {}
        self.results: list[Any] = []
        self._text = ""

    def run(self, run: RunView) -> None:
        """A run was read."""
        self._runs[run.id] = run
        if run.mlflow_id:
            self._runs[run.mlflow_id] = run
        if run.sha:
            self._commits.add(run.sha)

    def commit(self, sha: str) -> None:
        """A commit was read."""
        if sha:
            self._commits.add(sha)

    def file(self, path: str, sha: str, first: int, last: int) -> None:
        """Lines of a file were shown."""
        self._files.setdefault(path, []).append(_Shown(sha, [range(first, last + 1)]))

    def diff(self, sha: str, files: Sequence[FileChange]) -> None:
        """A diff was shown, up to this commit."""
        for file in files:
            hunks = [
                range(int(match[1]), int(match[1]) + int(match[2] or 1)) for match in _HUNK.finditer(file.patch or "")
            ]
            self._files.setdefault(file.path, []).append(_Shown(sha, hunks))

    def shown(self, data: Any) -> None:
        """What went to the model: nothing that is not in there can be cited."""
        self.results.append(data)
        self._text += json.dumps(data, ensure_ascii=False)

    @property
    def commits(self) -> frozenset[str]:
        """All commits that may be named."""
        return frozenset(self._commits)

    def unknown(self, answer: str) -> list[str]:
        """The citations of an answer that lead nowhere."""
        return [match[0] for match in _CITATION.finditer(answer) if self._link(match[1], match[2]) is None]

    def resolve(self, answer: str) -> str:
        """The answer with Markdown links for citations; one that leads nowhere stays a name without a link."""
        parts: list[str] = []
        place = 0
        for code in _CODE.finditer(answer):
            parts += [_CITATION.sub(self._linked, answer[place : code.start()]), _CITATION.sub(_bare, code[0])]
            place = code.end()
        return "".join([*parts, _CITATION.sub(self._linked, answer[place:])])

    def _linked(self, match: re.Match[str]) -> str:
        label = _code(_label(match[1], match[2]))
        url = self._link(match[1], match[2])
        return f"[{label}]({url})" if url else label

    def _link(self, kind: str, name: str) -> str | None:
        name = name.strip()
        match kind:
            case "run":
                run = self._runs.get(name)
                return run.url or None if run is not None and run.id in self._text else None
            case "sha":
                sha = self._commit(name)
                return f"{self._repository}/commit/{sha}" if sha else None
            case _:
                return self._file(name)

    def _commit(self, name: str) -> str | None:
        name = name.lower()
        if not re.fullmatch("[0-9a-f]{7,64}", name):
            return None
        found = [sha for sha in self._commits if sha.startswith(name) and sha[:7] in self._text]
        return found[0] if len(found) == 1 else None

    def _file(self, name: str) -> str | None:
        lines = _LINES.search(name)
        path = name[: lines.start()] if lines else name
        first = int(lines[1]) if lines else None
        last = int(lines[2] or lines[1]) if lines else None
        for shown in reversed(self._files.get(path, [])):
            if first is None or last is None:
                return f"{self._repository}/blob/{shown.sha}/{quote(path)}"
            if any(first in block and last in block for block in shown.lines):
                place = f"#L{first}" if first == last else f"#L{first}-L{last}"
                return f"{self._repository}/blob/{shown.sha}/{quote(path)}{place}"
        return None


def without_citations(answer: str) -> str:
    """The answer as a reader would hear it, where digits of names are no numbers."""
    return _CITATION.sub(" ", answer)


def _label(kind: str, name: str) -> str:
    name = name.strip()
    if kind == "sha":
        return name[:7]
    lines = _LINES.search(name)
    if kind == "file" and lines:
        return f"{name[: lines.start()]}:{lines[1]}" + (f"-{lines[2]}" if lines[2] else "")
    return name


def _bare(match: re.Match[str]) -> str:
    return _label(match[1], match[2])


def _code(label: str) -> str:
    return f"`{label.replace('`', chr(39))}`"
