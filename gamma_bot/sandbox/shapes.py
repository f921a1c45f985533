"""How accounts, repositories, Apps and installations look in an answer: every key that GitHub's contract asks for."""

from __future__ import annotations

from typing import Any

from gamma_bot.sandbox.model import (
    Account,
    App,
    Delivery,
    HookConfig,
    Installation,
    Repository,
    node_id,
)
from gamma_bot.sandbox.urls import Urls

Json = dict[str, Any]

LEGACY_PERMISSIONS = {"admin": "admin", "maintain": "write", "write": "write", "triage": "read", "read": "read"}

# Path templates of a repository object, as GitHub writes them.
_REPOSITORY_LINKS = {
    "archive_url": "/{archive_format}{/ref}",
    "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}",
    "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors",
    "deployments_url": "/deployments",
    "downloads_url": "/downloads",
    "events_url": "/events",
    "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}",
    "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}",
    "languages_url": "/languages",
    "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}",
    "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "tags_url": "/tags",
    "teams_url": "/teams",
    "trees_url": "/git/trees{/sha}",
}


def account_json(urls: Urls, account: Account) -> Json:
    api = urls.user_api(account)
    return {
        "login": account.login,
        "id": account.id,
        "node_id": account.node_id,
        "avatar_url": urls.avatar(account),
        "gravatar_id": "",
        "url": api,
        "html_url": urls.user_page(account),
        "followers_url": f"{api}/followers",
        "following_url": f"{api}/following{{/other_user}}",
        "gists_url": f"{api}/gists{{/gist_id}}",
        "starred_url": f"{api}/starred{{/owner}}{{/repo}}",
        "subscriptions_url": f"{api}/subscriptions",
        "organizations_url": f"{api}/orgs",
        "repos_url": f"{api}/repos",
        "events_url": f"{api}/events{{/privacy}}",
        "received_events_url": f"{api}/received_events",
        "type": account.type,
        "user_view_type": "public",
        "site_admin": False,
    }


def profile_json(urls: Urls, account: Account, public_repositories: int) -> Json:
    """One account in full, as ``GET /users/{username}`` shows it."""
    nothing = ("company", "location", "email", "hireable", "bio", "twitter_username")
    return {
        **account_json(urls, account),
        **dict.fromkeys(nothing),
        "name": account.name,
        "blog": "",
        "public_repos": public_repositories,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "created_at": account.created_at,
        "updated_at": account.created_at,
    }


def organization_json(urls: Urls, account: Account) -> Json:
    """The ``organization`` of a webhook payload."""
    api = f"{urls.api}/orgs/{account.login}"
    return {
        "login": account.login,
        "id": account.id,
        "node_id": account.node_id,
        "url": api,
        "repos_url": f"{api}/repos",
        "events_url": f"{api}/events",
        "hooks_url": f"{api}/hooks",
        "issues_url": f"{api}/issues",
        "members_url": f"{api}/members{{/member}}",
        "public_members_url": f"{api}/public_members{{/member}}",
        "avatar_url": urls.avatar(account),
        "description": "",
    }


def repository_json(urls: Urls, repository: Repository) -> Json:
    """A repository as it stands inside other answers and in webhooks."""
    api, page = urls.repository_api(repository), urls.repository_page(repository)
    open_issues = sum(issue.state == "open" for issue in repository.issues.values())
    return {
        "id": repository.id,
        "node_id": repository.node_id,
        "name": repository.name,
        "full_name": repository.full_name,
        "private": repository.private,
        "owner": account_json(urls, repository.owner),
        "html_url": page,
        "description": repository.description,
        "fork": repository.parent is not None,
        "url": api,
        **{name: f"{api}{rest}" for name, rest in _REPOSITORY_LINKS.items()},
        "created_at": repository.created_at,
        "updated_at": repository.updated_at,
        "pushed_at": repository.pushed_at,
        "git_url": f"git://{page.partition('//')[2]}.git",
        "ssh_url": f"git@{urls.web.partition('//')[2]}:{repository.full_name}.git",
        "clone_url": urls.clone(repository),
        "svn_url": page,
        "homepage": None,
        "size": 0,
        "stargazers_count": 0,
        "watchers_count": 0,
        "language": "Python",
        "has_issues": True,
        "has_projects": True,
        "has_downloads": True,
        "has_wiki": True,
        "has_pages": False,
        "has_discussions": False,
        "forks_count": 0,
        "mirror_url": None,
        "archived": repository.archived,
        "disabled": False,
        "open_issues_count": open_issues,
        "license": None,
        "allow_forking": True,
        "is_template": False,
        "web_commit_signoff_required": False,
        "topics": [],
        "visibility": "private" if repository.private else "public",
        "forks": 0,
        "open_issues": open_issues,
        "watchers": 0,
        "default_branch": repository.default_branch,
        "custom_properties": {},
    }


