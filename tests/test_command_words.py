"""What a person reads after typing a command."""
# ruff: noqa: E501 - answers have long lines

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from gamma_bot.commands.answer import Reaction
from gamma_bot.commands.docs import commands_page
from gamma_bot.commands.errors import (
    BadArgument,
    CommandError,
    EmptyCommand,
    MissingArgument,
    NotAllowed,
    TooManyCommands,
    UnclosedQuote,
    UnknownCommand,
    UnknownOption,
    explain,
)
from gamma_bot.commands.registry import build_registry
from gamma_bot.commands.roles import Role
from gamma_bot.config.errors import Problem
from gamma_bot.config.schema import Budget
from gamma_bot.reporting.facts import CostFacts, JobFacts, State
from gamma_bot.store.spending import Spent
from tests.command_desk import PULL, Conversation, MemoryDesk
from tests.github_page import AUTOLINKED, Page
from tests.job_facts import BETTER, BROKEN, QUEUED, RUNNING, SHA, completed, run

OTHER = "aaaaaaa9b2d14e5f60718293a4b5c6d7e8f90123"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (EmptyCommand(), snapshot("`/gamma` needs the name of a command after it. `/gamma help` lists all commands.")),
        (
            UnknownCommand("trian", "train"),
            snapshot("I know no command `trian`. Did you mean `/gamma train`? `/gamma help` lists all commands."),
        ),
        (
            UnknownCommand("`@ann` <b>", None),
            snapshot("I know no command `` `@ann` <b> ``. `/gamma help` lists all commands."),
        ),
        (
            BadArgument("logs", "N", "9000", "it must be a whole number from 1 to 500"),
            snapshot(
                "`N` of `/gamma logs` can't be `9000`: it must be a whole number from 1 to 500. `/gamma help logs` shows how it is written."
            ),
        ),
        (
            BadArgument("metrics", "PATTERN", "", "it must not be empty"),
            snapshot(
                "`PATTERN` of `/gamma metrics` can't be (empty): it must not be empty. `/gamma help metrics` shows how it is written."
            ),
        ),
        (
            BadArgument("stop", "", "now", "only `all` can stand here"),
            snapshot(
                "`/gamma stop` can't take `now`: only `all` can stand here. `/gamma help stop` shows how it is written."
            ),
        ),
        (
            MissingArgument("compare", "JOB"),
            snapshot("`/gamma compare` needs `JOB` after it. `/gamma help compare` shows how it is written."),
        ),
        (
            UnknownOption("train", "instnace", "instance"),
            snapshot(
                "`/gamma train` has no option `instnace`. Did you mean `instance=…`? `/gamma help train` shows how it is written."
            ),
        ),
        (
            UnknownOption("status", "n", None),
            snapshot("`/gamma status` has no option `n`. `/gamma help status` shows how it is written."),
        ),
        (
            UnclosedQuote('"'),
            snapshot(
                'The quote `"` is opened and never closed. Add the closing one, or put a backslash before it to mean the sign itself. `/gamma help` lists all commands.'
            ),
        ),
        (
            TooManyCommands(10, 11),
            snapshot(
                "A comment may hold 10 commands and this one has 11: the last one was left out. Write what is missing in another comment."
            ),
        ),
        (
            TooManyCommands(10, 1300),
            snapshot(
                "A comment may hold 10 commands and this one has 1,300: the last 1,290 were left out. Write what is missing in another comment."
            ),
        ),
        (
            NotAllowed("train", Role.WRITE, Role.TRIAGE),
            snapshot(
                "`/gamma train` needs the role **write** in this repository, and you have the role **triage**. Ask somebody who has it to write the command, or an admin to give it to you."
            ),
        ),
        (
            NotAllowed("approve", Role.MAINTAIN, Role.NONE),
            snapshot(
                "`/gamma approve` needs the role **maintain** in this repository, and you have no role here. Ask somebody who has it to write the command, or an admin to give it to you."
            ),
        ),
    ],
)
def test_an_error_says_what_is_wrong_and_where_help_is(error: CommandError, words: str) -> None:
    assert explain(error) == words


