"""A write-up's surroundings for tests: a commit with its facts, answers about it, a ledger in a real database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from gamma_bot.agent.client import Claude, Patience
from gamma_bot.agent.facts import BrokenAt, Commit, FileChange, MetricRule, Param, PastRun, Project
from gamma_bot.agent.ledger import Caps, Ledger
from gamma_bot.agent.models import load_models
from gamma_bot.agent.sanitiser import AllowedLinks
from gamma_bot.agent.write_up import WriteUp, WriteUps
from gamma_bot.store.database import Database
from gamma_bot.store.ledger import AgentLedger, AttemptRow
from gamma_bot.store.tables import agent_ledger
from tests.agent_texts import metric
from tests.anthropic_fake import KEY, AnthropicFake

SHA = "3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123"
REPOSITORY = "https://github.com/ada/walker"
LINKS = AllowedLinks(repository=REPOSITORY)
QUICK = Patience(read_seconds=20.0, request_seconds=20.0, call_seconds=40.0, retries=1, backoff_seconds=0.01)

PROJECT = Project(
    7,
    "ada/walker",
    default_branch="main",
    baseline="models",
    command="python train.py",
    rules=(
        MetricRule("val_loss", "minimize", True, 0.002, "no-regression"),
        MetricRule("val_accuracy", "maximize", False, 0.01, ""),
    ),
    notes="A small walker. We compare runs after the last epoch.",
)
PATCH = """\
@@ -3,5 +3,5 @@ train:
   command: python train.py
-  hyperparameters: {lr: 0.001, batch_size: 64}
+  hyperparameters: {lr: 0.01, batch_size: 64}
 metrics:
   val_loss: {goal: minimize, primary: true}"""
CODE_PATCH = """\
@@ -38,4 +38,5 @@ def act(self, state):
     hidden = np.tanh(self.weights @ state)
-    return self.head @ hidden
+    logits = self.head @ hidden.reshape(5)
+    return logits
     # end"""

WORSE = Commit(
    PROJECT,
    "job-1",
    "models/faster",
    SHA,
    failed=False,
    why="val_loss is worse than the baseline.",
    message="Try a higher learning rate",
    executor="local",
    exit_code=0,
    compared_with="9b2e4d7c1a5f00112233445566778899aabbccdd",
    metrics=(
        metric("val_loss", 0.412, 0.468, "minimize", 0.002, primary=True),
        metric("val_accuracy", 0.874, 0.871, "maximize", 0.01),
        metric("train_loss", 0.301, 0.255, "minimize"),
    ),
    params=(Param("lr", "0.01", "0.001", changed=True), Param("batch_size", "64"), Param("seed", "0")),
    files=(FileChange("gamma.yml", "modified", 1, 1, PATCH),),
    log=tuple(f"epoch {n}: train_loss {0.9 - n / 30:.3f} val_loss {0.95 - n / 42:.3f}" for n in range(1, 21)),
    past=(PastRun("9b2e4d7c1a5f", "better", {"val_loss": 0.412}, "A wider policy improved `val_loss`."),),
    url=REPOSITORY,
)
BROKEN = replace(
    WORSE,
    failed=True,
    why="The command exited with status 1.",
    exit_code=1,
    metrics=(),
    files=(FileChange("src/policy.py", "modified", 2, 1, CODE_PATCH),),
    broken=(BrokenAt("src/policy.py", 39, "ValueError", "cannot reshape array of size 4 into shape (5,)"),),
    log=(
        "Traceback (most recent call last):",
        '  File "src/policy.py", line 39, in act',
        "    logits = self.head @ hidden.reshape(5)",
        "ValueError: cannot reshape array of size 4 into shape (5,)",
    ),
)

