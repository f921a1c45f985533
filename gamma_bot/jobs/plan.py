"""What a push asks for, decided before anything runs: a plan, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gamma_bot.config.effective import Effective, effective, is_guarded
from gamma_bot.config.errors import Problem
from gamma_bot.config.executors import SageMaker
from gamma_bot.config.loader import Loaded, command_of, load
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
    """``gamma.yml`` can't be used; or, if ``asked``, what somebody asked to be different this time.

    ``on`` is the default branch if the mistakes are there, and not in the commit.
    """

    problems: Sequence[Problem] = field(default_factory=tuple)
    asked: bool = False
    on: str = ""

    @property
    def told(self) -> str:
        """What is wrong and what to write instead, in sentences."""
        said = [f"{each.message[:1].upper()}{each.message[1:]}. {each.hint}".strip() for each in self.problems[:5]]
        more = len(self.problems) - len(said)
        return " ".join(said) + (f" And {more} more." if more else "")


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
    if push.skip and push.asked_by:
        return Skip(f"`{push.asked_by}` wrote `/gamma skip`.", "The next push trains again; so does `/gamma train`.")
    if push.skip:
        return Skip(f"The head commit's message says {SKIP_MARKER}.", "Push again without it to train.")
    found = configure(push, files)
    if not isinstance(found, Effective):
        return found
    config = found.config
    executor = config.train.executor or default_executor
    if executor not in executors:
        return Mistakes((_no_such_executor(executor, executors, load(files.head or b"", path=CONFIG_PATH), push),))
    asked = bool(push.asked_by)  # somebody wants this commit trained, whatever its push touched
    if not asked and push.changed_paths is not None and not touches(config.train.paths, push.changed_paths):
        return Skip(
            "The push touches no training path.",
            "`train.paths` in gamma.yml says which files make a push worth training.",
        )
    given = overrides(config, {name: str(value) for name, value in push.hyperparameters.items()})
    if given.config is None:
        return Mistakes(given.problems, asked=True)
    if push.instance:
        on = _on_instance(given.config, executor, push.instance)
        if isinstance(on, Problem):
            return Mistakes((on,), asked=True)
        return Plan(on, command_of(on.train), executor, found.ignored)
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
        return Mistakes([_elsewhere(each, push.default_branch) for each in guard.problems], on=push.default_branch)
    return found


def _on_instance(config: GammaConfig, executor: str, instance: str) -> GammaConfig | Problem:
    """The configuration with the one instance type that somebody asked for, or why that can't be had."""
    if executor != "sagemaker":
        return Problem(
            f"this job trains on `{executor}`, where there are no instances to choose", "Leave `instance` out."
        )
    section = config.train.sagemaker or SageMaker()
    if instance not in section.instance:
        allowed = ", ".join(f"`{each}`" for each in section.instance)
        return Problem(f"gamma.yml does not allow `{instance}` here", f"It allows {allowed}, by the default branch.")
    chosen = section.model_copy(update={"instance": [instance]})
    return config.model_copy(update={"train": config.train.model_copy(update={"sagemaker": chosen})})


def _no_such_executor(executor: str, executors: Sequence[str], head: Loaded, push: Push) -> Problem:
    message = f"this Gamma can't train on `{executor}`: it is set up for {', '.join(executors)}"
    hint = "Leave `executor` out to use the default, or ask whoever runs this Gamma."
    place = ("train", "executor")
    if head.config is not None and head.config.train.executor == executor:
        return head.problem_at(place, message, hint)
    return Problem(message, f"`{push.default_branch}` asks for it, and that is what counts. {hint}", place)


def placed(problem: Problem, files: Files, push: Push) -> Problem:
    """A problem that a trainer found, at its line: in the commit's file, or, for what counts there, on the default
    branch."""
    if not problem.key_path:
        return problem
    words = (problem.key_path, problem.message, problem.hint)
    guarded = is_guarded(problem.key_path) and files.head != files.default
    if not guarded:
        return load(files.head or b"", path=CONFIG_PATH).problem_at(*words)
    found = load(files.default or b"", path=CONFIG_PATH).problem_at(*words)
    if found.line is None:
        return Problem(problem.message, problem.hint, problem.key_path)
    place = f"on `{push.default_branch}`, line {found.line}: "
    return Problem(f"{place}{problem.message}", problem.hint, problem.key_path)


def _elsewhere(problem: Problem, branch: str) -> Problem:
    """A mistake on the default branch: its place there is in the words, since no line of this commit is wrong."""
    message = f"on `{branch}`, line {problem.line}, column {problem.column}: {problem.message}"
    hint = f"Until it is mended there, the limits and permissions of `{branch}` are not known."
    return Problem(message, f"{problem.hint} {hint}".strip(), problem.key_path)
