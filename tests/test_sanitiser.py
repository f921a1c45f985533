"""What a model writes is read at GitHub and does nothing there: no mention, link, command, HTML or marker of ours."""

from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gamma_bot.agent.sanitiser import MOST_CHARACTERS, AllowedLinks, plain_text, sanitise, sanitise_line
from gamma_bot.commands.comment_lines import command_lines
from tests.sanitiser_attacks import ATTACKS, FRAGMENTS, SLEEPING
from tests.sanitiser_grader import LINKS, elements, leaks, line_leaks, words

pieces = st.lists(st.sampled_from(FRAGMENTS) | st.sampled_from(SLEEPING) | st.text(max_size=2), max_size=25)
documents = pieces.map("".join)

WRITE_UP = """\
#### What moved

Return rose from **412.3** to *431.8* (+4.7 %), which is `seed=0` only;
1500000 steps, 2.5e-4 -> 1e-3, ~5 min, a*b = c*d.

- `train.py`: `lr` is 0.001 now, see [line 41](https://github.com/ada/walker/blob/4f2c9e1ab0/src/train.py#L41).
- `config/file_name.py` and file_name.py, some_long_name, C#, F#, v1.2.3, torch==2.4.1, `a | b`
  - clip_range stays 0.2; loss < 0.1 & reward > 0, 50/50, and/or, 10:30, `x == y`
- [the run](https://mlflow.example/team/#/experiments/1/runs/ab12) took 14 s & cost 0.07 USD!

1. Try `/gamma train lr=0.01`.
2. Then ~~batch 64~~ batch 128:

   ```yaml
   train:
     hyperparameters: {lr: 0.01}
   ```

| Metric | Before | After |
| --- | --: | :-: |
| episode_return | 412.3 | **431.8** |
| `loss` | 0.10 | 0.09 (−10 %) |

> Likely cause: the learning rate. It's "only" one seed — be careful…
> Naïve Übung, 漢字, 🚀, x², π ≈ 3.14

```python
value = a * b  # @property, #12 and $HOME stay as they are in code
print(f"{value:.2f}", "<b>", "`")
```"""


def remains(document: str) -> list[str]:
    """What is still done by the document in one of the forms in which it can be shown."""
    safe = sanitise(document, LINKS)
    twice = sanitise(safe, LINKS)
    found = leaks(safe) + (leaks(twice) if twice != safe else [])
    return found + line_leaks(sanitise_line(document, LINKS, 1000)) + line_leaks(plain_text(document, 300))


@pytest.mark.parametrize("kind", ATTACKS)
def test_every_attack_is_one_before_and_none_after(kind: str) -> None:
    assert [attack for attack in ATTACKS[kind] if not leaks(attack)] == [], "the grader sees what each of them does"
    assert {attack: found for attack in ATTACKS[kind] if (found := remains(attack))} == {}


def test_what_sleeps_is_not_woken() -> None:
    assert {case: found for case in SLEEPING if (found := remains(case))} == {}


@pytest.mark.parametrize("kind", ATTACKS)
def test_what_was_made_safe_stays_as_it_is(kind: str) -> None:
    safe = [sanitise(attack, LINKS) for attack in ATTACKS[kind]]

    assert [sanitise(text, LINKS) for text in safe] == safe


@settings(max_examples=100 if settings().derandomize else 20_000)
@given(documents)
@example("**/gamma stop**deadbeef1")
@example("`a`[](x)dead**beef1**")
@example("- [\r\n&#32;] a")
@example("0.5  \n\\\n")
@example("@[](x)*／@*")
@example("[x](y)~~：mailto:~~  \nx")
def test_whatever_is_put_together_does_nothing(document: str) -> None:
    assert not remains(document)


def test_an_ordinary_write_up_reads_as_it_was_written() -> None:
    safe = sanitise(WRITE_UP, LINKS)

    assert elements(safe) == elements(WRITE_UP)
    assert words(safe) == words(WRITE_UP)
    assert not leaks(safe)
    assert sanitise(safe, LINKS) == safe
    assert "file_name.py, some_long_name, C#, F#, v1.2.3" in safe, "the source can be read too"
    assert "https://github.com/ada/walker/blob/4f2c9e1ab0/src/train.py#L41" in safe


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("thanks @ann, see #12", "thanks @ann, see #12"),
        ("&lt;b&gt; & AT&amp;T &copy;", "<b> & AT&T ©"),
        ("policy.py:41: ValueError", "policy.py:41: ValueError"),
        ("[docs](https://evil.example/x) and ![a chart](x.png)", "docs and a chart"),
        ("<b>bold</b> <!-- note -->", "<b>bold</b> <!-- note -->"),
        ("costs $5, then $7", "costs $5, then $7"),
        ("# Title\n\ntext", "Title\ntext"),
        ("a\u202eb\u200bc", "abc"),
        ("5 * 3 * 2 and 2**3 or a_b", "5 * 3 * 2 and 2**3 or a_b"),
        ("100 % done - x + y = z", "100 % done - x + y = z"),
        ("/opt/ml/model is full", "/opt/ml/model is full"),
        ("- a\n- b\n\n---\n\nend", "\na\nb\n\nend"),
    ],
)
def test_what_is_taken_away_is_only_what_acts(written: str, shown: str) -> None:
    assert words(sanitise(written, LINKS)).strip() == shown.strip()


