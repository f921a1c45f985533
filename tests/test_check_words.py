"""What the Checks tab says, word for word."""
# ruff: noqa: E501 - reports have long lines

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from gamma_bot.reporting.checks import (
    check_report,
    config_fine_report,
    config_mistakes_report,
    nothing_to_train_report,
)
from gamma_bot.reporting.facts import Annotation, BrokenLine, CheckReport, JobFacts, State
from gamma_bot.reporting.log_lines import shorten_paths
from gamma_bot.reporting.numbers import format_bytes, format_change, format_seconds, format_value
from gamma_bot.tracking.runs import Point, Run
from tests.job_facts import (
    BETTER,
    BROKEN,
    CANCELLED,
    NOT_A_NUMBER,
    PREPARING,
    QUEUED,
    REGRESSED,
    RUNNING,
    SKIPPED,
    completed,
    run,
)


def told(report: CheckReport) -> str:
    """A report as its reader meets it."""
    head = f"{report.status} {report.conclusion or '…'} | {report.title}"
    return "\n\n".join(part for part in (head, report.summary, "----" if report.text else "", report.text) if part)


def test_a_queued_job() -> None:
    assert told(check_report(QUEUED)) == snapshot("""\
queued … | Queued

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

`python train.py` · on `local`\
""")


def test_a_job_that_is_prepared() -> None:
    assert check_report(PREPARING).title == "Preparing: installing requirements"
    assert (check_report(PREPARING).status, check_report(PREPARING).conclusion) == ("in_progress", None)


def test_a_running_job() -> None:
    assert told(check_report(RUNNING)) == snapshot("""\
in_progress … | Training: generation 12 of 40 · episode_return 90.25 · 42 s

| Metric | So far | Trend |
| :-- | --: | :-- |
| **`episode_return`** | **90.25** | ▁█ |
| `loss` | 0.02 | █▃▁ |

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

`python train.py` · on `local` · 42 s

----

```mermaid
%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #bc4c00"}}}}%%
xychart-beta
    x-axis "step" ["0", "10"]
    y-axis "episode_return" 16.49 --> 93.76
    line [20, 90.25]
```

`episode_return` by step.

<details><summary>End of the log</summary>

```
generation 12: 90.3
```

</details>\
""")


def test_a_success() -> None:
    assert told(check_report(BETTER)) == snapshot("""\
completed success | episode_return 198.4 (+62.1, +46 %), better than models

| Metric | This run | Best | `models` | Change |  | Trend |
| :-- | --: | --: | --: | --: | :-- | :-- |
| **`episode_return`** | **198.4** | 205.1 at step 30 | 136.3 | +62.1 (+46 %) | ▲ better | ▁▄▆██ |
| `loss` | 0.02 |  | 0.03 | -0.01 (-33 %) | ▲ better | █▃▁ |
| `grad_norm` | 1.25 |  | 1.25 | 0 | = same |  |
| `steps` | 500,000 |  |  |  | not in the baseline |  |

Baseline: the last values of job [`models-9b2e4d7`](https://mlflow.example/runs/1), [`9b2e4d7`](https://github.com/ann/cartpole/commit/9b2e4d7c1a5f) on `models`.

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

`python train.py` · on `local` · 2 m 10 s · exit status 0 · [MLflow run](https://mlflow.example/runs/2)

----

```mermaid
%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #bc4c00"}}}}%%
xychart-beta
    x-axis "step" ["0", "10", "20", "30", "40"]
    y-axis "episode_return" 10.7 --> 214.4
    line [20, 90.2, 150.5, 205.1, 198.4]
    line [20, 71.5, 136.3, 131, 136.3]
```

`episode_return` by step: blue is this run, orange is `models`.

### 2 artifacts, 952 kB

| File | Size |
| :-- | --: |
| `rollouts/best/rollout.json` | 871 kB |
| `model/policy.npz` | 81.2 kB |

### Parameters

| Parameter | Value |
| :-- | :-- |
| `learning_rate` | `0.02` |
| `population` | `64` |

<details><summary>End of the log</summary>

```
generation 39: 190.1
generation 40: 198.4
```

</details>\
""")


def test_a_first_success_has_nothing_to_compare_with() -> None:
    report = check_report(completed(run([20.0, 198.4]), None))

    assert report.title == snapshot("episode_return 198.4, nothing to compare with yet")
    assert "No baseline: `models` has no other finished run to compare with." in report.summary


