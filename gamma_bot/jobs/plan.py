"""What a push asks for, decided before anything runs: a plan, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gamma_bot.config.errors import Problem
from gamma_bot.config.loader import command_of, load
from gamma_bot.config.paths import touches
from gamma_bot.config.schema import GammaConfig
from gamma_bot.jobs.push import SKIP_MARKER, Push

CONFIG_PATH = "gamma.yml"
DEFAULT_SCRIPT = "train.py"


@dataclass(frozen=True)
class Plan:
    """Train this."""

    config: GammaConfig
    command: tuple[str, ...]
    executor: str


@dataclass(frozen=True)
class Skip:
    """Nothing is trained, and that is as it should be."""

    why: str
    hint: str = ""


@dataclass(frozen=True)
class NothingToRun:
    """There is neither a ``gamma.yml`` nor a ``train.py``."""


@dataclass(frozen=True)
class Mistakes:
    """``gamma.yml`` can't be used."""

    problems: Sequence[Problem] = field(default_factory=tuple)


Decision = Plan | Skip | NothingToRun | Mistakes


def decide(
    push: Push, config_text: bytes | None, *, has_default_script: bool, executors: Sequence[str], default_executor: str
) -> Decision:
    """Decide what to do with a push.

    Args:
        config_text: ``gamma.yml`` at the head commit; ``None`` if there is none.
        has_default_script: whether ``train.py`` is at the root; asked only where there is no ``gamma.yml``.
        executors: what this Gamma can train on.
    """
    if push.skip:
        return Skip(f"The head commit's message says {SKIP_MARKER}.", "Push again without it to train.")
    if config_text is None and not has_default_script:
        return NothingToRun()
    loaded = load(config_text or b"", path=CONFIG_PATH)
    if loaded.config is None:
        return Mistakes(loaded.problems)
    config = loaded.config
    executor = config.train.executor or default_executor
    if executor not in executors:
        return Mistakes(
            (
                Problem(
                    message=f"this Gamma can't train on `{executor}`: it is set up for {', '.join(executors)}",
                    hint="Leave `executor` out to use the default, or ask whoever runs this Gamma.",
                    key_path=("train", "executor"),
                ),
            )
        )
    if push.changed_paths is not None and not touches(config.train.paths, push.changed_paths):
        return Skip(
            "The push touches no training path.",
            "`train.paths` in gamma.yml says which files make a push worth training.",
        )
    return Plan(config, command_of(config.train), executor)
