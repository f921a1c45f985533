"""What can go wrong when we speak to GitHub, as typed values with words fit for a person."""

from __future__ import annotations

from dataclasses import dataclass

from gamma_bot.redaction import redacted


@dataclass(eq=False)  # not frozen: Python writes the traceback into a raised exception
class GitHubError(Exception):
    """GitHub did not do what we asked.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        message: GitHub's own words, or ours if there was no answer.
        route: method and path, without host and query.
        retry_after_seconds: how long GitHub wants us to wait, if it said so.
    """

    status: int
    message: str
    route: str
    retry_after_seconds: float | None = None

    def __post_init__(self) -> None:
        # Its words reach logs, the store and comments. They may be those of a proxy that repeats what it was sent.
        self.message, self.route = redacted(self.message), redacted(self.route)

    def __str__(self) -> str:
        status = f"answered {self.status}" if self.status else "did not answer"
        return f"GitHub {status} to {self.route}: {self.message}"

    @property
    def passes_by_itself(self) -> bool:
        """Trying again later can help: no answer, a fault at GitHub, or a rate limit."""
        return self.status == 0 or self.status >= 500 or self.status == 429 or self.retry_after_seconds is not None

    @property
    def unclear(self) -> bool:
        """GitHub may have done what was asked although the answer says otherwise or never came."""
        return self.status == 0 or self.status >= 500


class NotFound(GitHubError):
    """404: it does not exist, or the App may not see it."""


class Forbidden(GitHubError):
    """401 or 403 that is no rate limit: a permission is missing, or the installation is suspended."""


class Rejected(GitHubError):
    """422 or another 4xx: GitHub understood and refused."""


class Held(GitHubError):
    """Not sent: GitHub asked us to wait, or what is left of the hour's calls is kept for what matters more."""

    def __str__(self) -> str:
        return f"{self.route} was not sent to GitHub: {self.message}"
