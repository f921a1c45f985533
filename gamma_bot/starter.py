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


# Where a repository has the workflow that trains, and what a machine of GitHub's has to install for the starter.
WORKFLOW_PATH = ".github/workflows/gamma.yml"
_COMMAND = b"  command: python train.py\n"
_SAGEMAKER = b"""
  # Both count as they are on the default branch. Any image with a shell, tar and Python will do.
  executor: sagemaker
  sagemaker:
    instance: [ml.m5.xlarge, ml.m5.2xlarge]
    image: 763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.5-cpu-py311
"""
_REQUIREMENTS = b"mlflow>=3.17,<4\nmujoco==3.14.0\nnumpy>=2\n"


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


def starter_files(executor: str = "local") -> dict[str, bytes]:
    """The files of the starter by their path, as they would be committed.

    Args:
        executor: ``actions`` and ``sagemaker`` are named in gamma.yml, and a machine elsewhere has to install what the
            script needs; ``actions`` adds the workflow that trains.

    Raises:
        StarterError: this installation of Gamma has no templates.
    """
    root = _template_folder("starter")
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(_files_below(root))}
    match executor:
        case "actions":
            return {**files, **actions_files(files), "requirements.txt": _REQUIREMENTS}
        case "sagemaker":
            return {**files, **sagemaker_files(files), "requirements.txt": _REQUIREMENTS}
        case _:
            return files


def sagemaker_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """A gamma.yml that names the executor, and what SageMaker trains on and in.

    Args:
        files: those whose gamma.yml it is.
    """
    return {"gamma.yml": files["gamma.yml"].replace(_COMMAND, _COMMAND + _SAGEMAKER, 1)}


def actions_files(files: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """What a repository needs to train in GitHub Actions: a gamma.yml that names the executor, and its workflow.

    Args:
        files: those whose gamma.yml it is; the starter's if there are none.

    Raises:
        StarterError: this installation of Gamma has no templates.
    """
    executor = (
        b"\n  # Runs of .github/workflows/gamma.yml train. Both files count as they are on the default branch.\n"
        b"  executor: actions\n"
    )
    config = (starter_files() if files is None else files)["gamma.yml"].replace(_COMMAND, _COMMAND + executor, 1)
    workflow = (_template_folder("actions") / "gamma.yml").read_bytes()
    return {"gamma.yml": config, WORKFLOW_PATH: workflow}


def write_starter(
    target: Path, *, force: bool = False, config_only: bool = False, executor: str = "local"
) -> list[WrittenFile]:
    """Write the starter into a folder, which is made if need be. Either all files are written or none.

    A README.md and a .gitignore that are there already are kept: most repositories have them.

    Args:
        force: overwrite files of the same name; others are never touched.
        config_only: write nothing but a ``gamma.yml``, for a repository that has a script to train.
        executor: as in ``starter_files``. ``actions``: where there is a
            ``gamma.yml`` already, the workflow is all that is written.

    Raises:
        FilesExist: some of the files are there already, and ``force`` was not given.
        StarterError: the folder can't be written to.
    """
    files = starter_files(executor)
    if config_only:
        files = {"gamma.yml": _CONFIG_ONLY.encode()}
        files = actions_files(files) if executor == "actions" else files
        files = sagemaker_files(files) if executor == "sagemaker" else files
    if executor == "actions" and (target / "gamma.yml").exists():
        files = {WORKFLOW_PATH: files[WORKFLOW_PATH]}  # what is trained there is there
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


def _template_folder(name: str) -> Path:
    # In a wheel the templates are inside the package; in the source tree they stand beside it.
    for folder in (_PACKAGE / "templates" / name, _PACKAGE.parent / "templates" / name):
        if folder.is_dir():
            return folder
    raise StarterError(f"This installation of Gamma has no templates/{name} folder; install it again.")


def _files_below(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        if path.is_file() and _LEFTOVERS.isdisjoint(path.relative_to(root).parts):
            yield path