def test_a_success_without_metrics_says_how_to_log_them() -> None:
    report = check_report(replace(BETTER, metrics=()))

    assert report.title == "Trained in 2 m 10 s, no metrics logged"
    assert "mlflow.log_metric" in report.summary


def test_a_failed_gate() -> None:
    assert told(check_report(REGRESSED)) == snapshot("""\
completed failure | Gate failed: episode_return 120.1 (-16.2, -12 %), worse than models

`episode_return` fell from 136.3 to 120.1 (-12 %), and its gate in gamma.yml allows no regression beyond its tolerance of 2.

**Next:** If a change of this size is noise, raise `metrics.episode_return.tolerance` in gamma.yml.

| Metric | This run | `models` | Change |  | Trend |
| :-- | --: | --: | --: | :-- | :-- |
| **`episode_return`** | **120.1** | 136.3 | -16.2 (-12 %) | ▼ worse | ▁▆█ |
| `loss` | 0.02 | 0.03 | -0.01 (-33 %) | ▲ better | █▃▁ |

Baseline: the last values of job [`models-9b2e4d7`](https://mlflow.example/runs/1), [`9b2e4d7`](https://github.com/ann/cartpole/commit/9b2e4d7c1a5f) on `models`.

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

`python train.py` · on `local` · 2 m 10 s · exit status 0 · [MLflow run](https://mlflow.example/runs/2)

----

```mermaid
%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #bc4c00"}}}}%%
xychart-beta
    x-axis "step" ["0", "10", "20"]
    y-axis "episode_return" 14.2 --> 142.1
    line [20, 90, 120.1]
    line [20, 71.5, 136.3]
```

`episode_return` by step: blue is this run, orange is `models`. The baseline went on to step 40, which is not shown.

### 2 artifacts, 952 kB

| File | Size |
| :-- | --: |
| `rollouts/best/rollout.json` | 871 kB |
| `model/policy.npz` | 81.2 kB |

### Parameters

| Parameter | Value |
| :-- | :-- |
| `learning_rate` | `0.02` |
| `population` | `64` |

<details><summary>End of the log</summary>

```
generation 39: 190.1
generation 40: 198.4
```

</details>\
""")


def test_a_metric_that_is_no_number() -> None:
    assert told(check_report(NOT_A_NUMBER)) == snapshot("""\
completed failure | The run finished, but episode_return ended as NaN at step 20

**Next:** Look for the step where it broke; a lower learning rate or gradient clipping often helps.

| Metric | This run | Best | `models` | Change |  | Trend |
| :-- | --: | --: | --: | --: | :-- | :-- |
| **`episode_return`** | **NaN** | 90 at step 10 | 136.3 |  | ✖ not finite | ▁█ |
| `loss` | 0.02 |  | 0.03 | -0.01 (-33 %) | ▲ better | █▃▁ |

Baseline: the last values of job [`models-9b2e4d7`](https://mlflow.example/runs/1), [`9b2e4d7`](https://github.com/ann/cartpole/commit/9b2e4d7c1a5f) on `models`.

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

`python train.py` · on `local` · 2 m 10 s · exit status 0 · [MLflow run](https://mlflow.example/runs/2)

----

```mermaid
%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #bc4c00"}}}}%%
xychart-beta
    x-axis "step" ["0", "10"]
    y-axis "episode_return" 16.5 --> 93.5
    line [20, 90]
    line [20, 71.5]
```

`episode_return` by step: blue is this run, orange is `models`. No finite value was logged after step 10. The baseline went on to step 40, which is not shown.

### 2 artifacts, 952 kB

| File | Size |
| :-- | --: |
| `rollouts/best/rollout.json` | 871 kB |
| `model/policy.npz` | 81.2 kB |

### Parameters

| Parameter | Value |
| :-- | :-- |
| `learning_rate` | `0.02` |
| `population` | `64` |

<details><summary>End of the log</summary>

```
generation 39: 190.1
generation 40: 198.4
```

</details>\
""")


