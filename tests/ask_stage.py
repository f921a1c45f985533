"""A question's surroundings for tests: a small project that can be read, and an agent on the scripted API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gamma_bot.agent.ask import Asker
from gamma_bot.agent.ask_events import Answered, Event
from gamma_bot.agent.ask_prompt import Question
from gamma_bot.agent.facts import FileChange
from gamma_bot.agent.ledger import Charge
from gamma_bot.agent.models import load_models
from gamma_bot.agent.reading import CannotRead, CommitView, Diff, FileView, RunView
from tests.agent_stage import PATCH, PROJECT, REPOSITORY, SHA, Stage, agent_stage
from tests.agent_texts import metric
from tests.anthropic_fake import Say

BEFORE = "9b2e4d7c1a5f00112233445566778899aabbccdd"
CHARGE = Charge(7, "j2", "ask", "ask:1")
TRAIN = "import json\n\nLR = 0.01\n\n\ndef step(state):\n    return state * LR\n"

BASE = RunView("j1", "a1" * 16, "succeeded", "models", BEFORE, params={"lr": "0.001"}, url="https://gamma.test/jobs/j1")
WORSE = RunView(
    "j2",
    "b2" * 16,
    "succeeded",
    "models/faster",
    SHA,
    message="Try a higher learning rate",
    params={"lr": "0.01"},
    metrics=[metric("val_loss", 0.412, 0.468, "minimize", 0.002, primary=True)],
    artifacts=[("report.json", 24), ("weights.bin", 9)],
    compared_with="j1",
    url="https://gamma.test/jobs/j2",
)


@dataclass
class Project:
    """A project in memory, and what was asked of it."""

    repository: str = REPOSITORY
    head: str = SHA
    held: list[RunView] = field(
        default_factory=lambda: [
            WORSE,
            replace(BASE, metrics=[metric("val_loss", 0.412, 0.412, "minimize", 0.002, primary=True)]),
        ]
    )
    histories: dict[str, list[tuple[int, float]]] = field(
        default_factory=lambda: {"val_loss": [(n, 0.9 - n / 46) for n in range(1, 21)]}
    )
    lines: list[str] = field(default_factory=lambda: [f"epoch {n} fine" for n in range(1, 101)])
    files: dict[str, bytes] = field(default_factory=lambda: {"train.py": TRAIN.encode()})
    left: dict[str, bytes] = field(
        default_factory=lambda: {"report.json": b'{"val_loss": 0.468001}\n', "weights.bin": b"\0" * 9}
    )
    patches: list[FileChange] = field(default_factory=lambda: [FileChange("gamma.yml", "modified", 1, 1, PATCH)])
    is_down: bool = False
    asked: list[str] = field(default_factory=list)

    async def runs(self, limit: int, state: str) -> Sequence[RunView]:
        return [run for run in self.held if state in ("", run.state)][:limit]

    async def run(self, run_id: str) -> RunView | None:
        self.asked.append(run_id)
        return next((run for run in self.held if run_id in (run.id, run.mlflow_id)), None)

    async def history(self, run: RunView, metric: str) -> Sequence[tuple[int, float]] | None:
        if self.is_down:
            raise CannotRead("TrackingError: postgres://gamma:hunter22@db refused")
        return self.histories.get(metric)

    async def log(self, run: RunView) -> Sequence[str]:
        return self.lines

    async def artifact(self, run: RunView, path: str, most_bytes: int) -> bytes | None:
        self.asked.append(path)
        content = self.left.get(path)
        return content[: most_bytes + 1] if content is not None else None

    async def commits(self, path: str, limit: int) -> Sequence[CommitView]:
        self.asked.append(path)
        return [CommitView(SHA, "Try a higher learning rate", "ada", "2026-11-24T03:00:00Z")][:limit]

    async def diff(self, from_sha: str, to_sha: str) -> Diff | None:
        known = [sha for sha in (SHA, BEFORE) if sha.startswith(to_sha)]
        return Diff(BEFORE, known[0], self.patches) if known else None

    async def file(self, sha: str, path: str) -> FileView | None:
        self.asked.append(path)
        if not SHA.startswith(sha) or path not in self.files:
            return None
        return FileView(SHA, self.files[path])


QUESTION = Question(
    PROJECT,
    "Why did it drop?",
    "ada",
    SHA,
    branch="models/faster",
    run=WORSE,
    files=[FileChange("gamma.yml", "modified", 1, 1, PATCH)],
)


@dataclass
class AskStage:
    """An agent, what it may read, and what it told on its way."""

    stage: Stage
    asker: Asker
    project: Project
    events: list[Event] = field(default_factory=list)

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What the API was sent."""
        return self.stage.fake.requests

    async def ask(self, *script: Say, question: Question = QUESTION, charge: Charge = CHARGE) -> Answered:
        """Ask, and let the API answer so."""

        async def heard(event: Event) -> None:
            self.events.append(event)

        self.stage.fake.script = list(script)
        return await self.asker.answer(question, self.project, charge, heard)


@asynccontextmanager
async def ask_stage(folder: Path, **more: Any) -> AsyncIterator[AskStage]:
    """A stage with nothing asked and nothing spent."""
    secrets = more.pop("asker_secrets", ())
    async with agent_stage(folder, **more) as stage:
        models = load_models()
        both = [models.get("claude-sonnet-5-5"), models.get("claude-haiku-5-5")]
        asker = Asker(stage.claude, stage.ledger, both, secrets=secrets, pages=("https://gamma.test/jobs",))
        yield AskStage(stage, asker, Project())


def calls(*named: tuple[str, dict[str, Any]], text: str = "", thinking: str | None = "hm") -> Say:
    """A turn in which the model calls tools."""
    return Say(text, tools=named, thinking=thinking)


def results(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of tools that a request ends with."""
    return [block for block in request["messages"][-1]["content"] if block["type"] == "tool_result"]
