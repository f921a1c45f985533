"""The calls to GitHub that one job makes: a push to a branch with a pull request, from the delivery to the last word.

The branch has trained before, so that the pull request has its comment and the token is there. The job runs until
GitHub shows that it does, and ends before there is progress to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gamma_bot.sandbox.model import RequestRecord
from tests.harness import CONFIG, gamma_with_repository
from tests.stand_ins import MemoryTracking, PatientTrainer

GOAL = 9
FILES = {"gamma.yml": CONFIG, "train.py": ""}


async def calls_of_a_job(folder: Path, key: str) -> Sequence[RequestRecord]:
    """Let a branch train twice; what the second job asked of GitHub."""
    tracking = MemoryTracking()
    async with gamma_with_repository(folder, key, tracking.uri, files=FILES) as gamma:
        trainer = PatientTrainer(tracking, waits=True)
        gamma.tracking, gamma.trainer = tracking, trainer
        await gamma.start()
        begun = 0
        for round_ in ("first", "second"):
            begun = len(gamma.github.requests)
            sha = await gamma.push("models/x", {"note.txt": round_})
            if round_ == "first":
                pull = await gamma.open_pull_request("models/x", base="main")
            await gamma.running(sha)
            await gamma.comment_says(pull, sha[:7])
            trainer.finish()
            await gamma.finished(sha)
            # The metrics alone may be those of the last result, which a comment tells while the next job trains.
            await gamma.comment_says(pull, sha[:7], "score 0.3", "exit status 0")
            await gamma.flushed()
        return gamma.github.requests[begun:]


def counted(calls: Sequence[RequestRecord]) -> Sequence[RequestRecord]:
    """Without those that GitHub does not count: nothing had changed since the last time."""
    return [call for call in calls if call.status != 304]


def named(call: RequestRecord) -> str:
    """A call as the operations page names it."""
    return f"{call.method} {call.route.replace('/repos/{owner}/{repo}', '…')}"
