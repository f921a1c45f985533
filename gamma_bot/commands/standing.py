"""What a person may do in a repository now: their role at GitHub, and what gamma.yml asks for each command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gamma_bot.commands.roles import Role
from gamma_bot.config.loader import load
from gamma_bot.github.people import role_of
from gamma_bot.github.repository import Repository
from gamma_bot.jobs.engine import Values
from gamma_bot.jobs.plan import CONFIG_PATH


@dataclass(frozen=True)
class Standing:
    """A person's role, and the roles that commands take here instead of their usual ones."""

    role: Role
    overrides: Mapping[str, Role] = field(default_factory=dict)

    def to_json(self) -> Values:
        """As plain JSON values, to be recorded by a workflow."""
        return {"role": int(self.role), "overrides": {name: role.name.lower() for name, role in self.overrides.items()}}

    @staticmethod
    def from_json(values: Values) -> Standing:
        """What ``to_json`` wrote."""
        overrides = {name: Role[role.upper()] for name, role in values["overrides"].items()}
        return Standing(Role(values["role"]), overrides)


async def standing_of(login: str, repository: Repository, default_branch: str) -> Standing:
    """Ask GitHub for the role, and gamma.yml on the default branch for what commands take (I10).

    Raises:
        GitHubError
    """
    role_name, permission = await role_of(repository.installation, repository.full_name, login)
    guard = load(await repository.file(CONFIG_PATH, default_branch) or b"", path=CONFIG_PATH)
    permissions = guard.config.permissions if guard.config is not None else {}
    overrides = {name: Role[role.upper()] for name, role in permissions.items()}
    return Standing(Role.from_role_name(role_name, permission), overrides)
