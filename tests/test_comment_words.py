"""What the pull request's one comment says, word for word."""
# ruff: noqa: E501 - reports have long lines

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from gamma_bot.reporting.charts import sparkline, xychart
from gamma_bot.reporting.comments import sticky_comment, write_up_alone
from gamma_bot.reporting.facts import BrokenLine, ChangedFile, JobFacts, State
from gamma_bot.reporting.markdown import Markdown
from gamma_bot.reporting.write_up import changed_settings, write_up
from gamma_bot.sandbox import mermaid
from tests.github_page import AUTOLINKED, Page
from tests.job_facts import BETTER, BROKEN, CANCELLED, QUEUED, REGRESSED, RUNNING, SHA, SKIPPED, completed, run

MARKER = "<!-- gamma:sticky -->"


def comment(facts: JobFacts, previous: JobFacts | None = None) -> str:
    return sticky_comment(facts, previous=previous, marker=MARKER)


def test_the_first_line_is_the_marker() -> None:
    assert comment(QUEUED).split("\n")[0] == MARKER


def test_a_queued_job() -> None:
    assert comment(QUEUED) == snapshot("""\
<!-- gamma:sticky -->
### ⏳ Queued

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

`python train.py` · on `local` · [Job page](https://gamma.example/jobs/models-wider-3f1c9aa)

<sub>Job `models-wider-3f1c9aa`, attempt 1</sub>
""")


def test_a_success() -> None:
    assert comment(BETTER) == snapshot("""\
<!-- gamma:sticky -->
### ✅ episode\\_return 198.4 (+62.1, +46 %), better than models

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

| Metric | This run | Best | `models` | Change |  | Trend |
| :-- | --: | --: | --: | --: | :-- | :-- |
| **`episode_return`** | **198.4** | 205.1 at step 30 | 136.3 | +62.1 (+46 %) | ▲ better | ▁▄▆██ |
| `loss` | 0.02 |  | 0.03 | -0.01 (-33 %) | ▲ better | █▃▁ |
| `grad_norm` | 1.25 |  | 1.25 | 0 | = same |  |
| `steps` | 500,000 |  |  |  | not in the baseline |  |

Baseline: the last values of job [`models-9b2e4d7`](https://mlflow.example/runs/1), [`9b2e4d7`](https://github.com/ann/cartpole/commit/9b2e4d7c1a5f) on `models`.

```mermaid
%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #bc4c00"}}}}%%
xychart-beta
    x-axis "step" ["0", "10", "20", "30", "40"]
    y-axis "episode_return" 10.7 --> 214.4
    line [20, 90.2, 150.5, 205.1, 198.4]
    line [20, 71.5, 136.3, 131, 136.3]
```

`episode_return` by step: blue is this run, orange is `models`.

<details><summary>2 artifacts, 952 kB</summary>

| File | Size |
| :-- | --: |
| `rollouts/best/rollout.json` | 871 kB |
| `model/policy.npz` | 81.2 kB |

</details>

`python train.py` · on `local` · 2 m 10 s · exit status 0 · [Job page](https://gamma.example/jobs/models-wider-3f1c9aa) · [MLflow run](https://mlflow.example/runs/2) · [Check](https://github.com/ann/cartpole/runs/5)

#### What changed

3 files changed since `9b2e4d7` (+34 -11):

- [`gamma.yml`](https://github.com/ann/cartpole/blob/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123/gamma.yml) (+1 -1)
- [`notes.md`](https://github.com/ann/cartpole/blob/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123/notes.md) (+3 -0), added
- [`src/policy.py`](https://github.com/ann/cartpole/blob/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123/src/policy.py) (+30 -10)

In gamma.yml, `learning_rate` went from `0.01` to `0.02` and `population` went from `32` to `64`.

`episode_return` rose from 136.3 to 198.4 (+46 %), which is better. `loss` fell from 0.03 to 0.02 (-33 %), which is better. `grad_norm` is as in the baseline.

<sub>Job `models-wider-3f1c9aa`, attempt 1 · Deterministic write-up (no model)</sub>
""")