async def test_help_lists_what_can_be_typed() -> None:
    assert await Conversation().read("/gamma help", Role.NONE) == snapshot("""\
[rocket] Write a command at the start of a line of a comment; a comment may have several.

**Look**

| Command | What it does | Role needed |
| :-- | :-- | :-- |
| `/gamma help [COMMAND]` | List the commands, or explain one. | none |
| `/gamma status` | Show the jobs of this pull request: state, duration and primary metric. | none |
| `/gamma metrics [PATTERN]` | Show the newest metrics against the baseline. | none |
| `/gamma logs [N]` | Show the newest lines of the log. | none |
| `/gamma artifacts` | List the files that the newest job left, with their sizes. | none |
| `/gamma config` | Show the configuration of the head commit, with the source of each value. | none |
| `/gamma simulate [instance=TYPE] [name=value …]` | Show what training would mean: executor, limits, cost and baseline. Nothing runs. | none |
| `/gamma cost` | Show what this pull request and the month have cost, and what the budgets have left. | none |
| `/gamma summary [SHA]` | Show what a commit changed, what moved, why probably, and what to try next. | write |
| `/gamma ask QUESTION` | Ask the agent about the runs, the code and the history of this repository. | write |

**Train and stop**

| Command | What it does | Role needed |
| :-- | :-- | :-- |
| `/gamma train [instance=TYPE] [name=value …] [force=true]` | Train the head commit, with changes if you name some. | write |
| `/gamma retry [instance=TYPE] [name=value …]` | Try the newest job again, with changes if you name some. | write |
| `/gamma stop [all]` | Stop the newest job, or all jobs of this pull request. | write |
| `/gamma skip` | Leave the head commit untrained; its check becomes neutral. | write |

**Decide**

| Command | What it does | Role needed |
| :-- | :-- | :-- |
| `/gamma approve [SHA]` | Let the head commit train though it comes from a fork or costs more than the budget allows. | maintain |
| `/gamma promote [JOB]` | Make a run the champion of this repository: later runs are compared with it. | maintain |

`/gamma help COMMAND` explains one with its arguments and examples.\
""")


async def test_help_explains_one_command() -> None:
    assert await Conversation().read("/gamma help retry") == snapshot("""\
[rocket] `/gamma retry [instance=TYPE] [name=value …]`: Try the newest job again, with changes if you name some.

| Argument | Meaning |
| :-- | :-- |
| `instance=TYPE` | The SageMaker instance type, one of those that gamma.yml allows. |
| `name=value …` | A hyperparameter that takes this value instead of gamma.yml's. It is read as gamma.yml reads it: `lr=1e-3` is a number, `name="1e-3"` is text. |

Examples: `/gamma retry`, `/gamma retry instance=ml.g5.2xlarge lr=0.01`

Role needed: write\
""")
    assert await Conversation().read("/gamma help /gamma") == snapshot(
        """\
[rocket] Write a command at the start of a line of a comment; a comment may have several.

**Look**

| Command | What it does | Role needed |
| :-- | :-- | :-- |
| `/gamma help [COMMAND]` | List the commands, or explain one. | none |
| `/gamma status` | Show the jobs of this pull request: state, duration and primary metric. | none |
| `/gamma metrics [PATTERN]` | Show the newest metrics against the baseline. | none |
| `/gamma logs [N]` | Show the newest lines of the log. | none |
| `/gamma artifacts` | List the files that the newest job left, with their sizes. | none |
| `/gamma config` | Show the configuration of the head commit, with the source of each value. | none |
| `/gamma simulate [instance=TYPE] [name=value …]` | Show what training would mean: executor, limits, cost and baseline. Nothing runs. | none |
| `/gamma cost` | Show what this pull request and the month have cost, and what the budgets have left. | none |
| `/gamma summary [SHA]` | Show what a commit changed, what moved, why probably, and what to try next. | write |
| `/gamma ask QUESTION` | Ask the agent about the runs, the code and the history of this repository. | write |

**Train and stop**

| Command | What it does | Role needed |
| :-- | :-- | :-- |
| `/gamma train [instance=TYPE] [name=value …] [force=true]` | Train the head commit, with changes if you name some. | write |
| `/gamma retry [instance=TYPE] [name=value …]` | Try the newest job again, with changes if you name some. | write |
| `/gamma stop [all]` | Stop the newest job, or all jobs of this pull request. | write |
| `/gamma skip` | Leave the head commit untrained; its check becomes neutral. | write |

**Decide**

| Command | What it does | Role needed |
| :-- | :-- | :-- |
| `/gamma approve [SHA]` | Let the head commit train though it comes from a fork or costs more than the budget allows. | maintain |
| `/gamma promote [JOB]` | Make a run the champion of this repository: later runs are compared with it. | maintain |

`/gamma help COMMAND` explains one with its arguments and examples.\
"""
    )
    assert await Conversation().read("/gamma help tran") == snapshot(
        "[confused] I know no command `tran`. Did you mean `/gamma train`? `/gamma help` lists all commands."
    )


