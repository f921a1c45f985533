"""The sticky comment of a pull request: found, created, edited."""

from __future__ import annotations

from gamma_bot.github.installation import Installation


async def find(installation: Installation, repository: str, number: int, marker: str) -> int | None:
    """Our comment on a pull request, known by its hidden marker and by the App that wrote it (I5).

    Anybody can write the marker; only we write through our App.

    Raises:
        GitHubError
    """
    comments = await installation.get_all(f"/repos/{repository}/issues/{number}/comments?per_page=100")
    for comment in comments:
        author = comment.get("performed_via_github_app") or {}
        ours = installation.app.app_id in (str(author.get("id")), str(author.get("client_id")))
        if ours and (comment.get("body") or "").startswith(marker):
            return int(comment["id"])
    return None


async def create(installation: Installation, repository: str, number: int, body: str) -> int:
    """Write a comment; its id.

    Raises:
        GitHubError
    """
    return int((await installation.post(f"/repos/{repository}/issues/{number}/comments", {"body": body}))["id"])


async def edit(installation: Installation, repository: str, comment: int, body: str) -> None:
    """Replace a comment's text.

    Raises:
        GitHubError
    """
    await installation.patch(f"/repos/{repository}/issues/comments/{comment}", {"body": body})
