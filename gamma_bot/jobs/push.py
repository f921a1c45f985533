"""A push that asks for training, as understood from its webhook."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

_OF_FORKS = "refs/pull/"
SKIP_MARKER = "[skip gamma]"


def branch_of_fork(number: int) -> str:
    """What stands for the branch of a fork's pull request: it must not pass for one of ours with the same name."""
    return f"{_OF_FORKS}{number}/head"


def is_of_fork(branch: str) -> bool:
    """Whether a job's branch is a fork's, which is not in this repository."""
    return branch.startswith(_OF_FORKS)


@dataclass(frozen=True)
class Push:
    """One push to a branch that trains.

    Attributes:
        guid: the delivery's GUID, which the job's id is made from.
        before: the branch's head before the push; 40 zeros for a new branch.
        pushed_at: Unix seconds, GitHub's clock: what orders pushes, since deliveries come in any order.
        attempt: 1 for the push itself, then one more for each time that its commit is trained again.
        hyperparameters: what somebody asked to be different this time.
        default_branch: whose gamma.yml decides what is safety-relevant (I10).
        asked_by: who asked for another attempt, or for training what the push alone would not train.
        approved_by: who lets it spend more than the budgets have left.
        instance: the instance type that somebody asked for.
        force: train it, even if that only repeats an earlier job.
        changed_paths: the files that its commits touch; ``None`` where the payload can't tell (a branch made from
            existing commits, more commits than a payload holds).
        html_url: the repository's address for people.
    """

    guid: str
    installation_id: int
    repository_id: int
    repository: str
    branch: str
    before: str
    after: str
    pusher: str
    message: str
    pushed_at: float
    html_url: str
    changed_paths: tuple[str, ...] | None = None
    skip: bool = False
    attempt: int = 1
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    asked_by: str = ""
    default_branch: str = ""
    approved_by: str = ""
    instance: str = ""
    force: bool = False

    @property
    def job(self) -> str:
        """The id of the job that this push is: the same however often the delivery comes (I3)."""
        return "j" + hashlib.sha256(self.guid.encode()).hexdigest()[:12]

    def moved(self, repository: str, installation_id: int) -> Push:
        """The same push to the repository as it is called now, through the installation that it has now."""
        html_url = self.html_url.removesuffix(self.repository) + repository if self.html_url else ""
        return replace(self, repository=repository, installation_id=installation_id, html_url=html_url)

    def to_json(self) -> dict[str, Any]:
        """The push as plain JSON values."""
        values = {**asdict(self), "hyperparameters": dict(self.hyperparameters)}
        return {**values, "changed_paths": None if self.changed_paths is None else list(self.changed_paths)}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Push:
        """The push that ``to_json`` wrote; fields of a newer Gamma are left out."""
        known = {name: values[name] for name in Push.__dataclass_fields__ if name in values}
        paths = known.get("changed_paths")
        return Push(**{**known, "changed_paths": None if paths is None else tuple(paths)})