def test_a_running_job_keeps_the_last_result_in_sight() -> None:
    older = replace(BETTER, job="models-wider-aa01122", sha="aa01122" + SHA[7:])

    assert comment(RUNNING, older) == snapshot("""\
<!-- gamma:sticky -->
### 🏃 Training: generation 12 of 40 · episode\\_return 90.25 · 42 s

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

| Metric | So far | Trend |
| :-- | --: | :-- |
| **`episode_return`** | **90.25** | ▁█ |
| `loss` | 0.02 | █▃▁ |

```mermaid
%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #bc4c00"}}}}%%
xychart-beta
    x-axis "step" ["0", "10"]
    y-axis "episode_return" 16.49 --> 93.76
    line [20, 90.25]
```

`episode_return` by step.

`python train.py` · on `local` · 42 s · [Job page](https://gamma.example/jobs/models-wider-3f1c9aa)

---

#### Last result, of [`aa01122`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123): ✅ episode\\_return 198.4 (+62.1, +46 %), better than models

| Metric | This run | Best | `models` | Change |  | Trend |
| :-- | --: | --: | --: | --: | :-- | :-- |
| **`episode_return`** | **198.4** | 205.1 at step 30 | 136.3 | +62.1 (+46 %) | ▲ better | ▁▄▆██ |
| `loss` | 0.02 |  | 0.03 | -0.01 (-33 %) | ▲ better | █▃▁ |
| `grad_norm` | 1.25 |  | 1.25 | 0 | = same |  |
| `steps` | 500,000 |  |  |  | not in the baseline |  |

Baseline: the last values of job [`models-9b2e4d7`](https://mlflow.example/runs/1), [`9b2e4d7`](https://github.com/ann/cartpole/commit/9b2e4d7c1a5f) on `models`.

[Job page](https://gamma.example/jobs/models-wider-3f1c9aa) · [MLflow run](https://mlflow.example/runs/2) · [Check](https://github.com/ann/cartpole/runs/5)

<sub>Job `models-wider-3f1c9aa`, attempt 1</sub>
""")


def test_broken_code() -> None:
    assert comment(BROKEN) == snapshot("""\
<!-- gamma:sticky -->
### ❌ Broke at src/policy.py:\u200b41: ValueError: shapes (3,4) and (5,) not aligned

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

The command exited with status 1. It broke at [`src/policy.py:41`](https://github.com/ann/cartpole/blob/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123/src/policy.py#L41).

**Next:** Correct the code and push again; `/gamma retry` trains the same commit again.

<details><summary>End of the log</summary>

```
Traceback (most recent call last):
  File "/opt/ml/code/src/policy.py", line 41, in act
ValueError: shapes (3,4) and (5,) not aligned
```

</details>

`python train.py` · on `local` · 3.2 s · exit status 1 · [Job page](https://gamma.example/jobs/models-wider-3f1c9aa)

<sub>Job `models-wider-3f1c9aa`, attempt 1</sub>
""")


