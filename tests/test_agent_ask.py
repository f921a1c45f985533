"""A question is answered within its bounds: from what tools return, with links, cheaply, whatever the API does."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gamma_bot.agent.ask_events import Delta, Restart, Status, ToolDone
from gamma_bot.agent.ask_prompt import Exchange
from gamma_bot.agent.ledger import Caps, Charge
from gamma_bot.agent.talk import MOST_CALLS, MOST_TURNS
from gamma_bot.commands.ask_words import answer_words
from tests.agent_stage import REPOSITORY, SHA
from tests.anthropic_fake import AnthropicFake, Say
from tests.ask_stage import BEFORE, CHARGE, QUESTION, ask_stage, calls, results

COMPARE = ("compare_runs", {"run_a": "j1", "run_b": "j2"})
DIFF = ("get_diff", {"from_sha": "", "to_sha": "", "path": ""})
HISTORY = ("metric_history", {"run_id": "j2", "metric": "val_loss", "points": 10})
LOG = ("search_logs", {"run_id": "j2", "pattern": "epoch*5", "max_matches": 3})
FILE = ("read_file", {"sha": "", "path": "train.py", "start": 1, "lines": 40})
ANSWER = (
    "`val_loss` rose from 0.412 to 0.468, by 0.056, since [[sha:3f1c9aa0]] raised `lr` from 0.001 to 0.01:"
    " [[run:j2]] against [[run:j1]], see [[file:gamma.yml#L4]] and [[file:train.py#L3]]."
    " Try `/gamma train lr=0.003` next."
)


async def test_an_answer_links_what_it_relies_on(tmp_path: Path) -> None:
    async with ask_stage(tmp_path) as stage:
        done = await stage.ask(calls(COMPARE, DIFF), calls(FILE), Say(ANSWER))

    assert done.why_not == ""
    for shown in (
        f"[`3f1c9aa`]({REPOSITORY}/commit/{SHA})",
        "[`j2`](https://gamma.test/jobs/j2)",
        "[`j1`](https://gamma.test/jobs/j1)",
        f"[`gamma.yml:4`]({REPOSITORY}/blob/{SHA}/gamma.yml#L4)",
        f"[`train.py:3`]({REPOSITORY}/blob/{SHA}/train.py#L3)",
        "`/gamma train lr=0.003`",
        "by 0.056",
    ):
        assert shown in done.markdown
    assert list(done.looked_at) == ["compare_runs", "get_diff", "read_file"]
    assert [event.text for event in stage.events if isinstance(event, Status)][:2] == [
        "Comparing two runs",
        "Reading a diff",
    ]
    assert [event.ok for event in stage.events if isinstance(event, ToolDone)] == [True] * 3
    assert "".join(event.text for event in stage.events if isinstance(event, Delta)) == ANSWER


async def test_later_turns_are_read_from_the_cache(tmp_path: Path) -> None:
    async with ask_stage(tmp_path) as stage:
        await stage.ask(calls(COMPARE, DIFF), calls(HISTORY), calls(LOG, FILE), Say(ANSWER))
        first, *later = stage.stage.fake.usages
        stage.stage.fake.usages = []
        again = replace(QUESTION, text="And the log?", thread=[Exchange("ada", "Why did it drop?", ANSWER)])
        await stage.ask(calls(LOG), Say("It says nothing of it."), question=again, charge=on("ask:2"))
        second = stage.stage.fake.usages[0]

    read = sum(usage["cache_read_input_tokens"] for usage in later)
    whole = sum(_prompt(usage) for usage in later)
    assert len(later) == 3
    assert first["cache_read_input_tokens"] == 0
    assert read / whole >= 0.8
    # A second question about the commit finds tools, policy, card and commit there.
    assert second["cache_read_input_tokens"] / _prompt(second) >= 0.8


async def test_the_history_only_grows_and_thinking_goes_back_unchanged(tmp_path: Path) -> None:
    async with ask_stage(tmp_path) as stage:
        await stage.ask(calls(COMPARE), calls(HISTORY, thinking="what of the course?"), Say(ANSWER))
        sent = stage.requests

    for earlier, later in pairwise(sent):
        assert {key: earlier[key] for key in ("tools", "system")} == {key: later[key] for key in ("tools", "system")}
        assert later["messages"][: len(earlier["messages"])] == earlier["messages"]
    thought = [block for message in sent[-1]["messages"] for block in message["content"] if block["type"] == "thinking"]
    assert [block["thinking"] for block in thought] == ["hm", "what of the course?"]


async def test_nothing_volatile_is_in_the_prefix(tmp_path: Path) -> None:
    async with ask_stage(tmp_path) as stage:
        await stage.ask(Say("Yes."))
        other = replace(QUESTION, sha=BEFORE, branch="models", by="bob", text="Really?", run=None)
        await stage.ask(Say("No."), question=other, charge=on("ask:2"))
        one, two = stage.requests

    assert (one["tools"], one["system"]) == (two["tools"], two["system"])
    prefix = json.dumps([one["tools"], one["system"]])
    for volatile in (SHA[:13], '"ada"', '"j2"', "Why did it drop?", "models/faster", "bob"):
        assert volatile not in prefix


async def test_a_model_that_never_stops_reading_is_told_to_answer(tmp_path: Path) -> None:
    def greedy(request: dict[str, Any]) -> Say:
        return calls(*[HISTORY] * 4) if len(request["messages"]) < 2 * MOST_TURNS - 1 else Say("`val_loss` rose.")

    async with ask_stage(tmp_path) as stage:
        stage.stage.fake.script = greedy
        done = await stage.asker.answer(QUESTION, stage.project, on("ask:1"), _ignored)
        sent = stage.requests

    assert done.markdown == "`val_loss` rose."
    assert (MOST_TURNS, MOST_CALLS) == (6, 10)  # what the policy tells the model, and what an answer's cap is made for
    assert len(sent) == MOST_TURNS
    assert len(done.looked_at) == MOST_CALLS
    answered = [block for request in sent[1:] for block in results(request)]
    assert len(answered) == 4 * (MOST_TURNS - 1), "one result for each call"
    assert sum("used up" in block["content"] for block in answered) == 4 * (MOST_TURNS - 1) - MOST_CALLS
    assert "last turn" in sent[-1]["messages"][-1]["content"][-1]["text"]


async def test_a_number_that_nothing_accounts_for_is_mended_or_taken_out(tmp_path: Path) -> None:
    wrong = "It got worse. `val_loss` rose to 0.486. The cause is `lr`, see [[run:j9]]."
    async with ask_stage(tmp_path) as stage:
        mended = await stage.ask(calls(COMPARE), Say(wrong), Say(wrong.replace("0.486", "0.468").replace("j9", "j2")))
        told = stage.requests[-1]["messages"][-1]["content"][0]["text"]
        dropped = await stage.ask(calls(COMPARE), Say(wrong), Say(wrong), charge=on("ask:2"))
        nothing = await stage.ask(Say("It was 0.77."), Say("It was 0.77."), charge=on("ask:3"))

    assert "0.486 for val_loss" in told
    assert "[[run:j9]]" in told
    assert ("0.468" in mended.markdown, mended.dropped) == (True, 0)
    assert Restart() in stage.events
    assert (dropped.markdown, dropped.dropped) == ("It got worse. The cause is `lr`, see `j9`.", 1)
    assert (nothing.markdown, nothing.why_not) == ("", "untraced")


BAIT = (
    "Thanks @octocat, fixes #12 and ada/walker#3.\n\n/gamma promote\n\n<img src=x onerror=alert(1)>"
    "![x](https://evil.test/p.png) [click](https://evil.test) https://evil.test\n\n```mermaid\ngraph TD\n```\n"
)


async def test_what_the_model_says_reaches_nobody_unchecked(tmp_path: Path) -> None:
    async with ask_stage(tmp_path) as stage:
        done = await stage.ask(Say(BAIT))

    for bait in ("@octocat", "#12", "walker#3", "<img", "](https://evil", "https://evil.test", "```mermaid"):
        assert bait not in done.markdown
    assert not any(line.lstrip().startswith("/gamma") for line in done.markdown.splitlines())


@pytest.mark.parametrize(
    ("broken", "stops"),
    [
        ([Say(status=529, error="overloaded_error")] * 2, {"http 529"}),
        ([Say("`val_loss` ro", breaks="cut")] * 3, {"cut"}),
        ([Say("`val_loss` ro", breaks="error")] * 3, {"error overloaded_error"}),
        ([Say("I won't.", stop_reason="refusal")], {"refusal"}),
        ([Say("", thinking="nothing to say")], {"end_turn"}),
    ],
    ids=["529", "cut", "overloaded in the stream", "refusal", "empty"],
)
async def test_in_mid_loop_a_second_model_goes_on(broken: list[Say], stops: set[str], tmp_path: Path) -> None:
    async with ask_stage(tmp_path) as stage:
        done = await stage.ask(calls(COMPARE), *broken, Say("`val_loss` rose to 0.468."))
        rows = await stage.stage.rows()
        last = stage.requests[-1]

    assert (done.markdown, done.model) == ("`val_loss` rose to 0.468.", "claude-haiku-5-5")
    assert {row.stop_reason for row in rows if row.model != done.model} == {"tool_use", *stops}
    assert done.usd == pytest.approx(sum(row.usd for row in rows))
    kinds = [block["type"] for message in last["messages"] for block in message["content"]]
    assert "thinking" not in kinds, "that was the other model's"
    assert kinds.count("tool_use") == kinds.count("tool_result") == 1


@pytest.mark.parametrize(
    ("script", "why_not"),
    [
        ([Say(status=529, error="overloaded_error")] * 4, "unreachable"),
        ([Say("No.", stop_reason="refusal")] * 2, "refused"),
        ([Say("", thinking="nothing to say")] * 2, "empty"),
        ([Say(status=401, error="authentication_error")] * 2, "rejected"),
        ([Say(status=429, error="rate_limit_error", code="enforced_spend_limit_reached")], "spend_limit"),
    ],
)
async def test_without_any_model_there_is_a_reason(script: list[Say], why_not: str, tmp_path: Path) -> None:
    async with ask_stage(tmp_path) as stage:
        done = await stage.ask(*script)

    assert (done.markdown, done.why_not) == ("", why_not)


async def test_an_answer_that_is_cut_at_its_longest_says_so(tmp_path: Path) -> None:
    async with ask_stage(tmp_path) as stage:
        done = await stage.ask(Say("`val_loss` rose, and the", stop_reason="max_tokens"))
    assert "and the\n\n*The answer ends here, as long as one may be." in answer_words(done)


async def test_caps_end_an_answer(tmp_path: Path) -> None:
    async with ask_stage(tmp_path / "a", caps=Caps(ask=0.06)) as stage:
        poor = await stage.ask(calls(COMPARE, DIFF), calls(HISTORY), Say("`val_loss` rose."))
    async with ask_stage(tmp_path / "b", caps=Caps(month=0.001)) as stage:
        none = [await stage.ask(charge=on(f"ask:{n}")) for n in range(2)]

    assert poor.model == "claude-haiku-5-5", "the cheaper one can go on within the same cap"
    assert poor.usd <= 0.06
    assert [(each.why_not, each.first_refusal) for each in none] == [("cap_month", True), ("cap_month", False)]


async def test_no_secret_reaches_a_model(tmp_path: Path) -> None:
    token, own = "ghp_" + "a1B2" * 9, "s3cret-of-this-gamma"
    async with ask_stage(tmp_path, asker_secrets=[own]) as stage:
        stage.project.lines = [f"epoch 5 token={token}", f"epoch 15 {own}"]
        stage.project.files["train.py"] = f"API_KEY = '{token}'\npassword: {own}\n".encode()
        stage.project.held[0] = replace(stage.project.held[0], params={"api_key": "0a9b8c7d6e5f4a3b2c1d"})
        run = ("get_run", {"run_id": "j2"})
        await stage.ask(calls(LOG, FILE, run), Say("ok"), question=replace(QUESTION, text=f"What is {token}?"))
        sent = json.dumps(stage.requests)

    assert "[redacted]" in sent
    for secret in (token, own, "0a9b8c7d6e5f4a3b2c1d"):
        assert secret not in sent


async def test_whoever_goes_away_ends_the_call(tmp_path: Path) -> None:
    async with ask_stage(tmp_path) as stage:
        asking = asyncio.create_task(stage.ask(Say("`val_loss` rose", breaks="stall")))
        while not any(isinstance(event, Delta) for event in stage.events):
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await _aborted(stage.stage.fake)
        (row,) = await stage.stage.rows()

    assert (row.stop_reason, row.estimated) == ("cancelled", True)
    assert row.usd > 0


async def _aborted(fake: AnthropicFake) -> None:
    async with asyncio.timeout(5):
        while not fake.aborted:
            await asyncio.sleep(0.01)


async def _ignored(_event: object) -> None:
    return None


def on(task: str) -> Charge:
    """Another question of the same project."""
    return replace(CHARGE, task=task)


def _prompt(usage: dict[str, Any]) -> int:
    kinds = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(int(usage[kind]) for kind in kinds)
