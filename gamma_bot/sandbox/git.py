"""Reads and writes of the bare repositories, each by one ``git`` process without a shell.

Git sees neither the user's nor the system's configuration, so the sandbox acts the same on every machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cachetools import LRUCache

from gamma_bot.sandbox.git_output import (
    LOG_FORMAT,
    FileChange,
    GitCommit,
    GitPerson,
    TouchedPaths,
    TreeEntry,
    parse_changes,
    parse_commit,
    parse_tree,
    quote,
)
from gamma_bot.sandbox.ids import NO_COMMIT, iso_time

__all__ = ["FileChange", "Git", "GitCommit", "GitError", "GitPerson", "TouchedPaths", "TreeEntry"]

# What GitHub accepts as a ref in a URL: names and SHAs, never Git's revision language (main~3, @{1}, a:b).
_LASTING_REVISION = re.compile(r"--not|[0-9a-f]{40}(\.\.[0-9a-f]{40})?")
_KEPT_ANSWERS, _KEPT_BYTES = 1_000, 65_536
_PLAIN_REF = re.compile(r"(?!-)(?!.*(?:\.\.|@\{|//))[^\x00-\x20~^:?*\[\\]+")
_CONFIGURATION = """[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
\tquotePath = false
[gc]
\tauto = 0
[receive]
\tautogc = false
\thideRefs = refs/pull
[http]
\treceivepack = true
[uploadpack]
\tallowAnySHA1InWant = true
\tallowFilter = true
"""


class GitError(Exception):
    """Git refused; the message holds what it said."""


class Git:
    """Runs Git for the sandbox; every method takes the bare repository's folder first."""

    def __init__(self, home: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._commits: dict[str, GitCommit] = {}
        self._answers: LRUCache[tuple[Path, tuple[str, ...]], bytes] = LRUCache(_KEPT_ANSWERS)
        self._refs: dict[Path, tuple[object, dict[str, str]]] = {}
        home.mkdir(parents=True, exist_ok=True)
        # http-backend and worktrees check who owns the folder; in a container that may be somebody else.
        (home / ".gitconfig").write_text('[safe]\n\tdirectory = *\n[protocol "file"]\n\tallow = always\n')
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "GitHub",
            "GIT_AUTHOR_EMAIL": "noreply@github.example",
            "GIT_COMMITTER_NAME": "GitHub",
            "GIT_COMMITTER_EMAIL": "noreply@github.example",
        }

    async def run(
        self, git_dir: Path, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> bytes:
        """What Git writes.

        Raises:
            GitError: it ended with another code than 0.
        """
        process = await asyncio.create_subprocess_exec(
            "git", *arguments, cwd=git_dir, env={**self.environment, **(environment or {})},
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate(stdin or None)
        if process.returncode != 0:
            raise GitError(f"git {' '.join(arguments[:2])}: {errors.decode(errors='replace').strip()}")
        return output

    async def ask(self, git_dir: Path, *arguments: str, about: Iterable[str]) -> bytes:
        """Like ``run``, for what Git knows of these revisions: if they are full SHAs, the answer is the same for ever.

        One push is read from many sides, by webhooks and by the API: a process for each would be half of the work.
        """
        if not all(_LASTING_REVISION.fullmatch(revision) for revision in about):
            return await self.run(git_dir, *arguments)
        key = (git_dir, arguments)
        answer = self._answers.get(key)
        if answer is None:
            answer = await self.run(git_dir, *arguments)
            if len(answer) <= _KEPT_BYTES:
                self._answers[key] = answer
        return answer

    def run_blocking(self, git_dir: Path, *arguments: str, stdin: bytes = b"") -> bytes:
        """Like ``run``, for the set-up of a repository before any loop runs."""
        done = subprocess.run(
            ["git", *arguments], cwd=git_dir, env=self.environment, input=stdin, capture_output=True, check=False
        )
        if done.returncode != 0:
            raise GitError(f"git {' '.join(arguments[:2])}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def create(self, git_dir: Path, default_branch: str, files: Mapping[str, bytes], author: GitPerson) -> str | None:
        """Make a bare repository; with files it gets a first commit, whose SHA is the answer."""
        for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
            (git_dir / folder).mkdir(parents=True, exist_ok=True)
        (git_dir / "HEAD").write_text(f"ref: refs/heads/{default_branch}\n")
        (git_dir / "config").write_text(_CONFIGURATION)
        if not files:
            return None
        stream = self._import_stream(f"refs/heads/{default_branch}", None, "Initial commit", author, files, ())
        return self.run_blocking(git_dir, "fast-import", "--quiet", stdin=stream).decode().strip()

    async def clone(self, source: Path, target: Path) -> None:
        await self.run(source, "clone", "--quiet", "--bare", "--template=", str(source), str(target))
        (target / "config").write_text(_CONFIGURATION)

    async def commit(
        self, git_dir: Path, ref: str, parent: str | None, message: str, author: GitPerson,
        files: Mapping[str, bytes], delete: Iterable[str] = (),
    ) -> str:  # fmt: skip
        """Commit on top of ``parent`` and let ``ref`` point there, wherever it pointed before; answers the SHA."""
        stream = self._import_stream(ref, parent, message, author, files, delete)
        return (await self.run(git_dir, "fast-import", "--quiet", "--force", stdin=stream)).decode().strip()

    async def resolve(self, git_dir: Path, ref: str) -> str | None:
        """The commit that a branch, tag, full ref or (short) SHA names."""
        if not _PLAIN_REF.fullmatch(ref):
            return None
        if ref.startswith(("heads/", "tags/")):
            ref = f"refs/{ref}"
        arguments = ("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        try:
            return (await self.ask(git_dir, *arguments, about=[ref])).decode().strip()
        except GitError:
            return None

    async def refs(self, git_dir: Path) -> dict[str, str]:
        """Branches and tags by full name, each with its commit (an annotated tag: the commit behind it)."""
        state = _state_of_refs(git_dir)
        known = self._refs.get(git_dir)
        if known is not None and known[0] == state:
            return dict(known[1])
        output = await self.run(
            git_dir, "for-each-ref", "--format=%(objectname) %(*objectname) %(refname)", "refs/heads", "refs/tags"
        )
        refs: dict[str, str] = {}
        for line in output.decode().splitlines():
            direct, peeled, name = line.split(" ", 2)
            refs[name] = peeled or direct
        if _state_of_refs(git_dir) == state:
            self._refs[git_dir] = (state, refs)
        return dict(refs)

    async def set_ref(self, git_dir: Path, ref: str, sha: str | None) -> None:
        await self.run(git_dir, *(["update-ref", "-d", ref] if sha is None else ["update-ref", ref, sha]))

    async def fetch(self, git_dir: Path, source: Path, sha: str, ref: str) -> None:
        """Bring a commit of another repository here, under ``ref``."""
        await self.run(git_dir, "fetch", "--quiet", "--no-tags", str(source), f"+{sha}:{ref}")

    async def commit_info(self, git_dir: Path, sha: str) -> GitCommit:
        if sha not in self._commits:
            await self.log(git_dir, sha, limit=1)
        return self._commits[sha]

    async def log(
        self, git_dir: Path, *revisions: str, path: str | None = None, limit: int | None = None, skip: int = 0
    ) -> list[GitCommit]:
        """Commits, newest first."""
        arguments = ["log", f"--format={LOG_FORMAT}", f"--skip={skip}"]
        if limit is not None:
            arguments.append(f"--max-count={limit}")
        scope = ["--", f":(literal){path}"] if path else ["--"]
        output = await self.ask(git_dir, *arguments, *revisions, *scope, about=revisions)
        commits = [parse_commit(record) for record in output.decode(errors="replace").split("\x1e")[1:]]
        self._commits.update((commit.sha, commit) for commit in commits)
        return commits

    async def count(self, git_dir: Path, *revisions: str) -> int:
        return int(await self.ask(git_dir, "rev-list", "--count", *revisions, "--", about=revisions))

    async def touched(self, git_dir: Path, *revisions: str) -> dict[str, TouchedPaths]:
        """Which paths each commit added, removed and modified, by SHA, oldest first."""
        output = await self.ask(
            git_dir, "log", "--reverse", "--format=%x1e%H", "--name-status", "--no-renames", "--root", "-z",
            *revisions, "--", about=revisions,
        )  # fmt: skip
        touched: dict[str, TouchedPaths] = {}
        for record in output.decode(errors="replace").split("\x1e")[1:]:
            sha, *tokens = [token.strip("\n") for token in record.split("\0") if token.strip("\n")]
            pairs = list(zip(tokens[::2], tokens[1::2], strict=False))
            touched[sha] = TouchedPaths(
                *(tuple(path for status, path in pairs if status[0] in kinds) for kinds in ("A", "D", "MT"))
            )
        return touched

    async def merge_base(self, git_dir: Path, one: str, other: str) -> str | None:
        try:
            return (await self.ask(git_dir, "merge-base", one, other, about=[one, other])).decode().strip()
        except GitError:
            return None

    async def merges_cleanly(self, git_dir: Path, base: str, ours: str, theirs: str) -> bool:
        """Whether two lines of work that parted at ``base`` can be merged without a conflict."""
        if base in (ours, theirs):
            return True
        # The old three-argument form, because every Git from the last fifteen years has it.
        return b"+<<<<<<< " not in await self.run(git_dir, "merge-tree", base, ours, theirs)

    async def changes(self, git_dir: Path, before: str | None, after: str) -> list[FileChange]:
        """The files that differ between two commits; without ``before``, all files of ``after``."""
        start = before or (await self.run(git_dir, "hash-object", "-t", "tree", "--stdin")).decode().strip()
        ends = (start, after)
        facts = await self.ask(
            git_dir, "diff", "--raw", "--numstat", "--no-abbrev", "-M", "-z", *ends, "--", about=ends
        )
        patches = await self.ask(git_dir, "diff", "-M", "--patch", *ends, "--", about=ends)
        return parse_changes(facts.decode(errors="replace"), patches.decode(errors="replace"))

    async def diff(self, git_dir: Path, before: str, after: str) -> bytes:
        return await self.run(git_dir, "diff", "-M", before, after, "--")

    async def entry(self, git_dir: Path, commit: str, path: str) -> TreeEntry | None:
        """The file or folder at ``path``."""
        arguments = ("ls-tree", "-z", "-l", "--full-tree", commit, "--", path)
        entries = parse_tree(await self.ask(git_dir, *arguments, about=[commit]))
        return next((entry for entry in entries if entry.path == path), None)

    async def entries(self, git_dir: Path, commit: str, folder: str = "", *, deep: bool = False) -> list[TreeEntry]:
        """What is in a folder (``""``: the top); ``deep``: all files below it."""
        arguments = ["ls-tree", "-z", "-l", "--full-tree", *(["-r"] if deep else []), commit]
        scope = ["--", f"{folder}/"] if folder else []
        return parse_tree(await self.ask(git_dir, *arguments, *scope, about=[commit]))

    async def blob(self, git_dir: Path, sha: str) -> bytes:
        return await self.ask(git_dir, "cat-file", "blob", sha, about=[sha])

    async def archive(self, git_dir: Path, commit: str, prefix: str) -> bytes:
        """A gzipped tarball with everything under ``prefix``."""
        return await self.run(git_dir, "archive", "--format=tar.gz", f"--prefix={prefix}/", commit)

    def person(self, name: str, email: str) -> GitPerson:
        return GitPerson(name, email, iso_time(self._clock()))

    def _import_stream(
        self, ref: str, parent: str | None, message: str, author: GitPerson,
        files: Mapping[str, bytes], delete: Iterable[str],
    ) -> bytes:  # fmt: skip
        signature = f"{author.name} <{author.email}> {int(self._clock())} +0000"
        text = message.encode() if message.endswith("\n") else f"{message}\n".encode()
        parts = [f"commit {ref}\nmark :1\nauthor {signature}\ncommitter {signature}\ndata {len(text)}\n".encode(), text]
        if parent and parent != NO_COMMIT:
            parts.append(f"from {parent}\n".encode())
        parts += [f"D {quote(path)}\n".encode() for path in delete]
        for path, data in files.items():
            mode = "100755" if data.startswith(b"#!") else "100644"
            parts += [f"M {mode} inline {quote(path)}\ndata {len(data)}\n".encode(), data, b"\n"]
        parts.append(b"\nget-mark :1\n")
        return b"".join(parts)


def _state_of_refs(git_dir: Path) -> object:
    """What tells whether a branch or tag has moved, whoever moved it: all loose refs, and the stamp of the packed."""
    loose: dict[str, bytes] = {}
    for kind in ("refs/heads", "refs/tags"):
        for folder, _, names in os.walk(git_dir / kind):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    loose[str(path)] = path.read_bytes()
    with contextlib.suppress(FileNotFoundError):
        stamp = (git_dir / "packed-refs").stat()
        return loose, stamp.st_mtime_ns, stamp.st_ino, stamp.st_size
    return loose
