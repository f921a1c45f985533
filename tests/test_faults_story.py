"""Fifty jobs while every fifth call to GitHub goes wrong."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from gamma_bot.sandbox.faults import Fault, FaultKind, Faults
from gamma_bot.sandbox.model import IssueComment, PullRequest
from tests.conversation import answered, replies_to
from tests.harness import CONFIG, Gamma, gamma_with_repository
from tests.stand_ins import MemoryTracking, PatientTrainer

pytestmark = pytest.mark.thorough

JOBS = 50
TEAMS = JOBS // 2
EVERY = 5
KINDS = (FaultKind.STATUS, FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER, FaultKind.SECONDARY_LIMIT)


def storm(faults: Faults, seed: int, requests: int = 1_500) -> None:
    """Plan a fault for one of every five of the next requests, whatever they are."""
    chance = random.Random(seed)
    for begin in range(0, requests, EVERY):
        at = begin + chance.randrange(EVERY)
        # A fault counts the requests that no earlier one has hit.
        skip = at - begin // EVERY
        faults.add(Fault("*", "", chance.choice(KINDS), skip=skip, status=502, retry_after_seconds=1))


async def test_fifty_jobs_end_right_although_every_fifth_call_to_github_fails(tmp_path: Path, app_key: str) -> None:
    tracking = MemoryTracking()
    trainer = PatientTrainer(tracking)
    async with gamma_with_repository(tmp_path, app_key, tracking.uri) as gamma:
        gamma.tracking, gamma.trainer = tracking, trainer
        await gamma.start(watch_interval_seconds=0.5)
        storm(gamma.github.faults, seed=20)

        teams = [gamma.elsewhere(ada="write") for _ in range(TEAMS)]
        stories = [story for part in await asyncio.gather(*map(pushes, teams)) for story in part]
        ended = [await told(story) for story in stories]
        await gamma.flushed()
        gamma.github.faults.clear()

        assert ended == ["success"] * JOBS
        for story in stories:
            assert len(story.team.check_runs(story.sha)) == 1, "no check run is doubled"
            if story.pull is not None and story.comment is not None:
                assert len(story.team.comments(story.pull)) == 1, "one comment per pull request (I5)"
                assert len(replies_to(story.team, story.comment)) == 1, "no answer is lost or doubled"
        assert (len(trainer.starts), set(trainer.starts.values())) == (JOBS, {1}), "one push is one training job (I3)"
        calls = Counter(request.fault for request in gamma.github.requests)
        assert set(calls) == {None, *(kind.name for kind in KINDS)}
        assert calls.total() - calls[None] >= calls.total() // EVERY


@dataclass(frozen=True)
class Story:
    """A push, and what happened to it besides."""

    team: Gamma
    sha: str
    pull: PullRequest | None
    comment: IssueComment | None


async def pushes(team: Gamma) -> list[Story]:
    """A branch with a pull request and a command, and one without."""
    files = {"gamma.yml": CONFIG, "train.py": ""}
    shown = await team.push("models/shown", files)
    pull = await team.open_pull_request("models/shown", base="main")
    comment = await team.github.comment(team.repository, pull.number, "/gamma help", "ada")
    alone = await team.push("models/alone", {**files, "note.txt": "another commit"})
    return [Story(team, shown, pull, comment), Story(team, alone, None, None)]


async def told(story: Story) -> str | None:
    """How the job of a push ended, once everything about it is said."""
    run = await story.team.finished(story.sha)
    assert run.output.title == "score 0.3, nothing to compare with yet"
    if story.pull is not None and story.comment is not None:
        await story.team.comment_says(story.pull, story.sha[:7], "score 0.3")
        assert (await answered(story.team, story.comment))[0] == "rocket"
    return run.conclusion
