"""The pages of what is in a repository: its list, files, commits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from aiohttp import web

from gamma_bot.sandbox.git import GitError
from gamma_bot.sandbox.model import Annotation, CheckRun, Repository
from gamma_bot.sandbox.page_checks import latest_runs, suites_of
from gamma_bot.sandbox.page_diff import FileDiff, file_diff
from gamma_bot.sandbox.page_frame import Frame, not_found

LARGEST_FILE_BYTES = 1_000_000
RECENT_COMMITS = 15

Found = list[tuple[CheckRun, Annotation]]
Notes = dict[str, dict[int, Found]]
"""Path → last line → the annotations that end there."""


class RepositoryPages:
    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._forge = frame.forge

    async def home(self, request: web.Request) -> web.Response:
        """All repositories and installed Apps."""
        state = self._forge.state
        return await self._frame.page(
            request,
            "sandbox_home.html",
            owner=None,
            repositories=list(state.repositories.values()),
            installations=list(state.installations.values()),
        )

    async def owner(self, request: web.Request) -> web.Response:
        """One account's repositories."""
        account = self._forge.state.account(request.match_info["owner"])
        if account is None:
            raise not_found(f"account {request.match_info['owner']}")
        owned = [repository for repository in self._forge.state.repositories.values() if repository.owner is account]
        return await self._frame.page(request, "sandbox_home.html", owner=account, repositories=owned, installations=[])

    async def repository(self, request: web.Request) -> web.Response:
        """The files at a branch, the branches, the newest commits, the open pull requests."""
        repository = self._frame.repository(request)
        branch = request.query.get("branch") or repository.default_branch
        sha = await self._forge.git.resolve(repository.git_dir, f"refs/heads/{branch}")
        if sha is None and "branch" in request.query:
            raise not_found(f"branch {branch} in {repository.full_name}")
        return await self._files(request, repository, branch, sha, "")

    async def tree(self, request: web.Request) -> web.Response:
        repository = self._frame.repository(request)
        ref, sha, folder = await self._place(request, repository)
        return await self._files(request, repository, ref, sha, folder)

    async def blob(self, request: web.Request) -> web.Response:
        """One file with line numbers; Markdown is rendered."""
        repository = self._frame.repository(request)
        ref, sha, path = await self._place(request, repository)
        git = self._forge.git
        entry = await git.entry(repository.git_dir, sha, path) if path else None
        if entry is None or entry.kind != "blob":
            raise not_found(f"file {path} at {ref} in {repository.full_name}")
        parts = path.split("/")
        return await self._frame.page(
            request,
            "sandbox_blob.html",
            repository,
            section="code",
            ref=ref,
            sha=sha,
            path=path,
            parents=[(name, "/".join(parts[: index + 1])) for index, name in enumerate(parts[:-1])],
            size_bytes=entry.size,
            text=await self.text(repository, sha, path),
            markdown_file=path.lower().endswith((".md", ".markdown")) and request.query.get("plain") != "1",
        )

    async def commit(self, request: web.Request) -> web.Response:
        """What a commit changed, with its annotations below the lines, and its checks."""
        repository = self._frame.repository(request)
        git, git_dir = self._forge.git, repository.git_dir
        sha = await git.resolve(git_dir, request.match_info["sha"])
        if sha is None:
            raise not_found(f"commit {request.match_info['sha']} in {repository.full_name}")
        commit = await git.commit_info(git_dir, sha)
        runs = latest_runs(suites_of(repository, sha))
        changes = await git.changes(git_dir, commit.parents[0] if commit.parents else None, sha)
        files = [file_diff(change) for change in changes]
        notes, elsewhere = notes_for(files, runs)
        return await self._frame.page(
            request,
            "sandbox_commit.html",
            repository,
            section="code",
            sha=sha,
            commit=commit,
            pulls=[pull for pull in repository.pulls if pull.head_sha == sha],
            runs=runs,
            files=files,
            notes=notes,
            elsewhere=elsewhere,
        )

    async def text(self, repository: Repository, sha: str, path: str) -> str | None:
        """A file's text; None if it is not there, binary, or too large to show."""
        git = self._forge.git
        try:
            entry = await git.entry(repository.git_dir, sha, path)
            if entry is None or entry.kind != "blob" or entry.size > LARGEST_FILE_BYTES:
                return None
            content = await git.blob(repository.git_dir, entry.sha)
        except (GitError, ValueError):  # a path that Git refuses, such as ../x or one with a NUL
            return None
        return None if b"\0" in content[:8000] else content.decode(errors="replace")

    async def _files(
        self, request: web.Request, repository: Repository, ref: str, sha: str | None, folder: str
    ) -> web.Response:
        git, git_dir = self._forge.git, repository.git_dir
        refs = await git.refs(git_dir)
        entries = await git.entries(git_dir, sha, folder) if sha else []
        if sha and folder and not entries:
            raise not_found(f"folder {folder} at {ref} in {repository.full_name}")
        readme = next((entry for entry in entries if entry.name.lower() == "readme.md"), None)
        commits = await git.log(git_dir, sha, limit=RECENT_COMMITS) if sha else []
        above = folder.rpartition("/")[0]
        return await self._frame.page(
            request,
            "sandbox_repository.html",
            repository,
            section="code",
            ref=ref,
            folder=folder,
            up=f"/{repository.full_name}/tree/{ref}/{above}" if above else f"/{repository.full_name}?branch={ref}",
            head=commits[0] if commits else None,
            commits=commits,
            branches=[(name.removeprefix("refs/heads/"), at) for name, at in refs.items() if "refs/heads/" in name],
            entries=sorted(entries, key=lambda entry: (entry.kind != "tree", entry.name)),
            readme=await self.text(repository, sha, readme.path) if readme and sha else None,
            readme_name=readme.name if readme else "",
            clone_url=self._forge.urls.clone(repository),
        )

    async def _place(self, request: web.Request, repository: Repository) -> tuple[str, str, str]:
        """Ref, commit and path of ``models/wider/src/train.py``: only the branches tell where the ref ends."""
        parts = request.match_info["rest"].strip("/").split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):  # no path that Git could hold
            raise not_found(f"file or folder {request.match_info['rest']!r} in {repository.full_name}")
        refs = await self._forge.git.refs(repository.git_dir)
        for length in range(len(parts), 0, -1):
            ref = "/".join(parts[:length])
            for name in (f"refs/heads/{ref}", f"refs/tags/{ref}"):
                if name in refs:
                    return ref, refs[name], "/".join(parts[length:])
        sha = await self._forge.git.resolve(repository.git_dir, parts[0])
        if sha is None:
            raise not_found(f"branch or commit {parts[0]} in {repository.full_name}")
        return parts[0], sha, "/".join(parts[1:])


def notes_for(files: Iterable[FileDiff], runs: Iterable[CheckRun]) -> tuple[Notes, dict[str, Found]]:
    """The runs' annotations by line of the changed files, and those in files that did not change."""
    changed = {file.path for file in files}
    notes: Notes = defaultdict(lambda: defaultdict(list))
    elsewhere: dict[str, Found] = defaultdict(list)
    for run in runs:
        for annotation in run.annotations:
            if annotation.path in changed:
                notes[annotation.path][annotation.end_line].append((run, annotation))
            else:
                elsewhere[annotation.path].append((run, annotation))
    return notes, elsewhere
