"""``gamma validate``: the mistakes in a repository's ``gamma.yml``, found on the author's own machine."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gamma_bot.config.commands import split_command
from gamma_bot.config.errors import Problem
from gamma_bot.config.loader import DEFAULT_SCRIPT, Loaded, command_of, load
from gamma_bot.config.paths import pattern_matches
from gamma_bot.config.schema import GammaConfig, Train

FILE_NAME = "gamma.yml"
_MISNAMED = ("gamma.yaml", ".gamma.yml", ".gamma.yaml", "Gamma.yml", "gamma.YML", ".github/gamma.yml")
_MOST_FILES = 50_000
_SKIPPED_FOLDERS = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__", "mlruns", ".tox"})


@dataclass(frozen=True)
class Checked:
    """What ``gamma validate`` found.

    Attributes:
        path: the file that was looked at or looked for.
        text: what is in it; empty if it is not there.
        problems: none means that a push would be trained.
        default_command: what a push would run, where there is no file and none is needed.
    """

    path: Path
    text: str
    problems: tuple[Problem, ...]
    default_command: str = ""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stand against training; the others are warnings."""
        return tuple(problem for problem in self.problems if not problem.warning)


def validate_tree(path: Path) -> Checked:
    """Check the ``gamma.yml`` of a folder, or this file and the folder it is in."""
    folder, file = (path, path / FILE_NAME) if path.is_dir() else (path.parent, path)
    misnamed = [name for name in _MISNAMED if _is_exactly(folder / name)]
    if not file.is_file():
        if _is_needed(path, folder, misnamed):
            return Checked(file, "", (_absent(folder, file, misnamed),))
        return Checked(file, "", (), default_command=" ".join(command_of(Train())))
    problems = [_ignored_beside(name) for name in misnamed if (folder / name) != file]
    if file.name != FILE_NAME:
        problems.append(_misnamed(file.name))
    try:
        content = file.read_bytes()
    except OSError as error:
        unreadable = Problem(f"{file} can't be read: {error.strerror}", "Check its permissions.")
        return Checked(file, "", (*problems, unreadable))
    loaded = load(content, path=file.name)
    if loaded.config is None:
        problems += loaded.problems
    else:
        problems += check_against_tree(loaded, loaded.config, frozenset(_files_of(folder)))
    return Checked(file, content.decode("utf-8", "replace").removeprefix("\ufeff"), tuple(problems))


def check_against_tree(loaded: Loaded, config: GammaConfig, files: Collection[str]) -> list[Problem]:
    """What ``gamma.yml`` names that is not among the repository's files."""
    return [*_missing_script(loaded, config, files), *_idle_patterns(loaded, config, files)]


def render_conclusion(checked: Checked) -> str:
    """What can be said of a repository without errors."""
    if not checked.default_command:
        return f"{checked.path}: no problems found."
    return (
        f"There is no {checked.path}, and none is needed: a push runs `{checked.default_command}` with the defaults.\n"
        "To name metrics, hyperparameters or limits, write one: `gamma init --config-only`."
    )


def render_problems(checked: Checked) -> str:
    """The problems as a compiler prints them: place, words, the line with a mark under it, and what to do."""
    lines = checked.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n\n".join(_render(problem, lines, str(checked.path)) for problem in checked.problems)


def _render(problem: Problem, lines: Sequence[str], path: str) -> str:
    kind = "warning" if problem.warning else "error"
    place = f"{path}:{problem.line}:{problem.column}" if problem.line else path
    printed = [f"{place}: {kind}: {problem.message}"]
    if problem.line is not None and problem.line <= len(lines) and lines[problem.line - 1].strip():
        line, number = lines[problem.line - 1], str(problem.line)
        start = min((problem.column or 1) - 1, len(line))
        end = max(start + 1, min(problem.end_column or start + 1, len(line)))
        # A tab stays a tab under the line, so that the mark stands below what it means in any terminal.
        before = "".join(letter if letter == "\t" else " " for letter in line[:start])
        gutter = " " * len(number)
        printed += [f" {gutter} |", f" {number} | {_printable(line)}", f" {gutter} | {before}{'^' * (end - start)}"]
        if problem.hint:
            printed.append(f" {gutter} = {problem.hint}")
    elif problem.hint:
        printed.append(f"  = {problem.hint}")
    return "\n".join(printed)


def _printable(line: str) -> str:
    # A file may come from anybody: its control characters don't reach the terminal.
    return "".join(letter if letter.isprintable() or letter == "\t" else "\ufffd" for letter in line)


def _is_needed(path: Path, folder: Path, misnamed: Sequence[str]) -> bool:
    return path != folder or bool(misnamed) or not (folder / DEFAULT_SCRIPT).is_file()


