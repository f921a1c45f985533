"""The agent's tools: what is outside the project, outside the bounds or secret is never read, and nothing else told."""

from __future__ import annotations

import asyncio
import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from gamma_bot.agent import tools
from gamma_bot.agent.cited import Cited
from gamma_bot.agent.cleaning import clean
from gamma_bot.agent.facts import FileChange
from gamma_bot.agent.text_search import Wildcards
from gamma_bot.agent.tool_results import NO_TEXT
from gamma_bot.agent.tool_schemas import schemas
from gamma_bot.agent.tools import Toolbox
from gamma_bot.agent.traced import Ground
from tests.agent_stage import REPOSITORY, SHA
from tests.ask_stage import BEFORE, Project

GOOD: dict[str, dict[str, Any]] = {
    "list_runs": {"limit": 5, "status": ""},
    "get_run": {"run_id": "j2"},
    "compare_runs": {"run_a": "j1", "run_b": "j2"},
    "metric_history": {"run_id": "j2", "metric": "val_loss", "points": 5},
    "search_logs": {"run_id": "j2", "pattern": "epoch*7", "max_matches": 2},
    "list_commits": {"path": "", "limit": 5},
    "get_diff": {"from_sha": "", "to_sha": "", "path": ""},
    "read_file": {"sha": "", "path": "train.py", "start": 3, "lines": 1},
    "read_artifact": {"run_id": "j2", "path": "report.json", "max_bytes": 100},
}


def toolbox(project: Project | None = None) -> Toolbox:
    return Toolbox(project or Project(), clean, Cited(REPOSITORY))


async def call(name: str, project: Project | None = None, **changes: Any) -> dict[str, Any]:
    """What a call answers."""
    found: dict[str, Any] = json.loads((await toolbox(project).run(name, {**GOOD[name], **changes})).content)
    return found


async def error(name: str, project: Project | None = None, **changes: Any) -> str:
    return str((await call(name, project, **changes))["error"])


def test_the_schemas_are_strict_and_ask_for_everything() -> None:
    assert [tool["name"] for tool in schemas()] == list(GOOD)
    assert json.dumps(schemas()) == json.dumps(schemas())
    for tool in schemas():
        schema = tool["input_schema"]
        assert tool["strict"]
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"]) == list(GOOD[tool["name"]])


@pytest.mark.parametrize("name", GOOD)
async def test_every_tool_answers_with_marked_data(name: str) -> None:
    found = await call(name)

    assert (found["untrusted"], set(found)) == (True, {"source", "untrusted", "truncated", "data"})


async def test_what_is_computed_is_computed_by_us() -> None:
    compared = (await call("compare_runs"))["data"]
    project = Project(histories={"val_loss": [(1, 0.5), (2, 0.25), (3, math.nan), (4, 1.0)]})
    course = (await call("metric_history", project, points=2))["data"]
    log = (await call("search_logs"))["data"]

    assert compared["metrics"][0]["delta"] == 0.056
    assert compared["params"] == {"lr": {"a": "0.001", "b": "0.01"}}
    assert course["points"] == [[1, 0.5], [4, 1.0]]
    assert (course["min"], course["max"]) == ({"step": 2, "value": 0.25}, {"step": 4, "value": 1.0})
    assert (course["not_finite"], course["first_not_finite_step"], course["change"]) == (1, 3, 0.5)
    assert ([each["line"] for each in log["lines"]], log["matches"]) == ([87, 97], 19)
    assert (await call("read_file"))["data"]["lines"] == ["3: LR = 0.01"]


OUTSIDE = [
    *("../secret", "a/../../b", "/etc/passwd", "~/x", "C:/x", "a\\b", "..\\x", "a/%2e%2e/b", "a\0b", "a\nb", "..", "."),
    "x" * 600,
]
DENIED = [".env", "conf/.env.local", "tls/server.PEM", "deploy_key", "keys/prod.txt", ".git/config", "a/id_rsa.pub"]


@pytest.mark.parametrize("path", OUTSIDE)
async def test_paths_that_lead_out_are_never_passed_on(path: str) -> None:
    project = Project()
    for name in ("read_file", "read_artifact", "list_commits", "get_diff"):
        assert "must be a path from the root" in await error(name, project, path=path)
    assert [asked for asked in project.asked if asked != "j2"] == []


