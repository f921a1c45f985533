"""Which Apps hear of what happened in a repository, and what their webhooks say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.git import GitCommit, TouchedPaths
from gamma_bot.sandbox.model import (
    NO_COMMIT,
    Account,
    App,
    CheckRun,
    CheckSuite,
    Installation,
    IssueComment,
    PullRequest,
    Push,
    Repository,
    Review,
    ReviewComment,
)
from gamma_bot.sandbox.shapes import (
    Json,
    account_json,
    hook_config_json,
    installation_json,
    installation_reference_json,
    organization_json,
    repository_json,
)
from gamma_bot.sandbox.shapes_checks import run_event_json, suite_event_json
from gamma_bot.sandbox.shapes_issues import PullSize, comment_json, full_pull_json, issue_json, pull_json
from gamma_bot.sandbox.shapes_reviews import review_comment_json, review_event_json

MAXIMUM_PUSH_COMMITS = 2048


def emit(
    forge: Forge, event: str, action: str | None, repository: Repository, sender: Account, body: Mapping[str, Any],
    *, only: App | None = None,
) -> None:  # fmt: skip
    """Send one webhook to every App that is installed on the repository and hears this event."""
    forge.state.changed()
    for installation in forge.state.installations_on(repository):
        if installation.suspended_at or not _hears(installation, event):
            continue
        if only is not None and installation.app is not only:
            continue
        payload: Json = {} if action is None else {"action": action}
        payload.update(body)
        payload.setdefault("repository", repository_json(forge.urls, repository))
        if repository.owner.type == "Organization":
            payload["organization"] = organization_json(forge.urls, repository.owner)
        payload["sender"] = account_json(forge.urls, sender)
        payload["installation"] = installation_reference_json(installation)
        forge.webhooks.send(
            installation.app, event, action, payload, installation_id=installation.id, repository_id=repository.id
        )


def emit_installation(
    forge: Forge, installation: Installation, action: str, sender: Account, *,
    event: str = "installation", added: Iterable[Repository] = (), removed: Iterable[Repository] = (),
) -> None:  # fmt: skip
    """``installation`` and ``installation_repositories``: every App hears these about itself, even while suspended."""
    forge.state.changed()
    shown = installation_json(forge.urls, installation)
    if action not in ("suspend", "unsuspend"):
        # GitHub writes these two times as Unix seconds here, and as ISO strings everywhere else.
        shown.update(created_at=_unix(installation.created_at), updated_at=_unix(installation.updated_at))
    body: Json = {
        "action": action,
        "installation": shown,
        "sender": account_json(forge.urls, sender),
    }
    if event == "installation_repositories":
        body["repository_selection"] = installation.repository_selection
        body["repositories_added"] = [_short_repository(repository) for repository in added]
        body["repositories_removed"] = [_short_repository(repository) for repository in removed]
        body["requester"] = None
    else:
        body["repositories"] = [_short_repository(repository) for repository in installation.repositories]
        body["requester"] = None
    forge.webhooks.send(installation.app, event, action, body, installation_id=installation.id)


def emit_ping(forge: Forge, app: App) -> None:
    """The first webhook of an App's life."""
    hook = {
        "type": "App",
        "id": app.id,
        "name": "web",
        "active": app.hook.active,
        "events": list(app.events),
        "config": hook_config_json(app.hook),
        "updated_at": app.updated_at,
        "created_at": app.created_at,
        "app_id": app.id,
        "deliveries_url": f"{forge.urls.api}/app/hook/deliveries",
    }
    forge.webhooks.send(app, "ping", None, {"zen": "Keep it logically awesome.", "hook_id": app.id, "hook": hook})


def emit_push(
    forge: Forge, repository: Repository, push: Push, commits: list[GitCommit], head: GitCommit | None,
    touched: Mapping[str, TouchedPaths], *, base_ref: str | None, distinct: set[str],
) -> None:  # fmt: skip
    """``push``, with the commits oldest first."""
    page = forge.urls.repository_page(repository)
    span = f"{push.before[:12]}...{push.after[:12]}"
    created, deleted = push.before == NO_COMMIT, push.after == NO_COMMIT
    body: Json = {
        "ref": push.ref,
        "before": push.before,
        "after": push.after,
        "repository": _push_repository(forge, repository),
        "pusher": {"name": push.pusher.login, "email": push.pusher.email},
        "created": created,
        "deleted": deleted,
        "forced": push.forced,
        "base_ref": base_ref,
        "compare": f"{page}/compare/{push.ref.split('/', 2)[2] if created else span}",
        "commits": [
            _push_commit(forge, repository, commit, touched, distinct) for commit in commits[-MAXIMUM_PUSH_COMMITS:]
        ],
        "head_commit": _push_commit(forge, repository, head, touched, distinct) if head else None,
    }
    emit(forge, "push", None, repository, push.pusher, body)


