"""What people do with repositories: make, fork, rename and delete them, commit and push."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gamma_bot.sandbox.events import emit_installation, emit_repository
from gamma_bot.sandbox.git import GitPerson
from gamma_bot.sandbox.model import Account, Installation, Repository
from gamma_bot.sandbox.people_accounts import AccountPeople
from gamma_bot.sandbox.pushes import follow_push
from gamma_bot.sandbox.shapes import account_json, organization_json

Content = str | bytes


class RepositoryPeople(AccountPeople):
    """Owns repositories and pushes to them."""

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

    async def head(self, repository: Repository, branch: str | None = None) -> str:
        """The commit that a branch (by default the default branch) points to."""
        name = branch or repository.default_branch
        sha = await self.forge.git.resolve(repository.git_dir, f"refs/heads/{name}")
        if sha is None:
            raise ValueError(f"{repository.full_name} has no branch {name!r}")
        return sha

    async def rename_repository(self, repository: Repository, name: str, by: Account | str | None = None) -> None:
        """Give it another name; the old one leads to it until somebody takes that name."""
        old, state = repository.name, self.forge.state
        self._readdress(repository, repository.owner, name)
        changes = {"repository": {"name": {"from": old}}}
        emit_repository(self.forge, repository, "renamed", self._account(by or repository.owner), changes)
        state.changed()

    async def transfer_repository(self, repository: Repository, to: Account | str) -> None:
        """Give it to another account. Installations of the old one lose it; one for all of the new one's gets it."""
        old, new, urls = repository.owner, self._account(to), self.forge.urls
        for installation in self.forge.state.installations_on(repository):
            self.change_repositories(installation, remove=[repository])
        self._readdress(repository, new, repository.name)
        for installation in self._taking_all(new):
            self.change_repositories(installation, add=[repository])
        kind = "organization" if old.type == "Organization" else "user"
        shown = organization_json(urls, old) if kind == "organization" else account_json(urls, old)
        emit_repository(self.forge, repository, "transferred", old, {"owner": {"from": {kind: shown}}})

    def archive_repository(self, repository: Repository, by: Account | str | None = None) -> None:
        """From now on it takes no writes."""
        self._set_archived(repository, True, by)

    def unarchive_repository(self, repository: Repository, by: Account | str | None = None) -> None:
        self._set_archived(repository, False, by)

    async def delete_repository(self, repository: Repository, by: Account | str | None = None) -> None:
        """It is gone for good, with its old names; pull requests from it stay, without a head repository."""
        state = self.forge.state
        emit_repository(self.forge, repository, "deleted", self._account(by or repository.owner))
        for installation in state.installations_on(repository):
            installation.repositories = [one for one in installation.repositories if one is not repository]
        del state.repositories[repository.full_name.lower()]
        state.old_names = {name: one for name, one in state.old_names.items() if one is not repository}
        for other in state.repositories.values():
            for pull in other.pulls:
                if pull.head_repository is repository:
                    pull.head_repository = None
        state.changed()

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

    def _set_archived(self, repository: Repository, archived: bool, by: Account | str | None) -> None:
        repository.archived, repository.updated_at = archived, self.forge.state.now()
        action = "archived" if archived else "unarchived"
        emit_repository(self.forge, repository, action, self._account(by or repository.owner))

    def _readdress(self, repository: Repository, owner: Account, name: str) -> None:
        state, old = self.forge.state, repository.full_name.lower()
        if state.repository(f"{owner.login}/{name}") not in (None, repository):
            raise ValueError(f"{owner.login} has a repository {name!r} already")
        del state.repositories[old]
        repository.owner, repository.name, repository.updated_at = owner, name, state.now()
        state.repositories[repository.full_name.lower()] = repository
        state.old_names[old] = repository
        state.old_names.pop(repository.full_name.lower(), None)

    def _taking_all(self, owner: Account) -> list[Installation]:
        installations = self.forge.state.installations.values()
        return [one for one in installations if one.account is owner and one.repository_selection == "all"]

    async def _move(self, repository: Repository, ref: str, to: str | None, by: Account | str | None) -> None:
        git, person = self.forge.git, self._account(by or repository.owner)
        async with self.forge.pushing(repository.git_dir):
            before = await git.refs(repository.git_dir)
            sha = None if to is None else await git.resolve(repository.git_dir, to)
            if to is not None and sha is None:
                raise ValueError(f"{repository.full_name} has no branch or commit {to!r}")
            await git.set_ref(repository.git_dir, ref, sha)
            await follow_push(self.forge, repository, before, await git.refs(repository.git_dir), person)

    def _new_repository(
        self, owner: Account, name: str, default_branch: str, private: bool, description: str | None,
        parent: Repository | None,
    ) -> Repository:  # fmt: skip
        state = self.forge.state
        if state.repository(f"{owner.login}/{name}"):
            raise ValueError(f"{owner.login} has a repository {name!r} already")
        now = state.now()
        git_dir = self.forge.repositories_dir / owner.login / f"{name}.git"
        if git_dir.exists():
            # A repository that was renamed keeps its folder.
            git_dir = git_dir.with_name(f"{name}-{state.next_id()}.git")
        git_dir.parent.mkdir(parents=True, exist_ok=True)
        return Repository(
            state.next_id(), owner, name, git_dir, default_branch, private, description, now, now, now, parent
        )

    def _publish(self, repository: Repository) -> Repository:
        state = self.forge.state
        state.repositories[repository.full_name.lower()] = repository
        # Whoever takes an old name ends its redirect.
        state.old_names.pop(repository.full_name.lower(), None)
        state.changed()
        for installation in self._taking_all(repository.owner):
            self.change_repositories(installation, add=[repository])
        return repository


def _as_bytes(files: Mapping[str, Content]) -> dict[str, bytes]:
    return {path: content.encode() if isinstance(content, str) else content for path, content in files.items()}
