"""What a person may do in a repository, in GitHub's own steps."""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """GitHub's repository roles; a greater one includes the smaller ones."""

    NONE = 0
    READ = 1
    TRIAGE = 2
    WRITE = 3
    MAINTAIN = 4
    ADMIN = 5

    @classmethod
    def from_role_name(cls, name: str, permission: str) -> Role:
        """The role in GitHub's answer to "collaborator permission".

        Args:
            name: its ``role_name``: one of GitHub's roles, or one that an organisation made up.
            permission: its legacy ``permission``, which tells what a made-up role is built on. It knows neither triage
                nor maintain, so such a role counts for less here than it may be, never for more.
        """
        for given in (name, permission):
            if role := _BY_NAME.get(given.strip().lower()):
                return role
        return cls.NONE

    @property
    def label(self) -> str:
        """The role as GitHub's settings call it, in lower case."""
        return "no role" if self is Role.NONE else self.name.lower()


_BY_NAME = {
    "read": Role.READ,
    "pull": Role.READ,
    "triage": Role.TRIAGE,
    "write": Role.WRITE,
    "push": Role.WRITE,
    "maintain": Role.MAINTAIN,
    "admin": Role.ADMIN,
}
