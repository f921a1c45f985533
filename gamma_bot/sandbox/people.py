"""What people do on GitHub, as calls for the demo and the tests: make repositories, commit, comment, click.

Nothing here goes around GitHub's rules: the same functions answer the API, and the same webhooks go out.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeVar

from gamma_bot.sandbox import apps, checks, comments, pulls
from gamma_bot.sandbox.events import emit_comment, emit_installation, emit_ping
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.git import GitPerson
from gamma_bot.sandbox.model import (
    Account,
    App,
    CheckRun,
    CheckSuite,
    Delivery,
    Installation,
    Issue,
    IssueComment,
    PullRequest,
    Reaction,
    Repository,
)
from gamma_bot.sandbox.pushes import close_pull, follow_push

Content = str | bytes
Found = TypeVar("Found")


class People:
    """The hands of the people of one sandbox."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge

    def create_user(self, login: str, *, name: str | None = None) -> Account:
        return self._create_account(login, "User", name)

    def create_organization(self, login: str, *, name: str | None = None) -> Account:
        return self._create_account(login, "Organization", name)

    def create_repository(
        self, owner: Account | str, name: str, files: Mapping[str, Content] | None = None, *,
        default_branch: str = "main", private: bool = False, description: str | None = None,
        collaborators: Mapping[str, str] | None = None,
    ) -> Repository:  # fmt: skip
        """A repository with a first commit by its owner (or empty, without files).

        Args:
            collaborators: login → role name (read, triage, write, maintain, admin, or one of ``custom_roles``).
        """
        account = self._account(owner)
        repository = self._new_repository(account, name, default_branch, private, description, None)
        repository.collaborators.update(collaborators or {})
        author = self.forge.git.person(account.name, account.email)
        self.forge.git.create(repository.git_dir, default_branch, _as_bytes(files or {}), author)
        return self._publish(repository)

    async def fork(self, repository: Repository, owner: Account | str) -> Repository:
        """A copy that belongs to somebody else, with the same branches."""
        account = self._account(owner)
        copy = self._new_repository(
            account, repository.name, repository.default_branch, repository.private, repository.description, repository
        )
        await self.forge.git.clone(repository.git_dir, copy.git_dir)
        return self._publish(copy)

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

    def uninstall(self, installation: Installation) -> None:
        """Its tokens end at once."""
        del self.forge.state.installations[installation.id]
        emit_installation(self.forge, installation, "deleted", installation.account)

    def suspend(self, installation: Installation) -> None:
        installation.suspended_at = self.forge.state.now()
        installation.suspended_by = installation.account
        emit_installation(self.forge, installation, "suspend", installation.account)

    def unsuspend(self, installation: Installation) -> None:
        installation.suspended_at = installation.suspended_by = None
        emit_installation(self.forge, installation, "unsuspend", installation.account)

    def change_repositories(
        self, installation: Installation, *, add: Iterable[Repository] = (), remove: Iterable[Repository] = ()
    ) -> None:
        """Give the installation more repositories, or take some away."""
        for action, repositories in (("added", list(add)), ("removed", list(remove))):
            if not repositories:
                continue
            kept = [one for one in installation.repositories if one not in repositories]
            installation.repositories = kept + (repositories if action == "added" else [])
            added, removed = (repositories, []) if action == "added" else ([], repositories)
            emit_installation(
                self.forge, installation, action, installation.account, event="installation_repositories",
                added=added, removed=removed,
            )  # fmt: skip

    async def commit(
        self, repository: Repository, branch: str, files: Mapping[str, Content], message: str = "Change",
        author: Account | str | None = None, *, start_from: str | None = None, delete: Iterable[str] = (),
    ) -> str:  # fmt: skip
        """Commit and push in one go; answers the SHA.

        Args:
            start_from: a branch or SHA to build on instead of the branch's head: a new branch, or a force-push.
        """
        person = self._account(author) if author else repository.owner
        git, ref = self.forge.git, f"refs/heads/{branch}"
        async with self.forge.pushing(repository.git_dir):
            before = await git.refs(repository.git_dir)
            parent = before.get(ref, before.get(f"refs/heads/{repository.default_branch}"))
            if start_from is not None:
                parent = await git.resolve(repository.git_dir, start_from)
                if parent is None:
                    raise ValueError(f"{repository.full_name} has no branch or commit {start_from!r} to start from")
            signature = GitPerson(person.name, person.email, "")
            sha = await git.commit(repository.git_dir, ref, parent, message, signature, _as_bytes(files), delete)
            await follow_push(self.forge, repository, before, await git.refs(repository.git_dir), person)
        return sha

    async def move_branch(
        self, repository: Repository, branch: str, to: str | None, by: Account | str | None = None
    ) -> None:
        """Push an existing commit to a branch (perhaps with force); None deletes the branch."""
        await self._move(repository, f"refs/heads/{branch}", to, by)

    async def push_tag(self, repository: Repository, tag: str, to: str, by: Account | str | None = None) -> None:
        await self._move(repository, f"refs/tags/{tag}", to, by)

    async def open_pull_request(
        self, repository: Repository, head: str, base: str | None = None, *, title: str = "A change", body: str = "",
        author: Account | str | None = None, head_repository: Repository | None = None, draft: bool = False,
    ) -> PullRequest:  # fmt: skip
        person = self._account(author) if author else (head_repository or repository).owner
        return await pulls.open_pull(
            self.forge, repository, person, title=title, head=head, base=base or repository.default_branch,
            body=body, head_repository=head_repository, draft=draft,
        )  # fmt: skip

    async def close_pull_request(self, pull: PullRequest, by: Account | str | None = None) -> None:
        await close_pull(self.forge, pull, self._account(by or pull.author))

    async def reopen_pull_request(self, pull: PullRequest, by: Account | str | None = None) -> None:
        await pulls.reopen_pull(self.forge, pull, self._account(by or pull.author))

    async def merge_pull_request(
        self, pull: PullRequest, by: Account | str | None = None, *, method: pulls.MergeMethod = "merge"
    ) -> str:
        """Merge it; answers the new head of the base branch."""
        return await pulls.merge_pull(self.forge, pull, self._account(by or pull.repository.owner), method=method)

    def open_issue(
        self, repository: Repository, title: str, body: str = "", author: Account | str | None = None
    ) -> Issue:
        return comments.add_issue(self.forge, repository, self._account(author or repository.owner), title, body)

    async def comment(
        self, repository: Repository, number: int, body: str, author: Account | str | None = None
    ) -> IssueComment:
        """Comment on an issue or pull request."""
        person = self._account(author or repository.owner)
        return comments.add_comment(self.forge, repository.issues[number], person, body)

    async def edit_comment(self, comment: IssueComment, body: str, by: Account | str | None = None) -> None:
        comments.edit_comment(self.forge, comment, body, self._account(by or comment.author))

    async def delete_comment(self, comment: IssueComment, by: Account | str | None = None) -> None:
        del comment.issue.repository.comments[comment.id]
        emit_comment(self.forge, comment, "deleted", self._account(by or comment.author))

    def react(self, comment: IssueComment, content: str, user: Account | str) -> Reaction:
        """React to a comment; GitHub sends no webhook for that."""
        state = self.forge.state
        reaction = Reaction(state.next_id(), self._account(user), content, state.now())
        comment.reactions.append(reaction)
        state.changed()
        return reaction

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

    def comments(self, repository: Repository, number: int) -> list[IssueComment]:
        """The comments on an issue or pull request, oldest first."""
        return repository.comments_on(number)

    async def head(self, repository: Repository, branch: str | None = None) -> str:
        """The commit that a branch (by default the default branch) points to."""
        name = branch or repository.default_branch
        sha = await self.forge.git.resolve(repository.git_dir, f"refs/heads/{name}")
        if sha is None:
            raise ValueError(f"{repository.full_name} has no branch {name!r}")
        return sha

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

    async def _move(self, repository: Repository, ref: str, to: str | None, by: Account | str | None) -> None:
        git, person = self.forge.git, self._account(by or repository.owner)
        async with self.forge.pushing(repository.git_dir):
            before = await git.refs(repository.git_dir)
            sha = None if to is None else await git.resolve(repository.git_dir, to)
            if to is not None and sha is None:
                raise ValueError(f"{repository.full_name} has no branch or commit {to!r}")
            await git.set_ref(repository.git_dir, ref, sha)
            await follow_push(self.forge, repository, before, await git.refs(repository.git_dir), person)

    def _create_account(self, login: str, kind: Literal["User", "Organization"], name: str | None) -> Account:
        state = self.forge.state
        if state.account(login):
            raise ValueError(f"the login {login!r} is taken")
        account = Account(state.next_id(), login, kind, name or login, "", state.now())
        account.email = f"{account.id}+{login}@users.noreply.github.example"
        account.token = f"ghp_{secrets.token_hex(18)}"
        state.accounts[login.lower()] = account
        state.changed()
        return account

    def _new_repository(
        self, owner: Account, name: str, default_branch: str, private: bool, description: str | None,
        parent: Repository | None,
    ) -> Repository:  # fmt: skip
        state = self.forge.state
        if state.repository(f"{owner.login}/{name}"):
            raise ValueError(f"{owner.login} has a repository {name!r} already")
        now = state.now()
        git_dir = self.forge.repositories_dir / owner.login / f"{name}.git"
        git_dir.parent.mkdir(parents=True, exist_ok=True)
        return Repository(
            state.next_id(), owner, name, git_dir, default_branch, private, description, now, now, now, parent
        )

    def _publish(self, repository: Repository) -> Repository:
        state = self.forge.state
        state.repositories[repository.full_name.lower()] = repository
        state.changed()
        for installation in state.installations.values():
            if installation.account is repository.owner and installation.repository_selection == "all":
                self.change_repositories(installation, add=[repository])
        return repository

    def _account(self, who: Account | str) -> Account:
        if isinstance(who, Account):
            return who
        return self.forge.state.account(who) or self.create_user(who)


def _as_bytes(files: Mapping[str, Content]) -> dict[str, bytes]:
    return {path: content.encode() if isinstance(content, str) else content for path, content in files.items()}
