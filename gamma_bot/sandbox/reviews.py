"""Reviews of pull requests, and comments on the lines of a diff."""

from __future__ import annotations

from typing import Any

from gamma_bot.sandbox.call import Answer, ApiError, Call, Route, invalid, invalid_request, not_found
from gamma_bot.sandbox.comments import answer_comments, check_body, require_author
from gamma_bot.sandbox.diff_places import find_place
from gamma_bot.sandbox.events import emit_review, emit_review_comment
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model import Account, App, DiffPlace, PullRequest, Review, ReviewComment, ReviewState
from gamma_bot.sandbox.reactions import reaction_routes
from gamma_bot.sandbox.shapes_reviews import review_comment_json, review_json

STATES: dict[str, ReviewState] = {
    "APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED",
}  # fmt: skip
_COMMENT_KEYS = {"path", "position", "body", "line", "side", "start_line", "start_side"}


async def list_reviews(call: Call) -> Answer:
    found = call.repository.reviews_of(_pull(call).number)
    return Answer(200, [review_json(call.forge.urls, review) for review in call.page(found)])


async def create_review(call: Call) -> Answer:
    pull, body = _pull(call), call.json_object()
    if "event" not in body:
        # Without an event GitHub keeps a draft for its author, which nobody else sees and no webhook tells of.
        raise _unprocessable("The sandbox keeps no pending reviews: give an event.")
    if body["event"] not in STATES:
        raise invalid_request(f"For 'properties/event', {body['event']!r} is not a member of {list(STATES)}.")
    review = await submit_review(
        call.forge, pull, call.account, event=body["event"], body=body.get("body") or "",
        comments=body.get("comments") or [], commit=body.get("commit_id"), app=call.app,
    )  # fmt: skip
    return Answer(200, review_json(call.forge.urls, review))


async def get_review(call: Call) -> Answer:
    return Answer(200, review_json(call.forge.urls, _review(call)))


async def list_comments_of_review(call: Call) -> Answer:
    review = _review(call)
    found = [one for one in call.repository.review_comments_on(review.pull.number) if one.review is review]
    return Answer(200, [review_comment_json(call.forge.urls, comment) for comment in call.page(found)])


async def list_comments(call: Call) -> Answer:
    found = call.repository.review_comments_on(_pull(call).number)
    return answer_comments(call, found[::-1] if call.query.get("direction") == "desc" else found, review_comment_json)


async def create_comment(call: Call) -> Answer:
    pull, body = _pull(call), call.json_object()
    text = call.text_field("body", "PullRequestReviewComment") or ""
    if "in_reply_to" in body:
        parent = call.repository.review_comments.get(body["in_reply_to"])
        if parent is None or parent.pull is not pull:
            raise invalid("PullRequestReviewComment", "in_reply_to", "invalid")
        return _created(call, await reply(call.forge, parent, call.account, text, app=call.app))
    commit = call.text_field("commit_id", "PullRequestReviewComment")
    comment = await add_comment(call.forge, pull, call.account, {**body, "body": text}, commit=commit, app=call.app)
    return _created(call, comment)


async def create_reply(call: Call) -> Answer:
    parent, text = _comment(call), call.text_field("body", "PullRequestReviewComment") or ""
    if parent.pull is not _pull(call):
        raise not_found()
    return _created(call, await reply(call.forge, parent, call.account, text, app=call.app))


async def get_comment(call: Call) -> Answer:
    return Answer(200, review_comment_json(call.forge.urls, _comment(call)))


async def update_comment(call: Call) -> Answer:
    comment = _comment(call)
    require_author(call, comment.author)
    text = call.text_field("body", "PullRequestReviewComment") or ""
    edit_comment(call.forge, comment, text, call.account)
    return Answer(200, review_comment_json(call.forge.urls, comment))


async def delete_comment(call: Call) -> Answer:
    comment = _comment(call)
    require_author(call, comment.author)
    remove_comment(call.forge, comment, call.account)
    return Answer(204)


async def submit_review(
    forge: Forge, pull: PullRequest, author: Account, *, event: str, body: str = "",
    comments: list[dict[str, Any]] | None = None, commit: str | None = None, app: App | None = None,
) -> Review:  # fmt: skip
    """Submit a review with its comments; the Apps hear of each comment and of the review.

    Raises:
        ApiError: it says nothing, judges its author's own pull request, or comments on what the diff does not show.
    """
    wanted = comments or []
    check_body(body)
    if event != "COMMENT" and author is pull.author:
        deed = "approve" if event == "APPROVE" else "request changes on"
        raise _unprocessable(f"Can not {deed} your own pull request")
    if not body and (event == "REQUEST_CHANGES" or (event == "COMMENT" and not wanted)):
        raise _unprocessable("Review body can't be blank")
    sha = await _commit(forge, pull, commit)
    placed: list[tuple[str, DiffPlace]] = []
    for one in wanted:
        text, unknown = one.get("body"), set(one) - _COMMENT_KEYS
        if unknown or not isinstance(text, str) or not text:
            raise invalid_request("No subschema in 'properties/comments' matched.")
        check_body(text)
        try:
            placed.append((text, await find_place(forge, pull, sha, one)))
        except ApiError as error:
            # This endpoint lists its errors as plain words.
            about = "Path" if any(isinstance(one, dict) and one["field"] == "path" for one in error.errors) else "Line"
            raise _unprocessable(f"{about} could not be resolved") from None
    review = Review(forge.state.next_id(), pull, author, body, STATES[event], sha, forge.state.now(), app)
    pull.repository.reviews[review.id] = review
    for text, place in placed:
        _attach(forge, review, text, place)
    emit_review(forge, review, "submitted", author)
    return review


