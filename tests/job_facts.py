"""Jobs as reports see them, for the tests of their words: one that went well, and what else can happen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gamma_bot.config.schema import Metric
from gamma_bot.jobs.verdict import conclude, judge_metrics
from gamma_bot.reporting.facts import BaselineFacts, BrokenLine, ChangedFile, JobFacts, State
from gamma_bot.tracking.runs import Point, Run
from gamma_bot.training.trainer import Ending, Outcome

SHA = "3f1c9aa0b2d14e5f60718293a4b5c6d7e8f90123"
RULES = {
    "episode_return": Metric(goal="maximize", primary=True, gate="no-regression", tolerance=2),
    "loss": Metric(goal="minimize"),
}


def run(returns: list[float], loss: float = 0.02, **more: list[float]) -> Run:
    """A run that logged a value every 10 steps."""
    values = {"episode_return": returns, "loss": [loss * 4, loss * 2, loss], **more}
    metrics = {name: [Point(10 * n, value, float(n)) for n, value in enumerate(row)] for name, row in values.items()}
    return Run("run-2", "1", "FINISHED", {"learning_rate": "0.02", "population": "64"}, metrics)


BASELINE = run([20.0, 71.5, 136.3, 131.0, 136.3], loss=0.03, grad_norm=[1.25], **{"system/cpu": [10.0]})

QUEUED = JobFacts(
    job="models-wider-3f1c9aa",
    attempt=1,
    state=State.QUEUED,
    repo="ann/cartpole",
    branch="models/wider",
    sha=SHA,
    pusher="ann",
    executor="local",
    command="python train.py",
    details_url="https://gamma.example/jobs/models-wider-3f1c9aa",
    commit_url=f"https://github.com/ann/cartpole/commit/{SHA}",
    message="Wider policy (#12)\n\nTwice the population.",
    baseline_branch="models",
)
PREPARING = replace(QUEUED, state=State.PREPARING, detail="installing requirements")


def completed(own: Run, baseline: Run | None = BASELINE, **more: Any) -> JobFacts:
    """A job whose command exited with 0, judged as the product judges it."""
    lines = judge_metrics(own, baseline, RULES)
    end = conclude(Outcome(Ending.COMPLETED, "The command finished.", 0), lines, RULES)
    facts = replace(
        QUEUED,
        state=end.state,
        why=end.why,
        hint=end.hint,
        gate_failed=end.gate_failed,
        exit_code=0,
        wall_seconds=130.4,
        metrics=lines,
        baseline=BaselineFacts("models", "9b2e4d7c1a5f", "models-9b2e4d7", "run-1", "https://mlflow.example/runs/1"),
        params=own.params,
        log_tail=("generation 39: 190.1", "generation 40: 198.4"),
        artifacts=(("model/policy.npz", 81_234), ("rollouts/best/rollout.json", 871_234)),
        changed_files=(
            ChangedFile("gamma.yml", "modified", 1, 1, GAMMA_YML_PATCH),
            ChangedFile("src/policy.py", "modified", 30, 10),
            ChangedFile("notes.md", "added", 3, 0),
        ),
        compared_with="9b2e4d7c1a5f",
        run_url="https://mlflow.example/runs/2",
        check_url="https://github.com/ann/cartpole/runs/5",
    )
    if baseline is None:
        facts = replace(facts, baseline=None)
    return replace(facts, **more)


GAMMA_YML_PATCH = """\
@@ -1,5 +1,5 @@
 version: 1
 train:
   command: python train.py
-  hyperparameters: {learning_rate: 0.01, population: 32, seed: 1}
+  hyperparameters: {learning_rate: 0.02, population: 64, seed: 1}
 metrics:"""

BETTER = completed(run([20.0, 90.25, 150.5, 205.1, 198.4], grad_norm=[1.25], steps=[500_000]))
RUNNING = replace(
    QUEUED,
    state=State.RUNNING,
    detail="generation 12 of 40",
    wall_seconds=42.0,
    metrics=judge_metrics(run([20.0, 90.25]), None, {"episode_return": RULES["episode_return"]}),
    log_tail=("generation 12: 90.3",),
)
REGRESSED = completed(run([20.0, 90.0, 120.1]))
NOT_A_NUMBER = completed(run([20.0, 90.0, float("nan")]))
BROKEN = replace(
    QUEUED,
    state=State.FAILED,
    why="The command exited with status 1.",
    hint="Correct the code and push again; `/gamma retry` trains the same commit again.",
    exit_code=1,
    wall_seconds=3.21,
    broken_lines=(BrokenLine("src/policy.py", 41, "ValueError", "shapes (3,4) and (5,) not aligned"),),
    log_tail=(
        "Traceback (most recent call last):",
        '  File "/opt/ml/code/src/policy.py", line 41, in act',
        "ValueError: shapes (3,4) and (5,) not aligned",
    ),
)
CANCELLED = replace(
    QUEUED,
    state=State.CANCELLED,
    why="A newer push to models/wider replaced this job.",
    hint="`/gamma retry` trains this commit again.",
    wall_seconds=61.0,
)
SKIPPED = replace(
    QUEUED,
    state=State.SKIPPED,
    executor="",
    command="",
    why="The push touches no training path.",
    hint="`train.paths` in gamma.yml says which files make a push worth training.",
)
