"""GraphQL at GitHub: its address, and what the errors mean that it tells in answers of status 200."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gamma_bot.github.answers import LEAST_PAUSE_SECONDS, pause_seconds
from gamma_bot.github.errors import Forbidden, GitHubError, NotFound, Rejected

ROUTE = "POST /graphql"


def endpoint(api_url: str) -> str:
    """GraphQL's address beside REST's: ``https://api.github.com/graphql``, ``https://HOST/api/graphql``."""
    server = api_url.removesuffix("/v3")  # Enterprise Server has REST at https://HOST/api/v3
    return f"{server}/graphql"


def is_mutation(document: str) -> bool:
    """Whether a document changes something."""
    return document.lstrip().startswith("mutation")


def data_of(answer: Any, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """The data of an answer with status 200.

    Raises:
        GitHubError: it tells of an error. Data beside it is dropped: none of our documents can use half of an answer.
    """
    if not isinstance(answer, Mapping):
        raise ValueError("a GraphQL answer is an object")
    errors = answer.get("errors")
    if errors:
        raise _error(errors[0], headers)
    data = answer["data"]
    assert isinstance(data, Mapping)
    return data


def _error(error: Mapping[str, Any], headers: Mapping[str, str]) -> GitHubError:
    """The first error decides: the others follow from it, or would come up once it is mended."""
    kind, message = error.get("type"), str(error.get("message") or "no reason given")
    wait = pause_seconds(message, headers, limited=kind == "RATE_LIMITED")
    if kind == "RATE_LIMITED" or "secondary rate limit" in message.lower():
        return GitHubError(429, message, ROUTE, wait or LEAST_PAUSE_SECONDS)
    match kind:
        case "NOT_FOUND":
            return NotFound(404, message, ROUTE)
        case "FORBIDDEN" | "INSUFFICIENT_SCOPES":
            return Forbidden(403, message, ROUTE)
        case "INTERNAL" | "SERVICE_UNAVAILABLE":
            return GitHubError(502, message, ROUTE)
        case None if message.startswith("Something went wrong"):
            # GitHub's words for a time-out of its own: it may have done what was asked.
            return GitHubError(502, message, ROUTE)
        case _:
            return Rejected(422, message, ROUTE)