async def test_without_a_job_every_look_says_how_to_get_one() -> None:
    for command in ("status", "metrics", "logs", "artifacts"):
        assert await Conversation().read(f"/gamma {command}") == snapshot(
            "[rocket] This pull request has no job yet. A push to a branch that trains starts one, and so does `/gamma train`."
        )


async def test_status_shows_the_newest_job_in_words_and_the_others_in_a_table() -> None:
    first, second = replace(BROKEN, job="j1"), replace(BETTER, job="j2", attempt=2)
    third, fourth = replace(RUNNING, job="j3"), replace(QUEUED, job="j4", sha=OTHER)
    talk = Conversation(MemoryDesk([fourth, third, second, first]))

    assert await talk.read("/gamma status") == snapshot("""\
[rocket] ⏳ Queued

| Job | Commit | State | Ran for | Primary metric |
| :-- | :-- | :-- | --: | :-- |
| [`j4`](https://gamma.example/jobs/models-wider-3f1c9aa) | [`aaaaaaa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) | ⏳ queued |  |  |
| [`j3`](https://gamma.example/jobs/models-wider-3f1c9aa) | [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) | 🏃 running | 42 s | `episode_return` 90.25 so far |
| [`j2`](https://gamma.example/jobs/models-wider-3f1c9aa) (attempt 2) | [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) | ✅ succeeded | 2 m 10 s | `episode_return` 198.4, ▲ better |
| [`j1`](https://gamma.example/jobs/models-wider-3f1c9aa) | [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) | ❌ failed | 3.2 s |  |\
""")


async def test_metrics_are_shown_against_the_baseline() -> None:
    talk = Conversation(MemoryDesk([QUEUED, BETTER]))

    assert await talk.read("/gamma metrics") == snapshot("""\
[rocket] Job [`models-wider-3f1c9aa`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123)

| Metric | This run | Best | `models` | Change |  | Trend |
| :-- | --: | --: | --: | --: | :-- | :-- |
| **`episode_return`** | **198.4** | 205.1 at step 30 | 136.3 | +62.1 (+46 %) | ▲ better | ▁▄▆██ |
| `loss` | 0.02 |  | 0.03 | -0.01 (-33 %) | ▲ better | █▃▁ |
| `grad_norm` | 1.25 |  | 1.25 | 0 | = same |  |
| `steps` | 500,000 |  |  |  | not in the baseline |  |

Baseline: the last values of job [`models-9b2e4d7`](https://mlflow.example/runs/1), [`9b2e4d7`](https://github.com/ann/cartpole/commit/9b2e4d7c1a5f) on `models`.\
""")
    assert await talk.read("/gamma metrics LOSS") == snapshot("""\
[rocket] Job [`models-wider-3f1c9aa`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123)

| Metric | This run | `models` | Change |  | Trend |
| :-- | --: | --: | --: | :-- | :-- |
| `loss` | 0.02 | 0.03 | -0.01 (-33 %) | ▲ better | █▃▁ |

Baseline: the last values of job [`models-9b2e4d7`](https://mlflow.example/runs/1), [`9b2e4d7`](https://github.com/ann/cartpole/commit/9b2e4d7c1a5f) on `models`.\
""")
    assert await talk.read("/gamma metrics *re*rn") == (await talk.read("/gamma metrics episode_return"))


