"""The actions that every workflow uses, done here without their code: checkout, setup-python, upload-artifact."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from gamma_bot.sandbox.actions_log import JobLog
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.git import GitError
from gamma_bot.sandbox.model_actions import WorkflowArtifact, WorkflowRun


class ActionFailed(Exception):
    """The action ended with an error; the text is what the log says."""


async def use(
    action: str, given: Mapping[str, str], *, forge: Forge, run: WorkflowRun, workspace: Path, paths: list[str],
    log: JobLog,
) -> None:  # fmt: skip
    """Do what ``uses: {action}`` does.

    Args:
        paths: what later steps have in front of their PATH.

    Raises:
        ActionFailed
    """
    name = action.partition("@")[0]
    log.group(f"Run {action}", [f"with: {key}: {value}" for key, value in given.items()])
    match name:
        case "actions/checkout":
            await _check_out(forge, run, workspace / given.get("path", "."), given.get("ref", ""), log)
        case "actions/setup-python":
            paths.insert(0, str(Path(sys.executable).parent))
            log.write(f"Successfully set up CPython ({sys.version.split()[0]})")
        case "actions/upload-artifact":
            _upload(forge, run, workspace, given, log)
        case _:
            raise ActionFailed(f"Unable to resolve action `{action}`: the sandbox has no such action")


async def _check_out(forge: Forge, run: WorkflowRun, folder: Path, ref: str, log: JobLog) -> None:
    git_dir = run.repository.git_dir
    sha = await forge.git.resolve(git_dir, ref or run.head_sha)
    if sha is None:
        raise ActionFailed("The process '/usr/bin/git' failed with exit code 1")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ".git").exists():
            await forge.git.run(folder, "clone", "--quiet", "--shared", "--no-checkout", str(git_dir), ".")
        await forge.git.run(folder, "checkout", "--quiet", "--force", "--detach", sha)
    except GitError as error:
        raise ActionFailed(str(error)) from None
    log.write(f"HEAD is now at {sha[:7]}")


def _upload(forge: Forge, run: WorkflowRun, workspace: Path, given: Mapping[str, str], log: JobLog) -> None:
    name = given.get("name", "artifact")
    found = [path for line in given.get("path", "").splitlines() if line.strip() for path in _files(workspace, line)]
    if not found:
        message = f"No files were found with the provided path: {given.get('path', '')}. No artifacts will be uploaded."
        if given.get("if-no-files-found") == "error":
            raise ActionFailed(message)
        log.write(f"##[warning]{message}")
        return
    if any(one.name == name for one in run.artifacts):
        raise ActionFailed(
            "Failed to CreateArtifact: Received non-retryable error: Conflict: an artifact with this name"
        )
    root = _common_folder(found)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in found:
            archive.write(path, path.relative_to(root))
    artifact = WorkflowArtifact(forge.state.next_id(), run, name, content.getvalue(), forge.state.now())
    run.artifacts.append(artifact)
    log.write(f"Artifact {name} has been successfully uploaded! Final size is {len(artifact.content)} bytes.")


def _files(workspace: Path, line: str) -> list[Path]:
    path = workspace / line.strip()
    if path.is_dir():
        return sorted(one for one in path.rglob("*") if one.is_file())
    return [path] if path.is_file() else []


def _common_folder(paths: list[Path]) -> Path:
    folder = paths[0].parent
    while not all(path.is_relative_to(folder) for path in paths):
        folder = folder.parent
    return folder