def test_a_failed_gate() -> None:
    assert comment(REGRESSED).split("\n#### What changed")[0] == snapshot("""\
<!-- gamma:sticky -->
### ❌ Gate failed: episode\\_return 120.1 (-16.2, -12 %), worse than models

[`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) Wider policy (\\#\u200b12), pushed to `models/wider` by `ann`.

`episode_return` fell from 136.3 to 120.1 (-12 %), and its gate in gamma.yml allows no regression beyond its tolerance of 2.

**Next:** If a change of this size is noise, raise `metrics.episode_return.tolerance` in gamma.yml.

| Metric | This run | `models` | Change |  | Trend |
| :-- | --: | --: | --: | :-- | :-- |
| **`episode_return`** | **120.1** | 136.3 | -16.2 (-12 %) | ▼ worse | ▁▆█ |
| `loss` | 0.02 | 0.03 | -0.01 (-33 %) | ▲ better | █▃▁ |

Baseline: the last values of job [`models-9b2e4d7`](https://mlflow.example/runs/1), [`9b2e4d7`](https://github.com/ann/cartpole/commit/9b2e4d7c1a5f) on `models`.

```mermaid
%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #bc4c00"}}}}%%
xychart-beta
    x-axis "step" ["0", "10", "20"]
    y-axis "episode_return" 14.2 --> 142.1
    line [20, 90, 120.1]
    line [20, 71.5, 136.3]
```

`episode_return` by step: blue is this run, orange is `models`. The baseline went on to step 40, which is not shown.

<details><summary>2 artifacts, 952 kB</summary>

| File | Size |
| :-- | --: |
| `rollouts/best/rollout.json` | 871 kB |
| `model/policy.npz` | 81.2 kB |

</details>

`python train.py` · on `local` · 2 m 10 s · exit status 0 · [Job page](https://gamma.example/jobs/models-wider-3f1c9aa) · [MLflow run](https://mlflow.example/runs/2) · [Check](https://github.com/ann/cartpole/runs/5)
""")


def test_ranks_that_broke_in_different_places_are_all_named() -> None:
    second = BrokenLine("train.py", 7, "ConnectionError", "rank 0 is gone")

    assert "- [`train.py:7`]" in comment(replace(BROKEN, broken_lines=(*BROKEN.broken_lines, second)))


@pytest.mark.parametrize("facts", [QUEUED, RUNNING, CANCELLED, SKIPPED])
def test_a_job_without_a_result_shows_the_last_one(facts: JobFacts) -> None:
    assert "Last result, of" in comment(facts, replace(BETTER, job="older"))


@pytest.mark.parametrize("facts", [BETTER, BROKEN, REGRESSED])
def test_a_result_replaces_the_last_one(facts: JobFacts) -> None:
    assert "Last result" not in comment(facts, replace(BETTER, job="older"))


def test_a_job_is_not_its_own_last_result() -> None:
    assert "Last result" not in comment(CANCELLED, replace(BETTER, job=CANCELLED.job))
    assert "Last result" in comment(replace(CANCELLED, attempt=2), replace(BETTER, job=CANCELLED.job))


def test_a_worse_run_that_no_gate_holds_is_marked() -> None:
    facts = replace(REGRESSED, state=State.SUCCEEDED, gate_failed=None, why="", hint="")

    assert "### ⚠️ episode\\_return 120.1 (-16.2, -12 %), worse than models" in comment(facts)


def test_a_written_text_takes_the_place_of_the_deterministic_one() -> None:
    body = sticky_comment(
        BETTER, previous=None, marker=MARKER, written=Markdown("It *learns*."), written_by="Written by Claude"
    )

    assert "#### What changed\n\nIt *learns*.\n" in body
    assert "Written by Claude" in body
    assert "Deterministic" not in body


def test_the_write_up_without_a_baseline_tells_the_runs_own_course() -> None:
    facts = completed(run([20.0, 90.0, 198.4]), None, changed_files=())

    assert write_up(facts) == snapshot("During the run `episode_return` rose from 20 at step 0 to 198.4.")


