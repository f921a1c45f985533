"""How commits, changed files, contents and refs look in an answer."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from gamma_bot.sandbox.git import FileChange, GitCommit, GitPerson, TreeEntry
from gamma_bot.sandbox.model import Account, Repository, node_id
from gamma_bot.sandbox.shapes import Json, account_json
from gamma_bot.sandbox.urls import Urls

FindAccount = Callable[[str], Account | None]
"""From an e-mail address to the account that uses it."""

_KINDS = {"blob": "file", "tree": "dir", "commit": "submodule"}


def commit_json(urls: Urls, repository: Repository, commit: GitCommit, find_account: FindAccount) -> Json:
    api = urls.repository_api(repository)
    return {
        "sha": commit.sha,
        "node_id": node_id("C", int(commit.sha[:12], 16)),
        "commit": {
            "author": _person(commit.author),
            "committer": _person(commit.committer),
            "message": commit.message,
            "tree": {"sha": commit.tree, "url": f"{api}/git/trees/{commit.tree}"},
            "url": f"{api}/git/commits/{commit.sha}",
            "comment_count": 0,
            "verification": {
                "verified": False,
                "reason": "unsigned",
                "signature": None,
                "payload": None,
                "verified_at": None,
            },
        },
        "url": f"{api}/commits/{commit.sha}",
        "html_url": urls.commit_page(repository, commit.sha),
        "comments_url": f"{api}/commits/{commit.sha}/comments",
        "author": _account(urls, find_account(commit.author.email)),
        "committer": _account(urls, find_account(commit.committer.email)),
        "parents": [
            {"sha": sha, "url": f"{api}/commits/{sha}", "html_url": urls.commit_page(repository, sha)}
            for sha in commit.parents
        ],
    }


def simple_commit_json(commit: GitCommit) -> Json:
    """The ``head_commit`` of a check suite."""
    return {
        "id": commit.sha,
        "tree_id": commit.tree,
        "message": commit.message,
        "timestamp": commit.author.date,
        "author": {"name": commit.author.name, "email": commit.author.email},
        "committer": {"name": commit.committer.name, "email": commit.committer.email},
    }


def file_change_json(urls: Urls, repository: Repository, change: FileChange, sha: str) -> Json:
    page, path = urls.repository_page(repository), quote(change.path)
    body: dict[str, Any] = {
        "sha": change.blob_sha,
        "filename": change.path,
        "status": change.status,
        "additions": change.additions,
        "deletions": change.deletions,
        "changes": change.additions + change.deletions,
        "blob_url": f"{page}/blob/{sha}/{path}",
        "raw_url": f"{page}/raw/{sha}/{path}",
        "contents_url": f"{urls.repository_api(repository)}/contents/{path}?ref={sha}",
    }
    if change.patch is not None:
        body["patch"] = change.patch
    if change.previous_path is not None:
        body["previous_filename"] = change.previous_path
    return body


def entry_json(urls: Urls, repository: Repository, entry: TreeEntry, ref: str) -> Json:
    """A file, folder, link or submodule, without its content."""
    api, page, path = urls.repository_api(repository), urls.repository_page(repository), quote(entry.path)
    kind = "symlink" if entry.mode == "120000" else _KINDS[entry.kind]
    itself = f"{api}/contents/{path}?ref={quote(ref, safe='')}"
    git = f"{api}/git/{'trees' if kind == 'dir' else 'blobs'}/{entry.sha}"
    html = f"{page}/{'tree' if kind == 'dir' else 'blob'}/{quote(ref)}/{path}"
    return {
        "name": entry.name,
        "path": entry.path,
        "sha": entry.sha,
        "size": entry.size,
        "url": itself,
        "html_url": html,
        "git_url": git,
        "download_url": None if kind in ("dir", "submodule") else f"{page}/raw/{quote(ref)}/{path}",
        "type": kind,
        "_links": {"self": itself, "git": git, "html": html},
    }


def file_json(urls: Urls, repository: Repository, entry: TreeEntry, ref: str, data: bytes) -> Json:
    """A file with its content in Base64, in lines of 60 characters as GitHub writes them."""
    if entry.mode == "120000":
        return {**entry_json(urls, repository, entry, ref), "target": data.decode(errors="replace")}
    text = base64.b64encode(data).decode()
    lines = "".join(f"{text[start : start + 60]}\n" for start in range(0, len(text), 60))
    return {**entry_json(urls, repository, entry, ref), "content": lines, "encoding": "base64"}


def ref_json(urls: Urls, repository: Repository, ref: str, sha: str) -> Json:
    api = urls.repository_api(repository)
    return {
        "ref": ref,
        "node_id": node_id("REF", int(sha[:12], 16)),
        "url": f"{api}/git/{ref}",
        "object": {"sha": sha, "type": "commit", "url": f"{api}/git/commits/{sha}"},
    }


def _person(person: GitPerson) -> Json:
    return {"name": person.name, "email": person.email, "date": person.date}


def _account(urls: Urls, account: Account | None) -> Json | None:
    return account_json(urls, account) if account else None
