"""How issues, pull requests, comments and reactions look in an answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from gamma_bot.sandbox.model import Account, Issue, IssueComment, PullRequest, Reaction, Repository
from gamma_bot.sandbox.shapes import Json, account_json, app_json, repository_json
from gamma_bot.sandbox.urls import Urls

REACTIONS = ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes")


@dataclass(frozen=True)
class PullSize:
    """What only Git can tell about a pull request."""

    commits: int
    additions: int
    deletions: int
    changed_files: int
    mergeable: bool | None


def association(repository: Repository, account: Account) -> str:
    """GitHub's ``author_association``. It is no proof of any right."""
    if account is repository.owner:
        return "OWNER"
    if any(login.lower() == account.login.lower() for login in repository.collaborators):
        return "COLLABORATOR"
    merged = any(pull.author is account and pull.merged_at for pull in repository.pulls)
    return "CONTRIBUTOR" if merged else "NONE"


def issue_json(urls: Urls, issue: Issue) -> Json:
    api = urls.issue_api(issue)
    body: dict[str, Any] = {
        "url": api,
        "repository_url": urls.repository_api(issue.repository),
        "labels_url": f"{api}/labels{{/name}}",
        "comments_url": f"{api}/comments",
        "events_url": f"{api}/events",
        "html_url": urls.issue_page(issue),
        "id": issue.id,
        "node_id": issue.pull_node_id if isinstance(issue, PullRequest) else issue.node_id,
        "number": issue.number,
        "title": issue.title,
        "user": account_json(urls, issue.author),
        "labels": [],
        "state": issue.state,
        "locked": issue.locked,
        "assignee": None,
        "assignees": [],
        "milestone": None,
        "comments": len(issue.repository.comments_on(issue.number)),
        "created_at": issue.created_at,
        "updated_at": issue.updated_at,
        "closed_at": issue.closed_at,
        "author_association": association(issue.repository, issue.author),
        "active_lock_reason": None,
        "body": issue.body,
        "closed_by": account_json(urls, issue.closed_by) if issue.closed_by else None,
        "reactions": reaction_rollup_json(f"{api}/reactions", []),
        "timeline_url": f"{api}/timeline",
        "performed_via_github_app": None,
        "state_reason": None,
    }
    if isinstance(issue, PullRequest):
        page = urls.issue_page(issue)
        body["draft"] = issue.draft
        body["pull_request"] = {
            "url": urls.pull_api(issue),
            "html_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            "merged_at": issue.merged_at,
        }
    return body


def pull_json(urls: Urls, pull: PullRequest) -> Json:
    """A pull request as it stands in a list."""
    api, page, issue = urls.pull_api(pull), urls.issue_page(pull), urls.issue_api(pull)
    statuses = f"{urls.repository_api(pull.repository)}/statuses/{pull.head_sha}"
    links = {
        "self": api,
        "html": page,
        "issue": issue,
        "comments": f"{issue}/comments",
        "review_comments": f"{api}/comments",
        "review_comment": f"{urls.repository_api(pull.repository)}/pulls/comments{{/number}}",
        "commits": f"{api}/commits",
        "statuses": statuses,
    }
    return {
        "url": api,
        "id": pull.pull_id,
        "node_id": pull.pull_node_id,
        "html_url": page,
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        "issue_url": issue,
        "number": pull.number,
        "state": pull.state,
        "locked": pull.locked,
        "title": pull.title,
        "user": account_json(urls, pull.author),
        "body": pull.body,
        "created_at": pull.created_at,
        "updated_at": pull.updated_at,
        "closed_at": pull.closed_at,
        "merged_at": pull.merged_at,
        "merge_commit_sha": pull.merge_commit_sha,
        "assignee": None,
        "assignees": [],
        "requested_reviewers": [],
        "requested_teams": [],
        "labels": [],
        "milestone": None,
        "draft": pull.draft,
        "commits_url": links["commits"],
        "review_comments_url": links["review_comments"],
        "review_comment_url": links["review_comment"],
        "comments_url": links["comments"],
        "statuses_url": statuses,
        "head": _branch(urls, pull.head_repository, pull.head_ref, pull.head_sha),
        "base": _branch(urls, pull.repository, pull.base_ref, pull.base_sha),
        "_links": {name: {"href": link} for name, link in links.items()},
        "author_association": association(pull.repository, pull.author),
        "auto_merge": None,
        "active_lock_reason": None,
    }


def full_pull_json(urls: Urls, pull: PullRequest, size: PullSize) -> Json:
    """A pull request by itself and in webhooks."""
    return {
        **pull_json(urls, pull),
        "merged": pull.merged_at is not None,
        "mergeable": size.mergeable,
        "rebaseable": size.mergeable,
        "mergeable_state": {True: "clean", False: "dirty", None: "unknown"}[size.mergeable],
        "merged_by": account_json(urls, pull.merged_by) if pull.merged_by else None,
        "comments": len(pull.repository.comments_on(pull.number)),
        "review_comments": len(pull.repository.review_comments_on(pull.number)),
        "maintainer_can_modify": False,
        "commits": size.commits,
        "additions": size.additions,
        "deletions": size.deletions,
        "changed_files": size.changed_files,
    }


def comment_json(urls: Urls, comment: IssueComment) -> Json:
    repository = comment.issue.repository
    api = f"{urls.repository_api(repository)}/issues/comments/{comment.id}"
    return {
        "url": api,
        "html_url": f"{urls.issue_page(comment.issue)}#issuecomment-{comment.id}",
        "issue_url": urls.issue_api(comment.issue),
        "id": comment.id,
        "node_id": comment.node_id,
        "user": account_json(urls, comment.author),
        "created_at": comment.created_at,
        "updated_at": comment.updated_at,
        "author_association": association(repository, comment.author),
        "body": comment.body,
        "reactions": reaction_rollup_json(f"{api}/reactions", comment.reactions),
        "performed_via_github_app": app_json(urls, comment.app) if comment.app else None,
    }


def reaction_json(urls: Urls, reaction: Reaction) -> Json:
    return {
        "id": reaction.id,
        "node_id": reaction.node_id,
        "user": account_json(urls, reaction.user),
        "content": reaction.content,
        "created_at": reaction.created_at,
    }


def reaction_rollup_json(url: str, reactions: list[Reaction]) -> Json:
    counts = Counter(reaction.content for reaction in reactions)
    return {"url": url, "total_count": len(reactions), **{content: counts[content] for content in REACTIONS}}


def _branch(urls: Urls, repository: Repository | None, ref: str, sha: str) -> Json:
    owner = repository.owner if repository else None
    return {
        "label": f"{owner.login}:{ref}" if owner else ref,
        "ref": ref,
        "sha": sha,
        "user": account_json(urls, owner) if owner else None,
        "repo": repository_json(urls, repository) if repository else None,
    }
