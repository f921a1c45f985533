"""Who a person is to a repository."""

from __future__ import annotations

from urllib.parse import quote

from gamma_bot.github.errors import NotFound
from gamma_bot.github.installation import Installation


async def role_of(installation: Installation, repository: str, login: str) -> tuple[str, str]:
    """A person's ``role_name`` and the older ``permission`` (which calls maintain "write" and triage "read").

    Raises:
        GitHubError
    """
    try:
        found = await installation.get(f"/repos/{repository}/collaborators/{quote(login, safe='')}/permission")
    except NotFound:
        return "none", "none"
    return str(found.get("role_name") or "none"), str(found.get("permission") or "none")