def _absent(folder: Path, file: Path, misnamed: Sequence[str]) -> Problem:
    if not folder.is_dir():
        return Problem(f"there is no {folder}", "Give a repository's folder or its gamma.yml.")
    if misnamed:
        return Problem(
            f"Gamma reads {FILE_NAME} in the repository's root, not {misnamed[0]}", f"Rename the file to {FILE_NAME}."
        )
    if file.name != FILE_NAME:
        return Problem(f"there is no {file}", "Give a repository's folder or its gamma.yml.")
    return Problem(
        f"this folder has no {FILE_NAME}; `gamma init` writes one",
        f"There is no {DEFAULT_SCRIPT} either, so a push trains nothing. With a script of your own, "
        f"`gamma init --config-only` writes only the {FILE_NAME}.",
    )


def _misnamed(name: str) -> Problem:
    return Problem(
        f"Gamma reads only {FILE_NAME} in the repository's root, not {name}",
        f"Rename the file to {FILE_NAME}.",
        line=1,
        column=1,
        end_line=1,
        end_column=1,
        warning=True,
    )


def _ignored_beside(name: str) -> Problem:
    return Problem(f"{name} is not read; Gamma reads {FILE_NAME}", f"Move what is in it to {FILE_NAME}.", warning=True)


def _missing_script(loaded: Loaded, config: GammaConfig, files: Collection[str]) -> Iterator[Problem]:
    train = config.train
    if train.entry_point is not None:
        if _plain(train.entry_point) not in files:
            yield loaded.problem_at(
                ("train", "entry_point"), f"there is no file {train.entry_point}", _nearby(train.entry_point, files)
            )
    elif train.command is not None:
        script = script_of(split_command(train.command))
        if script is not None and _plain(script) not in files:
            yield loaded.problem_at(
                ("train", "command"), f"the command runs {script}, which is not here", _nearby(script, files)
            )
    elif DEFAULT_SCRIPT not in files:
        yield loaded.problem_at(
            ("train",),
            f"there is no `command`, and no {DEFAULT_SCRIPT} to run without one",
            "Say what to run: `command: python src/main.py` under `train:`.",
        )


def script_of(command: Sequence[str]) -> str | None:
    """The file of the repository that a command runs, if its words tell."""
    program, *arguments = command
    if program.startswith("./"):
        return program
    name = PurePosixPath(program).name
    if name.rstrip("0123456789.") not in ("python", "sh", "bash"):
        return None
    for word in arguments:
        if word.startswith("-"):
            if not word.lstrip("-").isalpha() or any(letter in word for letter in "mcXWo"):
                return None  # -m names a module, -c is the program itself, -X and -W take a value
            continue
        return None if word.startswith("/") else word
    return None


def _idle_patterns(loaded: Loaded, config: GammaConfig, files: Collection[str]) -> Iterator[Problem]:
    for number, pattern in enumerate(config.train.paths):
        body = pattern.removeprefix("!")
        if any(pattern_matches(body, file) for file in files):
            continue
        is_folder = any(pattern_matches(body + "/", file) for file in files)
        yield loaded.problem_at(
            ("train", "paths", number),
            f"`{pattern}` matches no file",
            f"It is a folder: write `{pattern}/` for all that is in it." if is_folder else "Is it spelled as in Git?",
            warning=True,
        )


def _nearby(wanted: str, files: Collection[str]) -> str:
    name = PurePosixPath(wanted).name
    similar = sorted(file for file in files if PurePosixPath(file).name == name)
    similar += difflib.get_close_matches(wanted, sorted(files)[:1000], n=1)
    if similar:
        return f"Did you mean {similar[0]}? Paths begin at the repository's root."
    return "Paths begin at the repository's root. Is the file committed under this name?"


def _plain(path: str) -> str:
    return str(PurePosixPath(path))


def _is_exactly(path: Path) -> bool:
    # A file system that ignores case finds Gamma.yml where gamma.yml is.
    return path.is_file() and path.name in {entry.name for entry in path.parent.iterdir()}


def _files_of(folder: Path) -> Iterator[str]:
    """The files below a folder, without those that never are in Git."""
    found = 0
    waiting = [folder]
    while waiting:
        try:
            entries = sorted(waiting.pop().iterdir())
        except OSError:
            continue  # a folder that its owner can't read is not in Git
        for entry in entries:
            if entry.is_dir() and not entry.is_symlink():
                if entry.name not in _SKIPPED_FOLDERS:
                    waiting.append(entry)
                continue
            yield entry.relative_to(folder).as_posix()
            found += 1
            if found >= _MOST_FILES:
                return
