"""The evaluation set, replayed: what tells the story gets through, and nothing that tells another one."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import Any

import pytest

from gamma_bot.agent.checks import Checks, has_substance, without
from gamma_bot.agent.ledger import Caps
from gamma_bot.agent.models import load_models
from gamma_bot.agent.prompt import BUDGETS, write_up_prompt
from gamma_bot.agent.rendering import render
from gamma_bot.agent.sanitiser import AllowedLinks
from gamma_bot.agent.schema import NotAWriteUp, parse
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
    assert grade(case, good, render(good, prompt.shown, LINKS)) == []

    for wrong, values in case.bad.items():
        try:
            written = parse(json.dumps(values))
        except NotAWriteUp:
            continue
        violations = checks.violations(written)
        assert violations, f"{wrong} gets through"
        kept = without(written, violations)
        if has_substance(kept):
            assert checks.violations(kept) == [], wrong
            assert grade(case, kept, render(kept, prompt.shown, LINKS)) == [], wrong


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
    kinds = Counter(wrong for case in CASES for wrong in case.bad)
    assert len(kinds) >= 17
    assert sum(kinds.values()) > 600
