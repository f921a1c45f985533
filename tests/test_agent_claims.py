"""What sounds like a fact and is none stays out of a write-up, however it is written; and no text breaks the checks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gamma_bot.agent.cleaning import clean_lines
from gamma_bot.agent.facts import PastRun
from gamma_bot.agent.grader import Field, Grader
from gamma_bot.agent.placeholders import unresolved
from gamma_bot.agent.prompt import write_up_prompt
from gamma_bot.agent.traced import Ground
from tests.agent_stage import BROKEN, WORSE

# val_loss rose from 0.412 to 0.468, which is worse; train_loss fell; val_accuracy stayed within its tolerance.
_FALSE = """
`val_loss` rose by a third.
`val_loss` fell to half.
`val_loss` is double the baseline.
`val_loss` is a tenth of the baseline.
`val_loss` quadrupled.
`val_loss` grew threefold.
`val_loss` rose by an order of magnitude.
`val_loss` is zero point four one.
`val_loss` is about ninety.
`val_loss` rose by ½.
`val_loss` rose by ⑨ percent.
`val_loss` is 0.46８ now.
`val_loss` is `0.468.9` now.
The run ends with `val_loss=0.302`.
It took two hours.
Five of the six layers are frozen.
Sets 2 % files aside.
`val_loss` rose to [[val_loss.current]] %.
`val_loss` rose by [[val_loss.delta]] points.
`val_loss` rose by `[[val_loss.delta]]` percent.
`val_loss` rose to -[[val_loss.current]].
`val_loss` rose to minus [[val_loss.current]].
`val_loss` rose to [[val_loss.current]]k.
`val_loss` rose to [[val_loss.current]][[val_loss.current]].
`train_loss` fell to [[val_loss.current]].
`val_accuracy` is [[val_loss.current]] now.
`val_loss` went from `[[val_loss.current]]` to `[[val_loss.baseline]]`.
The run ends with `train_loss=[[val_loss.current]]`.
`val_loss` is [val_loss.current] now.
`val_loss` is {{val_loss.current}} now.
When `lr` grew tenfold, `val_loss` improved.
`val_loss` likely improved.
If anything, `val_loss` fell.
The change not only improved `val_loss` but was cheap.
`val_loss` went down sharply.
The validation loss plummeted.
The training loss deteriorated.
Everything improved.
Nothing got worse.
""".strip().splitlines()

_TRUE = """
Uses `...` as a default and splits at `,` and `.`.
`val_loss` rose to [[val_loss.current]], while [[train_loss.delta]] shows that the training loss still fell.
`val_loss` and `train_loss` ended at [[val_loss.current]] and [[train_loss.current]].
`val_loss` should return to [[val_loss.baseline]] with a smaller step.
It is unclear whether `val_loss` improved by chance before.
The training loss fell while the validation loss rose.
All other settings are the same.
The second half of training looks stable, in half precision.
Reads one third-party package and logs R².
`lr` grew by an order of magnitude.
`val_loss` went up, by [[val_loss.rel]].
There is only one thing to note: `val_loss` rose.
""".strip().splitlines()


@pytest.mark.parametrize("text", _FALSE)
def test_what_is_not_so_is_caught_however_it_is_written(text: str) -> None:
    assert _problems(text), text


@pytest.mark.parametrize("text", _TRUE)
def test_what_is_so_may_be_said(text: str) -> None:
    assert _problems(text) == []


@pytest.mark.parametrize(
    "text", ["It is `1e999`.", "`1234e567` broke it.", "It is 1e-999.", "`.`", "`-,.`", "9e" + "9" * 5000]
)
def test_nothing_that_looks_like_a_number_breaks_the_grader(text: str) -> None:
    _problems(text)
    # Here a SHA's beginning that looks like a number is shown, as it is by most tools.
    assert Ground([{"sha": "123456789e56", "short": "1234e567"}]).untraced("See 1234e567.") == []


def test_a_placeholder_may_be_a_percentage_if_its_metric_is_one() -> None:
    top1 = replace(WORSE.metrics[0], name="top1 %")
    assert unresolved("It is [[top1 %.current]] % now.", {"top1 %": top1}) == []
    assert unresolved("It moved by [[top1 %.rel]] %.", {"top1 %": top1})
    assert unresolved("It is [[top1 %\n.current]].", {"top1 %": top1})


def test_a_private_key_in_a_log_is_taken_out_with_all_its_lines() -> None:
    body = [f"{'MIIEowIBAAKCAQEA' * 4}", f"12:00:01 INFO {'q83vEjRWeJCrze8S' * 4}", "AbCd=="]
    key = ["-----BEGIN RSA PRIVATE KEY-----", *body, "-----END RSA PRIVATE KEY-----"]

    assert clean_lines(["epoch 1", *key, "epoch 2"]) == ["epoch 1", "[redacted]", "epoch 2"]
    assert clean_lines([*body, key[-1], "epoch 2"]) == ["epoch 2"]
    assert clean_lines([*key[:3], "ValueError: no"]) == ["[redacted]", "ValueError: no"]
    assert clean_lines(["see <!-- this", "ValueError: no"]) == ["see ", "ValueError: no"]


def test_no_field_of_a_commit_takes_a_secret_into_the_prompt() -> None:
    secret = "ghp_Zk3vQ9sT1mN7pL5xB2cD8fG4hJ6kR0wYuEoA"
    commit = replace(
        BROKEN,
        gate_failed=secret,
        broken=[replace(BROKEN.broken[0], error=secret)],
        past=[PastRun("abc1234", "failed", {secret: 1.0}, secret)],
    )
    assert secret not in str(write_up_prompt(commit).user)


def _problems(text: str) -> list[str]:
    grader = Grader(WORSE)
    return [*unresolved(text, grader.metrics), *grader.violations(Field(text, holds_verdict=True))]
