"""The cross-entropy method: guess policies around a centre, keep the best, move the centre to them, repeat."""

from __future__ import annotations

import numpy as np


class CrossEntropySearch:
    """A bell curve over the weights of a policy, which narrows around good ones."""

    def __init__(self, size: int, sigma: float, elite_fraction: float, rng: np.random.Generator) -> None:
        self.mean = np.zeros(size)
        self.spread = np.full(size, sigma)
        self._elite_fraction = elite_fraction
        self._rng = rng

    def propose(self, count: int) -> np.ndarray:
        """Candidates to try, one in each row."""
        return self.mean + self.spread * self._rng.normal(size=(count, self.mean.size))

    def learn(self, candidates: np.ndarray, returns: np.ndarray) -> None:
        """Move to the candidates that did best."""
        elites = max(2, round(self._elite_fraction * len(candidates)))
        best_first = np.argsort(returns)[::-1]
        elite = candidates[best_first[:elites]]
        self.mean, self.spread = blend(elite)


def blend(elite: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and spread of the elite."""
    return elite.mean(axis=0), elite.std(axis=0)
