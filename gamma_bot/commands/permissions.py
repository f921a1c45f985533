"""Who may give which command."""

from __future__ import annotations

from collections.abc import Mapping

from gamma_bot.commands.declaration import Command
from gamma_bot.commands.errors import NotAllowed
from gamma_bot.commands.roles import Role


def allowed(command: Command, role: Role, private: bool, overrides: Mapping[str, Role]) -> NotAllowed | None:
    """``None`` if a person with this role may give the command.

    Args:
        private: not everybody can see the repository.
        overrides: command names and the roles they take instead, from gamma.yml on the default branch.
    """
    needed = needed_role(command, private, overrides)
    return None if role >= needed else NotAllowed(command.name, needed, role)


def needed_role(command: Command, private: bool, overrides: Mapping[str, Role]) -> Role:
    """The role that a command takes in this repository."""
    usual = Role.NONE if command.reads and not private else command.needs
    return max(overrides.get(command.name, usual), _least(command, private))


def _least(command: Command, private: bool) -> Role:
    """How far gamma.yml may lower the role. GitHub says of everybody that they can read a public repository."""
    if command.reads:
        return Role.READ if private else Role.NONE
    if command.costs and private:
        return Role.READ
    return Role.TRIAGE if command.needs <= Role.WRITE else Role.WRITE
