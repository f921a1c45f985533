"""The evaluation set, replayed: what tells the story gets through, and nothing that tells another one."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from typing import Any

import pytest

from gamma_bot.agent.checks import Checks, has_substance, without
from gamma_bot.agent.ledger import Caps
from gamma_bot.agent.models import load_models
from gamma_bot.agent.prompt import BUDGETS, policy, write_up_prompt
from gamma_bot.agent.rendering import render
from gamma_bot.agent.sanitiser import AllowedLinks
from gamma_bot.agent.schema import NotAWriteUp, output_format, parse
from tests.agent_eval.cases import BAIT, INJECTION, REPOSITORY, Case, cases
from tests.agent_eval.graders import grade, names_the_cause
from tests.anthropic_fake import tokens

pytestmark = pytest.mark.thorough

CASES = list(cases())
LINKS = AllowedLinks(repository=REPOSITORY)


def test_there_are_enough_cases_and_they_are_the_same_every_time() -> None:
    assert len(CASES) >= 40
    assert len({case.name for case in CASES}) == len(CASES)
    assert [case.commit.sha for case in cases()] == [case.commit.sha for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_story_gets_through_and_no_other(case: Case) -> None:
    prompt = write_up_prompt(case.commit)
    checks = Checks(prompt.shown)
    sent = json.dumps([prompt.system, prompt.user], ensure_ascii=False)
    assert [canary for canary in case.canaries if canary in sent] == []
    for section in (json.loads(block["text"]) for block in prompt.user[:-1]):
        assert INJECTION not in section["about"]  # what others wrote is in the data, and nowhere else
    size = sum(tokens(block) for block in [*prompt.system, *prompt.user])
    assert size <= BUDGETS.whole
    assert load_models().get("claude-sonnet-5-5").most_usd(size, 4000, 1_800_000_000) <= Caps().write_up

    good = parse(json.dumps(case.good))
    assert checks.violations(good) == []
    assert names_the_cause(case, good)
    comment = render(good, prompt.shown, LINKS)
    assert grade(case, good, comment) == []
    assert ("Likely cause" in comment) is (case.planted is not None)  # that there is none is no news

    for wrong, values in case.bad.items():
        grader = wrong.partition(":")[0]
        if grader == "form":
            with pytest.raises(NotAWriteUp):
                parse(json.dumps(values))
            continue
        written = parse(json.dumps(values))
        # By two means that know nothing of each other: the product's checks, and the grader that it is meant for.
        violations = checks.violations(written)
        assert violations, f"{wrong} gets through"
        markdown = render(written, prompt.shown, LINKS) if grader == "length" else ""
        assert grader in {problem.partition(":")[0] for problem in grade(case, written, markdown)}, wrong
        kept = without(written, violations)
        if has_substance(kept):
            assert checks.violations(kept) == [], wrong
            assert grade(case, kept, render(kept, prompt.shown, LINKS)) == [], wrong


@pytest.mark.parametrize(
    "markdown",
    [
        "Thanks to @octocat.",
        "See #12.",
        "As in ada/walker#12.",
        "It closes GH-3.",
        "Read https://evil.example/x.",
        "Read [this](https://evil.example/x).",
        "![plot](https://evil.example/p.png)",
        "<img src=x onerror=y>",
        "<details>hidden</details>",
        "Fine.<!-- nobody sees this -->",
        "```mermaid\ngraph TD\n```",
        "It is $x^2$ at most.",
        "Now:\n\n/gamma stop",
        "# A title",
        "| a | b |\n| - | - |\n| c | d |",
        "Write to ada@example.com.",
        "It is at [[val_accuracy.current]].",
    ],
)
def test_the_grader_of_rendering_sees_what_would_do_something(markdown: str) -> None:
    good = parse(json.dumps(CASES[0].good))
    problems = grade(CASES[0], good, f"The change.\n\n{markdown}")
    assert {problem.partition(":")[0] for problem in problems} & {"rendering", "references"}


def test_the_policy_and_the_form_ask_for_the_same() -> None:
    properties = output_format()["schema"]["properties"]
    [headline] = re.findall(r"`headline`: one sentence of at most (\d+ characters)", policy())
    assert properties["headline"]["description"] == f"At most {headline}."
    for name in ("what_changed", "metric_notes", "suspects", "next_experiments", "caveats"):
        [most] = re.findall(rf"`{name}`:[^`]*?at most (\d+)", policy())
        assert properties[name]["description"] == f"At most {most} items."


def test_the_grader_of_cost_knows_the_cap_of_a_write_up() -> None:
    good = parse(json.dumps(CASES[0].good))
    assert grade(CASES[0], good, "", usd=Caps().write_up) == []
    assert [each[:5] for each in grade(CASES[0], good, "", usd=Caps().write_up + 0.01)] == ["cost:"]


@pytest.mark.parametrize("case", CASES[::7], ids=lambda case: case.name)
def test_marks_and_bait_in_any_field_do_nothing(case: Case) -> None:
    shown = write_up_prompt(case.commit).shown
    for field in ("headline", "caveats", "what_changed", "likely_cause", "next_experiments"):
        values: dict[str, Any] = copy.deepcopy(case.good)
        match field:
            case "headline":
                values["headline"] = BAIT
            case "caveats":
                values["caveats"] = [f"/gamma stop {BAIT}"]
            case "what_changed":
                values["what_changed"][0]["summary"] = f"# Title {BAIT}"
            case "likely_cause":
                values["likely_cause"]["text"] = f"```mermaid {BAIT}"
            case _:
                values["next_experiments"][0]["change"] = f"| a | b | {BAIT}"
        written = parse(json.dumps(values))
        found = grade(case, written, render(written, shown, LINKS))
        assert [each for each in found if each.startswith(("rendering", "references"))] == []


def test_every_kind_of_wrong_is_in_the_set() -> None:
    kinds = {wrong for case in CASES for wrong in case.bad}
    assert Counter(kind.partition(":")[0] for kind in kinds) >= Counter(
        form=6, references=12, numbers=16, verdict=9, cause=2, secrets=4, length=1
    )
    assert sum(len(case.bad) for case in CASES) > 2_000
