"""Which lines of a pull request can be commented on: those that its diff shows."""

from __future__ import annotations

from typing import Any

from gamma_bot.sandbox.call import invalid
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model import DiffPlace, PullRequest
from gamma_bot.sandbox.page_diff import Hunk, Line, file_diff

_SIGNS = {"added": "+", "removed": "-", "context": " "}
_RESOURCE = "PullRequestReviewComment"


async def find_place(forge: Forge, pull: PullRequest, commit: str, wanted: dict[str, Any]) -> DiffPlace:
    """The place that a request names by ``path`` and ``line`` (with ``side``), ``position`` or ``subject_type``.

    Raises:
        ApiError: 422, because the diff does not show it.
    """
    git, git_dir = forge.git, pull.repository.git_dir
    start = await git.merge_base(git_dir, pull.base_sha, commit)
    changes = await git.changes(git_dir, start, commit)
    change = next((change for change in changes if change.path == wanted.get("path")), None)
    if change is None:
        raise invalid(_RESOURCE, "path", "invalid")
    if wanted.get("subject_type") == "file":
        return DiffPlace(change.path, hunk=(change.patch or "").partition("\n")[0])
    line, position, side = wanted.get("line"), wanted.get("position"), wanted.get("side", "RIGHT")
    if side not in ("LEFT", "RIGHT"):
        raise invalid(_RESOURCE, "side", "invalid")
    if line is None and position is None:
        raise invalid(_RESOURCE, "line", "missing_field")
    start_line = wanted.get("start_line")
    if start_line is not None and (line is None or start_line >= line):
        raise invalid(_RESOURCE, "start_line", "invalid", "start_line must precede the end line.")
    down = 0
    for hunk in file_diff(change).hunks:
        for shown, one in enumerate(hunk.lines, start=1):
            number = one.old_number if side == "LEFT" else one.new_number
            if (number is not None and number == line) or (line is None and down + shown == position):
                found = line if line is not None else (one.new_number or one.old_number)
                start_side = wanted.get("start_side", side) if start_line is not None else None
                text = _text(hunk, hunk.lines[:shown])
                return DiffPlace(change.path, found, side, start_line, start_side, down + shown, text)
        # The line of a further @@ counts as well.
        down += len(hunk.lines) + 1
    message = "pull_request_review_thread.line must be part of the diff"
    raise invalid(_RESOURCE, "pull_request_review_thread.line", "custom", message)


def _text(hunk: Hunk, lines: list[Line]) -> str:
    return "\n".join([hunk.heading, *(f"{_SIGNS[line.kind]}{line.text}" for line in lines)])
