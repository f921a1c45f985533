"""How reviews and the comments on lines look in an answer and in a webhook."""

from __future__ import annotations

from gamma_bot.sandbox.model import Review, ReviewComment
from gamma_bot.sandbox.shapes import Json, account_json
from gamma_bot.sandbox.shapes_issues import association, reaction_rollup_json
from gamma_bot.sandbox.urls import Urls


def review_json(urls: Urls, review: Review) -> Json:
    pull_api, page = urls.pull_api(review.pull), f"{urls.issue_page(review.pull)}#pullrequestreview-{review.id}"
    return {
        "id": review.id,
        "node_id": review.node_id,
        "user": account_json(urls, review.author),
        "body": review.body,
        "state": review.state,
        "html_url": page,
        "pull_request_url": pull_api,
        "author_association": association(review.pull.repository, review.author),
        "_links": {"html": {"href": page}, "pull_request": {"href": pull_api}},
        "submitted_at": review.submitted_at,
        "commit_id": review.commit_id,
    }


def review_event_json(urls: Urls, review: Review) -> Json:
    """A review in a webhook: GitHub writes its state in small letters there, and null where it has no words."""
    return {**review_json(urls, review), "state": review.state.lower(), "body": review.body or None}


def review_comment_json(urls: Urls, comment: ReviewComment) -> Json:
    pull, place = comment.pull, comment.place
    api = f"{urls.repository_api(pull.repository)}/pulls/comments/{comment.id}"
    page, pull_api = f"{urls.issue_page(pull)}#discussion_r{comment.id}", urls.pull_api(pull)
    body: Json = {
        "url": api,
        "pull_request_review_id": comment.review.id,
        "id": comment.id,
        "node_id": comment.node_id,
        "diff_hunk": place.hunk,
        "path": place.path,
        "position": place.position,
        "original_position": place.position,
        "commit_id": comment.commit_id,
        "original_commit_id": comment.commit_id,
        "user": account_json(urls, comment.author),
        "body": comment.body,
        "created_at": comment.created_at,
        "updated_at": comment.updated_at,
        "html_url": page,
        "pull_request_url": pull_api,
        "author_association": association(pull.repository, comment.author),
        "_links": {"self": {"href": api}, "html": {"href": page}, "pull_request": {"href": pull_api}},
        "reactions": reaction_rollup_json(f"{api}/reactions", comment.reactions),
        "subject_type": "file" if place.line is None else "line",
    }
    if place.line is not None:
        body |= {
            "line": place.line,
            "original_line": place.line,
            "side": place.side,
            "start_line": place.start_line,
            "original_start_line": place.start_line,
            "start_side": place.start_side,
        }
    if comment.in_reply_to is not None:
        body["in_reply_to_id"] = comment.in_reply_to.id
    return body
