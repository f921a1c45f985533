"""What a tree holds, in one number: equal for equal files, whatever commit they came with."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable
from pathlib import Path

from gamma_bot.training.source import GuardedStream, SourceError, SourceLimits

# A larger tree is no repository of code: it is trained without asking whether that was done before.
_LIMITS = SourceLimits(files=50_000, bytes=1 << 30)


def tree_digest(tarball: Path, counts: Callable[[str], bool]) -> str:
    """The SHA-256 of the paths, contents, links and executable bits of the files that count, in hexadecimal.

    Args:
        tarball: gzipped, with one top folder, which does not count.

    Raises:
        SourceError: the tarball is damaged or too large.
        OSError: it can't be read.
    """
    found: dict[str, str] = {}
    with tarball.open("rb") as compressed:
        stream = GuardedStream(compressed, _LIMITS, between=lambda: None)
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:  # type: ignore[call-overload]
                while (member := archive.next()) is not None:
                    archive.members = []  # else it keeps every one
                    path = member.name.partition("/")[2]
                    if member.isdir() or not counts(path):
                        continue
                    if len(found) >= _LIMITS.files:
                        raise SourceError(f"The tree has more than {_LIMITS.files:,} files.")
                    found[path] = _digest(archive, member)
        except (tarfile.TarError, ValueError, OverflowError, LookupError) as error:
            raise SourceError(f"The tarball is damaged: {error}.") from error
    whole = hashlib.sha256()
    for path, digest in sorted(found.items()):
        whole.update(f"{len(path)}:{path}:{digest}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()


def _digest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    digest = hashlib.sha256()
    if member.isreg():
        content = archive.extractfile(member)
        while content is not None and (block := content.read(65_536)):
            digest.update(block)
        return f"{'x' if member.mode & 0o100 else '-'}{digest.hexdigest()}"
    digest.update(member.linkname.encode(errors="surrogateescape"))
    return f"l{digest.hexdigest()}"
