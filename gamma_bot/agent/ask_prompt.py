"""The prompt of a question: what never changes first, then the commit, then the thread, and the question last.

The API caches a prefix, in the order tools, system, messages. Tools and policy are the same for everybody, the card for
all questions of a project, the commit for all questions about it; from then on a conversation only grows at its end.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from gamma_bot.agent.accounting import tokens_of
from gamma_bot.agent.cleaning import clean
from gamma_bot.agent.facts import FileChange, Project
from gamma_bot.agent.models import Model
from gamma_bot.agent.prompt import stable_prefix
from gamma_bot.agent.reading import RunView
from gamma_bot.agent.run_data import rounded, whole
from gamma_bot.agent.tool_schemas import schemas

MAX_OUTPUT_TOKENS = 3_000
_COMMIT_TOKENS = 3_000
_THREAD_TOKENS = 3_000
_MOST_FILES = 60
_MOST_EXCHANGES = 6
_LONGEST_ANSWER = 2_500


@dataclass(frozen=True)
class Exchange:
    """A question that was asked before in the same conversation, and its answer."""

    by: str
    question: str
    answer: str


@dataclass(frozen=True)
class Question:
    """What is asked, and what is known before anything is read.

    Attributes:
        run: the newest run of the commit that is asked about; ``None`` if it has none.
        files: what that commit's push changed; their patches are not shown, a tool reads them.
        write_up: what was written about the commit.
        thread: oldest first.
    """

    project: Project
    text: str
    by: str
    sha: str
    branch: str = ""
    run: RunView | None = None
    files: Sequence[FileChange] = ()
    write_up: str = ""
    thread: Sequence[Exchange] = ()


@dataclass(frozen=True)
class AskPrompt:
    """The beginning of a conversation with the model.

    Attributes:
        shown: what of it an answer may refer to: the commit, the thread, the question.
    """

    system: Sequence[Mapping[str, Any]]
    first: Mapping[str, Any]
    shown: Sequence[Any] = field(default_factory=tuple)

    def request(self, model: Model, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What ``messages.stream`` takes."""
        request: dict[str, Any] = {
            "max_tokens": MAX_OUTPUT_TOKENS,
            "tools": list(schemas()),
            "system": list(self.system),
            "messages": list(messages),
            # Moves on with the conversation: what was sent before is read from the cache in the next turn.
            "cache_control": {"type": "ephemeral"},
        }
        if model.effort is not None:
            request |= {"thinking": {"type": "between_tools"}, "output_config": {"effort": model.effort}}
        return request


def ask_policy() -> str:
    """What a model is told of answering questions; the same bytes in every prompt."""
    return (files("gamma_bot.agent") / "prompts" / "ask.md").read_text(encoding="utf-8")


def ask_prompt(question: Question, secrets: Collection[str] = ()) -> AskPrompt:
    """All that a model is told before it reads anything, redacted and within the budgets."""

    def cleaned(value: Any) -> Any:
        match value:
            case str():
                return clean(value, secrets)
            case float():
                return rounded(value)
            case dict():
                return {clean(str(key), secrets): _named(str(key), item) for key, item in value.items()}
            case list() | tuple():
                return [cleaned(item) for item in value]
            case _:
                return value

    def _named(name: str, value: Any) -> Any:
        one_line = isinstance(value, str) and "\n" not in value and "=" not in name
        return clean(f"{name}={value}", secrets).partition("=")[2] if one_line else cleaned(value)

    commit = cleaned(_commit(question))
    thread = [cleaned(each) for each in _fitting(question.thread)]
    asked = {"asked_by": clean(question.by, secrets), "text": clean(question.text, secrets)}
    content: list[dict[str, Any]] = [
        {**_section("commit", commit), "cache_control": {"type": "ephemeral"}},
        *([_section("thread", thread)] if thread else []),
        _section("question", asked),
    ]
    card = stable_prefix(question.project, secrets)[-1]
    system = [{"type": "text", "text": ask_policy()}, card]
    return AskPrompt(system, {"role": "user", "content": content}, [commit, thread, asked])


def _commit(question: Question) -> dict[str, Any]:
    changed = [
        {"path": file.path, "status": file.status, "added": file.additions, "deleted": file.deletions}
        for file in question.files[:_MOST_FILES]
    ]
    data: dict[str, Any] = {
        "sha": question.sha[:12],
        "branch": question.branch,
        "run": whole(question.run) if question.run is not None else "This commit has no run.",
        "changed_files": changed,
        "files_left_out": max(0, len(question.files) - _MOST_FILES),
        "write_up": question.write_up[:3_000],
    }
    # Whatever gives way can be read by a tool.
    for name in ("write_up", "changed_files", "run"):
        if tokens_of(json.dumps(data)) <= _COMMIT_TOKENS:
            break
        data[name] = "Too long to be shown here; a tool shows it." if name != "run" else _short(question.run)
    return data


def _short(run: RunView | None) -> dict[str, Any]:
    if run is None:
        return {}
    full = whole(run)
    return {**full, "params": {}, "artifacts": [], "metrics": full.get("metrics", [])[:10]}


def _fitting(thread: Sequence[Exchange]) -> list[dict[str, str]]:
    """The newest exchanges, oldest first; of long answers the beginning."""
    kept: list[dict[str, str]] = []
    left = _THREAD_TOKENS
    for each in reversed(thread[-_MOST_EXCHANGES:]):
        entry = {"asked_by": each.by, "question": each.question[:2_000], "answer": each.answer[:_LONGEST_ANSWER]}
        left -= tokens_of(json.dumps(entry))
        if left < 0:
            break
        kept.insert(0, entry)
    return kept


def _section(name: str, data: Any) -> dict[str, Any]:
    text = json.dumps({"section": name, "data": data}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return {"type": "text", "text": text}
