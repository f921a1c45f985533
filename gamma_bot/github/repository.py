"""What Gamma reads of a repository: files, diffs, pull requests, and the tree at a commit."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import aiohttp

from gamma_bot.github.answers import unix_time
from gamma_bot.github.errors import GitHubError, NotFound, Rejected
from gamma_bot.github.installation import Installation

_LARGEST_ARCHIVE_BYTES = 2 * 1024**3
_DOWNLOAD_TIMEOUT = aiohttp.ClientTimeout(total=1800, sock_connect=10, sock_read=60)


@dataclass(frozen=True)
class PullRequest:
    """A pull request as GitHub shows it now."""

    number: int
    head_branch: str
    head_sha: str
    head_repository_id: int | None
    base_branch: str
    state: str
    updated_at: float


@dataclass(frozen=True)
class Commit:
    """A commit: its message, and the repository's address for people.

    Attributes:
        author: the author's login; the name in the commit where GitHub knows no account.
    """

    message: str
    html_url: str
    author: str = ""


@dataclass(frozen=True)
class About:
    """A repository itself: when any of its branches was last pushed to (Unix seconds), and its default branch."""

    pushed_at: float
    default_branch: str


@dataclass(frozen=True)
class FileChange:
    """A file of a diff, in GitHub's words."""

    path: str
    status: str
    additions: int
    deletions: int
    patch: str | None


class Repository:
    """Reads one repository (``owner/name``) through its installation."""

    def __init__(self, installation: Installation, full_name: str) -> None:
        self.installation = installation
        self.full_name = full_name
        self._path = f"/repos/{full_name}"

    async def file(self, path: str, ref: str, *, just_pushed: bool = False) -> bytes | None:
        """A file's content at a commit or branch; ``None`` if there is no such file.

        Args:
            just_pushed: the commit is so new that GitHub may not know it everywhere yet.

        Raises:
            GitHubError
        """
        for wait in (0.5, 1.0, 2.0, None):
            try:
                found = await self.installation.get(f"{self._path}/contents/{quote(path)}?ref={quote(ref)}")
            except NotFound:
                # Right after a push GitHub may not know the commit yet on every machine of its own: "no such file"
                # is believed the second time, and only where the commit is known.
                if not just_pushed or (wait != 0.5 and await self._knows(ref)):
                    return None
                if wait is None:
                    raise
                await asyncio.sleep(wait)
                continue
            if not isinstance(found, dict) or found.get("type") != "file":
                return None
            if found.get("encoding") != "base64":
                raise Rejected(413, f"{path} is larger than 1 MB", f"GET {self._path}/contents/{path}")
            return base64.b64decode(found.get("content") or "")
        raise AssertionError("unreachable")

    async def _knows(self, ref: str) -> bool:
        try:
            await self.installation.get(f"{self._path}/commits/{quote(ref)}?per_page=1")
        except (NotFound, Rejected):
            return False
        return True

    async def pull_requests_of(self, branch: str) -> Sequence[PullRequest]:
        """The open pull requests from a branch of this repository (not of forks).

        Raises:
            GitHubError
        """
        owner = self.full_name.split("/")[0]
        found = await self.installation.get(
            f"{self._path}/pulls?state=open&per_page=100&head={quote(owner, safe='')}:{quote(branch, safe='')}"
        )
        return [pull_request(item) for item in found]

    async def head_of(self, branch: str) -> str | None:
        """The SHA that a branch points to now; ``None`` if it is gone.

        Raises:
            GitHubError
        """
        try:
            found = await self.installation.get(f"{self._path}/git/ref/heads/{quote(branch)}")
        except NotFound:
            return None
        return str(found["object"]["sha"])

    async def commit(self, sha: str) -> Commit:
        """One commit.

        Raises:
            GitHubError
        """
        found = await self.installation.get(f"{self._path}/commits/{quote(sha)}?per_page=1")
        return Commit(
            message=str(found["commit"]["message"]),
            html_url=str(found["html_url"]).partition("/commit/")[0],
            author=str((found.get("author") or {}).get("login") or found["commit"]["author"]["name"]),
        )

    async def about(self) -> About:
        """The repository as it is now.

        Raises:
            GitHubError
        """
        found = await self.installation.get(self._path)
        return About(pushed_at=unix_time(found["pushed_at"]), default_branch=str(found["default_branch"]))

    async def pull_request(self, number: int) -> PullRequest:
        """A pull request as it is now.

        Raises:
            GitHubError
        """
        return pull_request(await self.installation.get(f"{self._path}/pulls/{number}"))

    async def changes(self, base: str, head: str) -> Sequence[FileChange]:
        """The files that differ between two commits (at most 300: GitHub's limit); empty if they can't be compared.

        Raises:
            GitHubError
        """
        try:
            found = await self.installation.get(f"{self._path}/compare/{quote(base)}...{quote(head)}", again=False)
        except (NotFound, Rejected):
            return []  # history was rewritten: the old commit is gone
        return [
            FileChange(f["filename"], f["status"], f["additions"], f["deletions"], f.get("patch"))
            for f in found.get("files", [])
        ]

    async def download(self, sha: str, target: Path) -> None:
        """Write the tree at a commit to ``target`` as a gzipped tarball; complete or not at all.

        GitHub redirects to another host. That address carries its own permission, so our token stays here.

        Raises:
            GitHubError
        """
        route = f"GET {self._path}/tarball/{sha}"
        location = await self.installation.redirect_of(f"{self._path}/tarball/{quote(sha)}")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
        session = self.installation.app.session
        try:
            async with session.get(
                urljoin(self.installation.app.api_url, location),
                timeout=_DOWNLOAD_TIMEOUT,
                headers={"User-Agent": "gamma-bot"},
                allow_redirects=False,
            ) as answer:
                if answer.status != 200:
                    raise GitHubError(answer.status, "the archive could not be downloaded", route)
                written = 0
                with partial.open("wb") as file:
                    async for chunk in answer.content.iter_chunked(1 << 20):
                        written += len(chunk)
                        if written > _LARGEST_ARCHIVE_BYTES:
                            raise Rejected(413, "the archive of the repository is larger than 2 GiB", route)
                        await asyncio.to_thread(file.write, chunk)
            partial.replace(target)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise GitHubError(0, f"the download broke off ({type(error).__name__})", route) from None
        finally:
            partial.unlink(missing_ok=True)


def pull_request(payload: dict[str, Any]) -> PullRequest:
    """Read GitHub's pull request object, from the API or from a webhook."""
    return PullRequest(
        number=payload["number"],
        head_branch=payload["head"]["ref"],
        head_sha=payload["head"]["sha"],
        head_repository_id=(payload["head"].get("repo") or {}).get("id"),
        base_branch=payload["base"]["ref"],
        state=payload["state"],
        updated_at=unix_time(payload["updated_at"]),
    )
