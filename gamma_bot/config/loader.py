"""``gamma.yml`` becomes a config that can be used, or every mistake in it at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from gamma_bot.config.commands import split_command
from gamma_bot.config.document import MAX_BYTES, Refused, read_document
from gamma_bot.config.errors import KeyPath, Problem
from gamma_bot.config.explain import Complaint, explain, what_is
from gamma_bot.config.plain import Places, plain_values
from gamma_bot.config.schema import VERSIONS, GammaConfig, Train

DEFAULT_SCRIPT = "train.py"
# Scripts that a repository without `command` is likely to mean, in this order.
_USUAL_SCRIPTS = (DEFAULT_SCRIPT, "src/train.py", "main.py")


@dataclass(frozen=True)
class Loaded:
    """What came of reading ``gamma.yml``: a config, or the problems that stand against one.

    Attributes:
        config: ``None`` exactly if there is a problem.
    """

    config: GammaConfig | None
    problems: tuple[Problem, ...] = ()
    _places: Places = field(default_factory=Places, repr=False, compare=False)

    def problem_at(self, key_path: KeyPath, message: str, hint: str = "", *, warning: bool = False) -> Problem:
        """A problem that somebody else found with a value, at the place where it stands in the file."""
        return self._places.problem(key_path, message, hint, warning=warning)


def load(text: str | bytes, *, path: str = "gamma.yml") -> Loaded:
    """Read ``gamma.yml``. Whatever the text is, this returns; an empty file means all defaults.

    Args:
        path: the file's name, for the words of a problem.
    """
    try:
        root = read_document(_decoded(text, path))
    except Refused as refused:
        return Loaded(None, (refused.problem,))
    if root is None:
        return Loaded(GammaConfig())
    values, places, problems = plain_values(root)
    if not isinstance(values, dict):
        message = f"{path} must hold keys and values like `train:`, not {what_is(values)}"
        hint = "Write `version: 1` in the first line and go on from there."
        return Loaded(None, (places.problem((), message, hint),))
    version = values.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version not in VERSIONS:
        # What another version's keys mean is not known, so nothing else is said about them.
        known = " and ".join(map(str, VERSIONS))
        message = f"this Gamma knows version {known} of gamma.yml, not {version}"
        hint = f"Write `version: {VERSIONS[-1]}`, or update Gamma."
        return Loaded(None, (places.problem(("version",), message, hint),))
    config, complaints = _validated(values)
    problems += [places.problem(each.key_path, each.message, each.hint, at_key=each.at_key) for each in complaints]
    if problems or config is None:
        problems.sort(key=lambda problem: (problem.line or 0, problem.column or 0))
        return Loaded(None, tuple(problems), places)
    return Loaded(config, (), places)


def command_of(config: Train, tree_has: Collection[str] | None = None) -> tuple[str, ...]:
    """The command to run, in words: what ``gamma.yml`` says, or ``python train.py``.

    Args:
        tree_has: the repository's files; if they are known, a usual script is chosen among them.
    """
    if config.command is not None:
        return split_command(config.command)
    if config.entry_point is not None:
        return ("python", config.entry_point)
    scripts = (script for script in _USUAL_SCRIPTS if tree_has is not None and script in tree_has)
    return ("python", next(scripts, DEFAULT_SCRIPT))


def _decoded(text: str | bytes, path: str) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise Refused(
            Problem(
                f"{path} has {size:,} bytes; Gamma reads at most {MAX_BYTES // 1024} KiB",
                "Keep data in files of their own.",
                line=1,
                column=1,
                end_line=1,
                end_column=1,
            )
        )
    if isinstance(text, bytes):
        try:
            decoded = text.decode("utf-8")
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start) + 1
            message = f"{path} is not UTF-8 text: byte {error.start + 1} can't be read"
            raise Refused(Problem(message, "Save the file as UTF-8.", (), line, 1, line, 1)) from error
    else:
        decoded = text
    return decoded.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _validated(values: dict[str, Any]) -> tuple[GammaConfig | None, list[Complaint]]:
    """The config, or all that is wrong.

    What is wrong is set aside and the rest is read again, so that one mistake does not hide another. A rule about
    several keys is left out where one of those keys was itself wrong.
    """
    complaints: list[Complaint] = []
    blamed: set[KeyPath] = set()
    while True:
        try:
            config = GammaConfig.model_validate(values)
        except ValidationError as error:
            found = explain(error, values)
            complaints += [complaint for complaint in found if not blamed.intersection(complaint.about)]
            aside = [key_path for complaint in found for key_path in complaint.set_aside]
            blamed.update(aside)
            for key_path in aside:
                _set_aside(values, key_path)
        else:
            return (None if complaints else config), complaints


def _set_aside(values: Any, key_path: KeyPath) -> None:
    """Take a value out; a list goes as a whole, so that the numbers of its items stay right."""
    *parents, last = key_path
    for number, key in enumerate(parents):
        if not isinstance(values, dict) or key not in values:
            return  # it went with what it was in
        if isinstance(values[key], list):
            last = key_path[number]
            break
        values = values[key]
    if isinstance(values, dict):
        values.pop(last, None)