def test_the_write_up_groups_many_files_by_folder() -> None:
    files = [ChangedFile(f"src/part_{n}.py", "modified", n, 1) for n in range(9)]
    files += [ChangedFile("old.py", "removed", 0, 40), ChangedFile("README.md", "renamed", 0, 0)]

    assert write_up(replace(BROKEN, changed_files=files, compared_with="9b2e4d7c1a5f")) == snapshot("""\
11 files changed since `9b2e4d7` (+36 -49):

- `old.py` (+0 -40), removed
- [`README.md`](https://github.com/ann/cartpole/blob/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123/README.md) (+0 -0), renamed
- `src/` 9 files (+36 -9)\
""")


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ("-  lr: 0.1\n+  lr: 0.2", {"lr": ("0.1", "0.2")}),
        ("-  lr: 0.1  # was tuned\n+  lr: 0.2", {"lr": ("0.1", "0.2")}),
        ("-  timeout: 2h\n+  timeout: 4h\n-  lr: 1\n+  lr: 2", {"timeout": ("2h", "4h"), "lr": ("1", "2")}),
        ("-  hp: {a: 1, b: 2}\n+  hp: {a: 1, b: 3, c: 4}", {"b": ("2", "3")}),
        ("-  hp: {a: 1\n+  hp: {a: 2", {"hp": ("{a: 1", "{a: 2")}),
        ("+  lr: 0.2", {}),
        ("-  lr: 0.1\n+    lr: 0.2", {}),
        ("-  goal: a\n+  goal: b\n-  goal: c\n+  goal: d", {}),
        ("-  a: {x: 1}\n+  a: {x: 2}\n-  b: {x: 1}\n+  b: {x: 2}", {}),
        ("-  a: {x: &x [1, 1]}\n+  a: {x: &y [1, 2]}", {"a": ("{x: &x [1, 1]}", "{x: &y [1, 2]}")}),
        ("", {}),
    ],
)
def test_replaced_values_are_read_from_a_simple_patch(patch: str, expected: dict[str, tuple[str, str]]) -> None:
    assert changed_settings(patch) == expected


OUR_ELEMENTS = {"!--", "h3", "h4", "p", "a", "code", "pre", "strong", "ul", "li", "details", "summary", "sub"}
OUR_ELEMENTS |= {"table", "thead", "tbody", "tr", "th", "td"}


def test_nobody_is_called_and_nothing_is_linked_by_names_in_a_job() -> None:
    evil = "@octocat #1 <img src=x> https://evil.example [a](https://evil.example) `x` | y\n```\n# h"
    facts = replace(
        BETTER,
        message=evil,
        pusher=evil,
        branch=evil,
        why=evil,
        hint=evil,
        command=evil,
        metrics=[replace(line, name=f"{evil}{n}") for n, line in enumerate(BETTER.metrics)],
        artifacts=[(evil, 1)],
        changed_files=[ChangedFile(evil, "added", 1, 1)],
        broken_lines=[BrokenLine(evil, 1, evil, evil)],
        log_tail=[evil, "</details>", "```", "````"],
        state=State.FAILED,
        exit_code=1,
    )
    page = Page(comment(facts))

    assert set(page.tags) <= OUR_ELEMENTS
    assert not AUTOLINKED.search(page.outside_code)
    assert all(urlsplit(found).hostname != "evil.example" for found in page.addresses)
    assert page.tags.count("details") == page.ended.count("details") == 2


def test_a_comment_of_huge_facts_fits_and_keeps_its_footer() -> None:
    huge = "`" * 1500 + "x" * 3000
    facts = replace(
        BROKEN,
        metrics=[replace(line, name=f"{n}{huge}") for n in range(300) for line in BETTER.metrics],
        artifacts=[(f"{n}{huge}", n) for n in range(500)],
        log_tail=[huge] * 100,
        changed_files=[ChangedFile(f"{n}/{huge}", "added", 1, 1) for n in range(300)],
    )
    body = comment(facts)

    assert len(body) <= 65_536
    assert body.startswith(MARKER)
    assert body.rstrip().endswith("</sub>")
    assert "Broke at" in body


points = st.lists(st.tuples(st.integers(0, 10**9), st.floats()), max_size=60)


@given(points, points, st.text(max_size=30))
def test_a_chart_is_one_that_mermaid_can_read(
    own: list[tuple[int, float]], other: list[tuple[int, float]], name: str
) -> None:
    chart = xychart(name, own, other)
    if chart is None:
        return
    number = r"-?\d+(?:\.\d+)?"
    lines = chart.source.split("\n")

    assert len(mermaid.parse(chart.source).series) == 1 + chart.has_baseline
    assert lines[0].startswith("%%{init: ")
    assert lines[1] == "xychart-beta"
    assert re.fullmatch(rf' {{4}}x-axis "[a-z ]+" (?:{number} --> {number}|\["\d+"(?:, "\d+"){{1,19}}\])', lines[2])
    axis = re.fullmatch(rf' {{4}}y-axis "[A-Za-z0-9_./@ ()+-]+" ({number}) --> ({number})', lines[3])
    assert axis
    assert float(axis[1]) < float(axis[2])
    assert float(axis[1]) >= 0 or min(value for history in (own, other) for _, value in history if value == value) < 0
    assert len(lines) == 4 + 1 + chart.has_baseline
    for line in lines[4:]:
        assert re.fullmatch(rf" {{4}}line \[{number}(?:, {number}){{1,39}}\]", line)