@pytest.mark.parametrize("path", DENIED)
async def test_what_may_not_be_read_is_as_if_it_were_not_there(path: str) -> None:
    project = Project(files={path: b"hunter2"}, left={path: b"hunter2"})
    project.patches = [FileChange(path, "added", 1, 0, "@@ -0,0 +1 @@\n+hunter2")]

    for name in ("read_file", "read_artifact"):
        missing = await error(name, Project(), path="nowhere.txt")
        assert await error(name, project, path=path) == missing == tools.NO_FILE
    assert "hunter2" not in json.dumps(await call("get_diff", project))
    assert path not in project.asked


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("get_run", {"run_id": "j404"}, tools.NO_RUN),
        ("get_run", {"run_id": "' OR 1=1 --"}, tools.NO_RUN),
        ("get_run", {"run_id": "../j2"}, tools.NO_RUN),
        ("get_run", {"run_id": 7}, tools.NO_RUN),
        ("metric_history", {"metric": "nope"}, tools.NO_METRIC),
        ("get_diff", {"to_sha": "f" * 40}, tools.NO_COMMIT),
        (
            "get_diff",
            {"to_sha": "main"},
            "`to_sha` must be empty or a commit's SHA of at least 7 digits, not a branch.",
        ),
        ("get_diff", {"to_sha": "HEAD~1; rm -rf /"}, None),
        ("list_runs", {"limit": 21}, "`limit` must be a whole number from 1 to 20."),
        ("list_runs", {"limit": True}, "`limit` must be a whole number from 1 to 20."),
        ("list_runs", {"limit": 1.5}, None),
        ("list_runs", {"status": "done"}, None),
        ("metric_history", {"points": 61}, None),
        ("read_file", {"lines": 401}, None),
        ("read_file", {"start": 0}, None),
        ("read_artifact", {"max_bytes": 1_000_000}, None),
        ("read_artifact", {"path": "weights.bin"}, NO_TEXT),
        ("search_logs", {"pattern": "x" * 201}, None),
    ],
)
async def test_what_does_not_fit_is_refused_in_our_words(name: str, changes: dict[str, Any], why: str | None) -> None:
    told = await error(name, **changes)

    assert told == why if why else told.startswith(f"`{next(iter(changes))}` must be ")
    assert "rm -rf" not in told


async def test_faults_are_told_in_our_words() -> None:
    unknown = await toolbox().run("drop_table", {})
    nothing = await toolbox().run("get_run", "j2")

    assert await error("metric_history", Project(is_down=True)) == tools.OUT_OF_REACH
    assert (unknown.ok, json.loads(unknown.content)["error"]) == (False, tools.NO_TOOL)
    assert json.loads(nothing.content)["error"] == tools.NO_RUN


async def test_a_tool_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "CALL_SECONDS", 0.05)
    project = Project()

    async def hangs(run: object) -> list[str]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(project, "log", hangs)
    assert await error("search_logs", project) == tools.TOO_SLOW


async def test_a_key_is_not_read_from_its_middle() -> None:
    key = ["-----BEGIN RSA PRIVATE KEY-----", *["MIIEpAIBAAKCAQEA7"] * 5, "-----END RSA PRIVATE KEY-----"]
    text = ["one", *key, "nine"]
    project = Project(files={"notes.txt": "\n".join(text).encode()}, lines=text)

    read = (await call("read_file", project, path="notes.txt", start=4, lines=9))["data"]["lines"]
    log = (await call("search_logs", project, pattern="", max_matches=20))["data"]["lines"]

    assert read == ["4: ", "5: ", "6: ", "7: ", "8: ", "9: nine"]
    assert [line["text"] for line in log if line["text"]] == ["one", "[redacted]", "nine"]


def test_no_pattern_takes_long() -> None:
    line = "a" * 100_000
    began = time.process_time()

    assert not Wildcards("*a" * 90 + "b").match(line)
    assert not Wildcards("(a+)+$").match(line)
    assert Wildcards("Err*LINE*3").match("an error in line 13")
    assert not Wildcards("3*line").match("an error in line 13")
    assert time.process_time() - began < 0.5


