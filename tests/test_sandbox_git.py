"""Git in the sandbox is real: clone and push with Git itself, tarballs from another host, forks, comparisons."""

from __future__ import annotations

import asyncio
import base64
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gamma_bot.sandbox.model import NO_COMMIT
from tests.sandbox_api import Stage, open_stage

REPO = "/repos/ada/walker"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path / "github") as stage:
        yield stage


async def git(hub: Stage, folder: Path, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "git", *arguments, cwd=folder, env=hub.github.forge.git.environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def address(hub: Stage, who: str, name: str = "walker") -> str:
    return hub.github.url.replace("://", f"://{who}:anything@") + f"/ada/{name}.git"


async def test_a_plain_git_push_sends_the_push_webhook(hub: Stage, tmp_path: Path) -> None:
    assert await git(hub, tmp_path, "clone", "-q", address(hub, "grace"), "work") == (0, "")
    work = tmp_path / "work"
    # Large enough that Git sends the pack in chunks.
    (work / "weights.txt").write_text("".join(f"{number * 7919 % 104729}\n" for number in range(400_000)))
    (work / "src/train.py").write_text("rate = 0.5\n")
    await git(hub, work, "checkout", "-q", "-b", "models/wider")
    await git(hub, work, "add", ".")
    await git(hub, work, "commit", "-q", "-m", "Wider\n\nTwice as many units.")
    code, output = await git(hub, work, "push", "origin", "models/wider")
    await hub.github.wait_for_deliveries()

    assert code == 0, output
    push = next(delivery.payload for delivery in hub.received if delivery.name == "push")
    sha = (await git(hub, work, "rev-parse", "HEAD"))[1].strip()
    assert (push["ref"], push["before"], push["after"]) == ("refs/heads/models/wider", NO_COMMIT, sha)
    assert (push["created"], push["deleted"], push["forced"]) == (True, False, False)
    assert (push["pusher"]["name"], push["sender"]["login"]) == ("grace", "grace")
    assert push["head_commit"]["added"] == ["weights.txt"]
    assert push["head_commit"]["modified"] == ["src/train.py"]
    assert [commit["id"] for commit in push["commits"]] == [sha]
    assert isinstance(push["repository"]["pushed_at"], int)
    assert push["installation"]["id"] == hub.installation.id


async def test_pushing_needs_write_access(hub: Stage, tmp_path: Path) -> None:
    await git(hub, tmp_path, "clone", "-q", address(hub, "guest"), "work")
    code, output = await git(hub, tmp_path / "work", "push", "origin", "HEAD:refs/heads/mine")

    assert code != 0
    assert "403" in output
    assert "refs/heads/mine" not in await hub.github.forge.git.refs(hub.repository.git_dir)


async def test_an_installation_token_pushes_only_with_contents_write(hub: Stage, tmp_path: Path) -> None:
    def with_token(token: str) -> str:
        return hub.github.url.replace("://", f"://x-access-token:{token}@") + "/ada/walker.git"

    await git(hub, tmp_path, "clone", "-q", with_token(await hub.token()), "work")
    refused = await git(hub, tmp_path / "work", "push", "origin", "HEAD:refs/heads/mine")
    hub.installation.permissions["contents"] = "write"
    allowed = await git(hub, tmp_path / "work", "push", with_token(await hub.token()), "HEAD:refs/heads/mine")
    await hub.github.wait_for_deliveries()

    assert "403" in refused[1]
    assert allowed[0] == 0, allowed[1]
    assert next(one.payload["pusher"]["name"] for one in hub.received if one.name == "push") == "gamma-test[bot]"


async def test_force_push_and_deletion_say_so(hub: Stage) -> None:
    first = await hub.github.commit(hub.repository, "models/x", {"a": "1"})
    forced = await hub.github.commit(hub.repository, "models/x", {"a": "2"}, start_from="main")
    await hub.github.move_branch(hub.repository, "models/x", None)
    await hub.github.wait_for_deliveries()
    pushes = [delivery.payload for delivery in hub.received if delivery.name == "push"]

    assert [(push["before"], push["after"], push["forced"], push["deleted"]) for push in pushes] == [
        (NO_COMMIT, first, False, False),
        (first, forced, True, False),
        (forced, NO_COMMIT, False, True),
    ]
    assert pushes[2]["head_commit"] is None


async def test_more_than_three_tags_at_once_send_no_push(hub: Stage, tmp_path: Path) -> None:
    await git(hub, tmp_path, "clone", "-q", address(hub, "ada"), "work")
    for number in range(4):
        await git(hub, tmp_path / "work", "tag", f"v{number}")
    await git(hub, tmp_path / "work", "push", "-q", "--tags")
    await hub.github.push_tag(hub.repository, "single", "main")
    await hub.github.wait_for_deliveries()

    assert [one.payload["ref"] for one in hub.received if one.name == "push"] == ["refs/tags/single"]


async def test_a_tarball_comes_from_another_host_by_a_one_time_address(hub: Stage) -> None:
    sha = await hub.github.head(hub.repository)
    redirect = await hub.call("GET", f"{REPO}/tarball/{sha}", token=await hub.token())
    location = redirect.headers["Location"]
    async with hub.session.get(location) as response:
        data = await response.read()
    async with hub.session.get(location) as response:
        second = response.status

    assert redirect.status == 302
    assert location.startswith(hub.github.codeload_url)
    assert not location.startswith(hub.github.url)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames()[0] == f"ada-walker-{sha[:7]}"
        assert f"ada-walker-{sha[:7]}/src/train.py" in archive.getnames()
    assert second == 404
    assert hub.github.violations == []


async def test_a_token_that_reaches_the_download_host_is_a_violation(hub: Stage) -> None:
    token = await hub.token()
    redirect = await hub.call("GET", f"{REPO}/tarball/main", token=token)
    async with hub.session.get(redirect.headers["Location"], headers={"Authorization": f"Bearer {token}"}) as response:
        assert response.status == 400

    assert len(hub.github.violations) == 1


async def test_contents_come_as_base64_as_bytes_and_as_a_list(hub: Stage) -> None:
    token, path = await hub.token(), f"{REPO}/contents/src/train.py"
    body = (await hub.call("GET", path, token=token)).body
    raw = await hub.call("GET", path, token=token, headers={"Accept": "application/vnd.github.raw+json"})
    folder = (await hub.call("GET", f"{REPO}/contents/src?ref=main", token=token)).body
    missing = await hub.call("GET", f"{REPO}/contents/gamma.yml", token=token)
    no_ref = await hub.call("GET", f"{REPO}/contents/README.md?ref=gone", token=token)

    assert base64.b64decode(body["content"]) == raw.data == b"rate = 0.1\nsteps = 10\n"
    assert [(entry["name"], entry["type"]) for entry in folder] == [("train.py", "file")]
    assert (missing.status, missing.body["message"]) == (404, "Not Found")
    assert no_ref.body["message"] == "No commit found for the ref gone"


async def test_a_comparison_starts_where_the_branches_parted(hub: Stage) -> None:
    await hub.github.commit(hub.repository, "models/x", {"src/train.py": "rate = 0.9\nsteps = 10\n", "new.txt": "n\n"})
    await hub.github.commit(hub.repository, "models/x", {}, "Move", delete=["new.txt"])
    await hub.github.commit(hub.repository, "main", {"other.txt": "o\n"})
    body = (await hub.call("GET", f"{REPO}/compare/main...models/x", token=await hub.token())).body

    assert (body["status"], body["ahead_by"], body["behind_by"]) == ("diverged", 2, 1)
    assert [(file["filename"], file["status"], file["changes"]) for file in body["files"]] == [
        ("src/train.py", "modified", 2)
    ]
    assert body["files"][0]["patch"].startswith("@@ -1,2 +1,2 @@\n-rate = 0.1\n+rate = 0.9")
    assert body["merge_base_commit"]["parents"] == []


async def test_git_s_revision_language_is_not_a_ref(hub: Stage) -> None:
    token = await hub.token()
    for ref in ("main~0", "main@{0}", "-n1", "main:README.md"):
        assert (await hub.call("GET", f"{REPO}/commits?sha={ref}", token=token)).status == 404


async def test_a_pull_request_from_a_fork_brings_its_commits_but_no_rights(hub: Stage) -> None:
    fork = await hub.github.fork(hub.repository, "guest")
    sha = await hub.github.commit(fork, "idea", {"src/train.py": "rate = 1\n"}, author="guest")
    pull = await hub.github.open_pull_request(hub.repository, "idea", head_repository=fork, author="guest")
    token = await hub.token()
    body = (await hub.call("GET", f"{REPO}/pulls/{pull.number}", token=token)).body
    check = await hub.call("POST", f"{REPO}/check-runs", {"name": "x", "head_sha": sha}, token=token)
    permission = await hub.call("GET", f"{REPO}/collaborators/guest/permission", token=token)
    second = await hub.github.commit(fork, "idea", {"src/train.py": "rate = 2\n"}, author="guest")
    await hub.github.wait_for_deliveries()

    assert (body["head"]["repo"]["full_name"], body["head"]["label"]) == ("guest/walker", "guest:idea")
    # GitHub shows the commit of a fork in the base repository, and leaves such pull requests out of check runs.
    assert (check.status, check.body["pull_requests"]) == (201, [])
    assert permission.body["role_name"] == "read"
    moved = next(one.payload for one in hub.received if one.name == "pull_request.synchronize")
    assert (moved["before"], moved["after"], pull.head_sha) == (sha, second, second)
    assert "push" not in hub.names()


@pytest.mark.parametrize("method", ["merge", "squash", "rebase"])
async def test_merging_moves_the_base_branch_and_closes_the_pull_request(hub: Stage, method: str) -> None:
    await hub.github.commit(hub.repository, "models/x", {"a.txt": "a\n"})
    await hub.github.commit(hub.repository, "main", {"b.txt": "b\n"})
    pull = await hub.github.open_pull_request(hub.repository, "models/x")
    owner = hub.github.state.accounts["ada"].token
    merged = await hub.call("PUT", f"{REPO}/pulls/1/merge", {"merge_method": method}, token=owner)
    await hub.github.wait_for_deliveries()

    assert merged.status == 200, merged.body
    assert merged.body["sha"] == await hub.github.head(hub.repository)
    assert (pull.state, pull.merge_commit_sha) == ("closed", merged.body["sha"])
    names = {entry.path for entry in await hub.github.forge.git.entries(hub.repository.git_dir, "main")}
    assert {"a.txt", "b.txt"} <= names
    closed = next(one.payload for one in hub.received if one.name == "pull_request.closed")
    assert closed["pull_request"]["merged"] is True


async def test_a_conflict_can_not_be_merged(hub: Stage) -> None:
    await hub.github.commit(hub.repository, "models/x", {"README.md": "mine\n"})
    await hub.github.commit(hub.repository, "main", {"README.md": "theirs\n"})
    await hub.github.open_pull_request(hub.repository, "models/x")
    owner = hub.github.state.accounts["ada"].token

    shown = (await hub.call("GET", f"{REPO}/pulls/1", token=owner)).body
    refused = await hub.call("PUT", f"{REPO}/pulls/1/merge", token=owner)

    assert (shown["mergeable"], shown["mergeable_state"], refused.status) == (False, "dirty", 405)


async def test_deleting_the_head_branch_closes_the_pull_request(hub: Stage) -> None:
    await hub.github.commit(hub.repository, "models/x", {"a": "1"})
    pull = await hub.github.open_pull_request(hub.repository, "models/x")
    await hub.github.move_branch(hub.repository, "models/x", None)

    assert (pull.state, pull.merged_at) == ("closed", None)
