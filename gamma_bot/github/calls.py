"""Counts calls to GitHub by route and kind of answer, under GitHub's own names of the routes."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

from gamma_bot.metrics import Labels, Metric

# Every route that is called. What is not listed is counted as "other": a label must not take whatever is in a path.
ROUTES = (
    "/app",
    "/app/hook/deliveries",
    "/app/hook/deliveries/{delivery_id}/attempts",
    "/app/installations",
    "/app/installations/{installation_id}",
    "/app/installations/{installation_id}/access_tokens",
    "/graphql",
    "/installation/repositories",
    "/repos/{owner}/{repo}",
    "/repos/{owner}/{repo}/check-runs",
    "/repos/{owner}/{repo}/check-runs/{check_run_id}",
    "/repos/{owner}/{repo}/collaborators/{username}/permission",
    "/repos/{owner}/{repo}/commits/{ref}",
    "/repos/{owner}/{repo}/commits/{ref}/check-runs",
    "/repos/{owner}/{repo}/compare/{basehead}",
    "/repos/{owner}/{repo}/contents/{path}",
    "/repos/{owner}/{repo}/git/ref/{ref}",
    "/repos/{owner}/{repo}/installation",
    "/repos/{owner}/{repo}/issues/comments/{comment_id}",
    "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions",
    "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions/{reaction_id}",
    "/repos/{owner}/{repo}/issues/{issue_number}/comments",
    "/repos/{owner}/{repo}/pulls",
    "/repos/{owner}/{repo}/pulls/comments/{comment_id}/reactions",
    "/repos/{owner}/{repo}/pulls/comments/{comment_id}/reactions/{reaction_id}",
    "/repos/{owner}/{repo}/pulls/{pull_number}",
    "/repos/{owner}/{repo}/tarball/{ref}",
    "/repositories/{repository_id}",
)
OTHER = "other"
# A path in a repository and a branch's name have slashes of their own.
_WIDE = ("{path}", "{ref}", "{basehead}")


class Calls:
    """How often what was called, and what came of it."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def count(self, method: str, path: str, status: int) -> None:
        """Count a call; ``status`` 0: there was no answer."""
        kind = f"{status // 100}xx" if status else "none"
        self._counts[method, route_of(path), kind] += 1

    def metrics(self) -> list[Metric]:
        """For ``/metrics``."""
        samples: dict[Labels, float] = {
            (("method", method), ("route", route), ("status", status)): float(count)
            for (method, route, status), count in self._counts.items()
        }
        return [Metric("gamma_github_calls_total", "counter", "Calls to GitHub by route and kind of answer.", samples)]


def route_of(path: str) -> str:
    """GitHub's template of a path (without host and query); ``OTHER`` if it is none of ``ROUTES``."""
    for pattern, route in _patterns():
        if pattern.fullmatch(path):
            return route
    return OTHER


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Those with more fixed words first: ``…/commits/{ref}`` would take what is below a commit, too."""
    longest_first = sorted(ROUTES, key=lambda route: (route.count("/"), -route.count("{")), reverse=True)
    return [(re.compile(_expression(route)), route) for route in longest_first]


def _expression(route: str) -> str:
    parts = re.split(r"({\w+})", route)
    return "".join((".+" if part in _WIDE else "[^/]+") if part.startswith("{") else re.escape(part) for part in parts)