async def test_metrics_that_are_not_there_are_told_from_those_that_are() -> None:
    talk = Conversation(MemoryDesk([BETTER]))

    assert await talk.read("/gamma metrics loss?") == snapshot(
        "[confused] No metric of job [`models-wider-3f1c9aa`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) is called `loss?`. It has `episode_return`, `loss`, `grad_norm`, `steps`."
    )
    assert await Conversation(MemoryDesk([QUEUED])).read("/gamma metrics") == snapshot(
        "[rocket] Job [`models-wider-3f1c9aa`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) has logged no metrics yet."
    )


async def test_logs_are_the_newest_lines() -> None:
    talk = Conversation(MemoryDesk([QUEUED, RUNNING], log=[f"generation {n}" for n in range(1, 61)]))

    assert await talk.read("/gamma logs 2") == snapshot("""\
[rocket] The newest 2 lines of job [`models-wider-3f1c9aa`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123):

```
generation 59
generation 60
```\
""")
    assert (await talk.read("/gamma logs")).count("generation") == 50
    assert await Conversation(MemoryDesk([RUNNING])).read("/gamma logs") == snapshot(
        "[rocket] Job [`models-wider-3f1c9aa`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) has printed nothing yet."
    )


async def test_a_log_can_t_leave_its_fence() -> None:
    log = ["```", "/gamma train", "````", "</details>@ann #1", "\x1b[31mred\x1b[0m 10%\r99%"]
    talk = Conversation(MemoryDesk([RUNNING], log=log))

    assert await talk.read("/gamma logs") == snapshot("""\
[rocket] The newest 5 lines of job [`models-wider-3f1c9aa`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123):

`````
```
/gamma train
````
</details>@ann #1
99%
`````\
""")


async def test_of_a_log_that_is_too_long_the_end_is_kept() -> None:
    talk = Conversation(MemoryDesk([RUNNING], log=[f"{n:03} {'x' * 2000}" for n in range(500)]))

    (answer,) = await talk.say("/gamma logs 500")

    assert len(answer.body) <= 65_536
    assert answer.body.splitlines()[0].startswith("The newest 59 lines of job")
    assert "\n499 xx" in answer.body
    assert "\n441 xx" in answer.body
    assert answer.body.endswith("*441 older lines left out: GitHub allows no longer comment.*")


async def test_artifacts_are_listed_with_their_sizes() -> None:
    talk = Conversation(MemoryDesk([RUNNING, BETTER]))

    assert await talk.read("/gamma artifacts") == snapshot("""\
[rocket] Job [`models-wider-3f1c9aa`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123): 2 artifacts, 952 kB

| File | Size |
| :-- | --: |
| `rollouts/best/rollout.json` | 871 kB |
| `model/policy.npz` | 81.2 kB |

The job's page has them to download: [open it](https://gamma.example/jobs/models-wider-3f1c9aa).\
""")
    assert await Conversation(MemoryDesk([RUNNING])).read("/gamma artifacts") == snapshot(
        "[rocket] Job [`models-wider-3f1c9aa`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) has left no files. What a script writes to `SM_MODEL_DIR` or `SM_OUTPUT_DATA_DIR` is kept when it ends."
    )


