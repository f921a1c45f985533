"""Repositories of the sandbox change their names, owners and lives; the old names lead on as GitHub's do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import contract
from tests.sandbox_api import Stage, open_stage, signing_key

REPO = "/repos/ada/walker"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path / "github") as stage:
        yield stage


async def test_an_old_name_redirects_to_an_address_that_lasts(hub: Stage) -> None:
    await hub.github.rename_repository(hub.repository, "runner")
    await hub.github.wait_for_deliveries()
    token = await hub.token()
    old = await hub.call("GET", f"{REPO}/contents/src/train.py?ref=main", token=token)
    there = await hub.call("GET", old.headers["Location"], token=token)
    new = await hub.call("GET", "/repos/ada/runner", token=token)

    assert (old.status, old.body["message"]) == (301, "Moved Permanently")
    assert old.body["url"] == old.headers["Location"]
    assert old.headers["Location"].endswith(f"/repositories/{hub.repository.id}/contents/src/train.py?ref=main")
    assert (there.status, there.body["name"], new.body["full_name"]) == (200, "train.py", "ada/runner")
    contract.assert_contract(hub.github.requests)


async def test_an_old_name_leads_to_the_installation_suspended_or_not_and_to_none_where_there_is_none(
    hub: Stage,
) -> None:
    await hub.github.rename_repository(hub.repository, "runner")
    hub.github.suspend(hub.installation, by="grace")
    old = await hub.call("GET", f"{REPO}/installation", token=hub.jwt())
    there = await hub.call("GET", old.headers["Location"], token=hub.jwt())
    hub.github.uninstall(hub.installation)
    gone = await hub.call("GET", f"{REPO}/installation", token=hub.jwt())

    assert (old.status, there.status, gone.status) == (301, 200, 404)
    assert (there.body["id"], there.body["suspended_by"]["login"]) == (hub.installation.id, "grace")
    contract.assert_contract(hub.github.requests)


async def test_an_archived_repository_takes_no_writes_until_it_is_unarchived(hub: Stage) -> None:
    hub.github.open_issue(hub.repository, "Busy")
    token = await hub.token()
    statuses = []
    for change in (hub.github.archive_repository, hub.github.unarchive_repository):
        change(hub.repository)
        for method, body in (("GET", None), ("POST", {"body": "Hello"})):
            reply = await hub.call(method, f"{REPO}/issues/1/comments", body, token=token)
            statuses.append(reply.status)
    await hub.github.wait_for_deliveries()

    assert statuses == [200, 403, 200, 201]
    assert [name for name in hub.names() if "archived" in name] == ["repository.archived", "repository.unarchived"]


async def test_the_apps_hear_of_the_new_name_and_of_the_old_one(hub: Stage) -> None:
    await hub.github.rename_repository(hub.repository, "runner", by="grace")
    await hub.github.wait_for_deliveries()
    told = hub.received[-1].payload

    assert hub.names()[-1] == "repository.renamed"
    assert told["changes"] == {"repository": {"name": {"from": "walker"}}}
    assert (told["repository"]["full_name"], told["repository"]["id"]) == ("ada/runner", hub.repository.id)
    assert told["sender"]["login"] == "grace"


async def test_a_write_to_an_old_name_keeps_its_method_and_body(hub: Stage) -> None:
    issue, token = hub.github.open_issue(hub.repository, "Hi"), await hub.token()
    await hub.github.rename_repository(hub.repository, "runner")
    sent = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
    url = f"{hub.github.api_url}{REPO}/issues/{issue.number}/comments"
    async with hub.session.post(url, json={"body": "Hello"}, headers=sent) as response:
        statuses = [one.status for one in (*response.history, response)]

    assert statuses == [307, 201]
    assert [comment.body for comment in hub.github.comments(hub.repository, 1)] == ["Hello"]


async def test_who_may_not_see_a_repository_learns_nothing_of_its_new_name(hub: Stage) -> None:
    secret = hub.github.create_repository("grace", "secret", {"a": "b"}, private=True)
    await hub.github.rename_repository(secret, "hidden")
    stranger = await hub.call("GET", "/repos/grace/secret", token=hub.github.state.accounts["guest"].token)
    owner = await hub.call("GET", "/repos/grace/secret", token=hub.github.state.accounts["grace"].token)

    assert (stranger.status, owner.status) == (404, 301)


async def test_a_list_goes_on_at_the_new_name(hub: Stage) -> None:
    hub.github.open_issue(hub.repository, "Busy")
    for number in range(3):
        await hub.github.comment(hub.repository, 1, str(number))
    await hub.github.rename_repository(hub.repository, "runner")
    token = await hub.token()
    old = await hub.call("GET", f"{REPO}/issues/1/comments?per_page=2", token=token)
    page = await hub.call("GET", old.headers["Location"], token=token)
    following = page.headers["Link"].split(">")[0][1:]

    assert "/repos/ada/runner/issues/1/comments" in following
    assert [one["body"] for one in (await hub.call("GET", following, token=token)).body] == ["2"]


async def test_who_takes_an_old_name_ends_its_redirect(hub: Stage) -> None:
    old_id = hub.repository.id
    await hub.github.rename_repository(hub.repository, "runner")
    taken = hub.github.create_repository("ada", "walker", {"other": "file"})
    hub.github.change_repositories(hub.installation, add=[taken])
    found = await hub.call("GET", REPO, token=await hub.token())

    assert (found.status, found.body["id"]) == (200, taken.id)
    assert taken.id != old_id
    assert await hub.github.head(hub.repository) != await hub.github.head(taken)


async def test_a_name_that_is_taken_is_not_given_twice(hub: Stage) -> None:
    hub.github.create_repository("ada", "runner", {"a": "b"})
    with pytest.raises(ValueError, match="already"):
        await hub.github.rename_repository(hub.repository, "runner")
    assert hub.github.state.repository("ada/walker") is hub.repository


async def test_git_and_the_pages_follow_an_old_name(hub: Stage, tmp_path: Path) -> None:
    await hub.github.rename_repository(hub.repository, "runner")
    process = await asyncio.create_subprocess_exec(
        "git", "clone", "--quiet", f"{hub.github.url}/ada/walker.git", str(tmp_path / "clone"),
        env={"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"},
    )  # fmt: skip
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert (tmp_path / "clone" / "README.md").exists()
    async with hub.session.get(f"{hub.github.url}/ada/walker/blob/main/README.md") as response:
        assert (response.status, response.url.path) == (200, "/ada/runner/blob/main/README.md")


async def test_a_transferred_repository_leaves_its_installation_and_joins_another(hub: Stage) -> None:
    lab = hub.github.create_organization("lab")
    other = hub.github.create_app("Other", {}, ["repository"], hub.app.hook.url, private_key_pem=signing_key())
    hub.github.install(other, hub.github.create_repository(lab, "first", {"a": "b"}), selection="all")
    await hub.github.wait_for_deliveries()
    hub.received.clear()
    await hub.github.transfer_repository(hub.repository, lab)
    await hub.github.wait_for_deliveries()

    assert sorted(hub.names()) == [
        "installation_repositories.added", "installation_repositories.removed", "repository.transferred",
    ]  # fmt: skip
    told = next(one.payload for one in hub.received if one.name == "repository.transferred")
    assert told["changes"]["owner"]["from"]["user"]["login"] == "ada"
    assert told["repository"]["full_name"] == "lab/walker"


async def test_a_deleted_repository_is_told_of_and_gone(hub: Stage) -> None:
    fork = await hub.github.fork(hub.repository, "guest")
    await hub.github.commit(fork, "fix", {"a": "b"})
    pull = await hub.github.open_pull_request(hub.repository, "fix", head_repository=fork)
    await hub.github.delete_repository(fork)
    await hub.github.delete_repository(hub.repository)
    await hub.github.wait_for_deliveries()
    gone = await hub.call("GET", REPO, token=await hub.token())

    assert hub.names()[-1] == "repository.deleted"
    assert pull.head_repository is None
    assert gone.status == 404
    assert hub.installation.repositories == []


async def test_new_permissions_count_once_they_are_accepted(hub: Stage) -> None:
    wanted = {**hub.app.permissions, "deployments": "read"}
    hub.github.change_app(hub.app, permissions=wanted, events=["push"])
    path, body = f"/app/installations/{hub.installation.id}/access_tokens", {"permissions": {"deployments": "read"}}
    before = await hub.call("POST", path, body, token=hub.jwt())
    hub.github.accept_new_permissions(hub.installation)
    after = await hub.call("POST", path, body, token=hub.jwt())
    await hub.github.wait_for_deliveries()

    assert (before.status, after.status) == (422, 201)
    assert hub.names()[-1] == "installation.new_permissions_accepted"
    assert hub.received[-1].payload["installation"]["permissions"] == wanted
    assert hub.received[-1].payload["installation"]["events"] == ["push"]