def test_one_line_keeps_code_and_emphasis_and_plain_text_keeps_the_marks() -> None:
    assert sanitise_line("Use `lr`,\n**not** file_name @ann", LINKS, 99) == "Use `lr`, **not** file_name @\u200bann"
    assert words(plain_text("Use `lr`,\n**not** <b> | $x$ & #1", 99)) == "Use `lr`, **not** <b> | $x$ & #1\n"
    assert words(plain_text("a long text", 6)) == "a lon…\n"
    assert words(sanitise_line("a `long text`", LINKS, 6)) == "a `lo…\n"
    assert plain_text("", 9) == sanitise_line("", LINKS, 9) == sanitise("", LINKS) == ""


def test_our_own_command_can_be_copied_but_is_not_given() -> None:
    safe = sanitise("Next:\n\n- `/gamma train lr=0.01`\n\n```\n/gamma retry\n```\n\n/gamma stop", LINKS)

    assert "`/gamma train lr=0.01`" in safe
    assert not command_lines(safe)
    assert command_lines(" /gamma retry"), "the blank before it in a block does not hinder who copies it"


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/ada/walker", "https://github.com/ada/walker/blob/main/train.py?plain=1#L3-L9",
        "https://github.com/ada/walker/commit/4f2c9e1", "https://github.com/ada/walker/compare/a1b2c3...d4e5f6",
        "https://github.com/ada/walker/actions/runs/17", "https://mlflow.example/team/#/experiments/1",
        "https://mlflow.example/team?x=1&amp;y=2", "http://gamma.example:8080/jobs/ab12",
    ],
)  # fmt: skip
def test_links_to_our_own_pages_stay(address: str) -> None:
    safe = sanitise(f"see [it](<{address}>), ok", LINKS)

    assert elements(safe) == ["p", "a"]
    assert not leaks(safe)


def test_without_anything_allowed_no_link_is() -> None:
    assert sanitise("[a](https://github.com/ada/walker) [b](https://x)", AllowedLinks()) == "a b"


def test_only_a_commit_that_the_text_is_about_is_linked_by_github() -> None:
    assert sanitise("4f2c9e1 and 4f2c9e1ab0 but 4f2c9e2", LINKS) == "4f2c9e1 and 4f2c9e1ab0 but 4f2c9e\u200b2"


def test_every_character_that_unicode_calls_invisible_goes() -> None:
    kinds = {"Cc", "Cf", "Co", "Cs"}
    unseen = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in kinds]

    left = set("".join(sanitise(f"x{''.join(unseen[at : at + 9000])}x", LINKS) for at in range(0, len(unseen), 9000)))
    assert left == {"x", "\n"}


@pytest.mark.parametrize(
    "piece",
    ["> - 1. ", "**a ", "&amp;", "$", "\u0301", "[a](https://mlflow.example/team/x) "],
)
def test_a_megabyte_is_cut_in_no_time_and_stays_whole(piece: str) -> None:
    document = piece * (1_000_000 // len(piece))
    started = time.process_time()
    safe = sanitise(document, LINKS)
    sanitise_line(document, LINKS, 500)
    plain_text(document, 500)

    assert time.process_time() - started < 10, "about 1 s; what is not linear would need minutes"
    assert len(safe) <= MOST_CHARACTERS
    assert safe.endswith("*The rest was left out here: GitHub shows no more.*")


@pytest.mark.parametrize(
    "document",
    [
        "- item\n\n  > " + f"**{'words for $1 and ' * 20}$** " * 200,
        "| a | b |\n| - | - |\n" + f"| `code` | {'words for $1 and ' * 20} |\n" * 200,
    ],
    ids=["list", "table"],
)
def test_a_text_is_cut_between_constructs(document: str) -> None:
    safe = sanitise(document, LINKS)

    assert 45_000 < len(safe) <= MOST_CHARACTERS
    assert not leaks(safe)