GOOD: dict[str, Any] = {
    "headline": "A higher learning rate made `val_loss` worse, by [[val_loss.rel]].",
    "what_changed": [{"path": "gamma.yml", "summary": "Raises the learning rate: `lr` goes from `0.001` to `0.01`."}],
    "metric_notes": [
        {
            "metric": "val_loss",
            "text": "It rose from [[val_loss.baseline]] to [[val_loss.current]], while `train_loss` fell.",
        }
    ],
    "likely_cause": {
        "text": "Larger steps fit the training data faster and generalise less well; no other setting changed.",
        "confidence": "medium",
        "evidence": [
            {"kind": "param", "ref": "lr"},
            {"kind": "metric", "ref": "val_loss"},
            {"kind": "diff", "ref": "gamma.yml"},
        ],
    },
    "suspects": [],
    "next_experiments": [
        {
            "change": "Train with `lr=0.003`.",
            "why": "A value between the two shows whether the loss turns.",
            "expected_metric": "val_loss",
            "expected_direction": "down",
        }
    ],
    "caveats": ["Each setting was trained with one seed."],
}
GOOD_FAILURE: dict[str, Any] = {
    "headline": "The new reshape in `src/policy.py` does not fit the size of the hidden layer.",
    "what_changed": [{"path": "src/policy.py", "summary": "Reshapes the hidden state before the head."}],
    "metric_notes": [],
    "likely_cause": {
        "text": "The hidden state has four values and is reshaped to five, so NumPy raises a `ValueError`.",
        "confidence": "high",
        "evidence": [
            {"kind": "diff", "ref": "src/policy.py"},
            {"kind": "log", "ref": "cannot reshape array of size 4"},
        ],
    },
    "suspects": [
        {"path": "src/policy.py", "quote": "logits = self.head @ hidden.reshape(5)", "why": "The size is fixed here."}
    ],
    "next_experiments": [
        {
            "change": "Take the size from `hidden.size` instead.",
            "why": "Then the code follows the width of the layer.",
            "expected_metric": "",
            "expected_direction": "unknown",
        }
    ],
    "caveats": [],
}


def answer(values: dict[str, Any] = GOOD, **changes: Any) -> str:
    """What a model writes, as JSON, with some fields put in the place of others."""
    return json.dumps({**values, **changes})


@dataclass
class Stage:
    """Everything a write-up needs, on a fake API."""

    fake: AnthropicFake
    database: Database
    store: AgentLedger
    ledger: Ledger
    claude: Claude
    writer: WriteUps

    async def write(self, commit: Commit = WORSE) -> WriteUp:
        """A write-up of this commit."""
        return await self.writer.write(commit, LINKS)

    async def rows(self) -> Sequence[AttemptRow]:
        """The ledger, in order."""
        query = select(agent_ledger.c.task).distinct()
        tasks = await self.database.read(lambda c: [task for (task,) in c.execute(query)])
        rows = [row for task in tasks for row in await self.store.of_task(task)]
        return sorted(rows, key=lambda row: row.at)


@asynccontextmanager
async def agent_stage(
    folder: Path,
    *,
    url: str | None = None,
    base_url: str = "",
    key: str | None = KEY,
    caps: Caps | None = None,
    patience: Patience = QUICK,
    secrets: Sequence[str] = (),
    most_seconds: float = 60.0,
) -> AsyncIterator[Stage]:
    """A stage with nothing said and nothing spent.

    Args:
        url: of the database; an SQLite of its own by default.
        base_url: another API than the fake.
    """
    database = Database(url or f"sqlite:///{folder / 'agent.db'}")
    database.create_tables()
    fake = AnthropicFake()
    models = load_models()
    async with fake.serve():
        store = AgentLedger(database)
        ledger = Ledger(store, caps)
        claude = Claude(key, base_url or fake.url, ledger, patience)
        first, second = models.get("claude-sonnet-5-5"), models.get("claude-haiku-5-5")
        writer = WriteUps(claude, ledger, first, second, secrets=secrets, most_seconds=most_seconds)
        try:
            yield Stage(fake, database, store, ledger, claude, writer)
        finally:
            await claude.close()
            database.close()
