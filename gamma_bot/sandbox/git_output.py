"""What Git writes, read into values; and paths, written as Git reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gamma_bot.sandbox.ids import iso_time

LOG_FORMAT = "%x1e%H%x1f%T%x1f%P%x1f%an%x1f%ae%x1f%at%x1f%cn%x1f%ce%x1f%ct%x1f%B%x1f"
_STATUS_WORDS = {"A": "added", "D": "removed", "M": "modified", "T": "changed", "R": "renamed", "C": "copied"}


@dataclass(frozen=True)
class GitPerson:
    name: str
    email: str
    date: str


@dataclass(frozen=True)
class GitCommit:
    sha: str
    tree: str
    parents: tuple[str, ...]
    author: GitPerson
    committer: GitPerson
    message: str


@dataclass(frozen=True)
class TreeEntry:
    """A file, folder (``tree``) or submodule (``commit``) in a tree."""

    mode: str
    kind: str
    sha: str
    size: int
    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class FileChange:
    """One file of a comparison, in GitHub's words; ``patch`` starts at the first ``@@`` and is None for binaries."""

    path: str
    status: str
    additions: int
    deletions: int
    blob_sha: str
    previous_path: str | None
    patch: str | None


@dataclass(frozen=True)
class TouchedPaths:
    added: tuple[str, ...]
    removed: tuple[str, ...]
    modified: tuple[str, ...]


def quote(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def parse_commit(record: str) -> GitCommit:
    sha, tree, parents, name, email, at, by_name, by_email, by_at, message = record.split("\x1f")[:10]
    return GitCommit(
        sha, tree, tuple(parents.split()), GitPerson(name, email, iso_time(int(at))),
        GitPerson(by_name, by_email, iso_time(int(by_at))), message.rstrip("\n"),
    )  # fmt: skip


def parse_tree(output: bytes) -> list[TreeEntry]:
    entries = []
    for line in output.decode(errors="replace").split("\0")[:-1]:
        facts, path = line.split("\t", 1)
        mode, kind, sha, size = facts.split()
        entries.append(TreeEntry(mode, kind, sha, 0 if size == "-" else int(size), path))
    return entries


def parse_changes(facts: str, patches: str) -> list[FileChange]:
    """Git lists the raw lines first, then the counts, then (asked apart) the patches: all in the same order."""
    tokens = facts.split("\0")[:-1]
    raw: list[tuple[str, str, str | None, str]] = []
    position = 0
    while position < len(tokens) and tokens[position].startswith(":"):
        _, _, old_sha, new_sha, letter = tokens[position].split(" ")
        moved = letter[0] in "RC"
        previous = tokens[position + 1] if moved else None
        path = tokens[position + (2 if moved else 1)]
        raw.append((_STATUS_WORDS[letter[0]], path, previous, old_sha if letter[0] == "D" else new_sha))
        position += 3 if moved else 2
    counts: list[tuple[int, int]] = []
    while position < len(tokens):
        added, removed, path = tokens[position].split("\t", 2)
        counts.append((0, 0) if added == "-" else (int(added), int(removed)))
        position += 1 if path else 3
    sections = re.split(r"^diff --git .*\n", patches, flags=re.MULTILINE)[1:]
    return [
        FileChange(path, status, added, removed, blob, previous, _hunks(section))
        for (status, path, previous, blob), (added, removed), section in zip(
            raw, counts, _aligned(raw, sections), strict=True
        )
    ]


def _aligned(raw: Sequence[object], sections: list[str]) -> list[str]:
    return sections if len(sections) == len(raw) else [""] * len(raw)


def _hunks(section: str) -> str | None:
    start = re.search(r"^@@ ", section, flags=re.MULTILINE)
    return section[start.start() :].rstrip("\n") if start else None
