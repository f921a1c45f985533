"""Repositories: contents, commits, comparisons, branches, refs, tarballs, and who may do what."""

from __future__ import annotations

import secrets
from typing import Any

from gamma_bot.sandbox.call import Answer, ApiError, Call, Route, not_found
from gamma_bot.sandbox.git import GitCommit
from gamma_bot.sandbox.shapes import full_repository_json, permission_json
from gamma_bot.sandbox.shapes_git import commit_json, entry_json, file_change_json, file_json, ref_json

MAXIMUM_JSON_CONTENT_BYTES = 1024 * 1024
MAXIMUM_COMPARED_FILES = 300


async def get_repository(call: Call) -> Answer:
    return Answer(200, full_repository_json(call.forge.urls, call.repository))


async def get_contents(call: Call) -> Answer:
    """A file, or the list of a folder; with the raw media type a file's bytes."""
    repository, git = call.repository, call.forge.git
    path, ref = call.params["path"].strip("/"), call.query.get("ref") or call.repository.default_branch
    commit = await git.resolve(repository.git_dir, ref)
    if commit is None:
        raise ApiError(404, f"No commit found for the ref {ref}")
    entry = await git.entry(repository.git_dir, commit, path) if path else None
    if path and entry is None:
        raise not_found()
    if entry is None or entry.kind == "tree":
        entries = await git.entries(repository.git_dir, commit, path)
        return Answer(200, [entry_json(call.forge.urls, repository, one, ref) for one in entries])
    if entry.kind == "commit":
        raise not_found()
    data = await git.blob(repository.git_dir, entry.sha)
    if "raw" in call.accept:
        return Answer(200, data=data, content_type="application/vnd.github.raw+json; charset=utf-8")
    body = file_json(call.forge.urls, repository, entry, ref, data)
    if entry.size > MAXIMUM_JSON_CONTENT_BYTES:
        # Between 1 and 100 MB GitHub leaves the content out of the JSON; only the raw media type has it.
        body.update(content="", encoding="none")
    return Answer(200, body)


async def get_tarball(call: Call) -> Answer:
    """A redirect to the download host, with a one-time token: no other credentials may go there."""
    ref = call.params["ref"] or call.repository.default_branch
    sha = await call.forge.git.resolve(call.repository.git_dir, ref)
    if sha is None:
        raise not_found()
    token, repository = secrets.token_hex(16), call.repository
    folder = f"{repository.owner.login}-{repository.name}-{sha[:7]}"
    call.forge.downloads[token] = (repository.git_dir, sha, folder)
    location = f"{call.forge.codeload_url}/{repository.full_name}/legacy.tar.gz/{ref}?token={token}"
    return Answer(302, data=b"", content_type="text/html;charset=utf-8", headers={"Location": location})


async def list_branches(call: Call) -> Answer:
    api = call.forge.urls.repository_api(call.repository)
    refs = await call.forge.git.refs(call.repository.git_dir)
    names = [ref.removeprefix("refs/heads/") for ref in refs if ref.startswith("refs/heads/")]
    branches = []
    for name in call.page(names):
        sha = refs[f"refs/heads/{name}"]
        commit = {"sha": sha, "url": f"{api}/commits/{sha}"}
        branches.append({"name": name, "commit": commit, "protected": False})
    return Answer(200, branches)


async def get_branch(call: Call) -> Answer:
    name, repository = call.params["branch"], call.repository
    sha = await call.forge.git.resolve(repository.git_dir, f"refs/heads/{name}")
    if sha is None:
        raise ApiError(404, "Branch not found")
    itself = f"{call.forge.urls.repository_api(repository)}/branches/{name}"
    page = f"{call.forge.urls.repository_page(repository)}/tree/{name}"
    body = {
        "name": name,
        "commit": _commit_json(call, await call.forge.git.commit_info(repository.git_dir, sha)),
        "_links": {"self": itself, "html": page},
        "protected": False,
        "protection": {"enabled": False, "required_status_checks": _NO_REQUIRED_CHECKS},
        "protection_url": f"{itself}/protection",
    }
    return Answer(200, body)


async def get_ref(call: Call) -> Answer:
    ref = f"refs/{call.params['ref']}"
    sha = (await call.forge.git.refs(call.repository.git_dir)).get(ref)
    if sha is None:
        raise not_found()
    return Answer(200, ref_json(call.forge.urls, call.repository, ref, sha))


async def get_commit(call: Call) -> Answer:
    """A commit with its changed files; with the sha media type only its SHA, which is the cheap way to follow a ref."""
    git, git_dir = call.forge.git, call.repository.git_dir
    sha = await git.resolve(git_dir, call.params["ref"])
    if sha is None:
        raise ApiError(422, f"No commit found for SHA: {call.params['ref']}")
    if "sha" in call.accept:
        return Answer(200, data=sha.encode(), content_type="application/vnd.github.sha; charset=utf-8")
    commit = await git.commit_info(git_dir, sha)
    parent = commit.parents[0] if commit.parents else None
    if "diff" in call.accept and parent:
        data = await git.diff(git_dir, parent, sha)
        return Answer(200, data=data, content_type="application/vnd.github.diff; charset=utf-8")
    changes = await git.changes(git_dir, parent, sha)
    additions, deletions = sum(one.additions for one in changes), sum(one.deletions for one in changes)
    body = {
        **_commit_json(call, commit),
        "stats": {"total": additions + deletions, "additions": additions, "deletions": deletions},
        "files": [file_change_json(call.forge.urls, call.repository, one, sha) for one in call.page(changes)],
    }
    return Answer(200, body)


