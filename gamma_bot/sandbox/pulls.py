"""Pull requests: open, list, change, merge; and what they hold."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Literal

from gamma_bot.sandbox.call import Answer, ApiError, Call, Route, invalid, not_found
from gamma_bot.sandbox.comments import next_number
from gamma_bot.sandbox.events import emit_pull_request
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.git import GitError
from gamma_bot.sandbox.model import Account, PullRequest, Repository
from gamma_bot.sandbox.pushes import close_pull, follow_push, measure, pull_ref
from gamma_bot.sandbox.shapes_git import commit_json, file_change_json
from gamma_bot.sandbox.shapes_issues import full_pull_json, pull_json

MAXIMUM_FILES = 3000
MAXIMUM_COMMITS = 250
MergeMethod = Literal["merge", "squash", "rebase"]


async def list_pulls(call: Call) -> Answer:
    state, pulls = call.query.get("state", "open"), call.repository.pulls
    if state != "all":
        pulls = [pull for pull in pulls if pull.state == state]
    if "head" in call.query:
        # owner:branch; GitHub ignores a head without an owner.
        owner, _, branch = call.query["head"].partition(":")
        if branch:
            pulls = [pull for pull in pulls if (_owner(pull), pull.head_ref) == (owner.lower(), branch)]
    if "base" in call.query:
        pulls = [pull for pull in pulls if pull.base_ref == call.query["base"]]
    by_update = call.query.get("sort") == "updated"
    newest_first = (
        call.query.get("direction", "desc" if call.query.get("sort", "created") == "created" else "asc") == "desc"
    )
    pulls = sorted(pulls, key=lambda pull: (pull.updated_at if by_update else "", pull.number), reverse=newest_first)
    return Answer(200, [pull_json(call.forge.urls, pull) for pull in call.page(pulls)])


async def create_pull(call: Call) -> Answer:
    title, base = call.text_field("title", "PullRequest"), call.text_field("base", "PullRequest")
    head = call.text_field("head", "PullRequest") or ""
    owner, colon, branch = head.partition(":")
    head_repository = call.repository
    if colon and owner.lower() != call.repository.owner.login.lower():
        found = _fork_of(call.forge, call.repository, owner)
        if found is None:
            raise invalid("PullRequest", "head", "invalid")
        head_repository = found
    pull = await open_pull(
        call.forge, call.repository, call.account, title=title or "", head=branch if colon else head, base=base or "",
        body=call.text_field("body", "PullRequest", required=False), head_repository=head_repository,
        draft=bool(call.json_object().get("draft")),
    )  # fmt: skip
    answer = full_pull_json(call.forge.urls, pull, await measure(call.forge, pull))
    return Answer(201, answer, headers={"Location": answer["url"]})


async def get_pull(call: Call) -> Answer:
    pull = _pull(call)
    if "diff" in call.accept:
        start = await call.forge.git.merge_base(pull.repository.git_dir, pull.base_sha, pull.head_sha)
        data = await call.forge.git.diff(pull.repository.git_dir, start or pull.base_sha, pull.head_sha)
        return Answer(200, data=data, content_type="application/vnd.github.diff; charset=utf-8")
    return Answer(200, full_pull_json(call.forge.urls, pull, await measure(call.forge, pull)))


async def update_pull(call: Call) -> Answer:
    pull, body, forge = _pull(call), call.json_object(), call.forge
    if pull.author is not call.account and not _may_write(call):
        raise ApiError(403, "Must have write access to the repository.")
    state = body.get("state", pull.state)
    if state not in ("open", "closed"):
        raise invalid("PullRequest", "state", "invalid")
    if "base" in body:
        base_sha = await forge.git.resolve(pull.repository.git_dir, f"refs/heads/{body['base']}")
        if base_sha is None:
            raise invalid("PullRequest", "base", "invalid")
        pull.base_ref, pull.base_sha = body["base"], base_sha
    changes = {
        name: {"from": getattr(pull, name)}
        for name in ("title", "body")
        if name in body and body[name] != getattr(pull, name)
    }
    pull.title, pull.body = body.get("title", pull.title), body.get("body", pull.body)
    pull.updated_at = forge.state.now()
    if changes:
        emit_pull_request(forge, pull, "edited", call.account, await measure(forge, pull), changes=changes)
    if state == "closed" and pull.state == "open":
        await close_pull(forge, pull, call.account)
    elif state == "open" and pull.state == "closed":
        await reopen_pull(forge, pull, call.account)
    return Answer(200, full_pull_json(forge.urls, pull, await measure(forge, pull)))


async def list_files(call: Call) -> Answer:
    pull, git = _pull(call), call.forge.git
    start = await git.merge_base(pull.repository.git_dir, pull.base_sha, pull.head_sha)
    changes = await git.changes(pull.repository.git_dir, start, pull.head_sha)
    shown = call.page(changes[:MAXIMUM_FILES])
    return Answer(200, [file_change_json(call.forge.urls, call.repository, one, pull.head_sha) for one in shown])


async def list_commits(call: Call) -> Answer:
    pull, forge = _pull(call), call.forge
    commits = await forge.git.log(pull.repository.git_dir, f"{pull.base_sha}..{pull.head_sha}")
    shown = call.page(commits[::-1][:MAXIMUM_COMMITS])
    return Answer(200, [commit_json(forge.urls, call.repository, one, forge.account_by_email) for one in shown])


async def merge(call: Call) -> Answer:
    pull, body = _pull(call), call.body if isinstance(call.body, dict) else {}
    if body.get("sha", pull.head_sha) != pull.head_sha:
        raise ApiError(409, "Head branch was modified. Review and try the merge again.")
    sha = await merge_pull(
        call.forge, pull, call.account, method=body.get("merge_method", "merge"),
        title=body.get("commit_title"), message=body.get("commit_message"),
    )  # fmt: skip
    return Answer(200, {"sha": sha, "merged": True, "message": "Pull Request successfully merged"})


async def list_pulls_of_commit(call: Call) -> Answer:
    """The open pull requests that hold the commit, and the merged one that brought it in."""
    git, git_dir = call.forge.git, call.repository.git_dir
    sha = await git.resolve(git_dir, call.params["commit_sha"])
    if sha is None:
        raise ApiError(422, f"No commit found for SHA: {call.params['commit_sha']}")
    holding = []
    for pull in call.repository.pulls:
        if pull.state == "closed" and pull.merged_at is None:
            continue
        commits = await git.log(git_dir, f"{pull.base_sha}..{pull.head_sha}")
        if pull.head_sha == sha or pull.merge_commit_sha == sha or any(commit.sha == sha for commit in commits):
            holding.append(pull)
    return Answer(200, [pull_json(call.forge.urls, pull) for pull in call.page(holding)])


async def open_pull(
    forge: Forge, repository: Repository, author: Account, *, title: str, head: str, base: str,
    body: str | None = None, head_repository: Repository | None = None, draft: bool = False,
) -> PullRequest:  # fmt: skip
    """Open a pull request and tell the Apps.

    Raises:
        ApiError: a branch is missing, there is nothing to merge, or it is open already.
    """
    source, git = head_repository or repository, forge.git
    head_sha = await git.resolve(source.git_dir, f"refs/heads/{head}")
    base_sha = await git.resolve(repository.git_dir, f"refs/heads/{base}")
    for name, sha in (("head", head_sha), ("base", base_sha)):
        if sha is None:
            raise invalid("PullRequest", name, "invalid")
    assert head_sha is not None
    assert base_sha is not None
    for other in repository.pulls:
        if (other.state, other.head_repository, other.head_ref, other.base_ref) == ("open", source, head, base):
            message = f"A pull request already exists for {source.owner.login}:{head}."
            raise ApiError(422, "Validation Failed", errors=[_custom(message)])
    now = forge.state.now()
    pull = PullRequest(
        forge.state.next_id(), repository, next_number(repository), title, body, author, now, now,
        pull_id=forge.state.next_id(), head_repository=source, head_ref=head, head_sha=head_sha,
        base_ref=base, base_sha=base_sha, draft=draft,
    )  # fmt: skip
    await git.fetch(repository.git_dir, source.git_dir, head_sha, pull_ref(pull))
    if await git.merge_base(repository.git_dir, base_sha, head_sha) == head_sha:
        await git.set_ref(repository.git_dir, pull_ref(pull), None)
        raise ApiError(422, "Validation Failed", errors=[_custom(f"No commits between {base} and {head}")])
    repository.issues[pull.number] = pull
    emit_pull_request(forge, pull, "opened", author, await measure(forge, pull))
    return pull


async def reopen_pull(forge: Forge, pull: PullRequest, by: Account) -> None:
    source = pull.head_repository
    head_sha = await forge.git.resolve(source.git_dir, f"refs/heads/{pull.head_ref}") if source else None
    if pull.merged_at or source is None or head_sha is None:
        raise invalid("PullRequest", "state", "invalid", "state cannot be changed.")
    pull.state, pull.closed_at, pull.closed_by = "open", None, None
    pull.updated_at = forge.state.now()
    if head_sha != pull.head_sha:
        await forge.git.fetch(pull.repository.git_dir, source.git_dir, head_sha, pull_ref(pull))
        pull.head_sha = head_sha
    emit_pull_request(forge, pull, "reopened", by, await measure(forge, pull))


async def merge_pull(
    forge: Forge, pull: PullRequest, by: Account, *, method: MergeMethod = "merge",
    title: str | None = None, message: str | None = None,
) -> str:  # fmt: skip
    """Merge it into its base branch; answers the new head of that branch.

    Raises:
        ApiError: it is not open, has conflicts, or the person may not write.
    """
    repository, git = pull.repository, forge.git
    if not repository.may(by.login, "write") and by.type != "Bot":
        raise ApiError(403, "Must have push access to merge a pull request.")
    if pull.state != "open" or pull.draft:
        raise ApiError(405, "Pull Request is not mergeable")
    async with forge.pushing(repository.git_dir):
        before = await git.refs(repository.git_dir)
        heading = title or f"Merge pull request #{pull.number} from {_owner(pull)}/{pull.head_ref}"
        if method == "squash":
            heading = title or f"{pull.title} (#{pull.number})"
        text = f"{heading}\n\n{pull.title if message is None else message}".strip()
        sha = await _merge_commit(forge, pull, by, method, text)
        await close_pull(forge, pull, by, merge_commit=sha)
        await git.set_ref(repository.git_dir, f"refs/heads/{pull.base_ref}", sha)
        await follow_push(forge, repository, before, await git.refs(repository.git_dir), by)
    return sha


async def _merge_commit(forge: Forge, pull: PullRequest, by: Account, method: MergeMethod, message: str) -> str:
    """Git needs a work tree to merge; it lives only for this."""
    git, git_dir = forge.git, pull.repository.git_dir
    folder = Path(tempfile.mkdtemp(prefix="merge-", dir=forge.root))
    tree = folder / "tree"
    identity = {
        "GIT_AUTHOR_NAME": by.name, "GIT_AUTHOR_EMAIL": by.email,
        "GIT_COMMITTER_DATE": f"{int(forge.clock())} +0000", "GIT_AUTHOR_DATE": f"{int(forge.clock())} +0000",
    }  # fmt: skip
    try:
        await git.run(git_dir, "worktree", "add", "--quiet", "--detach", str(tree), f"refs/heads/{pull.base_ref}")
        if method == "rebase":
            await git.run(tree, "checkout", "--quiet", "--detach", pull.head_sha)
            await git.run(tree, "rebase", "--quiet", f"refs/heads/{pull.base_ref}", environment=identity)
        elif method == "squash":
            await git.run(tree, "merge", "--quiet", "--squash", pull.head_sha, environment=identity)
            await git.run(tree, "commit", "--quiet", "-m", message, environment=identity)
        else:
            await git.run(tree, "merge", "--quiet", "--no-ff", "-m", message, pull.head_sha, environment=identity)
        return (await git.run(tree, "rev-parse", "HEAD")).decode().strip()
    except GitError:
        raise ApiError(405, "Pull Request is not mergeable") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        await git.run(git_dir, "worktree", "prune")


def _pull(call: Call) -> PullRequest:
    pull = call.repository.issues.get(call.number("pull_number"))
    if not isinstance(pull, PullRequest):
        raise not_found()
    return pull


def _owner(pull: PullRequest) -> str:
    return pull.head_repository.owner.login.lower() if pull.head_repository else ""


def _may_write(call: Call) -> bool:
    return call.app is not None or call.repository.may(call.account.login, "write")


def _fork_of(forge: Forge, repository: Repository, owner: str) -> Repository | None:
    forks = (one for one in forge.state.repositories.values() if one.parent is repository)
    return next((fork for fork in forks if fork.owner.login.lower() == owner.lower()), None)


def _custom(message: str) -> dict[str, str]:
    return {"resource": "PullRequest", "code": "custom", "message": message}


_PULLS = "/repos/{owner}/{repo}/pulls"
_PULL = "/repos/{owner}/{repo}/pulls/{pull_number}"
_READ, _WRITE = ("pull_requests:read",), ("pull_requests:write",)

ROUTES = (
    Route("GET", _PULLS, list_pulls, needs=_READ),
    Route("POST", _PULLS, create_pull, needs=_WRITE, content=True),
    Route("GET", _PULL, get_pull, needs=_READ),
    Route("PATCH", _PULL, update_pull, needs=_WRITE),
    Route("GET", f"{_PULL}/files", list_files, needs=_READ),
    Route("GET", f"{_PULL}/commits", list_commits, needs=_READ),
    Route("PUT", f"{_PULL}/merge", merge, needs=("contents:write",), role="write"),
    Route("GET", "/repos/{owner}/{repo}/commits/{commit_sha}/pulls", list_pulls_of_commit, needs=_READ),
)
