"""The numbers to play with: from gamma.yml when Gamma trains, from the command line when you do."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Hyperparameters:
    """What a run depends on, with the defaults."""

    generations: int = 20  # how often the search learns
    population: int = 48  # policies tried in each generation
    elite_fraction: float = 0.25  # how many of them it learns from
    sigma: float = 3.0  # how far the first ones are spread
    horizon: int = 300  # decisions in an episode: 6 seconds
    seed: int = 0


def read_hyperparameters(arguments: Sequence[str]) -> Hyperparameters:
    """Defaults, then what the job was given, then `--name value` from the command line."""
    parser = argparse.ArgumentParser(description="Train the cart-pole.", allow_abbrev=False)
    for name, default in asdict(Hyperparameters()).items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default: {default}")
    # On SageMaker every value arrives as text; the parser gives it back its type.
    given = [f"--{name}={value}" for name, value in _given_to_the_job().items()]
    return Hyperparameters(**vars(parser.parse_args([*given, *arguments])))


def _given_to_the_job() -> dict[str, object]:
    if "SM_HPS" in os.environ:
        return json.loads(os.environ["SM_HPS"])
    file = Path(os.environ.get("SM_INPUT_CONFIG_DIR", "/opt/ml/input/config")) / "hyperparameters.json"
    return json.loads(file.read_text()) if file.is_file() else {}