async def test_the_configuration_names_the_source_of_each_value() -> None:
    problems = (
        Problem("`train.tiemout` is not a key that Gamma knows", "Did you mean `timeout`?", line=4, column=3),
        Problem("the budget is changed here", "Only the default branch counts.", warning=True),
    )
    talk = Conversation(MemoryDesk(config={"lr": 0.01, "note": "a|b @ann"}, problems=problems))

    assert await talk.read("/gamma config") == snapshot("""\
[rocket] Configuration of `3f1c9aa` on `models/wider`:

- ❌ Line 4, column 3: `train.tiemout` is not a key that Gamma knows. Did you mean `timeout`?
- ⚠️ The budget is changed here. Only the default branch counts.

| Setting | Value | From |
| :-- | :-- | :-- |
| `train.executor` | `local` | default |
| `train.hyperparameters.lr` | `0.01` | gamma.yml at `3f1c9aa` |
| `train.hyperparameters.note` | <code>a&#124;b @\u200bann</code> | gamma.yml at `3f1c9aa` |\
""")


async def test_simulating_shows_the_plan_and_starts_nothing() -> None:
    talk = Conversation(MemoryDesk(config={"lr": 0.01, "id": "007"}))

    assert await talk.read("/gamma simulate") == snapshot("""\
[rocket] `3f1c9aa` would train. Nothing was started.

| Plan |  |
| :-- | :-- |
| Executor | `local` |
| Command | `python train.py` |
| Hyperparameters | `lr=0.01`, `id="007"` |
| Time limit | 2 h |
| Memory limit | none |
| Baseline | `models`, job `models-9b2e4d7` |\
""")
    assert await talk.read("/gamma simulate lr=1 instance=ml.g5.xlarge") == snapshot("""\
[rocket] `3f1c9aa` would train. Nothing was started.

| Plan |  |
| :-- | :-- |
| Executor | `sagemaker` |
| Command | `python train.py` |
| Hyperparameters | `lr=1`, `id="007"` |
| Time limit | 2 h |
| Memory limit | none |
| Instance | `ml.g5.xlarge` |
| Estimated cost | 2\\.42 USD |
| Baseline | `models`, job `models-9b2e4d7` |\
""")
    assert talk.desk.held == []
    fork = Conversation(pull=replace(PULL, from_fork=True))
    assert (await fork.read("/gamma simulate")).splitlines()[0] == snapshot(
        "[rocket] `3f1c9aa` would be refused. It comes from a fork."
    )


async def test_training_says_which_commit_in_which_job() -> None:
    talk = Conversation()

    assert await talk.read("/gamma train") == snapshot(
        "[rocket] Training `3f1c9aa` as job [`job-1`](https://gamma.example/jobs/job-1)."
    )
    assert await talk.read("/gamma train lr=1e-3 note='a b' id=\"7\" instance=ml.g5.xlarge") == snapshot(
        '[rocket] Training `3f1c9aa` as job [`job-2`](https://gamma.example/jobs/job-2) with `lr=0.001`, `note=a b`, `id="7"` on `ml.g5.xlarge`.'
    )
    assert [(each.job, each.pusher, dict(each.params)) for each in talk.desk.held] == snapshot(
        [("job-2", "ann", {"lr": "0.001", "note": "a b", "id": "7"}), ("job-1", "ann", {})]
    )


async def test_the_same_command_delivered_twice_starts_one_job_and_answers_the_same() -> None:
    talk = Conversation()

    first = await talk.say("/gamma train\n/gamma retry")
    again = await talk.say("/gamma train\n/gamma retry", number=1)

    assert first == again
    assert [each.job for each in talk.desk.held] == ["job-2", "job-1"]


async def test_a_retry_is_a_new_attempt() -> None:
    talk = Conversation()

    assert await talk.read("/gamma retry") == snapshot(
        "[confused] There is no job to retry. `/gamma train` starts one."
    )
    talk.desk.held = [BROKEN]
    assert await talk.read("/gamma retry lr=0.1") == snapshot(
        "[rocket] Training `3f1c9aa` as job [`job-2`](https://gamma.example/jobs/job-2), attempt 2 with `lr=0.1`."
    )


