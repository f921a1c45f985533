"""Who may give which command: every command, every role of GitHub's, in a public and in a private repository."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

import pytest
import pytest_asyncio

from gamma_bot.commands.parser import MOST_COMMANDS
from gamma_bot.commands.registry import build_registry
from gamma_bot.sandbox.model import PullRequest
from tests.conversation import refusals, say
from tests.harness import CONFIG, Gamma, gamma_with_repository
from tests.stand_ins import MemoryTracking, PatientTrainer

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROLES = ("none", "read", "triage", "write", "maintain", "admin")


@dataclass(frozen=True)
class Expected:
    """The role that a command takes, and what shows that it was carried out.

    Attributes:
        line: how it is typed; ``{job}`` is the one that trained first.
        public, private: the least role in a public and in a private repository.
        reaction: what somebody gets who may give it.
        words: what its answer says then; one of these.
    """

    line: str
    public: str
    private: str
    words: tuple[str, ...]
    reaction: Literal["rocket", "confused"] = "rocket"


# Written by hand, not derived: it is what docs and people rely on. A new command needs a line here.
EXPECTED = {
    "help": Expected("help", "none", "read", ("`/gamma help COMMAND` explains one",)),
    "status": Expected("status", "none", "read", ("| Job | Commit | State |",)),
    "metrics": Expected("metrics", "none", "read", ("`score`",)),
    "logs": Expected("logs 3", "none", "read", ("step 3", "has printed nothing")),
    "artifacts": Expected("artifacts", "none", "read", ("has left no files",)),
    "config": Expected("config", "none", "read", ("Configuration of",)),
    "simulate": Expected("simulate", "none", "read", ("would train. Nothing was started.",)),
    "cost": Expected("cost", "none", "read", ("Nothing that trained here is paid for",)),
    "summary": Expected("summary", "write", "write", ("Deterministic write-up (no model)",)),
    # Nobody set a key for the agent: what can be said without one is told.
    "ask": Expected("ask why's that?", "write", "write", ("Without an agent, this is known:",), "confused"),
    "train": Expected("train lr=0.2", "write", "write", ("with `lr=0.2`",)),
    "retry": Expected("retry lr=0.3", "write", "write", ("with `lr=0.3`",)),
    "stop": Expected("stop all", "write", "write", ("Stopping job", "so there is nothing to stop")),
    "skip": Expected("skip", "write", "write", ("is skipped and its check is neutral",)),
    "promote": Expected("promote {job}", "maintain", "maintain", ("is the champion now", "is the champion already")),
    # Its branch is in the repository itself, so that there is nothing to approve: allowed, but not to be done.
    "approve": Expected("approve", "maintain", "maintain", ("needs no approval",), "confused"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, app_key: str) -> AsyncIterator[Gamma]:
    """One Gamma for all roles, whose jobs end at once."""
    tracking = MemoryTracking()
    async with gamma_with_repository(tmp_path_factory.mktemp("roles"), app_key, tracking.uri) as gamma:
        gamma.tracking, gamma.trainer = tracking, PatientTrainer(tracking)
        await gamma.start()
        yield gamma


async def trained(shared: Gamma, *, private: bool, default_config: str = "") -> tuple[Gamma, PullRequest]:
    """A repository with somebody of every role, where a pull request has trained."""
    gamma = shared.elsewhere(private=private, **{f"{role}-person": role for role in ROLES if role != "none"})
    if default_config:
        await gamma.push("main", {"gamma.yml": default_config})
    sha = await gamma.push("models/x", {"gamma.yml": CONFIG, "train.py": ""})
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.finished(sha)
    await gamma.comment_says(pull, sha[:7])
    return gamma, pull


async def test_every_command_is_expected() -> None:
    assert set(EXPECTED) == {command.name for command in build_registry()}


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
async def test_every_command_by_every_role(shared: Gamma, private: bool) -> None:
    gamma, pull = await trained(shared, private=private)
    job = gamma.check_runs(pull.head_sha)[0].external_id
    for role in ROLES:
        # Everybody can read what is public; somebody without a role in a private repository has just lost it.
        has = "read" if role == "none" and not private else role
        needed = {name: each.private if private else each.public for name, each in EXPECTED.items()}
        allowed = [name for name in EXPECTED if ROLES.index(has) >= ROLES.index(needed[name])]

        for names in in_comments([name for name in EXPECTED if name not in allowed]):
            reaction, answer = await say(gamma, pull, typed(names, job), f"{role}-person")
            assert (reaction, refusals(answer)) == ("-1", [(name, needed[name], has) for name in names])
        for expected in ("rocket", "confused"):
            for names in in_comments([name for name in allowed if EXPECTED[name].reaction == expected]):
                reaction, answer = await say(gamma, pull, typed(names, job), f"{role}-person")
                assert (reaction, refusals(answer)) == (expected, []), f"{role}: {names}\n{answer}"
                attempts = re.findall(r", attempt (\d+) with", answer)
                assert len(attempts) == len(set(attempts)), "two new attempts have two numbers"
                for name in names:
                    assert any(words in answer for words in EXPECTED[name].words), f"{role}: {name}\n{answer}"


async def test_the_default_branch_may_ask_for_another_role(shared: Gamma) -> None:
    permissions = "version: 1\npermissions: {train: maintain, logs: write, stop: triage, approve: read}\n"
    gamma, pull = await trained(shared, private=False, default_config=permissions)
    gamma.repository.custom_roles["researcher"] = "write"
    gamma.repository.collaborators["zoe"] = "researcher"

    triage = await say(gamma, pull, "/gamma train\n/gamma logs\n/gamma approve", "triage-person")
    stopped = await say(gamma, pull, "/gamma stop", "triage-person")
    custom = await say(gamma, pull, "/gamma train", "zoe")
    read = await say(gamma, pull, "/gamma logs", "zoe")

    assert triage[0] == "-1"
    # What lets code of strangers run is never opened as far as the file asks.
    assert refusals(triage[1]) == [
        ("train", "maintain", "triage"),
        ("logs", "write", "triage"),
        ("approve", "write", "triage"),
    ]
    assert (custom[0], refusals(custom[1])) == ("-1", [("train", "maintain", "write")])
    assert (stopped[0], read[0]) == ("rocket", "rocket")


async def test_a_failure_that_nobody_expected_is_answered_and_leaves_the_other_commands_alone(shared: Gamma) -> None:
    gamma, pull = await trained(shared, private=False)
    assert isinstance(shared.trainer, PatientTrainer)
    shared.trainer.broken = RuntimeError("the secret is hunter2")

    reaction, answer = await say(gamma, pull, "/gamma logs\n/gamma status", "admin-person")

    shared.trainer.broken = None
    assert reaction == "confused"
    assert "Gamma itself failed at this command" in answer
    assert "| Job | Commit | State |" in answer
    assert "hunter2" not in answer


def in_comments(names: list[str]) -> list[list[str]]:
    """As many commands to a comment as it may hold."""
    return [names[start : start + MOST_COMMANDS] for start in range(0, len(names), MOST_COMMANDS)]


def typed(names: list[str], job: str) -> str:
    """The comment that gives these commands."""
    return "\n".join(f"/gamma {EXPECTED[name].line}".format(job=job) for name in names)
