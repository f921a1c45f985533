"""What a push asks for, decided before anything runs: a plan, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gamma_bot.config.effective import Effective, effective
from gamma_bot.config.errors import Problem
from gamma_bot.config.loader import command_of, load
from gamma_bot.config.overrides import overrides
from gamma_bot.config.paths import touches
from gamma_bot.config.schema import GammaConfig
from gamma_bot.jobs.push import SKIP_MARKER, Push

CONFIG_PATH = "gamma.yml"
DEFAULT_SCRIPT = "train.py"


@dataclass(frozen=True)
class Files:
    """What was read of the repository: ``gamma.yml`` at the head commit and on the default branch (``None`` where there
    is none), and whether ``train.py`` is at the root (asked only where the head has no ``gamma.yml``)."""

    head: bytes | None
    default: bytes | None
    has_script: bool = False


@dataclass(frozen=True)
class Plan:
    """Train this. ``notices`` tell what gamma.yml says at the head commit and counts on the default branch only."""

    config: GammaConfig
    command: tuple[str, ...]
    executor: str
    notices: Sequence[Problem] = ()


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
    push: Push,
    files: Files,
    *,
    executors: Sequence[str],
    default_executor: str,
) -> Decision:
    """Decide what to do with a push.

    Args:
        executors: what this Gamma can train on.
    """
    if push.skip and not push.asked_by:
        return Skip(f"The head commit's message says {SKIP_MARKER}.", "Push again without it to train.")
    found = configure(push, files)
    if not isinstance(found, Effective):
        return found
    config = found.config
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
    asked = bool(push.asked_by)  # somebody wants this commit trained, whatever its push touched
    if not asked and push.changed_paths is not None and not touches(config.train.paths, push.changed_paths):
        return Skip(
            "The push touches no training path.",
            "`train.paths` in gamma.yml says which files make a push worth training.",
        )
    given = overrides(config, {name: str(value) for name, value in push.hyperparameters.items()})
    if given.config is None:
        return Mistakes(given.problems)
    return Plan(given.config, command_of(given.config.train), executor, found.ignored)


def configure(push: Push, files: Files) -> Effective | Mistakes | NothingToRun:
    """The configuration at the head commit, with what is safety-relevant taken from the default branch (I10)."""
    if files.head is None and not files.has_script:
        return NothingToRun()
    head = load(files.head or b"", path=CONFIG_PATH)
    if head.config is None:
        return Mistakes(head.problems)
    guard = load(files.default or b"", path=CONFIG_PATH)
    found = effective(head, guard, default_branch=push.default_branch, head_sha=push.after)
    if found.problems:
        words = f"gamma.yml on `{push.default_branch}` has mistakes, so its limits and permissions are not known"
        return Mistakes((Problem(message=words, hint=f"Mend it on `{push.default_branch}` first."),))
    return found