async def test_promoting_says_who_is_the_champion_now() -> None:
    talk = Conversation(MemoryDesk([replace(BETTER, job="j2"), replace(BETTER, job="j1"), replace(BROKEN, job="j0")]))

    assert await talk.read("/gamma promote") == snapshot(
        "[rocket] Job [`j2`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) is the champion now: later runs are compared with it."
    )
    assert await talk.read("/gamma promote") == snapshot(
        "[rocket] Job [`j2`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) is the champion already, promoted by `ann` on 27 Nov 2025, 14:05 UTC."
    )
    assert await talk.read("/gamma promote j1") == snapshot(
        "[rocket] Job [`j1`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) is the champion now: later runs are compared with it. It takes the place of job [`j2`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123)."
    )
    assert await talk.read("/gamma promote j0") == snapshot(
        "[confused] Only a run that succeeded can be promoted. `/gamma status` lists them."
    )


async def test_stopping_names_what_it_stops() -> None:
    talk = Conversation(MemoryDesk([replace(QUEUED, job="j3"), replace(RUNNING, job="j2"), replace(RUNNING, job="j1")]))

    assert await talk.read("/gamma stop") == snapshot(
        "[rocket] Stopping job [`j3`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123); its metrics are kept."
    )
    assert await talk.read("/gamma stop all") == snapshot(
        "[rocket] Stopping jobs [`j2`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) and [`j1`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123); their metrics are kept."
    )
    assert await talk.read("/gamma stop") == snapshot(
        "[rocket] Nothing runs or waits here, so there is nothing to stop."
    )
    assert {each.state for each in talk.desk.held} == {State.CANCELLED}


async def test_skipping_ends_the_job_of_the_commit() -> None:
    talk = Conversation(MemoryDesk([RUNNING]))

    assert await talk.read("/gamma skip") == snapshot(
        "[rocket] `3f1c9aa` is skipped and its check is neutral. It ends job [`models-wider-3f1c9aa`](https://gamma.example/jobs/models-wider-3f1c9aa) at [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123). The next push trains again; so does `/gamma train`."
    )
    assert await talk.read("/gamma skip") == snapshot(
        "[rocket] `3f1c9aa` is skipped and its check is neutral. The next push trains again; so does `/gamma train`."
    )
    assert talk.desk.skipped == {SHA}


async def test_a_fork_trains_only_what_somebody_looked_at() -> None:
    talk = Conversation(pull=replace(PULL, from_fork=True))

    assert await talk.read("/gamma train") == snapshot(
        "[confused] This commit comes from a fork. A maintainer can allow it with `/gamma approve`."
    )
    assert await talk.read("/gamma approve", saw=OTHER) == snapshot(
        "[confused] The head is `3f1c9aa` now, not `aaaaaaa`: nothing was approved. Look at what was pushed, then write `/gamma approve 3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123`."
    )
    assert await talk.read("/gamma approve", saw=None) == snapshot(
        "[confused] It is not known which commit you looked at when you wrote this. If it was the present head, write `/gamma approve 3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123`."
    )
    assert await talk.read(f"/gamma approve {OTHER}") == snapshot(
        "[confused] The head is `3f1c9aa` now, not `aaaaaaa`: nothing was approved. Look at what was pushed, then write `/gamma approve 3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123`."
    )
    assert await talk.read(f"/gamma approve {SHA[:7]}", saw=None) == snapshot(
        "[confused] It is not known which commit you looked at when you wrote this. If it was the present head, write `/gamma approve 3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123`."
    )
    assert talk.desk.approved == set()
    assert await talk.read(f"/gamma approve {SHA.upper()}", saw=OTHER) == snapshot(
        "[rocket] Training `3f1c9aa` as job [`job-1`](https://gamma.example/jobs/job-1)."
    )
    assert talk.desk.approved == {SHA}


@pytest.mark.parametrize("comment", ["/gamma approve", f"/gamma approve {SHA[:7]}"])
async def test_an_approval_of_the_head_that_was_seen_needs_no_whole_sha(comment: str) -> None:
    talk = Conversation(pull=replace(PULL, from_fork=True))

    assert (await talk.read(comment))[:8] == "[rocket]"
    assert talk.desk.approved == {SHA}


