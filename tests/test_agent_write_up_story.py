"""From a push to the model's text in the pull request: after the verdict, in its place, and never twice.

One Gamma and one scripted API serve all stories of this module.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from pydantic import SecretStr

from gamma_bot.sandbox.model import PullRequest
from gamma_bot.store.database import Database
from gamma_bot.store.jobs import Jobs
from tests.anthropic_fake import KEY, AnthropicFake, Say
from tests.conversation import newest, say
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma, gamma_with_repository

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "token-of-the-rest-api"


@dataclass
class Team:
    """A repository with a pull request, and the API that writes."""

    gamma: Gamma
    pull: PullRequest
    fake: AnthropicFake
    base: str  # a commit that nobody has written about


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def team(tmp_path_factory: pytest.TempPathFactory, app_key: str, mlflow_uri: str) -> AsyncIterator[Team]:
    """The one of all these stories. What trains first is written about by nobody: its gamma.yml says so."""
    async with (
        AnthropicFake().serve() as fake,
        gamma_with_repository(tmp_path_factory.mktemp("write"), app_key, mlflow_uri) as gamma,
    ):
        await gamma.start(anthropic_api_key=SecretStr(KEY), anthropic_base_url=fake.url, api_token=SecretStr(TOKEN))
        await gamma.push("main", {"gamma.yml": f"{CONFIG}agent: {{notes: The last value counts.}}\n"}, "Notes")
        silent = f"{CONFIG}agent: {{write_up: false}}\n"
        base = await gamma.push("models/main", {"gamma.yml": silent, "train.py": LOGGING_SCRIPT})
        await gamma.finished(base)
        head = await gamma.push("models/x", {"note.txt": "x"}, "Begin", start_from="models/main")
        await gamma.finished(head)
        assert fake.requests == []
        pull = await gamma.open_pull_request("models/x", base="models/main")
        yield Team(gamma, pull, fake, base)


async def test_the_models_text_follows_the_verdict_and_takes_the_place_of_ours(team: Team) -> None:
    gamma, fake = team.gamma, team.fake
    may_answer = asyncio.Event()
    fake.script = [Say(json.dumps(STORY), after=may_answer)]
    sha = await gamma.push("models/x", {"gamma.yml": CONFIG.replace("0.1", "0.05")}, "Smaller steps")
    await gamma.finished(sha)
    await gamma.comment_says(team.pull, "Deterministic write-up (no model)", sha[:7])  # while the model still thinks
    may_answer.set()
    comment = await gamma.comment_says(team.pull, "Halving the learning rate made `score` worse")
    assert "by -50 %." in comment  # our number, in our words
    assert f"blob/{sha}/gamma.yml" in comment
    assert "Run it with `/gamma train lr=0.2`" in comment
    assert re.search(r"Written by claude-sonnet-5-5 · [\d,]+ tokens in \(0% cached\), \d+ out · &#36;0.0\d", comment)
    assert len(gamma.comments(team.pull)) == 1

    def check_tells() -> bool | None:
        return "Halving the learning rate" in (gamma.check_runs(sha)[-1].output.summary or "") or None

    await gamma.eventually(check_tells, "the check run to tell the write-up")
    assert "The last value counts." in fake.requests[-1]["system"][1]["text"]  # as gamma.yml on main has it
    told = {part["about"]: part["data"] for part in _sections(fake.requests[-1])}
    assert told["metrics"][0] | {"name": "score", "judged": "worse"} == told["metrics"][0]
    assert "lr: 0.05" in json.dumps(told["diff"])
    assert told["params"] == [{"name": "lr", "before": "0.1", "value": "0.05", "changed": True}]

    # The same again over REST and by a command: nobody is asked, nothing is written twice.
    asked = len(fake.requests)
    status, summary = await _summary(gamma, sha)
    assert (status, summary["rung"], summary["created"]) == (200, "model", False)
    assert "Halving the learning rate" in summary["markdown"]
    reaction, reply = await say(gamma, team.pull, f"/gamma summary {sha[:8]}")
    assert reaction == "rocket"
    assert "Halving the learning rate made `score` worse" in reply
    assert len(fake.requests) == asked
    _, reply = await say(gamma, team.pull, "/gamma cost")
    assert re.search(r"\| The agent, \d{4}-\d\d \| 0.0\d+ USD \| 20(\.00)? USD \| 19.9\d USD \|", reply), reply
    fake.script = [Say(json.dumps({**STORY, "headline": "Smaller steps made `score` worse."}))]
    status, summary = await _summary(gamma, sha, "?force=1")
    assert (status, summary["headline"]) == (201, "Smaller steps made `score` worse.")
    await gamma.comment_says(team.pull, "Smaller steps made `score` worse.", "cached")


async def test_jobs_of_one_commit_keep_their_own_texts(team: Team) -> None:
    gamma, fake = team.gamma, team.fake
    one, other = ({**BACK, "headline": f"The {which} run of this commit."} for which in ("first", "second"))
    fake.script = [Say(json.dumps(one)), Say(json.dumps(other))]
    sha = await gamma.push("models/x", {"gamma.yml": CONFIG.replace("0.1", "0.06")}, "Try")
    await gamma.comment_says(team.pull, one["headline"], sha[:7])
    await say(gamma, team.pull, "/gamma train lr=0.2")
    await gamma.comment_says(team.pull, other["headline"], sha[:7])
    asked = len(fake.requests)
    told = {part["about"]: part["data"] for part in _sections(fake.requests[-1])}
    assert one["headline"] in json.dumps(told["past"])  # what was written before is known

    first, _ = gamma.check_runs(sha)
    await say(gamma, team.pull, f"/gamma promote {first.external_id}")  # which shows its check run anew

    def told_anew() -> str | None:
        summary = gamma.check_runs(sha)[0].output.summary or ""
        return summary if "Champion" in summary else None

    assert one["headline"] in await gamma.eventually(told_anew, "the champion's check run")
    _, reply = await say(gamma, team.pull, "/gamma summary")
    assert other["headline"] in reply

    await say(gamma, team.pull, "/gamma train lr=0.2")  # nothing is trained, and nothing is written
    await gamma.eventually(lambda: newest(gamma, sha, 3), "the third attempt")
    _, reply = await say(gamma, team.pull, "/gamma summary")
    assert f"took over the result of [`{gamma.check_runs(sha)[1].external_id}`]" in reply
    assert other["headline"] in reply
    assert len(fake.requests) == asked


async def test_a_write_up_that_two_ask_for_at_once_is_paid_once(team: Team) -> None:
    gamma, fake = team.gamma, team.fake
    asked, may_answer = len(fake.requests), asyncio.Event()
    fake.script = lambda _: Say(json.dumps(BACK), after=may_answer)
    both = [asyncio.create_task(_summary(gamma, team.base)) for _ in range(2)]
    assert (await _summary(gamma, "0" * 40))[0] == 404  # by its answer the others are under way
    may_answer.set()
    answers = await asyncio.gather(*both)
    assert sorted(status for status, _ in answers) == [200, 201]
    assert answers[0][1]["markdown"] == answers[1][1]["markdown"]
    assert len(fake.requests) == asked + 1


async def test_a_broken_run_is_explained_and_one_that_was_superseded_is_not(team: Team) -> None:
    gamma, fake = team.gamma, team.fake
    asked = len(fake.requests)
    slow = "import time\ntime.sleep(60)\n"
    first = await gamma.push("models/x", {"gamma.yml": CONFIG, "train.py": slow}, "Too slow")
    await gamma.running(first)
    fake.script = [Say(json.dumps(FAILURE))]
    broken = await gamma.push("models/x", {"train.py": "import jaxx\n"}, "Use jax")
    assert (await gamma.finished(broken)).conclusion == "failure"
    assert (await gamma.finished(first)).conclusion == "cancelled"
    comment = await gamma.comment_says(team.pull, "The import names a module that does not exist")
    assert "**First thing to try**" in comment
    assert f"blob/{broken}/train.py#L1" in comment
    assert len(fake.requests) == asked + 1
    told = {part["about"]: part["data"] for part in _sections(fake.requests[-1])}
    assert told["job"]["outcome"] == "failed"
    assert told["traceback"][0]["path"] == "train.py"


async def test_a_model_that_does_not_answer_leaves_our_text_and_says_so(team: Team) -> None:
    gamma, fake = team.gamma, team.fake
    fake.script = [Say("", stop_reason="refusal"), Say("no JSON")]
    sha = await gamma.push("models/x", {"train.py": LOGGING_SCRIPT, "gamma.yml": CONFIG.replace("0.1", "0.07")}, "Back")
    await gamma.finished(sha)
    comment = await gamma.comment_says(team.pull, "what the model wrote did not hold against the data", sha[:7])
    assert "`score`" in comment
    fake.script = [Say(json.dumps(BACK))]
    await say(gamma, team.pull, "/gamma summary")  # tried again
    await gamma.comment_says(team.pull, "Goes back to the earlier setting.", "Written by claude-sonnet-5-5")


async def test_a_commit_that_can_not_be_written_about_is_refused_in_words(team: Team) -> None:
    gamma, fake = team.gamma, team.fake
    asked = len(fake.requests)
    mistaken = await gamma.push("models/x", {"gamma.yml": "version: 1\ntrian: {}\n"}, "Slip")
    await gamma.finished(mistaken, "gamma / config")
    _, reply = await say(gamma, team.pull, "/gamma summary")
    assert f"There is no finished run of `{mistaken[:7]}` in this repository" in reply
    assert (await _summary(gamma, mistaken))[0] == 404

    database = Database(gamma.settings.store_url)
    jobs = Jobs(database)
    [job] = await jobs.of_commit(gamma.repository.id, team.base)
    for number in (1, 2):
        await jobs.open(replace(job, id=f"twin-{number}", head_sha=f"1234567{number}" * 5))
    database.close()
    _, reply = await say(gamma, team.pull, "/gamma summary 1234567")
    assert "More than one commit begins with `1234567`: `123456711234`, `123456721234`. Write more" in reply
    assert len(fake.requests) == asked


def _sections(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(block["text"]) for block in request["messages"][0]["content"][:-1]]


async def _summary(gamma: Gamma, sha: str, query: str = "") -> tuple[int, dict[str, Any]]:
    assert gamma.service is not None
    address = f"{gamma.service.url}/api/agent/summary/{gamma.repository.id}/{sha}{query}"
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
        session.post(address) as response,
    ):
        return response.status, await response.json()


STORY: dict[str, Any] = {
    "headline": "Halving the learning rate made `score` worse, by [[score.rel]].",
    "what_changed": [{"path": "gamma.yml", "summary": "Lowers the learning rate, to `lr: 0.05`."}],
    "metric_notes": [{"metric": "score", "text": "It fell from [[score.baseline]] to [[score.current]]."}],
    "likely_cause": {
        "text": "The score grows with the learning rate in `train.py`.",
        "confidence": "medium",
        "evidence": [{"kind": "diff", "ref": "gamma.yml"}],
    },
    "suspects": [],
    "next_experiments": [
        {
            "change": "Train with `lr=0.2`.",
            "why": "It shows whether larger steps help.",
            "expected_metric": "score",
            "expected_direction": "up",
        }
    ],
    "caveats": [],
}
FAILURE: dict[str, Any] = {
    "headline": "The import names a module that does not exist: `jaxx`.",
    "what_changed": [{"path": "train.py", "summary": "Replaces the training by an import."}],
    "metric_notes": [],
    "likely_cause": {
        "text": "`jaxx` is not installed, and is probably a slip for `jax`.",
        "confidence": "high",
        "evidence": [{"kind": "log", "ref": "ModuleNotFoundError: No module named 'jaxx'"}],
    },
    "suspects": [{"path": "train.py", "quote": "import jaxx", "why": "The name has an x too many."}],
    "next_experiments": [
        {
            "change": "Write `import jax` instead.",
            "why": "Then Python finds it.",
            "expected_metric": "",
            "expected_direction": "unknown",
        }
    ],
    "caveats": [],
}
BACK: dict[str, Any] = {
    "headline": "Goes back to the earlier setting.",
    "what_changed": [],
    "metric_notes": [],
    "likely_cause": {"text": "Nothing moved that needs a cause.", "confidence": "low", "evidence": []},
    "suspects": [],
    "next_experiments": [],
    "caveats": [],
}
