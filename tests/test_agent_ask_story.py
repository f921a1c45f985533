"""``/gamma ask`` in a pull request and the chat over REST, from the first 👀 to an answer with links.

One Gamma and one scripted API serve all stories of this module.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from pydantic import SecretStr

from gamma_bot.sandbox.model import PullRequest
from tests.agent_stage import GOOD_FAILURE
from tests.anthropic_fake import KEY, AnthropicFake, Say
from tests.conversation import answered, reactions, replies_to, say
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma, gamma_with_repository

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "token-of-the-rest-api"
# Nobody writes about these runs unless somebody asks for it: what the API is scripted to say is for the questions.
QUIET = CONFIG + "agent: {write_up: false}\n"


@dataclass
class Team:
    """A repository with a pull request whose two commits have trained, and the API that answers."""

    gamma: Gamma
    pull: PullRequest
    base: str
    head: str
    fake: AnthropicFake

    def job(self, sha: str) -> str:
        """The job of a commit."""
        return self.gamma.check_runs(sha)[-1].external_id or ""

    def address(self, path: str) -> str:
        """An address of the REST API."""
        assert self.gamma.service is not None
        return f"{self.gamma.service.url}/api/agent/{path}"

    async def chat(self, question: str, **more: Any) -> list[tuple[str, dict[str, Any]]]:
        """The events of an answer."""
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
            session.post(
                self.address(f"chat/{self.gamma.repository.id}"), json={"question": question, **more}
            ) as response,
        ):
            assert response.status == 200, await response.text()
            assert response.headers["X-Accel-Buffering"] == "no"
            return events(await response.text())


def events(stream: str) -> list[tuple[str, dict[str, Any]]]:
    """Server-sent events by name, without the pings."""
    blocks = [block.split("\n") for block in stream.split("\n\n") if block and not block.startswith(":")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def team(tmp_path_factory: pytest.TempPathFactory, app_key: str, mlflow_uri: str) -> AsyncIterator[Team]:
    """The one of all these stories."""
    async with (
        AnthropicFake().serve() as fake,
        gamma_with_repository(tmp_path_factory.mktemp("ask"), app_key, mlflow_uri) as gamma,
    ):
        await gamma.start(anthropic_api_key=SecretStr(KEY), anthropic_base_url=fake.url, api_token=SecretStr(TOKEN))
        base = await gamma.push("models/main", {"gamma.yml": QUIET, "train.py": LOGGING_SCRIPT})
        await gamma.finished(base)
        head = await gamma.push(
            "models/x", {"gamma.yml": QUIET.replace("0.1", "0.05")}, "Smaller steps", start_from="models/main"
        )
        pull = await gamma.open_pull_request("models/x", base="models/main")
        await gamma.finished(head)
        await gamma.flushed()
        yield Team(gamma, pull, base, head, fake)


async def ask(gamma: Gamma, pull: PullRequest, words: str) -> tuple[str, str]:
    """The reaction and the answer, once GitHub shows nothing older any more."""
    comment = await gamma.github.comment(gamma.repository, pull.number, words, "ada")
    await answered(gamma, comment)
    await gamma.flushed()
    return await answered(gamma, comment)


async def test_a_question_gets_an_answer_with_links_and_is_remembered(team: Team) -> None:
    gamma, pull = team.gamma, team.pull
    base_job, head_job = team.job(team.base), team.job(team.head)
    seen: list[str] = []

    def script(request: dict[str, Any]) -> Say:
        last = request["messages"][-1]["content"]
        if last[-1]["type"] == "text":
            return Say(
                thinking="compare them",
                tools=[
                    ("compare_runs", {"run_a": base_job, "run_b": head_job}),
                    ("get_diff", {"from_sha": team.base, "to_sha": team.head, "path": ""}),
                    ("read_file", {"sha": "", "path": "gamma.yml", "start": 1, "lines": 20}),
                    ("metric_history", {"run_id": head_job, "metric": "score", "points": 10}),
                    ("search_logs", {"run_id": head_job, "pattern": "step*score", "max_matches": 5}),
                    ("list_commits", {"path": "", "limit": 3}),
                    ("get_run", {"run_id": "j000000000000"}),
                ],
            )
        seen.extend(block["content"] for block in last)
        return Say(
            "@ada the `score` fell from 0.3 to 0.15 since [[sha:" + team.head[:8] + "]] halved `lr`"
            f" ([[file:gamma.yml#L4]]): [[run:{head_job}]] against [[run:{base_job}]]."
            " Run `/gamma train lr=0.2` to see the other side."
        )

    team.fake.script = script
    reaction, answer = await ask(gamma, pull, "/gamma ask why did it drop?")

    assert reaction == "rocket"
    assert "> why did it drop?" in answer
    page = gamma.repository.full_name
    for words in (
        f"/{page}/commit/{team.head})",
        f"/{page}/blob/{team.head}/gamma.yml#L4)",
        f"[`{head_job}`]({gamma.service.url}/jobs/{head_job})",
        "`/gamma train lr=0.2`",
        "0.15",
        "Answered by claude-sonnet-5-5 · ",
        "% cached)",
    ):
        assert words in answer, answer
    assert "@ada the" not in answer
    results = [json.loads(each) for each in seen]
    assert results[0]["data"]["metrics"][0] == {
        "name": "score", "goal": "maximize", "a": 0.3, "b": 0.15, "delta": -0.15, "rel": -0.5
    }  # fmt: skip
    assert "-  hyperparameters: {lr: 0.1}" in results[1]["data"]["files"][0]["patch"]
    assert results[2]["data"]["lines"][3] == "4:   hyperparameters: {lr: 0.05}"
    assert results[3]["data"]["last"] == {"step": 3, "value": 0.15}
    assert results[4]["data"]["matches"] == 3
    assert results[5]["data"]["commits"][0]["message"] == "Smaller steps"
    assert results[6] == {"error": "This project has no such run. list_runs names those that it has."}

    team.fake.script = [Say("As said before.")]
    await ask(gamma, pull, "/gamma ask are you sure?")
    sections = [json.loads(block["text"]) for block in team.fake.requests[-1]["messages"][0]["content"]]
    assert [each["section"] for each in sections] == ["commit", "thread", "question"]
    assert [each["question"] for each in sections[1]["data"]] == ["why did it drop?"]
    assert "halved" in sections[1]["data"][0]["answer"]


async def test_progress_is_shown_until_the_answer_takes_its_place(team: Team) -> None:
    gamma = team.gamma
    team.fake.script = [Say("It was ", breaks="stall"), Say("Fine.")]
    comment = await gamma.github.comment(gamma.repository, team.pull.number, "/gamma ask slowly?", "ada")

    def in_progress() -> str | None:
        return next((reply for reply in replies_to(gamma, comment) if "⏳" in reply), None)

    shown = await gamma.eventually(in_progress, "a word of progress")
    second = await gamma.github.comment(gamma.repository, team.pull.number, "/gamma ask and this?", "ada")

    def refused() -> str | None:
        return next((reply for reply in replies_to(gamma, second) if "is being answered" in reply), None)

    busy = await gamma.eventually(refused, "the second question to be told to wait")
    reacted, _ = await answered(gamma, second)
    await gamma.restart()  # which cuts the answer off: it is tried once more
    await answered(gamma, comment)
    await gamma.flushed()
    reaction, answer = await answered(gamma, comment)

    assert "⏳ Reading the question …" in shown
    assert reacted == "confused"
    assert "Another question of this pull request is being answered." in busy
    assert reaction == "rocket"
    assert "Fine." in answer
    assert len(replies_to(gamma, comment)) == 1


async def test_who_may_not_write_may_not_ask_and_forks_are_not_looked_at(team: Team) -> None:
    gamma, before = team.gamma, len(team.fake.requests)
    stranger = gamma.github.create_user("stranger")
    fork = await gamma.github.fork(gamma.repository, stranger)
    head = await gamma.github.commit(fork, "models/y", {"train.py": "1/0"}, "From outside", author=stranger)
    pull = await gamma.github.open_pull_request(
        gamma.repository, "models/y", "main", author=stranger, head_repository=fork
    )

    denied = await say(gamma, team.pull, "/gamma ask what is secret?", "stranger")
    refused = await say(gamma, pull, "/gamma ask is this fine?", "ada")
    by_bot = await gamma.github.comment(gamma.repository, team.pull.number, "/gamma ask me", gamma.app.bot)
    await gamma.dispatched()

    assert denied[0] == "-1"
    assert "needs the role **write**" in denied[1]
    assert refused[0] == "confused"
    assert f"`/gamma approve {head}`" in refused[1]
    assert (reactions(by_bot), len(team.fake.requests)) == ([], before)


async def test_the_chat_streams_its_way_to_an_answer(team: Team) -> None:
    job = team.job(team.head)
    team.fake.script = [
        Say("Let me look.", tools=[("get_run", {"run_id": job})]),
        Say("`score` is 0.15", breaks="cut"),
        Say(f"`score` is 0.15 in [[run:{job}]]."),
    ]
    told = await team.chat("How good is it?", conversation="c1")
    team.fake.script = [Say("Yes.")]
    again = await team.chat("Sure?", conversation="c1")

    names = [name for name, _ in told]
    assert names[0] == "meta"
    assert names[-1] == "done"
    assert names.count("done") + names.count("error") == 1
    assert names.count("restart") == 2, "after the words before a call, and after the cut"
    assert {"status", "tool", "delta", "usage"} <= set(names)
    last = "".join(data["text"] for name, data in told[len(names) - names[::-1].index("restart") :] if name == "delta")
    assert last == f"`score` is 0.15 in [[run:{job}]]."
    assert f"[`{job}`](" in told[-1][1]["markdown"]
    assert told[-1][1]["usage"]["usd"] > 0
    assert again[-1][1]["markdown"] == "Yes."
    thread = json.loads(team.fake.requests[-1]["messages"][0]["content"][1]["text"])
    assert [each["question"] for each in thread["data"]] == ["How good is it?"]


async def test_a_chat_that_is_left_stops_the_model(team: Team) -> None:
    team.fake.script = [Say("It will take a while", breaks="stall")]
    before = team.fake.aborted
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        address = team.address(f"chat/{team.gamma.repository.id}")
        async with session.post(address, json={"question": "Well?", "conversation": "c2"}) as response:
            async for line in response.content:
                if line.startswith(b"event: delta"):
                    break

    async def aborted() -> bool | None:
        return True if team.fake.aborted > before else None

    await team.gamma.eventually(aborted, "the call to be given up")
    team.fake.script = [Say("Back.")]
    assert (await team.chat("Again?", conversation="c2"))[-1][1]["markdown"] == "Back."


async def test_a_summary_over_rest_is_written_once(team: Team) -> None:
    written = {**GOOD_FAILURE, "headline": "Halving `lr` made `score` worse, by [[score.rel]].", "suspects": []}
    written["what_changed"] = [{"path": "gamma.yml", "summary": "Halves the learning rate."}]
    written["likely_cause"] = {
        "text": "The score grows with the learning rate.",
        "confidence": "high",
        "evidence": [{"kind": "diff", "ref": "gamma.yml"}],
    }
    team.fake.script = [Say(json.dumps(written))]
    before = len(team.fake.requests)
    path = f"summary/{team.gamma.repository.id}/{team.head}"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        async with session.post(team.address(path)) as response:
            first = (response.status, await response.json())
        async with session.post(team.address(path)) as response:
            second = (response.status, await response.json())

    assert (first[0], second[0]) == (201, 200)
    assert "Halving `lr` made `score` worse" in first[1]["markdown"]
    assert first[1] == {**second[1], "created": True}
    assert len(team.fake.requests) == before + 1


async def test_without_a_model_the_reason_and_the_facts_are_told(team: Team) -> None:
    team.fake.script = lambda _: Say(status=401, error="authentication_error")
    reaction, answer = await ask(team.gamma, team.pull, "/gamma ask anything?")
    told = await team.chat("Anything?")

    assert reaction == "confused"
    assert "Anthropic's API refuses Gamma's requests." in answer
    assert team.job(team.head) in answer
    assert "0.15" in answer
    assert (told[-1][0], told[-1][1]["code"]) == ("error", "rejected")
