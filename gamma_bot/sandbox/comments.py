"""Issues, their comments, and the reactions on those."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from gamma_bot.sandbox.call import Answer, ApiError, Call, Route, UserActor, invalid, not_found
from gamma_bot.sandbox.events import emit_comment
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model import Account, App, Issue, IssueComment, PullRequest, Repository
from gamma_bot.sandbox.reactions import reaction_routes
from gamma_bot.sandbox.shapes_issues import comment_json, issue_json
from gamma_bot.sandbox.urls import Urls

MAXIMUM_BODY = 65_536


class _Dated(Protocol):
    updated_at: str


Dated = TypeVar("Dated", bound=_Dated)


async def get_issue(call: Call) -> Answer:
    issue = _issue(call)
    _require(call, issue, "read")
    return Answer(200, issue_json(call.forge.urls, issue))


async def list_comments(call: Call) -> Answer:
    issue = _issue(call)
    _require(call, issue, "read")
    return answer_comments(call, call.repository.comments_on(issue.number), comment_json)


async def create_comment(call: Call) -> Answer:
    issue = _issue(call)
    _require(call, issue, "write")
    body = call.text_field("body", "IssueComment") or ""
    comment = add_comment(call.forge, issue, call.account, body, app=call.app)
    answer = comment_json(call.forge.urls, comment)
    return Answer(201, answer, headers={"Location": answer["url"]})


async def get_comment(call: Call) -> Answer:
    comment = _comment(call)
    _require(call, comment.issue, "read")
    return Answer(200, comment_json(call.forge.urls, comment))


async def update_comment(call: Call) -> Answer:
    comment = _comment(call)
    _require(call, comment.issue, "write")
    require_author(call, comment.author)
    edit_comment(call.forge, comment, call.text_field("body", "IssueComment") or "", call.account)
    return Answer(200, comment_json(call.forge.urls, comment))


async def delete_comment(call: Call) -> Answer:
    comment = _comment(call)
    _require(call, comment.issue, "write")
    require_author(call, comment.author)
    remove_comment(call.forge, comment, call.account)
    return Answer(204)


def add_issue(forge: Forge, repository: Repository, author: Account, title: str, body: str | None) -> Issue:
    """A plain issue; comments on it reach the Apps as ``issue_comment`` too."""
    now = forge.state.now()
    issue = Issue(forge.state.next_id(), repository, next_number(repository), title, body, author, now, now)
    repository.issues[issue.number] = issue
    forge.state.changed()
    return issue


def next_number(repository: Repository) -> int:
    """Issues and pull requests share one sequence of numbers."""
    return max(repository.issues, default=0) + 1


def add_comment(forge: Forge, issue: Issue, author: Account, body: str, *, app: App | None = None) -> IssueComment:
    """Write a comment and tell the Apps.

    Raises:
        ApiError: the body is too long, or the conversation is locked.
    """
    check_body(body)
    if issue.locked and not issue.repository.may(author.login, "write"):
        raise ApiError(403, "Unable to create comment because issue is locked.")
    now = forge.state.now()
    comment = IssueComment(forge.state.next_id(), issue, author, body, now, now, app=app, revisions=[body])
    issue.repository.comments[comment.id] = comment
    issue.updated_at = now
    emit_comment(forge, comment, "created", author)
    return comment


def edit_comment(forge: Forge, comment: IssueComment, body: str, by: Account) -> None:
    """Replace the body and tell the Apps what it was before."""
    check_body(body)
    previous, comment.body = comment.body, body
    comment.revisions.append(body)
    comment.updated_at = forge.state.now()
    emit_comment(forge, comment, "edited", by, previous_body=previous)


def remove_comment(forge: Forge, comment: IssueComment, by: Account) -> None:
    del comment.issue.repository.comments[comment.id]
    emit_comment(forge, comment, "deleted", by)


def answer_comments(call: Call, comments: Sequence[Dated], shape: Callable[[Urls, Dated], dict[str, Any]]) -> Answer:
    """The page of these comments that was asked for, of those that changed since the time that was asked for."""
    since = call.query.get("since", "")
    found = [comment for comment in comments if comment.updated_at >= since]
    return Answer(200, [shape(call.forge.urls, comment) for comment in call.page(found)])


def require_author(call: Call, author: Account) -> None:
    """A person may change their own comments, and with write access all; an App likewise.

    Raises:
        ApiError: 403.
    """
    if author is call.account:
        return
    if isinstance(call.actor, UserActor) and not call.repository.may(call.account.login, "write"):
        raise ApiError(403, "You must be the author of the comment or have write access.")


def check_body(body: str) -> None:
    """Refuse what is longer than GitHub takes.

    Raises:
        ApiError: 422.
    """
    if len(body) > MAXIMUM_BODY:
        message = f"body is too long (maximum is {MAXIMUM_BODY} characters)"
        raise invalid("IssueComment", "data", "unprocessable", message)


def _issue(call: Call) -> Issue:
    issue = call.repository.issues.get(call.number("issue_number"))
    if issue is None:
        raise not_found()
    return issue


def _comment(call: Call) -> IssueComment:
    comment = call.repository.comments.get(call.number("comment_id"))
    if comment is None:
        raise not_found()
    return comment


def _require(call: Call, issue: Issue, level: str) -> None:
    """On a pull request either permission is enough; on an issue it must be ``issues``."""
    pull = [f"pull_requests:{level}"] if isinstance(issue, PullRequest) else []
    call.require(f"issues:{level}", *pull)


_COMMENT = "/repos/{owner}/{repo}/issues/comments/{comment_id}"

ROUTES = (
    Route("GET", "/repos/{owner}/{repo}/issues/{issue_number}", get_issue),
    Route("GET", "/repos/{owner}/{repo}/issues/{issue_number}/comments", list_comments),
    Route("POST", "/repos/{owner}/{repo}/issues/{issue_number}/comments", create_comment, content=True),
    Route("GET", _COMMENT, get_comment),
    Route("PATCH", _COMMENT, update_comment),
    Route("DELETE", _COMMENT, delete_comment),
    # Reactions on a comment need the permission for issues, even on a pull request.
    *reaction_routes(_COMMENT, _comment, "issues"),
)