async def test_results_are_cut_to_size_and_say_so() -> None:
    project = Project(
        lines=["x" * 5_000] * 5_000,
        files={"train.py": "\n".join(f"line {n} " + "y" * 2_000 for n in range(1, 900)).encode()},
        left={"report.json": b"z" * 40_000},
        patches=[FileChange(f"f{n}.py", "modified", 90, 0, "@@ -1 +1,90 @@\n" + "+q\n" * 200) for n in range(300)],
    )
    box = toolbox(project)
    sizes = []
    for name, changes in (
        ("search_logs", {"pattern": "x", "max_matches": 20}),
        ("read_file", {"start": 1, "lines": 400}),
        ("read_artifact", {"max_bytes": 16_384}),
        ("get_diff", {}),
    ):
        result = await box.run(name, {**GOOD[name], **changes})
        assert json.loads(result.content)["truncated"]["left_out"] > 0
        sizes.append(len(result.content))
    while (result := await box.run("read_file", {**GOOD["read_file"], "start": 1, "lines": 400})).ok:
        sizes.append(len(result.content))

    assert max(sizes) <= tools.RESULT_TOKENS * 3
    assert sum(sizes) <= tools.ALL_RESULTS_TOKENS * 3
    assert json.loads(result.content)["error"] == tools.USED_UP


async def test_only_what_was_shown_can_be_cited() -> None:
    cited = Cited(REPOSITORY)
    box = Toolbox(Project(), clean, cited)
    for name in ("get_run", "read_file", "get_diff"):
        await box.run(name, GOOD[name])

    assert cited.unknown("[[run:j2]] [[sha:3f1c9aa]] [[file:train.py#L3]] [[file:gamma.yml#L5]] [[sha:9b2e4d7]]") == []
    wrong = [
        "[[run:j1]]",
        "[[sha:fffffff]]",
        "[[sha:3f1c9]]",
        "[[file:train.py#L4]]",
        "[[file:../x]]",
        "[[file:other.py]]",
    ]
    assert cited.unknown(" ".join(wrong)) == wrong
    assert cited.resolve("see [[run:j1]] and `[[run:j2]]`") == "see `j1` and `j2`"
    assert BEFORE in cited.commits
    assert SHA in cited.commits


SHOWN = [
    {"name": "val_loss", "last": 0.4683, "baseline": 0.412, "delta": 0.0563, "rel": 0.13665},
    {"name": "score", "goal": "maximize", "a": 0.31, "b": 0.3, "delta": -0.01, "rel": -0.03226},
    {"run": "j1", "metric": "val_loss", "logged": 20, "points": [[1, 0.9], [20, 0.4683]], "change": -0.4317},
    {"params": {"lr": {"a": "0.1", "b": "0.01"}}, "lines": [{"line": 3, "text": "step 20 val_loss 0.4683 grad 12.75"}]},
]


@pytest.mark.parametrize(
    "sentence",
    [
        "`val_loss` rose from 0.412 to 0.468, by 13.7 %.",
        "val loss ended at 0.47 after step 20.",
        "`score` fell by 0.01 to 0.3, which is 3.2 % less.",
        "`lr` went from 0.1 to 0.01; in 2 runs it helped. Try `/gamma train lr=0.03`.",
        "The gradient was 12.75 where `val_loss` was 0.4683.",
        "| score | 0.31 | 0.3 |",
        "- `val_loss`: 0.9 at step 1",
    ],
)
def test_true_numbers_are_traced(sentence: str) -> None:
    assert Ground(SHOWN).untraced(sentence) == []


@pytest.mark.parametrize(
    "sentence",
    [
        "`val_loss` rose to 0.486.",
        "`val_loss` rose to `0.486`.",
        "`score` rose by 0.01.",
        "`score` fell to 0.468.",
        "`score: 0.9` is best.",
        "val_loss fell by 43 %.",
        "- `score`: 12.75",
        "It took 1,234 steps.",
    ],
)
def test_numbers_of_nothing_or_of_another_metric_are_not(sentence: str) -> None:
    assert len(Ground(SHOWN).untraced(sentence)) == 1


def test_sentences_are_taken_out_whole() -> None:
    answer = "The score fell. It was 0.99 then. Why? See `lr`.\n\n- 0.77 of it\n- good\n\n```\n0.123\n```"

    assert Ground(SHOWN).without_untraced(answer) == ("The score fell. Why? See `lr`.\n\n- good\n\n```\n0.123\n```", 2)


def test_a_prompt_file_says_what_the_code_does() -> None:
    policy = (Path(tools.__file__).parent / "prompts" / "ask.md").read_text()

    for tool in ("compare_runs", "metric_history"):
        assert tool in policy
    assert "six turns and ten calls" in " ".join(policy.split())