def test_broken_code() -> None:
    assert told(check_report(BROKEN)) == snapshot("""\
completed failure | Broke at src/policy.py:41: ValueError: shapes (3,4) and (5,) not aligned

The command exited with status 1. It broke at [`src/policy.py:41`](https://github.com/ann/cartpole/blob/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123/src/policy.py#L41).

**Next:** Correct the code and push again; `/gamma retry` trains the same commit again.

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

`python train.py` · on `local` · 3.2 s · exit status 1

----

### End of the log

```
Traceback (most recent call last):
  File "/opt/ml/code/src/policy.py", line 41, in act
ValueError: shapes (3,4) and (5,) not aligned
```\
""")
    assert check_report(BROKEN).annotations == (
        Annotation("src/policy.py", 41, 41, "failure", "ValueError", "shapes (3,4) and (5,) not aligned"),
    )


def test_a_cancelled_job() -> None:
    assert told(check_report(CANCELLED)) == snapshot("""\
completed cancelled | Cancelled: a newer push to models/wider replaced this job

**Next:** `/gamma retry` trains this commit again.

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

`python train.py` · on `local` · 1 m 1 s\
""")


def test_a_skipped_job() -> None:
    assert told(check_report(SKIPPED)) == snapshot("""\
completed neutral | Skipped: the push touches no training path

**Next:** `train.paths` in gamma.yml says which files make a push worth training.

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.\
""")


@dataclass(frozen=True)
class Mistake:
    """As ``config`` reports them."""

    message: str
    hint: str = ""
    line: int | None = None
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None
    warning: bool = False


def test_mistakes_in_gamma_yml_are_marked_at_their_lines() -> None:
    report = config_mistakes_report(
        [
            Mistake("`goal` must be `maximize` or `minimize`, not `max`", "Write `goal: maximize`.", 7, 11, 7, 14),
            Mistake("`train` has no key `comand`", "Did you mean `command`?", 3, 3, 4, 9),
            Mistake("this Gamma can't train on `actions`: it is set up for local"),
        ]
    )

    assert told(report) == snapshot("""\
completed failure | gamma.yml, line 7: goal must be maximize or minimize, not max (and 2 more)

`gamma.yml` can't be used, so nothing was trained. 3 mistakes:

- Line 7: `goal` must be `maximize` or `minimize`, not `max`. Write `goal: maximize`.
- Line 3: `train` has no key `comand`. Did you mean `command`?
- this Gamma can't train on `actions`: it is set up for local.

Correct the file and push again; `gamma validate` checks it before a push. What is mended elsewhere (on the default branch, or in the settings of this Gamma) needs no push: press **Re-run**.\
""")
    assert report.annotations == snapshot(
        (
            Annotation(
                path="gamma.yml",
                start_line=7,
                end_line=7,
                level="failure",
                title="goal must be maximize or minimize, not max",
                message="Write “goal: maximize”.",
                start_column=11,
                end_column=14,
            ),
            Annotation(
                path="gamma.yml",
                start_line=3,
                end_line=4,
                level="failure",
                title="train has no key comand",
                message="Did you mean “command”?",
            ),
            Annotation(
                path="gamma.yml",
                start_line=1,
                end_line=1,
                level="failure",
                title="Mistake in gamma.yml",
                message="this Gamma can't train on “actions”: it is set up for local",
                start_column=1,
                end_column=1,
            ),
        )
    )


def test_a_doubt_is_no_mistake() -> None:
    report = config_mistakes_report([Mistake("no such key"), Mistake("`seeds` is empty", line=2, warning=True)])

    assert [annotation.level for annotation in report.annotations] == ["failure", "warning"]


def test_a_file_that_is_fine_again() -> None:
    assert told(config_fine_report()) == snapshot("""\
completed success | gamma.yml is fine

`gamma.yml` can be used. **gamma / train** shows the run.\
""")


def test_a_branch_with_nothing_to_train_is_told_how_to_begin() -> None:
    assert told(nothing_to_train_report()) == snapshot("""\
completed neutral | Nothing to train yet: no gamma.yml and no train.py

This commit has neither a `gamma.yml` nor a `train.py`, so Gamma does not know what to run. There are three ways to begin:

- With a training script of your own: `gamma init --config-only` writes just a `gamma.yml`; name your script in it.
- From nothing: `gamma init` writes a small MuJoCo task that trains at once (`gamma.yml`, `train.py` and what they need). It keeps a README.md and a .gitignore that are there, and overwrites no other file.
- By hand: copy these two.

`gamma.yml`, in the repository's root:

```yaml
version: 1
train:
  command: python train.py
  hyperparameters: {learning_rate: 0.1}
metrics:
  loss: {goal: minimize, primary: true}
```

`train.py`:

```python
import json
import os

import mlflow

learning_rate = json.loads(os.environ["SM_HPS"])["learning_rate"]
weight = 5.0
with mlflow.start_run():  # Gamma has opened the run; this joins it
    for step in range(100):
        weight -= learning_rate * 2 * weight
        mlflow.log_metric("loss", weight**2, step=step)
```

Name what the script imports in `requirements.txt`, and push. Each push to this branch is then one training run, with its result here.\
""")


