"""The champion of a repository in MLflow's model registry: the names it goes by, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ALIAS = "champion"


@dataclass(frozen=True)
class Champion:
    """The run that the alias points to. ``tags`` are those of its model version: who promoted it, of which job."""

    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)


def model_name(repository: str) -> str:
    """The registered model of a repository.

    MLflow takes neither ``/`` nor ``:`` in a name. No owner at GitHub has a dot, so the first one ends the owner and
    two repositories never share a model.
    """
    return repository.replace("/", ".").replace(":", "-")


def versions_of_run(name: str, run_id: str) -> str:
    """The search for the versions that are this run, in MLflow's filter language.

    Raises:
        ValueError: the run's id holds what no run's id holds.
    """
    if not run_id.isalnum():
        raise ValueError(f"not the id of a run: {run_id!r}")
    quoted = name.replace("'", "")  # GitHub has no quotes in names; this is for whoever calls with other ones
    return f"name = '{quoted}' AND run_id = '{run_id}'"
