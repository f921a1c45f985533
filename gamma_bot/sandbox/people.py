"""What people do on GitHub, as calls for the demo and the tests: make repositories, commit, comment, click.

Nothing here goes around GitHub's rules: the same functions answer the API, and the same webhooks go out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

from gamma_bot.sandbox import apps, checks
from gamma_bot.sandbox.events import emit_installation, emit_ping
from gamma_bot.sandbox.model import (
    Account,
    App,
    CheckRun,
    CheckSuite,
    Delivery,
    Installation,
    Repository,
)
from gamma_bot.sandbox.people_pulls import PullPeople
from gamma_bot.sandbox.people_repositories import RepositoryPeople

Found = TypeVar("Found")


class People(RepositoryPeople, PullPeople):
    """The hands of the people of one sandbox."""

    def create_app(
        self, name: str, permissions: Mapping[str, str], events: Sequence[str], webhook_url: str = "",
        webhook_secret: str | None = None, *, owner: Account | str | None = None, private_key_pem: str | None = None,
    ) -> App:  # fmt: skip
        """Register a GitHub App. Pass a key to save the time that making one takes."""
        holder = self._account(owner) if owner else self.forge.state.account("github") or self.create_user("github")
        return apps.register_app(
            self.forge, holder, name, permissions, events, webhook_url=webhook_url, webhook_secret=webhook_secret,
            private_key_pem=private_key_pem,
        )  # fmt: skip

    def create_app_from_manifest(self, manifest: Mapping[str, object], owner: Account | str) -> str:
        """Register an App as the manifest page does; answers the code for the conversion."""
        return apps.register_manifest(self.forge, self._account(owner), manifest)

    def install(
        self,
        app: App,
        repositories: Repository | Sequence[Repository],
        *,
        selection: Literal["all", "selected"] = "selected",
    ) -> Installation:
        """Install the App on repositories of one account; with ``all`` it gets the account's later ones too."""
        chosen = [repositories] if isinstance(repositories, Repository) else list(repositories)
        account, state = chosen[0].owner, self.forge.state
        if any(repository.owner is not account for repository in chosen):
            raise ValueError("an installation belongs to one account: install the App once for each owner")
        now = state.now()
        installation = Installation(
            state.next_id(), app, account, chosen, selection, dict(app.permissions), list(app.events), now, now
        )
        state.installations[installation.id] = installation
        emit_installation(self.forge, installation, "created", account)
        return installation

    def ping(self, app: App) -> None:
        """What GitHub sends when an App's webhook is set up."""
        emit_ping(self.forge, app)

    def uninstall(self, installation: Installation, by: Account | str | None = None) -> None:
        """Its tokens end at once."""
        del self.forge.state.installations[installation.id]
        emit_installation(self.forge, installation, "deleted", self._account(by or installation.account))

    def change_app(
        self, app: App, *, permissions: Mapping[str, str] | None = None, events: Sequence[str] | None = None
    ) -> None:
        """Let the App ask for other permissions or events; its installations keep theirs until somebody accepts."""
        app.permissions = dict(app.permissions if permissions is None else permissions)
        app.events = list(app.events if events is None else events)
        app.updated_at = self.forge.state.now()
        self.forge.state.changed()

    def accept_new_permissions(self, installation: Installation) -> None:
        """Grant what the App asks for by now. Tokens that are out keep what they were made with."""
        installation.permissions = dict(installation.app.permissions)
        installation.events = list(installation.app.events)
        installation.updated_at = self.forge.state.now()
        emit_installation(self.forge, installation, "new_permissions_accepted", installation.account)

    def suspend(self, installation: Installation, by: Account | str | None = None) -> None:
        """It gets no tokens and no webhooks, and those tokens that are out open nothing, until ``unsuspend``."""
        installation.suspended_at = installation.updated_at = self.forge.state.now()
        installation.suspended_by = self._account(by or installation.account)
        emit_installation(self.forge, installation, "suspend", installation.suspended_by)

    def unsuspend(self, installation: Installation, by: Account | str | None = None) -> None:
        installation.suspended_at = installation.suspended_by = None
        installation.updated_at = self.forge.state.now()
        emit_installation(self.forge, installation, "unsuspend", self._account(by or installation.account))

    async def click(self, run: CheckRun, identifier: str, user: Account | str) -> None:
        """Press a button of a check run."""
        checks.request_action(self.forge, run, identifier, self._account(user))

    async def rerequest(self, subject: CheckRun | CheckSuite, user: Account | str | None = None) -> None:
        """Press "Re-run" on a check run, or "Re-run all checks" on a suite."""
        if isinstance(subject, CheckRun):
            await checks.ask_again(self.forge, subject, self._account(user or subject.suite.repository.owner))
        else:
            await checks.ask_suite_again(self.forge, subject, self._account(user or subject.repository.owner))

    def check_runs(self, repository: Repository, sha: str | None = None) -> list[CheckRun]:
        """The check runs of a commit (or of all), oldest first."""
        return [run for run in repository.check_runs if sha is None or run.head_sha == sha]

    async def wait_for_deliveries(self) -> None:
        """Until every webhook that was sent has its answer."""
        await self.forge.webhooks.idle()

    async def wait_until(self, condition: Callable[[], Found | Literal[False] | None]) -> Found:
        """Until something in the sandbox makes the condition true; answers what it found. Bound it with a time-out."""
        while True:
            seen, found = self.forge.state.revision, condition()
            if found is not None and found is not False:
                return found
            await self.forge.state.next_change(seen)

    def redeliver(self, delivery: Delivery) -> Delivery:
        return self.forge.webhooks.redeliver(delivery)