async def list_commits(call: Call) -> Answer:
    git, git_dir = call.forge.git, call.repository.git_dir
    ref = call.query.get("sha") or call.repository.default_branch
    sha = await git.resolve(git_dir, ref)
    if sha is None:
        raise not_found()
    commits = await git.log(git_dir, sha, path=call.query.get("path"))
    if "since" in call.query:
        commits = [commit for commit in commits if commit.committer.date >= call.query["since"]]
    if "until" in call.query:
        commits = [commit for commit in commits if commit.committer.date <= call.query["until"]]
    return Answer(200, [_commit_json(call, commit) for commit in call.page(commits)])


async def compare(call: Call) -> Answer:
    """``base...head``: what the head has since it left the base. ``owner:branch`` names a fork of the network."""
    git, repository = call.forge.git, call.repository
    base_name, dots, head_name = call.params["basehead"].partition("...")
    base, head = await _side(call, base_name), await _side(call, head_name)
    if not dots or base is None or head is None:
        raise not_found()
    start = await git.merge_base(repository.git_dir, base, head)
    if start is None:
        raise ApiError(404, f"No common ancestor between {base_name} and {head_name}.")
    if "diff" in call.accept:
        data = await git.diff(repository.git_dir, start, head)
        return Answer(200, data=data, content_type="application/vnd.github.diff; charset=utf-8")
    ahead = await git.log(repository.git_dir, f"{base}..{head}")
    behind = await git.count(repository.git_dir, f"{head}..{base}")
    status = {(False, False): "identical", (True, False): "ahead", (False, True): "behind", (True, True): "diverged"}
    changes = await git.changes(repository.git_dir, start, head)
    page = f"{call.forge.urls.repository_page(repository)}/compare"
    span = f"{base_name}...{head_name}"
    body: dict[str, Any] = {
        "url": f"{call.forge.urls.repository_api(repository)}/compare/{span}",
        "html_url": f"{page}/{span}",
        "permalink_url": f"{page}/{repository.owner.login}:{base[:7]}...{repository.owner.login}:{head[:7]}",
        "diff_url": f"{page}/{span}.diff",
        "patch_url": f"{page}/{span}.patch",
        "base_commit": _commit_json(call, await git.commit_info(repository.git_dir, base)),
        "merge_base_commit": _commit_json(call, await git.commit_info(repository.git_dir, start)),
        "status": status[bool(ahead), bool(behind)],
        "ahead_by": len(ahead),
        "behind_by": behind,
        "total_commits": len(ahead),
        "commits": [_commit_json(call, commit) for commit in call.page(ahead[::-1])],
        "files": [],
    }
    if call.query.get("page", "1") == "1":
        # GitHub lists the files on the first page only, however the commits are paged.
        shown = changes[:MAXIMUM_COMPARED_FILES]
        body["files"] = [file_change_json(call.forge.urls, repository, one, head) for one in shown]
    return Answer(200, body)


async def get_permission(call: Call) -> Answer:
    account = call.forge.state.account(call.params["username"])
    if account is None or account.type == "Organization":
        raise ApiError(404, f"{call.params['username']} is not a user")
    return Answer(200, permission_json(call.forge.urls, call.repository, account))


async def _side(call: Call, name: str) -> str | None:
    owner, colon, ref = name.partition(":")
    git, repository = call.forge.git, call.repository
    if not colon or owner.lower() == repository.owner.login.lower():
        return await git.resolve(repository.git_dir, ref if colon else name)
    for other in call.forge.state.repositories.values():
        if other.owner.login.lower() == owner.lower() and repository in (other.parent, other):
            sha = await git.resolve(other.git_dir, ref)
            if sha is not None:
                await git.fetch(repository.git_dir, other.git_dir, sha, f"refs/network/{other.id}/{sha}")
            return sha
    return None


def _commit_json(call: Call, commit: GitCommit) -> dict[str, Any]:
    return commit_json(call.forge.urls, call.repository, commit, call.forge.account_by_email)


_NO_REQUIRED_CHECKS = {"enforcement_level": "off", "contexts": [], "checks": []}
_REPO = "/repos/{owner}/{repo}"
_CONTENTS, _METADATA = ("contents:read",), ("metadata:read",)

ROUTES = (
    Route("GET", _REPO, get_repository, needs=_METADATA),
    Route("GET", f"{_REPO}/contents/{{path}}", get_contents, needs=_CONTENTS),
    Route("GET", f"{_REPO}/tarball/{{ref}}", get_tarball, needs=_CONTENTS),
    Route("GET", f"{_REPO}/branches", list_branches, needs=_CONTENTS),
    Route("GET", f"{_REPO}/branches/{{branch}}", get_branch, needs=_CONTENTS),
    Route("GET", f"{_REPO}/git/ref/{{ref}}", get_ref, needs=_CONTENTS),
    Route("GET", f"{_REPO}/compare/{{basehead}}", compare, needs=_CONTENTS),
    Route("GET", f"{_REPO}/commits", list_commits, needs=_CONTENTS),
    Route("GET", f"{_REPO}/commits/{{ref}}", get_commit, needs=_CONTENTS),
    Route("GET", f"{_REPO}/collaborators/{{username}}/permission", get_permission, needs=_METADATA, role="write"),
)
