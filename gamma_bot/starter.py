"""The starter repository: what ``gamma init`` writes, and the small story that ``gamma demo`` tells with it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = Path(__file__).parent
# What running the scripts leaves beside them.
_LEFTOVERS = frozenset({"__pycache__", "model", "output", "mlruns", "mlflow.db"})

_KEPT = frozenset({"README.md", ".gitignore"})
# The starter's own gamma.yml has the numbers and metrics of its task, which mean nothing to another script.
_CONFIG_ONLY = """\
# How Gamma trains this repository. `gamma validate` checks this file before you push.
version: 1

train:
  # What runs when you push to a branch that trains. It is not a shell: for more, run a script.
  command: python train.py

  # The script finds these in SM_HPS and hyperparameters.json, as it would on SageMaker.
  # hyperparameters: {learning_rate: 0.1}

  timeout: 2h

# What the script logs to MLflow. The primary metric decides; with `gate: no-regression`, a worse one fails the check.
# metrics:
#   loss: {goal: minimize, primary: true}
"""


class StarterError(Exception):
    """The starter can't be read or written. The text is fit for a person."""


class FilesExist(StarterError):
    """Files that would be overwritten are there already; nothing was written."""

    def __init__(self, target: Path, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)
        super().__init__(
            f"{target} already has {', '.join(self.paths)}. Nothing was written: "
            "choose an empty folder, or use --force to overwrite these files."
        )


@dataclass(frozen=True)
class WrittenFile:
    """A file of the starter after it was written.

    Attributes:
        replaced: another one was there before.
        kept: another one was there and stays as it is; this one was not written.
    """

    path: str
    size: int
    replaced: bool = False
    kept: bool = False


@dataclass(frozen=True)
class Edit:
    """One commit of the demo's story: its message, and the whole text of each file that it changes."""

    message: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Story:
    """Three pushes to a branch of the starter, each on top of the one before. Their messages are in ``edits``."""

    edits: tuple[Edit, Edit, Edit]

    def improve(self) -> dict[str, str]:
        """Raises ``episode_return`` clearly: files by path."""
        return dict(self.edits[0].files)

    def break_(self) -> dict[str, str]:
        """A good idea with a mistake in it, which shows up deep inside numpy."""
        return dict(self.edits[1].files)

    def fix(self) -> dict[str, str]:
        """The mistake is gone, the idea stays."""
        return dict(self.edits[2].files)


def starter_files() -> dict[str, bytes]:
    """The files of the starter by their path, as they would be committed.

    Raises:
        StarterError: this installation of Gamma has no templates.
    """
    root = _starter_folder()
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(_files_below(root))}


def write_starter(target: Path, *, force: bool = False, config_only: bool = False) -> list[WrittenFile]:
    """Write the starter into a folder, which is made if need be. Either all files are written or none.

    A README.md and a .gitignore that are there already are kept: most repositories have them.

    Args:
        force: overwrite files of the same name; others are never touched.
        config_only: write nothing but a ``gamma.yml``, for a repository that has a script to train.

    Raises:
        FilesExist: some of the files are there already, and ``force`` was not given.
        StarterError: the folder can't be written to.
    """
    files = {"gamma.yml": _CONFIG_ONLY.encode()} if config_only else starter_files()
    existing = [path for path in files if os.path.lexists(target / path)]
    kept = {path: files.pop(path) for path in existing if path in _KEPT and not force}
    conflicts = [path for path in existing if path not in kept]
    if conflicts and not force:
        raise FilesExist(target, conflicts)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".gamma-init-", dir=target) as staging:
            # All bytes are on the disk before the first file appears: a full disk leaves nothing half-written.
            for path, content in files.items():
                staged = Path(staging) / path
                staged.parent.mkdir(parents=True, exist_ok=True)
                staged.write_bytes(content)
            for path in files:
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(staging) / path).replace(target / path)
    except OSError as error:
        raise StarterError(f"{target} can't be written to: {error.strerror or error}.") from error
    written = [WrittenFile(path, len(content), path in existing) for path, content in files.items()]
    return written + [WrittenFile(path, len(content), kept=True) for path, content in kept.items()]


def story_edits() -> Story:
    """The demo's story, made from the starter's own text.

    Raises:
        StarterError: the starter was changed, so that a place to edit is no longer there.
    """
    files = {path: content.decode() for path, content in starter_files().items()}
    improve = _edit(
        files,
        "Let the policy feel the pole's energy",
        "policy.py",
        (
            '"lean", "spin")',
            '"lean", "spin", "energy")',
        ),
        (
            "    return np.array((position, velocity, math.sin(angle), spin / 4))",
            "    height = math.cos(angle)\n"
            "    energy = spin**2 / 40 + height - 1  # 0 is just enough to stand upright, less is too little\n"
            "    return np.array((position, velocity, math.sin(angle), spin / 4, energy * spin * height / 4))",
        ),
    )
    break_ = _edit(
        {**files, **improve.files},
        "Learn more from the better elites",
        "search.py",
        (
            "        self.mean, self.spread = blend(elite)",
            "        self.mean, self.spread = blend(elite, rank_weights(len(candidates)))",
        ),
        (
            "def blend(elite: np.ndarray) -> tuple[np.ndarray, np.ndarray]:\n"
            '    """Centre and spread of the elite."""\n'
            "    return elite.mean(axis=0), elite.std(axis=0)",
            "def blend(elite: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:\n"
            '    """Centre and spread of the elite, the better ones weighing more."""\n'
            "    mean = np.average(elite, axis=0, weights=weights)\n"
            "    return mean, np.sqrt(np.average((elite - mean) ** 2, axis=0, weights=weights))\n"
            "\n"
            "\n"
            "def rank_weights(count: int) -> np.ndarray:\n"
            '    """Weights that fall with the rank: the best one counts most."""\n'
            "    return np.log(count + 1) - np.log(np.arange(1, count + 1))",
        ),
    )
    fix = _edit(
        {**files, **improve.files, **break_.files},
        "Weigh the elites, not all candidates",
        "search.py",
        ("rank_weights(len(candidates))", "rank_weights(len(elite))"),
    )
    return Story((improve, break_, fix))


def _edit(files: Mapping[str, str], message: str, path: str, *replacements: tuple[str, str]) -> Edit:
    text = files[path]
    for old, new in replacements:
        if text.count(old) != 1:
            raise StarterError(
                f"The demo can't edit {path}: it must hold this text exactly once, "
                f"but holds it {text.count(old)} times:\n{old}"
            )
        text = text.replace(old, new)
    return Edit(message, {path: text})


def _starter_folder() -> Path:
    # In a wheel the templates are inside the package; in the source tree they stand beside it.
    for folder in (_PACKAGE / "templates" / "starter", _PACKAGE.parent / "templates" / "starter"):
        if folder.is_dir():
            return folder
    raise StarterError("This installation of Gamma has no templates/starter folder; install it again.")


def _files_below(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        if path.is_file() and _LEFTOVERS.isdisjoint(path.relative_to(root).parts):
            yield path
