"""Check runs: create, find again, update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from gamma_bot.github.installation import Installation

Body = Mapping[str, Any]


async def create(installation: Installation, repository: str, body: Body) -> int:
    """Create a check run; its id.

    Raises:
        GitHubError
    """
    return int((await installation.post(f"/repos/{repository}/check-runs", body))["id"])


async def update(installation: Installation, repository: str, check_run: int, body: Body) -> None:
    """Change a check run. GitHub appends annotations: send them once.

    Raises:
        GitHubError
    """
    changes = {key: value for key, value in body.items() if key not in ("head_sha", "external_id", "name")}
    await installation.patch(f"/repos/{repository}/check-runs/{check_run}", changes)


async def read(installation: Installation, repository: str, check_run: int) -> Body:
    """A check run as GitHub has it.

    Raises:
        GitHubError
    """
    return dict(await installation.get(f"/repos/{repository}/check-runs/{check_run}"))


async def find(installation: Installation, repository: str, body: Body) -> int | None:
    """The check run that an earlier try may have created: same name, same ``external_id``, ours.

    Raises:
        GitHubError
    """
    name, sha = quote(str(body["name"]), safe=""), quote(str(body["head_sha"]))
    found = await installation.get(
        f"/repos/{repository}/commits/{sha}/check-runs?check_name={name}&filter=all&per_page=100"
    )
    own = (run for run in found["check_runs"] if run.get("external_id") == body["external_id"])
    return next((int(run["id"]) for run in own), None)


def annotations_of(body: Body) -> int:
    """How many annotations a check run is to have, or has."""
    output = body.get("output") or {}
    return int(output.get("annotations_count") or len(output.get("annotations") or ()))


def without_known_annotations(wanted: Body, seen: Body) -> Body:
    """What is still to be sent. GitHub adds annotations to those that are there, and takes none back."""
    if annotations_of(seen) < annotations_of(wanted):
        return wanted
    return {**wanted, "output": {name: value for name, value in wanted["output"].items() if name != "annotations"}}


def shows(seen: Body, wanted: Body) -> bool:
    """Whether GitHub shows already what we want: then a repeated update would only double its annotations."""
    output, want = seen.get("output") or {}, wanted.get("output") or {}
    return (
        seen.get("status") == wanted.get("status")
        and seen.get("conclusion") == wanted.get("conclusion")
        and output.get("title") == want.get("title")
        and output.get("summary") == want.get("summary")
        and (output.get("text") or "") == want.get("text", "")
        and annotations_of(seen) >= annotations_of(wanted)
    )
