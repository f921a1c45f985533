"""A virtual environment for a ``requirements.txt``, built once and kept for the next job with the same one."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gamma_bot.training.durable import sync_folder, take_lock

_LARGEST_FILE_BYTES = 1 << 20
_PIP_CACHE_BYTES = 10 << 30
_HAS_PIP = "import importlib.util, sys; sys.exit(importlib.util.find_spec('pip') is None)"

Run = Callable[[Sequence[str]], int]
"""Runs a command to its end and answers its exit status; may raise to end the whole work."""


class RequirementsError(Exception):
    """The requirements can't be installed; the message says why, in a sentence for a person."""


@dataclass(frozen=True)
class Requirements:
    """What a tree asks for.

    Attributes:
        digest: names everything that decides what gets installed: the files' content and the Python.
        is_local: something comes from the tree itself, so another tree must not get the same environment.
    """

    file: Path
    digest: str
    is_local: bool


def read_requirements(tree: Path) -> Requirements | None:
    """What a tree's ``requirements.txt`` asks for; ``None`` if there is no such file or it asks for nothing.

    Raises:
        RequirementsError: the file can't be read.
    """
    file = tree / "requirements.txt"
    if not file.is_file():
        return None
    texts = list(_texts(file, tree.resolve(), set()))
    lines = [line for text in texts for line in _lines(text)]
    if not lines:
        return None
    import hashlib  # OpenSSL, which most supervisors never need

    digest = hashlib.sha256(f"{sys.version}\0{Path(sys.executable).resolve()}\0".encode())
    for text in texts:
        digest.update(text.encode() + b"\0")
    return Requirements(file, digest.hexdigest(), any(_is_in(tree, line) for line in lines))


class EnvironmentCache:
    """The virtual environments of a machine, by the digest of their requirements.

    Args:
        folder: is created.
        keep: how many are kept; of those that no job uses, the ones used longest ago go first.
    """

    def __init__(self, folder: Path, *, keep: int = 10) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._keep = folder, keep
        self._in_use: list[int] = []

    def obtain(self, digest: str, build: Callable[[Path], None], between: Callable[[], None]) -> Path:
        """An environment, built if it isn't there. It is safe from pruning until ``release`` or this process's end.

        Args:
            between: called while another process builds the same one; what it raises ends the waiting.

        Raises:
            Exception: what ``build`` or ``between`` raises.
        """
        # Console scripts hold the path of their interpreter, so an environment is built where it will stay, and a
        # mark says that it is complete.
        environment = self._folder / digest
        lock = environment.with_suffix(".lock")
        while True:
            in_use = _wait_for(lock, shared=True, between=between)
            if _is_complete(environment):
                os.utime(lock)
                self._in_use.append(in_use)
                return environment
            os.close(in_use)
            building = _wait_for(lock, shared=False, between=between)
            try:
                if not _is_complete(environment):
                    _remove(environment)
                    build(environment)
                    _mark_complete(environment)
            finally:
                os.close(building)
            os.utime(lock)
            self._prune()

    def release(self) -> None:
        """Say that the environments obtained here are no longer in use."""
        while self._in_use:
            os.close(self._in_use.pop())

    def _prune(self) -> None:
        environments = [path for path in self._folder.iterdir() if path.is_dir()]
        environments.sort(key=lambda path: path.with_suffix(".lock").stat().st_mtime_ns, reverse=True)
        for environment in environments[self._keep :]:
            # A job that uses it holds the lock.
            lock = take_lock(environment.with_suffix(".lock"))
            if lock is not None:
                _remove(environment)
                os.close(lock)


def build_environment(
    environment: Path, requirements: Requirements, python: Path, run: Run, read_output: Callable[[], Sequence[str]]
) -> None:
    """Make a virtual environment and install requirements into it.

    Args:
        python: makes it; its pip is used if it has one, which is much faster than giving each environment its own.
        read_output: the newest lines that ``run``'s commands printed.

    Raises:
        RequirementsError: pip or venv failed; the message has their last word.
    """
    has_pip = run([str(python), "-c", _HAS_PIP]) == 0
    make = [str(python), "-m", "venv", *(["--without-pip"] if has_pip else []), str(environment)]
    if run(make) != 0:
        raise RequirementsError(f"The virtual environment could not be made: {_last_error(read_output())}")
    interpreter = str(interpreter_of(environment))
    pip = [str(python), "-m", "pip", "--python", interpreter] if has_pip else [interpreter, "-m", "pip"]
    options = ["--no-input", "--disable-pip-version-check", "--no-color", "--progress-bar", "off"]
    if run([*pip, "install", *options, "-r", str(requirements.file)]) != 0:
        raise RequirementsError(f"requirements.txt could not be installed: {_last_error(read_output())}")


def interpreter_of(environment: Path) -> Path:
    """The Python of an environment."""
    return environment / "bin" / "python"


def trim_download_cache(folder: Path) -> None:
    """Empty pip's cache of downloads when it has become too large."""
    total = 0
    for path, _, names in os.walk(folder):
        total += sum(os.lstat(os.path.join(path, name)).st_size for name in names)  # noqa: PTH118
        if total > _PIP_CACHE_BYTES:
            shutil.rmtree(folder, ignore_errors=True)
            return


def _texts(file: Path, tree: Path, seen: set[Path]) -> Iterator[str]:
    """The text of a requirements file and of those it refers to inside the tree."""
    file = file.resolve()
    if file in seen or not file.is_relative_to(tree) or not file.is_file():
        return  # pip says what is wrong with it
    seen.add(file)
    if file.stat().st_size > _LARGEST_FILE_BYTES:
        raise RequirementsError(f"{file.relative_to(tree)} is larger than 1 MiB.")
    text = file.read_bytes().decode("utf-8", "replace")
    yield text
    for line in _lines(text):
        if other := re.match(r"(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)", line):
            yield from _texts(file.parent / other[1], tree, seen)


def _lines(text: str) -> list[str]:
    lines = (re.sub(r"(?:^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def _is_in(tree: Path, line: str) -> bool:
    if re.match(r"(?:-r|-c|--requirement|--constraint)\b", line):
        return False  # its content is part of the digest
    for word in re.split(r"[\s=\[\]@]+", line):
        looks_like_path = "/" in word or word.startswith(".") or word.endswith((".whl", ".gz", ".zip"))
        if looks_like_path and "://" not in word and not word.startswith("/") and (tree / word).exists():
            return True
    return False


def _wait_for(lock: Path, *, shared: bool, between: Callable[[], None]) -> int:
    while (descriptor := take_lock(lock, shared=shared, wait_seconds=0.2)) is None:
        between()
    return descriptor


def _is_complete(environment: Path) -> bool:
    return (environment / ".complete").exists() and interpreter_of(environment).exists()


def _mark_complete(environment: Path) -> None:
    (environment / ".complete").touch()
    sync_folder(environment)


def _remove(environment: Path) -> None:
    (environment / ".complete").unlink(missing_ok=True)
    shutil.rmtree(environment, ignore_errors=True)


def _last_error(output: Sequence[str]) -> str:
    lines = [line.strip() for line in output if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it printed nothing"])[-1]