def x_axis(steps: Iterable[int]) -> str:
    chart = xychart("x", [(step, float(step)) for step in steps])
    assert chart is not None
    return chart.source.split("\n")[2].strip()


def test_few_steps_are_written_one_by_one() -> None:
    assert x_axis([1, 2, 3]) == 'x-axis "step" ["1", "2", "3"]'
    assert x_axis([0, 1, 3]) == 'x-axis "step" ["0", "1", "2", "3"]'
    assert x_axis([0, 50, 100]) == 'x-axis "step" ["0", "50", "100"]'


def test_many_long_or_uneven_steps_are_a_range() -> None:
    assert x_axis(range(21)) == 'x-axis "step" 0 --> 20'
    assert x_axis([0, 10, 100]) == 'x-axis "step" 0 --> 100'
    assert x_axis(range(10_000, 30_000, 1_000)) == 'x-axis "step" 10000 --> 29000'


def test_a_chart_shows_both_runs_over_this_runs_steps() -> None:
    chart = xychart("return", [(0, 0.0), (200_000, 20.0)], [(0, 0.0), (100_000, 10.0)])

    assert chart is not None
    assert '"thousand steps" 0 --> 200' in chart.source
    assert chart.note == "The baseline ended at step 100,000; its last value is held after that."


@pytest.mark.parametrize("history", [[], [(0, 1.0)], [(5, 1.0), (5, 2.0)], [(0, math.nan), (1, 1.0)]])
def test_a_course_of_one_step_is_no_chart(history: list[tuple[int, float]]) -> None:
    assert xychart("x", history) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], ""), ([1.0], ""), ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"), ([2.0, 2.0], "▄▄"), ([-1e308, 1e308], "▁█")],
)
def test_a_sparkline_shows_the_course(values: list[float], expected: str) -> None:
    assert sparkline(values) == expected


@given(st.lists(st.floats(), max_size=50), st.integers(2, 20))
def test_a_sparkline_is_never_too_wide(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) <= width


def test_a_failed_run_is_told_without_a_model_with_the_line_that_broke_it_and_what_to_try_first() -> None:
    patch = "@@ -38,4 +39,4 @@ def act(self, state):\n     state = state.T\n-    return self.head @ h\n+    h = self.w @ state\n+    return self.head @ h"
    files = (ChangedFile("src/policy.py", "modified", 2, 1, patch=patch),)
    facts = replace(BROKEN, changed_files=files, compared_with="9b2e4d7c1a5f")

    assert write_up_alone(facts) == snapshot("""\
❌ Broke at src/policy.py:\u200b41: ValueError: shapes (3,4) and (5,) not aligned

The command exited with status 1. It broke at [`src/policy.py:41`](https://github.com/ann/cartpole/blob/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123/src/policy.py#L41).

**Next:** Correct the code and push again; `/gamma retry` trains the same commit again.

1 file changed since `9b2e4d7`:

- [`src/policy.py`](https://github.com/ann/cartpole/blob/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123/src/policy.py) (+2 -1)

The line where it broke is new since `9b2e4d7`: [`src/policy.py:41`](https://github.com/ann/cartpole/blob/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123/src/policy.py#L41), `return self.head @ h`.\
""")
    elsewhere = replace(facts, broken_lines=(replace(BROKEN.broken_lines[0], line=42),))
    assert "is new" not in write_up_alone(elsewhere)