def emit_check_run(forge: Forge, run: CheckRun, action: str, sender: Account, *, identifier: str | None = None) -> None:
    """``check_run``: everyone hears of created and completed; only its own App of what people ask of it."""
    body: Json = {"check_run": run_event_json(forge.urls, run)}
    if identifier is not None:
        body["requested_action"] = {"identifier": identifier}
    own = run.app if action in ("rerequested", "requested_action") else None
    emit(forge, "check_run", action, run.suite.repository, sender, body, only=own)


async def emit_check_suite(forge: Forge, suite: CheckSuite, action: str, sender: Account) -> None:
    commit = await forge.git.commit_info(suite.repository.git_dir, suite.head_sha)
    own = None if action == "completed" else suite.app
    body = {"check_suite": suite_event_json(forge.urls, suite, commit)}
    emit(forge, "check_suite", action, suite.repository, sender, body, only=own)


def emit_pull_request(
    forge: Forge, pull: PullRequest, action: str, sender: Account, size: PullSize, **extra: object
) -> None:
    body = {"number": pull.number, "pull_request": full_pull_json(forge.urls, pull, size), **extra}
    emit(forge, "pull_request", action, pull.repository, sender, body)


def emit_comment(
    forge: Forge, comment: IssueComment, action: str, sender: Account, *, previous_body: str | None = None
) -> None:
    body: Json = {"issue": issue_json(forge.urls, comment.issue), "comment": comment_json(forge.urls, comment)}
    if previous_body is not None:
        body["changes"] = {"body": {"from": previous_body}}
    emit(forge, "issue_comment", action, comment.issue.repository, sender, body)


def emit_review(forge: Forge, review: Review, action: str, sender: Account) -> None:
    pull = review.pull
    body = {"review": review_event_json(forge.urls, review), "pull_request": pull_json(forge.urls, pull)}
    emit(forge, "pull_request_review", action, pull.repository, sender, body)


def emit_review_comment(
    forge: Forge, comment: ReviewComment, action: str, sender: Account, *, previous_body: str | None = None
) -> None:
    pull = comment.pull
    body: Json = {"comment": review_comment_json(forge.urls, comment), "pull_request": pull_json(forge.urls, pull)}
    if previous_body is not None:
        body["changes"] = {"body": {"from": previous_body}}
    emit(forge, "pull_request_review_comment", action, pull.repository, sender, body)


def emit_repository(
    forge: Forge, repository: Repository, action: str, sender: Account, changes: Mapping[str, Any] | None = None
) -> None:
    """``repository``: renamed, transferred, archived, unarchived, deleted."""
    emit(forge, "repository", action, repository, sender, {} if changes is None else {"changes": changes})


def _hears(installation: Installation, event: str) -> bool:
    # Apps with checks:write are subscribed to these two without asking.
    if event in ("check_run", "check_suite") and installation.permissions.get("checks") == "write":
        return True
    return event in installation.events


def _short_repository(repository: Repository) -> Json:
    return {
        "id": repository.id,
        "node_id": repository.node_id,
        "name": repository.name,
        "full_name": repository.full_name,
        "private": repository.private,
    }


def _push_repository(forge: Forge, repository: Repository) -> Json:
    """GitHub's older shape of a repository: Unix times, the page as ``url``, the owner with name and e-mail."""
    body = repository_json(forge.urls, repository)
    owner = {"name": repository.owner.login, "email": repository.owner.email, **body["owner"]}
    return {
        **body,
        "owner": owner,
        "url": forge.urls.repository_page(repository),
        "created_at": _unix(repository.created_at),
        "pushed_at": _unix(repository.pushed_at),
        "stargazers": 0,
        "master_branch": repository.default_branch,
        **({"organization": repository.owner.login} if repository.owner.type == "Organization" else {}),
    }


def _push_commit(
    forge: Forge, repository: Repository, commit: GitCommit, touched: Mapping[str, TouchedPaths], distinct: set[str]
) -> Json:
    paths = touched.get(commit.sha, TouchedPaths((), (), ()))
    people: Json = {}
    for role, person in (("author", commit.author), ("committer", commit.committer)):
        account = forge.account_by_email(person.email)
        people[role] = {
            "name": person.name,
            "email": person.email,
            "date": person.date,
            **({"username": account.login} if account else {}),
        }
    return {
        "id": commit.sha,
        "tree_id": commit.tree,
        "distinct": commit.sha in distinct,
        "message": commit.message,
        "timestamp": commit.committer.date,
        "url": forge.urls.commit_page(repository, commit.sha),
        **people,
        "added": list(paths.added),
        "removed": list(paths.removed),
        "modified": list(paths.modified),
    }


def _unix(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp())
