"""What the Checks tab says, word for word."""
# ruff: noqa: E501 - reports have long lines

from __future__ import annotations

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
from gamma_bot.reporting.numbers import format_bytes, format_change, format_seconds, format_value
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

`python train.py` · on `local` · [Job page](https://gamma.example/jobs/models-wider-3f1c9aa)\
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

`python train.py` · on `local` · 42 s · [Job page](https://gamma.example/jobs/models-wider-3f1c9aa)

----

```mermaid
%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #bc4c00"}}}}%%
xychart-beta
    x-axis "step" 0 --> 10
    y-axis "episode_return" 16.49 --> 93.76
    line [20, 22.42, 24.84, 27.27, 29.69, 32.11, 34.53, 36.96, 39.38, 41.8, 44.22, 46.65, 49.07, 51.49, 53.91, 56.34, 58.76, 61.18, 63.6, 66.03, 68.45, 70.87, 73.29, 75.72, 78.14, 80.56, 82.98, 85.41, 87.83, 90.25]
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

`python train.py` · on `local` · 2 m 10 s · exit status 0 · [Job page](https://gamma.example/jobs/models-wider-3f1c9aa) · [MLflow run](https://mlflow.example/runs/2) · [Check](https://github.com/ann/cartpole/runs/5)

----

```mermaid
%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #bc4c00"}}}}%%
xychart-beta
    x-axis "step" 0 --> 40
    y-axis "episode_return" 10.8 --> 214.1
    line [20, 29.7, 39.4, 49.1, 58.8, 68.4, 78.1, 87.8, 96.5, 104.8, 113.1, 121.4, 129.7, 138, 146.3, 154.3, 161.8, 169.3, 176.9, 184.4, 191.9, 199.5, 204.9, 203.9, 203, 202.1, 201.2, 200.2, 199.3, 198.4]
    line [20, 27.1, 34.2, 41.3, 48.4, 55.5, 62.6, 69.7, 78.2, 87.1, 96.1, 105, 114, 122.9, 131.8, 135.9, 135.2, 134.5, 133.7, 133, 132.3, 131.5, 131.2, 131.9, 132.6, 133.4, 134.1, 134.8, 135.6, 136.3]
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

`python train.py` · on `local` · 2 m 10 s · exit status 0 · [Job page](https://gamma.example/jobs/models-wider-3f1c9aa) · [MLflow run](https://mlflow.example/runs/2) · [Check](https://github.com/ann/cartpole/runs/5)

----

```mermaid
%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #bc4c00"}}}}%%
xychart-beta
    x-axis "step" 0 --> 20
    y-axis "episode_return" 14.2 --> 142.1
    line [20, 24.8, 29.7, 34.5, 39.3, 44.1, 49, 53.8, 58.6, 63.4, 68.3, 73.1, 77.9, 82.8, 87.6, 91, 93.1, 95.2, 97.3, 99.3, 101.4, 103.5, 105.6, 107.6, 109.7, 111.8, 113.9, 115.9, 118, 120.1]
    line [20, 23.6, 27.1, 30.7, 34.2, 37.8, 41.3, 44.9, 48.4, 52, 55.5, 59.1, 62.6, 66.2, 69.7, 73.7, 78.2, 82.7, 87.1, 91.6, 96.1, 100.5, 105, 109.5, 114, 118.4, 122.9, 127.4, 131.8, 136.3]
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

`python train.py` · on `local` · 2 m 10 s · exit status 0 · [Job page](https://gamma.example/jobs/models-wider-3f1c9aa) · [MLflow run](https://mlflow.example/runs/2) · [Check](https://github.com/ann/cartpole/runs/5)

----

```mermaid
%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #bc4c00"}}}}%%
xychart-beta
    x-axis "step" 0 --> 10
    y-axis "episode_return" 16.5 --> 93.5
    line [20, 22.41, 24.83, 27.24, 29.66, 32.07, 34.48, 36.9, 39.31, 41.72, 44.14, 46.55, 48.97, 51.38, 53.79, 56.21, 58.62, 61.03, 63.45, 65.86, 68.28, 70.69, 73.1, 75.52, 77.93, 80.34, 82.76, 85.17, 87.59, 90]
    line [20, 21.78, 23.55, 25.33, 27.1, 28.88, 30.66, 32.43, 34.21, 35.98, 37.76, 39.53, 41.31, 43.09, 44.86, 46.64, 48.41, 50.19, 51.97, 53.74, 55.52, 57.29, 59.07, 60.84, 62.62, 64.4, 66.17, 67.95, 69.72, 71.5]
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

`python train.py` · on `local` · 3.2 s · exit status 1 · [Job page](https://gamma.example/jobs/models-wider-3f1c9aa)

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

`python train.py` · on `local` · 1 m 1 s · [Job page](https://gamma.example/jobs/models-wider-3f1c9aa)\
""")


def test_a_skipped_job() -> None:
    assert told(check_report(SKIPPED)) == snapshot("""\
completed neutral | Skipped: the push touches no training path

**Next:** `train.paths` in gamma.yml says which files make a push worth training.

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

[Job page](https://gamma.example/jobs/models-wider-3f1c9aa)\
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

Correct the file and push again. `gamma validate` checks it before a push.\
""")
    assert report.annotations == snapshot(
        (
            Annotation(
                path="gamma.yml",
                start_line=7,
                end_line=7,
                level="failure",
                title="goal must be maximize or minimize, not max",
                message="""\
`goal` must be `maximize` or `minimize`, not `max`

Write `goal: maximize`.\
""",
                start_column=11,
                end_column=14,
            ),
            Annotation(
                path="gamma.yml",
                start_line=3,
                end_line=4,
                level="failure",
                title="train has no key comand",
                message="""\
`train` has no key `comand`

Did you mean `command`?\
""",
            ),
            Annotation(
                path="gamma.yml",
                start_line=1,
                end_line=1,
                level="failure",
                title="this Gamma can't train on actions: it is set up for local",
                message="this Gamma can't train on `actions`: it is set up for local",
            ),
        )
    )


def test_a_doubt_is_no_mistake() -> None:
    report = config_mistakes_report([Mistake("no such key"), Mistake("`seeds` is empty", line=2, warning=True)])

    assert [annotation.level for annotation in report.annotations] == ["failure", "warning"]


def test_a_file_that_is_fine_again() -> None:
    assert told(config_fine_report()) == snapshot("""\
completed success | gamma.yml is fine

`gamma.yml` can be read again. **gamma / train** shows the run.\
""")


def test_a_branch_with_nothing_to_train_is_told_how_to_begin() -> None:
    assert told(nothing_to_train_report()) == snapshot("""\
completed neutral | Nothing to train yet: no gamma.yml and no train.py

This commit has neither a `gamma.yml` nor a `train.py`, so Gamma does not know what to run. `gamma init` writes both; or copy these.

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
    assert [format_seconds(t) for t in (0, 0.42, 3.0, 12.2, 59.7, 130, 3600, 3725, 90_000)] == [
        "0 s", "0.4 s", "3 s", "12 s", "1 m", "2 m 10 s", "1 h", "1 h 2 m", "1 d 1 h",
    ]  # fmt: skip
    assert [format_bytes(n) for n in (0, 999, 1000, 81_234, 999_999, 1_500_000_000, 2**50)] == [
        "0 B", "999 B", "1 kB", "81.2 kB", "1 MB", "1.5 GB", "1,126 TB",
    ]  # fmt: skip