HUGE = "x" * 5000


@pytest.mark.parametrize("state", list(State))
def test_whatever_the_facts_a_report_stays_within_githubs_limits(state: State) -> None:
    facts = replace(
        BETTER,
        state=state,
        why="`" + HUGE,
        hint=HUGE,
        detail=HUGE,
        message=HUGE,
        branch="models/" + HUGE,
        command=HUGE,
        metrics=[replace(line, name=f"{n}{line.name}{HUGE}") for n in range(200) for line in BETTER.metrics],
        params={f"{n}|{HUGE}": HUGE for n in range(500)},
        artifacts=[(f"{n}{HUGE}", n) for n in range(500)],
        log_tail=["`" * 3000] * 100,
        broken_lines=[BrokenLine(f"{n}.py", 1, HUGE, HUGE * 10) for n in range(80)],
    )
    report = check_report(facts)

    assert len(report.title) <= 255
    assert len(report.summary) <= 65_535
    assert len(report.text) <= 65_535
    assert len(report.annotations) <= 50
    assert all(len(annotation.title) <= 255 for annotation in report.annotations)


@given(st.text(max_size=40), st.sampled_from(list(State)))
def test_a_title_is_one_line_of_plain_text(words: str, state: State) -> None:
    broken = [BrokenLine("train.py", 1, words, words)]
    facts: JobFacts = replace(BROKEN, state=state, why=words, detail=words, broken_lines=broken)

    title = check_report(facts).title
    assert title
    assert title == " ".join(title.split())
    assert title.encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"), (-0.0, "0"), (198.4, "198.4"), (0.5, "0.5"), (1 / 3, "0.3333"), (12345.678, "12,346"),
        (999.96, "1,000"), (500_000.0, "500,000"), (123_456_789.0, "123,456,789"), (1.5e9, "1.5e+09"),
        (1.2e-5, "1.2e-05"), (1e-4, "0.0001"), (-0.00001234567, "-1.235e-05"), (5e-324, "4.941e-324"),
        (float("nan"), "NaN"), (float("inf"), "inf"), (float("-inf"), "-inf"), (-2.0, "-2"),
    ],
)  # fmt: skip
def test_values_read_well(value: float, expected: str) -> None:
    assert format_value(value) == expected


@given(st.floats())
def test_no_value_is_shown_as_minus_zero(value: float) -> None:
    assert format_value(value) not in ("-0", "-0.0", "")


@pytest.mark.parametrize(
    ("change", "relative", "expected"),
    [
        (62.1, 0.456, "+62.1 (+46 %)"), (-0.5, -0.049, "-0.5 (-4.9 %)"), (0.001, 0.0042, "+0.001 (+0.42 %)"),
        (1.0, None, "+1"), (0.0, 0.0, "0"), (1.0, 0.00001, "+1 (<0.01 %)"), (100.0, 12.5, "+100 (+1,250 %)"),
    ],
)  # fmt: skip
def test_changes_read_well(change: float, relative: float | None, expected: str) -> None:
    assert format_change(change, relative) == expected


def test_times_and_sizes_read_well() -> None:
    assert [format_seconds(t) for t in (0, 0.05, 0.42, 3.0, 12.2, 59.7, 130, 3600, 3725, 90_000)] == [
        "under 0.1 s", "0.1 s", "0.4 s", "3 s", "12 s", "1 m", "2 m 10 s", "1 h", "1 h 2 m", "1 d 1 h",
    ]  # fmt: skip
    assert [format_bytes(n) for n in (0, 999, 1000, 81_234, 999_999, 1_500_000_000, 2**50)] == [
        "0 B", "999 B", "1 kB", "81.2 kB", "1 MB", "1.5 GB", "1,126 TB",
    ]  # fmt: skip


