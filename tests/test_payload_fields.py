"""What every payload has is read in one place: as GitHub sends it, or refused with a reason that says where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gamma_bot.events import installation
from gamma_bot.events import payload as read
from gamma_bot.events.intents import Ignored
from gamma_bot.jobs.installations import InstallationNews, PermissionsGranted, ProjectNews
from gamma_bot.store.projects import Place, ProjectState
from tests.contract import EXAMPLES, WHY_MISSING

WHOLE: Mapping[str, Any] = {
    "repository": {"id": 7, "full_name": "ada/walker", "private": True, "html_url": "https://github.com/ada/walker"},
    "installation": {"id": 9},
    "sender": {"login": "ada", "type": "User"},
}
PLACE = Place(7, "ada/walker", 9)


def test_a_whole_payload_is_read() -> None:
    repository = read.repository(WHOLE)

    assert (repository.id, repository.full_name, repository.private) == (7, "ada/walker", True)
    assert (repository.default_branch, repository.archived) == ("main", False)
    assert read.place(WHOLE) == PLACE
    assert read.sender(WHOLE) == read.Sender("ada", is_bot=False)
    assert read.sender({"sender": {"login": "gamma[bot]", "type": "Bot"}}) == read.Sender("gamma[bot]", is_bot=True)
    assert read.sender({}).login == "somebody"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"repository": None}, "repository is no object: None"),
        ({"repository": {"full_name": "ada/walker"}}, "repository.id is no id: None"),
        ({"repository": {"id": True, "full_name": "ada/walker"}}, "repository.id is no id: True"),
        ({"repository": {"id": 2**63, "full_name": "ada/walker"}}, "repository.id is no id: 9223372036854775808"),
        (
            {"repository": {"id": 7, "full_name": "ada/../x"}},
            "repository.full_name is no name of a repository: 'ada/../x'",
        ),
        ({"repository": {"id": 7, "full_name": "ada/.."}}, "repository.full_name is no name of a repository: 'ada/..'"),
        (
            {"repository": {"id": 7, "full_name": "ada/x?y"}},
            "repository.full_name is no name of a repository: 'ada/x?y'",
        ),
        ({"installation": {"id": "9"}}, "installation.id is no id: '9'"),
        ({"installation": [9]}, "installation is no object: [9]"),
        ({"sender": "ada"}, "sender is no object: 'ada'"),
        ({"sender": {"login": "a b`"}}, "sender.login is no login: 'a b`'"),
    ],
)
def test_what_github_would_not_send_is_refused_by_its_place(changed: Mapping[str, Any], reason: str) -> None:
    payload = {**WHOLE, **changed}

    with pytest.raises(read.PayloadError) as raised:
        read.place(payload), read.sender(payload)

    assert str(raised.value) == reason


@pytest.mark.parametrize(
    ("event", "action", "meaning"),
    [
        ("installation", "created", ProjectNews((PLACE,), ProjectState.ACTIVE, first=True)),
        (
            "installation",
            "deleted",
            InstallationNews(9, ProjectState.FORGOTTEN, "The App was uninstalled by `ada`.", (PLACE,)),
        ),
        (
            "installation",
            "suspend",
            InstallationNews(9, ProjectState.SUSPENDED, "The installation was suspended by `ada`."),
        ),
        ("installation", "unsuspend", InstallationNews(9, ProjectState.ACTIVE)),
        ("installation", "new_permissions_accepted", PermissionsGranted(9)),
        ("installation_repositories", "added", ProjectNews((PLACE,), ProjectState.ACTIVE)),
        (
            "installation_repositories",
            "removed",
            ProjectNews((PLACE,), ProjectState.FORGOTTEN, "The repository was taken from the installation by `ada`."),
        ),
        ("repository", "renamed", ProjectNews((PLACE,), ProjectState.ACTIVE)),
        ("repository", "transferred", ProjectNews((PLACE,), ProjectState.ACTIVE)),
        ("repository", "unarchived", ProjectNews((PLACE,), ProjectState.ACTIVE)),
        (
            "repository",
            "archived",
            ProjectNews((PLACE,), ProjectState.ARCHIVED, "The repository was archived by `ada`."),
        ),
        (
            "repository",
            "deleted",
            ProjectNews((PLACE,), ProjectState.FORGOTTEN, "The repository was deleted by `ada`."),
        ),
        # Whether it is private is read with each command; who may see the check runs is GitHub's matter.
        ("repository", "publicized", Ignored("repository.publicized changes nothing for Gamma")),
        ("repository", "created", Ignored("repository.created changes nothing for Gamma")),
    ],
)
def test_what_becomes_of_installations_and_repositories(event: str, action: str, meaning: object) -> None:
    listed = [WHOLE["repository"]]
    lists = {"repositories": listed, "repositories_added": listed, "repositories_removed": listed}

    assert installation.understand(event, {**WHOLE, **lists, "action": action}) == meaning


@pytest.mark.skipif(not EXAMPLES.exists(), reason=WHY_MISSING)
def test_every_example_that_came_to_an_app_can_be_read() -> None:
    count = 0
    for event in json.loads(EXAMPLES.read_bytes()):
        for payload in event["examples"]:
            if "repository" in payload and read.is_for_the_app(payload):
                count += 1
                assert read.place(payload).full_name.count("/") == 1
                assert read.sender(payload).login
    assert count > 50