def full_repository_json(urls: Urls, repository: Repository) -> Json:
    """A repository by itself, as ``GET /repos/{owner}/{repo}`` shows it."""
    extra: Json = {"temp_clone_token": None, "network_count": 0, "subscribers_count": 0}
    if repository.parent is not None:
        extra["parent"] = extra["source"] = repository_json(urls, repository.parent)
    if repository.owner.type == "Organization":
        extra["organization"] = account_json(urls, repository.owner)
    return {**repository_json(urls, repository), **extra}


def app_json(urls: Urls, app: App) -> Json:
    return {
        "id": app.id,
        "slug": app.slug,
        "node_id": app.node_id,
        "client_id": app.client_id,
        "owner": account_json(urls, app.owner),
        "name": app.name,
        "description": app.description,
        "external_url": app.external_url,
        "html_url": f"{urls.web}/apps/{app.slug}",
        "created_at": app.created_at,
        "updated_at": app.updated_at,
        "permissions": dict(app.permissions),
        "events": list(app.events),
    }


def installation_json(urls: Urls, installation: Installation) -> Json:
    suspended_by = installation.suspended_by
    return {
        "id": installation.id,
        "client_id": installation.app.client_id,
        "account": account_json(urls, installation.account),
        "repository_selection": installation.repository_selection,
        "access_tokens_url": f"{urls.api}/app/installations/{installation.id}/access_tokens",
        "repositories_url": f"{urls.api}/installation/repositories",
        "html_url": f"{urls.web}/settings/installations/{installation.id}",
        "app_id": installation.app.id,
        "app_slug": installation.app.slug,
        "target_id": installation.account.id,
        "target_type": installation.account.type,
        "permissions": dict(installation.permissions),
        "events": list(installation.events),
        "created_at": installation.created_at,
        "updated_at": installation.updated_at,
        "single_file_name": None,
        "has_multiple_single_files": False,
        "single_file_paths": [],
        "suspended_by": account_json(urls, suspended_by) if suspended_by else None,
        "suspended_at": installation.suspended_at,
    }


def installation_reference_json(installation: Installation) -> Json:
    """The short form that every webhook for an installation carries."""
    return {"id": installation.id, "node_id": node_id("MDIzOkludGVncmF0aW9u", installation.id)}


def hook_config_json(hook: HookConfig) -> Json:
    secret = {} if hook.secret is None else {"secret": "********"}
    return {"content_type": hook.content_type, "insecure_ssl": hook.insecure_ssl, "url": hook.url, **secret}


def delivery_json(delivery: Delivery, *, full: bool = False) -> Json:
    """A delivery as it stands in the list; ``full`` adds what was sent and what came back."""
    body: Json = {
        "id": delivery.id,
        "guid": delivery.guid,
        "delivered_at": delivery.delivered_at,
        "redelivery": delivery.redelivery,
        "duration": round(delivery.duration_seconds, 2),
        "status": delivery.status,
        "status_code": delivery.status_code,
        "event": delivery.event,
        "action": delivery.action,
        "installation_id": delivery.installation_id,
        "repository_id": delivery.repository_id,
        "throttled_at": None,
    }
    if full:
        body["url"] = delivery.url
        body["request"] = {"headers": delivery.request_headers, "payload": delivery.payload}
        body["response"] = {"headers": delivery.response_headers, "payload": delivery.response_body}
    return body


def permission_json(urls: Urls, repository: Repository, account: Account) -> Json:
    """What ``GET …/collaborators/{username}/permission`` answers: the legacy word beside the real role."""
    role, built_in = repository.role_of(account.login), repository.built_in_role_of(account.login)
    rank = ("read", "triage", "write", "maintain", "admin")
    names = ("pull", "triage", "push", "maintain", "admin")
    held = rank.index(built_in) if built_in else -1
    return {
        "permission": LEGACY_PERMISSIONS[built_in] if built_in else "none",
        "role_name": role or "none",
        "user": {
            **account_json(urls, account),
            "permissions": {name: held >= level for level, name in enumerate(names)},
            "role_name": role or "none",
        },
    }
