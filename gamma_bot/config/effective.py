"""What counts for a job: its commit's ``gamma.yml``, with the keys that guard money and rights from the default branch.

Whoever may push to a branch may write anything into its ``gamma.yml``. Where a job runs, under which rights and for how
much is therefore read where only reviewed changes get in (I10).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gamma_bot.config.errors import KeyPath, Problem, dotted
from gamma_bot.config.loader import Loaded
from gamma_bot.config.schema import GammaConfig
from gamma_bot.config.section import Section

DEFAULT = "default"
GUARDED: tuple[KeyPath, ...] = (
    ("train", "executor"),
    ("train", "sagemaker"),
    ("train", "actions"),
    ("budget",),
    ("permissions",),
    ("limits",),
    ("agent", "notes"),  # they stand above what is only data, so that nobody may write them who could not review them
)
"""The keys that count on the default branch only, with all that is below them."""


@dataclass(frozen=True)
class Setting:
    """One value and where it comes from.

    Attributes:
        name: the way to it, such as ``train.hyperparameters.lr``.
        source: ``gamma.yml at 1a2b3c4``, ``gamma.yml on main``, or ``default``.
    """

    name: str
    value: Any
    source: str

    @property
    def written(self) -> str:
        """The value as one would write it in ``gamma.yml``."""
        return written(self.name, self.value)


@dataclass(frozen=True)
class Effective:
    """The configuration that a job runs with.

    Attributes:
        settings: every value, in the order of the schema.
        ignored: warnings at the lines of the commit's file that count for nothing.
        problems: what stands against any job: the default branch's file can't be read, so its guards are unknown.
    """

    config: GammaConfig
    settings: tuple[Setting, ...]
    ignored: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()


def effective(head: Loaded, default: Loaded | None, *, default_branch: str, head_sha: str = "") -> Effective:
    """Merge the ``gamma.yml`` of a commit with that of the default branch.

    Args:
        head: what the commit's file says; it must have a config.
        default: what the default branch's file says; ``None`` if there is no such file, which means all defaults.
        head_sha: the commit, to name it as a source.
    """
    if head.config is None:
        raise ValueError("a gamma.yml with mistakes has no effective configuration: show its problems instead")
    guard = default.config if default is not None and default.config is not None else GammaConfig()
    merged = _merged(head.config, guard)
    at_head = f"gamma.yml at {head_sha[:7]}" if head_sha else "gamma.yml at the head commit"
    settings = []
    for key_path, value in _leaves(merged):
        origin, place = (guard, f"gamma.yml on {default_branch}") if is_guarded(key_path) else (head.config, at_head)
        settings.append(Setting(dotted(key_path), value, place if _is_written(origin, key_path) else DEFAULT))
    problems: tuple[Problem, ...] = ()
    if default is not None and default.config is None:
        message = f"gamma.yml on `{default_branch}` has mistakes, so its budgets, limits and permissions are not known"
        problems = (Problem(message, f"Mend it on `{default_branch}`: `gamma validate` shows what is wrong."),)
    notices = sorted(
        _notices(head, head.config, guard, default_branch), key=lambda notice: (notice.line or 0, notice.column or 0)
    )
    return Effective(merged, tuple(settings), tuple(notices), problems)


def written(name: str, value: Any) -> str:
    """A value as one would write it in ``gamma.yml``.

    Args:
        name: the way to it, which tells its unit.
    """
    if name == "train.timeout" and isinstance(value, int | float):
        return _duration(value)
    if name == "train.memory" and isinstance(value, int):
        return _size(value)
    if name.startswith("budget.") and isinstance(value, int | float):
        return f"{value:g} USD"
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case list():
            return f"[{', '.join(written('', item) for item in value)}]"
        case dict():
            entries = (f"{key}: {written('', item)}" for key, item in value.items())
            return f"{{{', '.join(entries)}}}"
        case _:
            return str(value)


def is_guarded(key_path: KeyPath) -> bool:
    """Whether a key counts on the default branch only."""
    return any(key_path[: len(guarded)] == guarded for guarded in GUARDED)


def _merged(head: GammaConfig, guard: GammaConfig) -> GammaConfig:
    elsewhere = {name: getattr(guard.train, name) for name in ("executor", "sagemaker", "actions")}
    train = head.train.model_copy(update=elsewhere)
    agent = head.agent.model_copy(update={"notes": guard.agent.notes})
    guarded = {"budget": guard.budget, "permissions": guard.permissions, "limits": guard.limits}
    return head.model_copy(update={"train": train, "agent": agent, **guarded})


def _notices(head: Loaded, config: GammaConfig, guard: GammaConfig, default_branch: str) -> Iterator[Problem]:
    """One warning for each value of the commit's file that the default branch overrules."""
    for key_path, value in _leaves(config):
        if not is_guarded(key_path) or not _is_written(config, key_path):
            continue
        used = _value_at(guard, key_path)
        if used == value:
            continue
        name = dotted(key_path)
        counts = f"`{name}` counts only on `{default_branch}`"
        if _is_written(guard, key_path):
            message = f"{counts}; the value used is `{written(name, used)}`"
        else:
            default = "the default" if used is None else f"the default, `{written(name, used)}`"
            message = f"{counts}, where it is not set; the value used is {default}"
        hint = f"To change it, merge the change into `{default_branch}`."
        yield head.problem_at(key_path, message, hint, warning=True)


def _leaves(value: Any, key_path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every value that has no names below it. Lists are values; so are a mapping and a section that are not there."""
    entries: Mapping[str, Any] = {}
    if isinstance(value, Section):
        entries = {name: getattr(value, name) for name in type(value).model_fields}
    elif isinstance(value, dict):
        entries = value
    if not entries:
        yield key_path, value
    for name, inner in entries.items():
        yield from _leaves(inner, (*key_path, name))


def _is_written(config: GammaConfig, key_path: KeyPath) -> bool:
    """Whether the file says it, rather than the schema's default."""
    value: Any = config
    for key in key_path:
        if isinstance(value, Section):
            if key not in value.model_fields_set:
                return False
            value = getattr(value, str(key))
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            return False
    return True


def _value_at(config: GammaConfig, key_path: KeyPath) -> Any:
    value: Any = config
    for key in key_path:
        if value is None:
            return None
        value = value.get(key) if isinstance(value, dict) else getattr(value, str(key))
    return value


def _duration(seconds: float) -> str:
    if seconds != int(seconds):
        return f"{seconds:g}s"
    parts, rest = [], int(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def _size(number: int) -> str:
    for unit, power in (("T", 4), ("G", 3), ("M", 2), ("K", 1)):
        if number % 1024**power == 0:
            return f"{number // 1024**power}{unit}"
    return str(number)
