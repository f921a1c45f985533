"""Where a model may link to: pages of the one repository, of its tracking server and of Gamma, and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

# The pages of a repository that only show something. Links to issues, pull requests and discussions are none of them:
# GitHub takes each for a mention and writes "mentioned this" there. Downloads and prefilled forms are none either.
_SHOWN_BY_GITHUB = re.compile(
    r"/(?:(?:blob|tree|blame|commits)/.+|commit/[0-9a-f]{7,64}|compare/[^:]+|actions/runs/[0-9]+(?:/.*)?)"
)
_GITHUB_FRAGMENT = re.compile("[A-Za-z0-9_-]*")
# What RFC 3986 lets stand in an address. A browser takes a backslash for a slash and drops tabs, so they are no detail.
_ADDRESS = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+", re.IGNORECASE)
_LONGEST = 2000


@dataclass(frozen=True)
class AllowedLinks:
    """The prefixes that a link may have, and the commits that GitHub may link by itself.

    Attributes:
        repository: the repository's page at GitHub, such as ``https://github.com/ada/walker``.
        others: the tracking server's address, Gamma's own, each down to the folder whose pages may be linked.
        commits: SHAs that this text is about; only these and their beginnings are left for GitHub to link.
    """

    repository: str = ""
    others: tuple[str, ...] = ()
    commits: frozenset[str] = frozenset()

    def address(self, url: str) -> str | None:
        """The address as it may be written between the parentheses of a Markdown link, or None."""
        parts = _split(url)
        if parts is None:
            return None
        if self.repository and (rest := _below(parts, self.repository)) is not None:
            shown = not rest or _SHOWN_BY_GITHUB.fullmatch(rest)
            plain = parts.query in ("", "plain=1") and _GITHUB_FRAGMENT.fullmatch(parts.fragment)
            if shown and plain:
                return _written(parts)
        if any(_below(parts, prefix) is not None for prefix in self.others if prefix):
            return _written(parts)
        return None

    def knows(self, word: str) -> bool:
        """Whether the word is the beginning of a commit that this text is about."""
        return any(commit.startswith(word) for commit in self.commits)


def _split(url: str) -> SplitResult | None:
    if len(url) > _LONGEST or not _ADDRESS.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.hostname and parts.username is None and parts.password is None else None


def _below(parts: SplitResult, prefix: str) -> str | None:
    """What follows the prefix in the path: nothing, or something that begins with a slash; None elsewhere."""
    wanted = _split(prefix)
    if wanted is None or _origin(parts) != _origin(wanted) or "@" in parts.netloc:
        return None
    folder = wanted.path.rstrip("/")
    rest = parts.path[len(folder) :]
    if not parts.path.startswith(folder) or rest[:1] not in ("", "/"):
        return None
    return rest if _is_straight(parts.path) else None


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    scheme = parts.scheme.lower()
    return scheme, parts.hostname, parts.port or (443 if scheme == "https" else 80)


def _is_straight(path: str) -> bool:
    """Whether no server, proxy or browser can read the path as one that leads elsewhere."""
    decoded = path
    for _ in range(3):
        decoded = unquote(decoded, errors="replace")
    segments = [segment.partition(";")[0].strip() for segment in decoded.split("/")[1:]]
    return (
        unquote(decoded, errors="replace") == decoded
        and "\\" not in decoded
        and decoded.isprintable()
        and not any(segment in (".", "..") for segment in segments)
        and "" not in segments[:-1]
    )


def _written(parts: SplitResult) -> str:
    # The ampersand is an entity, or "&period;" would be read as a dot after it was checked.
    return quote(parts.geturl(), safe="%/:=&?~#+,;@-._").replace("&", "&amp;")
