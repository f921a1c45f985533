"""The policy: each feature of what it sees has a weight, and their sum is the push."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

FEATURES = ("position", "velocity", "lean", "spin")


def features(position: float, velocity: float, angle: float, spin: float) -> np.ndarray:
    """What the policy sees, scaled to be of about the same size; in the order of FEATURES."""
    return np.array((position, velocity, math.sin(angle), spin / 4))


class LinearPolicy:
    """Pushes with a force from -1 (full to the left) to 1 (full to the right)."""

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights

    def act(self, position: float, velocity: float, angle: float, spin: float) -> float:
        """The push for what the policy sees now."""
        return math.tanh(self.weights @ features(position, velocity, angle, spin))

    def save(self, path: Path) -> None:
        """Write the weights as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        weights = dict(zip(FEATURES, self.weights.tolist(), strict=True))
        path.write_text(json.dumps({"policy": "linear", "weights": weights}, indent=2))