async def test_several_commands_are_answered_one_by_one() -> None:
    answers = await Conversation().say("/gamma train\n/gamma tarin\n/gamma stop", Role.WRITE)

    assert [each.reaction for each in answers] == [Reaction.DONE, Reaction.NOT_UNDERSTOOD, Reaction.DONE]


SHOWN = frozenset(("p", "a", "code", "em", "strong", "table", "thead", "tbody", "tr", "th", "td", "pre", "ul", "li"))
LOOKS = ("status", "metrics", "logs", "artifacts", "stop all")
untrusted = st.text() | st.sampled_from(
    ["@ann", "`", "|", "<img src=x>", "[a](http://b.c)", "#12", "![x](y)", "$$", "```"]
)


@given(name=untrusted, given_word=untrusted)
async def test_no_answer_does_what_an_untrusted_text_says(name: str, given_word: str) -> None:
    facts: JobFacts = completed(run([1.0, 2.0], **{name: [1.0, 2.0]}), job=name, branch=name, artifacts=((name, 3),))
    talk = Conversation(MemoryDesk([replace(RUNNING, job=name, detail=name), facts], log=[name], config={name: name}))
    word = re.sub(r"[\r\n]", " ", given_word)
    comments = [*(f"/gamma {look}" for look in LOOKS), "/gamma config", "/gamma train", f"/gamma {word}"]
    comments += [f"/gamma metrics {word}", f"/gamma train x={word}", f"/gamma help {word}", f"/gamma logs {word}"]

    for comment in comments:
        for answer in await talk.say(comment):
            page = Page(answer.body)
            assert SHOWN.issuperset(page.tags), answer.body
            assert all(each.startswith("https://") for each in page.addresses), answer.body
            assert not AUTOLINKED.search(page.outside_code), answer.body


def test_the_page_of_all_commands_is_proper_markdown() -> None:
    page = Page(commands_page(build_registry()))

    assert page.tags.count("h3") == len(list(build_registry()))
    assert "\\" not in page.outside_code
    assert page.tags.count("table") >= 3


async def test_cost_tells_sums_budgets_and_the_newest_jobs() -> None:
    talk = Conversation()
    talk.desk.budget = Budget(job=5, pull_request=20, month=200)
    cost = CostFacts(("ml.g5.xlarge",), 2, True, "2026-11-01", {"ml.g5.xlarge": 1.408}, most=5.632)
    talk.desk.held = [replace(RUNNING, cost=replace(cost, so_far=0.4)), replace(BETTER, cost=replace(cost, final=3.12))]

    assert await talk.read("/gamma cost") == snapshot("""\
[rocket] | What | Cost | Budget | Left |
| :-- | --: | --: | --: |
| This pull request | 3.52 USD | 20 USD | 16.48 USD |
| Repository, 2026-11 | 197 USD | 200 USD | 3 USD |
| Repository, ever | 897 USD | none |  |

One job may cost 5 USD.

| Job | Commit | State | Machines | Cost |
| :-- | :-- | :-- | :-- | --: |
| [`models-wider-3f1c9aa`](https://gamma.example/jobs/models-wider-3f1c9aa) | [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) | 🏃 running | 2 × `ml.g5.xlarge` | 0.40 USD so far, up to 5.64 USD |
| [`models-wider-3f1c9aa`](https://gamma.example/jobs/models-wider-3f1c9aa) | [`3f1c9aa`](https://github.com/ann/cartpole/commit/3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123) | ✅ succeeded | 2 × `ml.g5.xlarge` | 3.12 USD |

Estimates, by prices of 2026-11-01. What still runs counts with the most that it may cost.\
""")

    talk.desk.held, talk.desk.budget, talk.desk.spent = [BETTER], Budget(), Spent()
    assert await talk.read("/gamma cost") == snapshot(
        "[rocket] Nothing that trained here is paid for by Gamma, and there is no budget."
    )
