"""No number and no direction gets into a write-up that the data does not have."""

from __future__ import annotations

import random
import re

import pytest

from gamma_bot.agent.facts import Judged, Metric
from gamma_bot.agent.grader import Field, Grader
from gamma_bot.agent.placeholders import resolve, unresolved
from tests.agent_stage import BROKEN, WORSE
from tests.agent_texts import mutated, sentences

_OPPOSITE = {
    "rose": "fell",
    "fell": "rose",
    "increased": "dropped",
    "dropped": "increased",
    "higher": "lower",
    "lower": "higher",
}


def test_true_sentences_pass_and_one_wrong_digit_is_caught() -> None:
    alarms = [s.text for s in sentences(1, 1000) if Grader(s.commit).violations(_field(s.text, s.about))]
    assert len(alarms) <= 10, alarms[:5]

    chance, tried, missed = random.Random(2), 0, []
    for sentence in sentences(3, 10_000):
        wrong = mutated(chance, sentence.text)
        if wrong is None:
            continue
        tried += 1
        if not Grader(sentence.commit).violations(_field(wrong, sentence.about)):
            missed.append((sentence.text, wrong))
        if tried == 3000:
            break
    assert tried == 3000
    assert len(missed) <= 30, missed[:5]


def test_a_turned_direction_and_swapped_values_are_caught() -> None:
    tried = 0
    for sentence in sentences(4, 600):
        turned = re.sub(r"\b(rose|fell|increased|dropped|higher|lower)\b", lambda m: _OPPOSITE[m[0]], sentence.text)
        swapped = re.sub(r"from (\S+) to (\S+?)([ .,])", r"from \2 to \1\3", sentence.text)
        for wrong in {turned, swapped} - {sentence.text}:
            tried += 1
            assert Grader(sentence.commit).violations(_field(wrong, sentence.about)), wrong
    assert tried > 600


@pytest.mark.parametrize(
    "text",
    [
        "A higher learning rate made `val_loss` worse, by [[val_loss.rel]].",
        "Raising `lr` from `0.001` to `0.01` lowers the training loss: train_loss fell by [[train_loss.rel]].",
        "`val_accuracy` fell a little, within its tolerance.",
        "`val_accuracy` did not improve.",
        "The val loss rose by 0.056 to 0.468, compared to 0.412 in the baseline.",
        "With `lr=0.01` the `train_loss` improved while `val_loss` got worse.",
        "`val_loss` is worse (+13.6 %), and lower is better here.",
        "`lr` grew tenfold, to 0.01.",
        "One file changed, and only the line with `lr: 0.01` in it.",
        "A smaller step might improve `val_loss` again.",
        "Accuracy is unchanged within the noise: `val_accuracy` stays at 0.871.",
        "Uses the L2 norm and float32 as before.",
    ],
)
def test_what_a_careful_writer_says_passes(text: str) -> None:
    assert Grader(WORSE).violations(Field(text, holds_verdict=True)) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("`val_loss` improved by [[val_loss.rel]].", "contradicts the verdict"),
        ("The change improves the model.", "contradicts the verdict"),
        ("`val_accuracy` improved.", "contradicts the verdict"),
        ("`train_loss` rose to [[train_loss.current]].", "is not what"),
        (
            "`val_loss` rose from [[val_loss.current]] to [[val_loss.baseline]].",
            "stands where the baseline value belongs",
        ),
        ("`val_loss` rose by [[val_loss.current]].", "where a change belongs"),
        ("`val_loss` rose to [[val_loss.delta]].", "where the current value belongs"),
        ("`val_loss` rose by fifteen percent.", "written as a word"),
        ("`val_loss` doubled.", "is not what"),
        ("`val_loss` is `0.486` now.", "can't be derived"),
        ("`lr` went from `0.01` to `0.001`.", "can't be derived"),
        ("The baseline reached 0.468.", "can't be derived"),
        ("This closes the gap to 0.91.", "can't be derived"),
        ("The run took 3 hours.", "can't be derived"),
        ("Twelve of 14 files changed.", "can't be derived"),
        ("`weight_decay=0.1` was added.", "does not stand in the input"),
        ("The ResNet50 backbone overfits.", "is not in the input"),
        ("`val_accuracy` rose within its tolerance.", "is not what"),
    ],
)
def test_what_is_not_so_is_named(text: str, why: str) -> None:
    found = Grader(WORSE).violations(Field(text, holds_verdict=True))
    assert any(why in each for each in found), found


def test_nothing_can_be_said_of_a_metric_without_a_baseline_or_a_goal() -> None:
    from dataclasses import replace

    alone = Metric("reward", Judged.NO_BASELINE, 12.5, {"current": "12.5"}, "maximize", primary=True)
    moved = Metric("norm", Judged.CHANGED, 2.0, {"current": "2"}, baseline=1.0, delta=1.0, relative=1.0)
    grader = Grader(replace(WORSE, metrics=(alone, moved)))

    assert grader.violations(Field("`reward` improved.", holds_verdict=True))
    assert grader.violations(Field("`reward` rose.", holds_verdict=True))
    assert grader.violations(Field("`norm` improved.", holds_verdict=True))
    assert not grader.violations(Field("`reward` is [[reward.current]], and `norm` doubled.", holds_verdict=True))


def test_a_failed_run_may_quote_its_traceback_and_no_other_numbers() -> None:
    grader = Grader(BROKEN)
    assert not grader.violations(Field("It fails in line 39 of `src/policy.py` with exit code 1: size 4 is no (5,)."))
    assert grader.violations(Field("It fails in line 40 of `src/policy.py`."))
    assert grader.violations(Field("It fails with exit code 137."))


def test_placeholders_are_printed_by_us_or_named_as_wrong() -> None:
    metrics = {metric.name: metric for metric in WORSE.metrics}
    assert resolve("from [[val_loss.baseline]] by [[`val_loss`.rel]]", metrics) == "from 0.412 by +13.6 %"
    assert unresolved("[[val_loss.baseline]]", metrics) == []
    for wrong in ("[[loss.delta]]", "[[val_loss.p95]]", "[[val_loss]]", "[[val_loss.delta", "]]", "[[ ]]"):
        assert unresolved(wrong, metrics), wrong


def _field(text: str, about: str) -> Field:
    return Field(text, about=about, holds_verdict=True)
