"""Teach a cart to swing its pole up, and log to MLflow how that goes.

By hand:   python train.py --generations 30
By Gamma:  push to a branch that trains; gamma.yml says what is run.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np

from cartpole import CartPole, random_start
from hyperparameters import Hyperparameters, read_hyperparameters
from policy import FEATURES, LinearPolicy
from search import CrossEntropySearch

# SageMaker's folders, which Gamma lays out everywhere; by hand they are in the working directory.
MODEL_DIR = Path(os.environ.get("SM_MODEL_DIR", "model"))
OUTPUT_DIR = Path(os.environ.get("SM_OUTPUT_DATA_DIR", "output"))


def main() -> int:
    """Train, and leave the best policy and a recording of it behind."""
    hyperparameters = read_hyperparameters(sys.argv[1:])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())  # a stop lets the generation end and saves the best

    import mlflow  # takes seconds: only after all that can go wrong at once

    # Gamma sets MLFLOW_TRACKING_URI and MLFLOW_RUN_ID; without them this is a local run of your own.
    with mlflow.start_run():
        mlflow.log_params(asdict(hyperparameters))
        task = CartPole(hyperparameters.horizon)
        best = train(task, hyperparameters, stop)
        best.save(MODEL_DIR / "policy.json")
        task.save_rollout(best, OUTPUT_DIR / "rollouts" / "best")
        mlflow.log_artifact(str(MODEL_DIR / "policy.json"), "model")
        mlflow.log_artifacts(str(OUTPUT_DIR / "rollouts" / "best"), "rollouts/best")
        if stop.is_set():
            mlflow.end_run("KILLED")
    return 128 + signal.SIGTERM if stop.is_set() else 0


def train(task: CartPole, hyperparameters: Hyperparameters, stop: threading.Event) -> LinearPolicy:
    """Search for good weights; returns the best policy of all generations."""
    import mlflow

    rng = np.random.default_rng(hyperparameters.seed)
    search = CrossEntropySearch(len(FEATURES), hyperparameters.sigma, hyperparameters.elite_fraction, rng)
    best, best_return = LinearPolicy(search.mean), -np.inf
    for generation in range(1, hyperparameters.generations + 1):
        candidates = search.propose(hyperparameters.population)
        start = random_start(rng)  # the same for all candidates of a generation: a fair contest
        returns = np.array([task.episode(LinearPolicy(weights), start)[0] for weights in candidates])
        search.learn(candidates, returns)

        policy = LinearPolicy(search.mean)
        episode_return, episode_length = task.exam(policy)
        sigma = float(search.spread.mean())
        metrics = {"episode_return": episode_return, "episode_length": episode_length, "sigma": sigma}
        mlflow.log_metrics(metrics, step=generation)
        print(f"generation {generation:3d}  return {episode_return:6.1f}  sigma {sigma:.3f}", flush=True)
        if episode_return > best_return:
            best, best_return = policy, episode_return
        if stop.is_set():
            print(f"stopped after generation {generation}", flush=True)
            break
    return best


if __name__ == "__main__":
    sys.exit(main())