# ── What a trial by users found ──


def test_a_baseline_that_logged_none_of_the_metrics_is_no_baseline() -> None:
    own = run([], loss=0.02)
    facts = completed(Run(own.run_id, "1", "FINISHED", {}, {"entropy": [Point(0, 1.5, 0.0)]}))

    summary = check_report(facts).summary

    assert "Baseline:" not in summary
    assert "Nothing is compared: `models` (job [`models-9b2e4d7`]" in summary
    assert "logged none of these metrics." in summary


def test_a_title_has_one_colon_after_its_state_and_is_not_repeated() -> None:
    facts = replace(SKIPPED, why="There is nothing to train: the commit has no gamma.yml and no train.py.")
    report = check_report(facts)

    assert report.title == "Skipped: there is nothing to train; the commit has no gamma.yml and no train.py"
    assert "nothing to train" not in report.summary


@pytest.mark.parametrize("facts", [BROKEN, BETTER])
def test_a_log_that_was_cut_says_so(facts: JobFacts) -> None:
    assert (
        "300 MB of the log are dropped; its end is kept."
        in check_report(replace(facts, log_dropped_bytes=300_000_000)).text
    )
    assert "dropped" not in check_report(facts).text


@pytest.mark.parametrize(("behind", "shown"), [(3, 20), (20, 20), (31, 31), (40, 40), (41, 20)])
def test_a_failed_runs_log_begins_at_its_traceback(behind: int, shown: int) -> None:
    log = [f"line {number}" for number in range(100)]
    log[-behind] = "Traceback (most recent call last):"
    block = check_report(replace(BROKEN, log_tail=log)).text.split("```")[1].strip().split("\n")

    assert block == log[-shown:]


def test_no_annotation_says_the_same_twice_or_has_backticks() -> None:
    problems = [Mistake("`a` is wrong", "Write `b`.", 2), Mistake("`c` is wrong", line=3)]
    broken = replace(BROKEN, broken_lines=[BrokenLine("a.py", 1, "ModuleNotFoundError", "No x\n\nAdd `x`.")])
    annotations = [*config_mistakes_report(problems).annotations, *check_report(broken).annotations]

    for annotation in annotations:
        assert "`" not in annotation.title + annotation.message
        assert annotation.title not in annotation.message
    assert [(each.title, each.message) for each in annotations] == [
        ("a is wrong", "Write “b”."),
        ("Mistake in gamma.yml", "“c” is wrong"),
        ("ModuleNotFoundError", "No x\n\nAdd “x”."),
    ]


def test_a_traceback_of_a_run_that_went_on_is_only_noticed() -> None:
    printed = (BrokenLine("env.py", 7, "KeyError", "'goal'"),)
    report = check_report(replace(BETTER, printed_tracebacks=printed))

    assert report.conclusion == "success"
    assert report.title == check_report(BETTER).title
    assert report.annotations == (
        Annotation(
            "env.py",
            7,
            7,
            "notice",
            "A traceback was printed",
            "KeyError: 'goal'\n\nThe command went on and exited with status 0.",
        ),
    )


def test_metrics_stand_in_natural_order() -> None:
    facts = completed(run([198.4], m10=[1.0], m2=[1.0], m1=[1.0]))
    summary = check_report(facts).summary

    assert re.findall(r"^\| \**`(\w+)`", summary, re.MULTILINE) == ["episode_return", "loss", "m1", "m2", "m10"]


def test_files_with_unprintable_names_are_counted() -> None:
    assert "2 files with unprintable names left out." in check_report(replace(BETTER, artifacts_left_out=2)).text
    alone = check_report(replace(BETTER, artifacts=(), artifacts_left_out=1)).text
    assert "1 file with an unprintable name left out." in alone


def test_paths_in_a_log_are_the_repositorys() -> None:
    roots = ("/srv/gamma/jobs/j1-1/ml/code",)
    lines = [
        '  File "/srv/gamma/jobs/j1-1/ml/code/search.py", line 3, in f',
        "/backup/srv/gamma/jobs/j1-1/ml/code/x /srv/gamma/jobs/j1-1/ml/codex/y",
    ]

    assert shorten_paths(lines, roots) == ('  File "search.py", line 3, in f', lines[1])
    assert shorten_paths(lines, ()) == tuple(lines)
