"""Sentences about made-up metrics that are true, with the literal numbers in them: for the test of the grader."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gamma_bot.agent.facts import Commit, FileChange, Judged, Metric, Param, Project

NAMES = ("val_accuracy", "val_loss", "episode_return", "train/loss", "f1.macro", "wer", "psnr", "perplexity")
PARAMS = ("lr", "batch_size", "epochs", "dropout", "hidden_units", "seed", "warmup_steps")


@dataclass(frozen=True)
class Sentence:
    """A true text about a commit, for one field of a write-up."""

    commit: Commit
    text: str
    about: str


def metric(
    name: str, baseline: float, current: float, goal: str, tolerance: float = 0.0, primary: bool = False
) -> Metric:
    """A metric, judged as the product judges it."""
    delta = current - baseline
    if abs(delta) <= tolerance:
        judged = Judged.SAME
    elif not goal:
        judged = Judged.CHANGED
    else:
        judged = Judged.BETTER if (delta > 0) == (goal == "maximize") else Judged.WORSE
    relative = delta / abs(baseline) if baseline else None
    printed = {"baseline": f"{baseline:.4g}", "current": f"{current:.4g}", "delta": f"{delta:+.4g}"}
    if relative is not None:
        printed["rel"] = f"{relative * 100:+.1f} %"
    return Metric(name, judged, current, printed, goal, primary, baseline, delta, relative, tolerance)


def sentences(seed: int, count: int) -> Iterator[Sentence]:
    """True texts, no two alike."""
    chance = random.Random(seed)
    for _ in range(count):
        commit = _commit(chance)
        about = chance.choice(commit.metrics)
        others = [each for each in commit.metrics if each is not about]
        yield Sentence(commit, _text(chance, commit, about, chance.choice(others)), about.name)


def mutated(chance: random.Random, text: str) -> str | None:
    """The text with one digit of one literal number changed to another; ``None`` if it has none."""
    bare = re.sub(r"\[\[.*?\]\]|\bf1\.macro\b", lambda match: "_" * len(match[0]), text)
    places = [match.start() for match in re.finditer(r"\d", bare)]
    if not places:
        return None
    place = chance.choice(places)
    digit = chance.choice([each for each in "0123456789" if each != text[place]])
    return text[:place] + digit + text[place + 1 :]


def _commit(chance: random.Random) -> Commit:
    names = chance.sample(NAMES, 3)
    scale = chance.choice([1.0, 0.001, 100.0, 3000.0])
    metrics = []
    for index, name in enumerate(names):
        goal = "minimize" if name in ("val_loss", "train/loss", "wer", "perplexity") else "maximize"
        size = 1.0 if name in ("val_accuracy", "f1.macro", "wer") else scale
        baseline = size * chance.uniform(0.2, 0.95)
        current = baseline * chance.uniform(0.6, 1.05 if size == 1.0 else 1.6)
        metrics.append(metric(name, baseline, current, goal, tolerance=size * 0.004, primary=index == 0))
    first, second = chance.sample(PARAMS, 2)
    params = [
        Param(first, str(chance.choice([0.1, 0.003, 64, 128, 20])), str(chance.choice([0.2, 0.05, 32, 256, 7])), True),
        Param(second, str(chance.choice([16, 0.5, 9])), None),
    ]
    files = [
        FileChange("train.py", "modified", 12, 3, "@@ -1 +1 @@\n-old\n+new"),
        FileChange("gamma.yml", "modified", 1, 1, "@@ -1 +1 @@\n-a\n+b"),
    ]
    return Commit(
        Project(7, "ada/walker"),
        "job",
        "models/wider",
        "3f1c9aa0",
        False,
        "",
        metrics=metrics,
        params=params,
        files=files,
    )


def _text(chance: random.Random, commit: Commit, one: Metric, other: Metric) -> str:
    param = commit.params[0]
    verb = "rose" if one.direction > 0 else "fell"
    other_verb = "increased" if other.direction > 0 else "dropped"
    verdict = {"better": "which is better", "worse": "which is worse", "same": "which is within the tolerance"}[
        one.judged.value
    ]
    low = "lower" if one.direction < 0 else "higher"
    code = f"`{one.name}`"
    before, after = _n(chance, one.baseline), _n(chance, one.current)
    by, others = _n(chance, abs(one.delta or 0)), _n(chance, other.current)
    share, signed_share = _percent(chance, abs(one.relative or 0)), _signed_percent(chance, one.relative or 0)
    signed = _signed(chance, one.delta or 0)
    other_by = _n(chance, abs(other.delta or 0))
    templates = [
        f"{code} {verb} from {before} to {after}.",
        f"{code} {verb} by {by} to {after}, {verdict}.",
        f"It {verb} by {share}, {verdict}.",
        f"{one.name} {verb} to {after}, compared to {before} before.",
        f"With {after}, {code} is {low} than the baseline's {before}.",
        f"{code} changed by {signed} ({signed_share}) while `{other.name}` {other_verb} to {others}.",
        f"`{param.name}` went from `{param.before}` to `{param.value}`, and {code} {verb} to {after}.",
        f"With `{param.name}={param.value}`, {one.name} {verb} from [[{one.name}.baseline]] to {after}.",
        f"The 2 changed files touch the optimiser; {code} {verb} by {share}.",
        f"{code} reached {after} against {before} in the baseline; `{other.name}` {other_verb} by {other_by}.",
    ]
    return chance.choice(templates)


def _n(chance: random.Random, value: float | None) -> str:
    assert value is not None
    digits = chance.choice([3, 4, 5])
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.{digits - 1}e}"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    zeros = 0 if abs(value) >= 0.1 else 1 if abs(value) >= 0.01 else 2
    return f"{value:,.{max(0, digits - whole) + zeros}f}"


def _signed(chance: random.Random, value: float) -> str:
    text = _n(chance, value)
    return text if value < 0 else f"+{text}"


def _percent(chance: random.Random, share: float) -> str:
    return f"{share * 100:.{chance.choice([1, 2])}f} %"


def _signed_percent(chance: random.Random, share: float) -> str:
    return f"{share * 100:+.{chance.choice([1, 2])}f} %"
