"""What follows when branches move: the push webhooks, check suites for the new commits, pull requests that follow."""

from __future__ import annotations

from collections.abc import Mapping

from gamma_bot.sandbox.events import emit_check_suite, emit_pull_request, emit_push
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model import NO_COMMIT, Account, App, CheckSuite, PullRequest, Push, Repository
from gamma_bot.sandbox.shapes_issues import PullSize

MAXIMUM_TAGS = 3
MAXIMUM_BRANCHES = 5000


async def follow_push(
    forge: Forge, repository: Repository, before: Mapping[str, str], after: Mapping[str, str], pusher: Account
) -> list[Push]:
    """Tell everyone about the refs that differ between ``before`` and ``after`` (full name → commit)."""
    moved = [ref for ref in {**before, **after} if before.get(ref) != after.get(ref)]
    if not moved:
        return []
    repository.pushed_at = repository.updated_at = forge.state.now()
    tags = [ref for ref in moved if ref.startswith("refs/tags/")]
    branches = [ref for ref in moved if ref.startswith("refs/heads/")]
    pushes = [await _record(forge, repository, ref, before, after, pusher) for ref in moved]
    for push in pushes:
        # GitHub sends no event for more than three tags or 5,000 branches at once.
        if len(tags if push.ref in tags else branches) <= (MAXIMUM_TAGS if push.ref in tags else MAXIMUM_BRANCHES):
            await _emit(forge, repository, push, before)
        if push.ref in branches:
            await _request_checks(forge, repository, push)
            await _move_pulls(forge, repository, push)
    forge.state.changed()
    return pushes


def suite_for(
    forge: Forge, repository: Repository, app: App, sha: str, branch: str | None, before: str | None
) -> tuple[CheckSuite, bool]:
    """The App's one suite for this commit, and whether it is new."""
    for suite in repository.suites.values():
        if suite.app is app and suite.head_sha == sha:
            return suite, False
    now = forge.state.now()
    suite = CheckSuite(forge.state.next_id(), repository, app, sha, branch, before, now, now)
    repository.suites[suite.id] = suite
    return suite, True


async def measure(forge: Forge, pull: PullRequest) -> PullSize:
    """The size of a pull request: what its head has since it left the base branch."""
    git, git_dir = forge.git, pull.repository.git_dir
    start = await git.merge_base(git_dir, pull.base_sha, pull.head_sha)
    changes = await git.changes(git_dir, start, pull.head_sha)
    commits = await git.count(git_dir, f"{pull.base_sha}..{pull.head_sha}")
    mergeable = None
    if pull.state == "open":
        mergeable = start is not None and await git.merges_cleanly(git_dir, start, pull.base_sha, pull.head_sha)
    return PullSize(
        commits=commits,
        additions=sum(change.additions for change in changes),
        deletions=sum(change.deletions for change in changes),
        changed_files=len(changes),
        mergeable=mergeable,
    )


def pull_ref(pull: PullRequest) -> str:
    """Where GitHub keeps the head of a pull request, so that a fork's commits are here too."""
    return f"refs/pull/{pull.number}/head"


async def _record(
    forge: Forge, repository: Repository, ref: str, before: Mapping[str, str], after: Mapping[str, str], pusher: Account
) -> Push:
    old, new = before.get(ref, NO_COMMIT), after.get(ref, NO_COMMIT)
    forced = False
    if NO_COMMIT not in (old, new):
        forced = await forge.git.merge_base(repository.git_dir, old, new) != old
    push = Push(ref, old, new, pusher, forge.state.now(), forced)
    repository.pushes.append(push)
    return push


async def _emit(forge: Forge, repository: Repository, push: Push, before: Mapping[str, str]) -> None:
    git, git_dir = forge.git, repository.git_dir
    if push.after == NO_COMMIT:
        emit_push(forge, repository, push, [], None, {}, base_ref=None, distinct=set())
        return
    known = sorted(set(before.values()))
    exclude = ["--not", *known] if known else []
    fresh = await git.log(git_dir, push.after, *exclude)
    if push.before == NO_COMMIT:
        commits, scope = fresh, [push.after, *exclude]
    else:
        scope = [f"{push.before}..{push.after}"]
        commits = await git.log(git_dir, *scope)
    touched = await git.touched(git_dir, *scope) if commits else {}
    if push.after not in touched:
        touched.update(await git.touched(git_dir, "--max-count=1", push.after))
    head = await git.commit_info(git_dir, push.after)
    same = (ref for ref, sha in before.items() if sha == push.after and ref.startswith("refs/heads/"))
    base_ref = next(same, None) if push.before == NO_COMMIT else None
    distinct = {commit.sha for commit in fresh}
    emit_push(forge, repository, push, commits[::-1], head, touched, base_ref=base_ref, distinct=distinct)


async def _request_checks(forge: Forge, repository: Repository, push: Push) -> None:
    """GitHub makes a suite for every App with checks:write and asks each to fill its own."""
    if push.after == NO_COMMIT:
        return
    branch = push.ref.removeprefix("refs/heads/")
    for installation in forge.state.installations_on(repository):
        if installation.suspended_at or installation.permissions.get("checks") != "write":
            continue
        suite, new = suite_for(forge, repository, installation.app, push.after, branch, push.before)
        if new:
            await emit_check_suite(forge, suite, "requested", push.pusher)


async def _move_pulls(forge: Forge, repository: Repository, push: Push) -> None:
    branch = push.ref.removeprefix("refs/heads/")
    for base in list(forge.state.repositories.values()):
        for pull in base.pulls:
            if pull.state != "open":
                continue
            if pull.head_repository is repository and pull.head_ref == branch:
                await _move_head(forge, pull, push)
            elif base is repository and pull.base_ref == branch:
                await _move_base(forge, pull, push)


async def _move_head(forge: Forge, pull: PullRequest, push: Push) -> None:
    if push.after == NO_COMMIT:
        await close_pull(forge, pull, push.pusher)
        return
    assert pull.head_repository is not None
    git, git_dir = forge.git, pull.repository.git_dir
    if pull.from_fork:
        await git.fetch(git_dir, pull.head_repository.git_dir, push.after, pull_ref(pull))
    else:
        await git.set_ref(git_dir, pull_ref(pull), push.after)
    before, pull.head_sha = pull.head_sha, push.after
    pull.base_sha = await git.resolve(git_dir, f"refs/heads/{pull.base_ref}") or pull.base_sha
    pull.updated_at = forge.state.now()
    emit_pull_request(
        forge, pull, "synchronize", push.pusher, await measure(forge, pull), before=before, after=push.after
    )


async def _move_base(forge: Forge, pull: PullRequest, push: Push) -> None:
    """A base branch that is gone closes the pull request; one that took in its head has merged it."""
    if push.after == NO_COMMIT:
        await close_pull(forge, pull, push.pusher)
    elif await forge.git.merge_base(pull.repository.git_dir, pull.head_sha, push.after) == pull.head_sha:
        await close_pull(forge, pull, push.pusher, merge_commit=push.after)


async def close_pull(forge: Forge, pull: PullRequest, by: Account, *, merge_commit: str | None = None) -> None:
    """Close it, as merged if there is a merge commit."""
    size = await measure(forge, pull)
    pull.state = "closed"
    pull.closed_at = pull.updated_at = forge.state.now()
    pull.closed_by = by
    if merge_commit is not None:
        pull.merged_at, pull.merged_by, pull.merge_commit_sha = pull.closed_at, by, merge_commit
    emit_pull_request(forge, pull, "closed", by, size)