async def add_comment(
    forge: Forge, pull: PullRequest, author: Account, wanted: dict[str, Any], *, commit: str | None = None,
    app: App | None = None,
) -> ReviewComment:  # fmt: skip
    """A single comment on the diff, in a review of its own.

    Args:
        wanted: ``body``, ``path`` and ``line``, as in the API.
    """
    check_body(wanted["body"])
    sha = await _commit(forge, pull, commit)
    place = await find_place(forge, pull, sha, wanted)
    return _single(forge, pull, author, wanted["body"], place, sha, None, app)


async def reply(
    forge: Forge, parent: ReviewComment, author: Account, body: str, *, app: App | None = None
) -> ReviewComment:
    """Answer a comment; an answer to an answer belongs to the first comment, as on GitHub."""
    check_body(body)
    first = parent.in_reply_to or parent
    return _single(forge, first.pull, author, body, first.place, first.commit_id, first, app)


def edit_comment(forge: Forge, comment: ReviewComment, body: str, by: Account) -> None:
    """Replace the body and tell the Apps what it was before."""
    check_body(body)
    previous, comment.body = comment.body, body
    comment.revisions.append(body)
    comment.updated_at = forge.state.now()
    emit_review_comment(forge, comment, "edited", by, previous_body=previous)


def remove_comment(forge: Forge, comment: ReviewComment, by: Account) -> None:
    del comment.pull.repository.review_comments[comment.id]
    emit_review_comment(forge, comment, "deleted", by)


def _single(
    forge: Forge, pull: PullRequest, author: Account, body: str, place: DiffPlace, sha: str,
    first: ReviewComment | None, app: App | None,
) -> ReviewComment:  # fmt: skip
    review = Review(forge.state.next_id(), pull, author, "", "COMMENTED", sha, forge.state.now(), app)
    pull.repository.reviews[review.id] = review
    comment = _attach(forge, review, body, place, first)
    emit_review(forge, review, "submitted", author)
    return comment


def _attach(
    forge: Forge, review: Review, body: str, place: DiffPlace, first: ReviewComment | None = None
) -> ReviewComment:
    now, pull = forge.state.now(), review.pull
    comment = ReviewComment(
        forge.state.next_id(), review, review.author, body, place, review.commit_id, now, now, in_reply_to=first,
        app=review.app, revisions=[body],
    )  # fmt: skip
    pull.repository.review_comments[comment.id] = comment
    pull.updated_at = now
    emit_review_comment(forge, comment, "created", review.author)
    return comment


async def _commit(forge: Forge, pull: PullRequest, wanted: str | None) -> str:
    """The commit that is reviewed: one of the pull request's, its head by default."""
    if wanted is None or wanted == pull.head_sha:
        return pull.head_sha
    commits = await forge.git.log(pull.repository.git_dir, f"{pull.base_sha}..{pull.head_sha}")
    if wanted not in {commit.sha for commit in commits}:
        raise invalid("PullRequestReviewComment", "commit_id", "custom", "commit_id is not part of the pull request")
    return wanted


def _created(call: Call, comment: ReviewComment) -> Answer:
    answer = review_comment_json(call.forge.urls, comment)
    return Answer(201, answer, headers={"Location": answer["url"]})


def _pull(call: Call) -> PullRequest:
    pull = call.repository.issues.get(call.number("pull_number"))
    if not isinstance(pull, PullRequest):
        raise not_found()
    return pull


def _review(call: Call) -> Review:
    review = call.repository.reviews.get(call.number("review_id"))
    if review is None or review.pull is not _pull(call):
        raise not_found()
    return review


def _comment(call: Call) -> ReviewComment:
    comment = call.repository.review_comments.get(call.number("comment_id"))
    if comment is None:
        raise not_found()
    return comment


def _unprocessable(message: str) -> ApiError:
    return ApiError(422, "Unprocessable Entity", errors=[message])


_PULL = "/repos/{owner}/{repo}/pulls/{pull_number}"
_COMMENT = "/repos/{owner}/{repo}/pulls/comments/{comment_id}"
_READ, _WRITE = ("pull_requests:read",), ("pull_requests:write",)

ROUTES = (
    # Unlike those of the conversation, comments on lines and their reactions need the permission for pull requests.
    Route("GET", _COMMENT, get_comment, needs=_READ),
    Route("PATCH", _COMMENT, update_comment, needs=_WRITE),
    Route("DELETE", _COMMENT, delete_comment, needs=_WRITE),
    *reaction_routes(_COMMENT, _comment, "pull_requests"),
    Route("GET", f"{_PULL}/reviews", list_reviews, needs=_READ),
    Route("POST", f"{_PULL}/reviews", create_review, needs=_WRITE, content=True),
    Route("GET", f"{_PULL}/reviews/{{review_id}}", get_review, needs=_READ),
    Route("GET", f"{_PULL}/reviews/{{review_id}}/comments", list_comments_of_review, needs=_READ),
    Route("GET", f"{_PULL}/comments", list_comments, needs=_READ),
    Route("POST", f"{_PULL}/comments", create_comment, needs=_WRITE, content=True),
    Route("POST", f"{_PULL}/comments/{{comment_id}}/replies", create_reply, needs=_WRITE, content=True),
)
