"""Unpacks the tree of a commit from a tarball that nobody vouches for.

Everything is written into a folder of its own that gets its final name only when all of it is there and harmless,
so a tree is either complete or absent.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

_CHUNK = 1 << 20
_NAME_BYTES = 1_024  # far above any real tree, and low enough that no path on disk gets too long to be checked
_HEADER_BYTES = 1 << 20  # a name or an attribute of a member; tarfile reads it as a whole
_RATIO_FROM_BYTES = 256 << 20


class SourceError(Exception):
    """The tree can't be used; the message says which member is wrong, in a sentence for a person."""


@dataclass(frozen=True)
class SourceLimits:
    """What a tree may be at most.

    Attributes:
        ratio: how many times its compressed size, looked at from 256 MiB on.
    """

    files: int = 200_000
    bytes: int = 8 << 30
    ratio: int = 200


def unpack(
    tarball: Path, destination: Path, limits: SourceLimits | None = None, *, between: Callable[[], None] = lambda: None
) -> None:
    """Unpack a gzipped tarball without its one top folder.

    Args:
        destination: is created; its parent must exist.
        between: called again and again while it works; what it raises ends the work.

    Raises:
        SourceError: the tarball is damaged, too large, or holds what does not belong into a tree.
        OSError: the disk refused.
    """
    # The name can't be guessed, so no link can leave the folder and come back to it by its name.
    tree = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    try:
        tree.chmod(0o755)
        with tarball.open("rb") as compressed:
            _Unpacking(compressed, tree, limits or SourceLimits(), between).run()
        tree.rename(destination)
    finally:
        shutil.rmtree(tree, ignore_errors=True)


class GuardedStream:
    """The unzipped bytes of a tarball for ``tarfile``: forward only, and counted."""

    def __init__(self, compressed: IO[bytes], limits: SourceLimits, between: Callable[[], None]) -> None:
        self._compressed, self._limits, self._between = compressed, limits, between
        self._unzipped = gzip.GzipFile(fileobj=compressed, mode="rb")
        self._position = 0
        self.last_block = b""

    def tell(self) -> int:
        """How many bytes were read."""
        return self._position

    def seek(self, position: int) -> None:
        """Go forward to a place.

        Raises:
            SourceError: it lies behind.
        """
        if position < self._position:
            # Only a member with an impossible size makes tarfile go back; it would go round for ever.
            raise SourceError("The tarball is damaged: a member has an impossible size.")
        while self._position < position and self.read(min(_CHUNK, position - self._position)):
            pass

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            SourceError: there are too many of them, or they can't be unzipped.
        """
        if not 0 <= size <= _HEADER_BYTES:
            raise SourceError("The tarball has a header of unreasonable size.")
        self._between()
        try:
            block = self._unzipped.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SourceError(f"The tarball is damaged: {error}.") from error
        self._position += len(block)
        allowed = self._limits.bytes + self._limits.files * 2_048
        if self._position > allowed:
            raise SourceError(f"The tree is too large: more than {_size(self._limits.bytes)}.")
        read = max(1, self._compressed.tell())
        if self._position > _RATIO_FROM_BYTES and self._position > read * self._limits.ratio:
            raise SourceError(f"The tarball expands to more than {self._limits.ratio} times its size, like a bomb.")
        self.last_block = block
        return block


class _Unpacking:
    def __init__(self, compressed: IO[bytes], tree: Path, limits: SourceLimits, between: Callable[[], None]) -> None:
        self._stream = GuardedStream(compressed, limits, between)
        self._tree, self._limits = tree, limits
        self._top: str | None = None
        # Folders made here. A link never gets in, so nothing is ever written through one.
        self._folders = {PurePosixPath(".")}
        self._links: list[tuple[PurePosixPath, str]] = []
        self._files = 0
        self._bytes = 0

    def run(self) -> None:
        try:
            with tarfile.open(fileobj=self._stream, mode="r:") as archive:  # type: ignore[call-overload]
                while (member := archive.next()) is not None:
                    archive.members = []  # else it keeps every one
                    self._take(archive, member)
        except (tarfile.TarError, ValueError, OverflowError, LookupError) as error:
            # tarfile lets some mistakes through as they come.
            raise SourceError(f"The tarball is damaged: {error}.") from error
        # tarfile takes a broken header for the end of the archive; the real end is a block of zeros.
        if self._stream.last_block.strip(b"\0"):
            raise SourceError("The tarball is damaged: a member's header can't be read.")
        while self._stream.read(_CHUNK):  # the checksum stands at the end
            pass
        if self._top is None:
            raise SourceError("The tarball is empty.")
        self._check_links()

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self._path(member.name)
        self._count(member)
        if member.isdir():
            self._make_folder(path)
            return
        if path == PurePosixPath("."):
            raise SourceError("The tarball has no top folder.")
        if not (member.isreg() or member.issym() or member.islnk()):
            raise SourceError(f"{_shown(path)} is a device or a pipe, which has no place in a tree.")
        if member.issym() and (not member.linkname or len(os.fsencode(member.linkname)) > _NAME_BYTES):
            raise SourceError(f"{_shown(path)} is a link to nothing, or to a path longer than {_NAME_BYTES} bytes.")
        self._check_with_tarfile(member, path)
        self._make_folder(path.parent)
        target = self._tree / path
        try:
            if member.issym():
                target.symlink_to(member.linkname)
                self._links.append((path, member.linkname))
            elif member.islnk():
                target.hardlink_to(self._linked_file(member))
            else:
                self._write(archive, member, target)
        except FileExistsError:
            raise SourceError(f"{_shown(path)} is in the tarball twice.") from None
        except OSError as error:
            raise _blame(path, error) from error

    def _path(self, name: str) -> PurePosixPath:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or not parts or "\0" in name:
            raise SourceError(f"{_shown(name)} is not a path inside the tree.")
        if len(os.fsencode(name)) > _NAME_BYTES:
            raise SourceError(f"{_shown(name)} is a path longer than {_NAME_BYTES} bytes.")
        self._top = self._top or parts[0]
        if parts[0] != self._top:
            raise SourceError(f"{_shown(name)} is outside the tarball's one top folder {_shown(self._top)}.")
        return PurePosixPath(*parts[1:])

    def _count(self, member: tarfile.TarInfo) -> None:
        self._files += 1
        self._bytes += max(0, member.size)
        if self._files > self._limits.files:
            raise SourceError(f"The tree has more than {self._limits.files:,} files.")
        if self._bytes > self._limits.bytes:
            raise SourceError(
                f"The tree is too large: more than {_size(self._limits.bytes)}, reached at {_shown(member.name)}."
            )

    def _make_folder(self, path: PurePosixPath) -> None:
        if path in self._folders:
            return
        self._make_folder(path.parent)
        try:
            (self._tree / path).mkdir(mode=0o755)
        except FileExistsError:
            raise SourceError(f"{_shown(path)} is a folder and also something else.") from None
        except OSError as error:
            raise _blame(path, error) from error
        self._folders.add(path)

    def _check_with_tarfile(self, member: tarfile.TarInfo, path: PurePosixPath) -> None:
        # A second opinion, from a Python that has one (3.11.4 and later). What is refused here is refused without it.
        if not hasattr(tarfile, "data_filter"):
            return
        linkname = str(self._path(member.linkname)) if member.islnk() else member.linkname
        try:
            tarfile.data_filter(member.replace(name=str(path), linkname=linkname, deep=False), str(self._tree))
        except (tarfile.LinkOutsideDestinationError, tarfile.AbsoluteLinkError):
            raise SourceError(f"{_shown(path)} is a link that leaves the tree.") from None
        except tarfile.FilterError as error:
            raise SourceError(f"{_shown(path)} can't be unpacked safely: {error}.") from error

    def _linked_file(self, member: tarfile.TarInfo) -> Path:
        path = self._path(member.linkname)
        file = self._tree / path
        if path.parent not in self._folders or file.is_symlink() or not file.is_file():
            raise SourceError(
                f"{_shown(member.name)} is a link to {_shown(member.linkname)}, which is no file before it."
            )
        return file

    def _write(self, archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
        content = archive.extractfile(member)
        if content is None:
            raise SourceError(f"{_shown(member.name)} can't be read.")
        # The executable bit is all that Git knows; this also leaves setuid bits behind.
        mode = 0o755 if member.mode & 0o100 else 0o644
        written = 0
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as file:
            while block := content.read(65_536):
                written += file.write(block)
        if written != member.size:
            raise SourceError(f"The tarball is damaged: {_shown(member.name)} is cut off.")

    def _check_links(self) -> None:
        # Where a link leads depends on the other links, so the whole tree is looked at once it is there.
        tree = self._tree.resolve()
        for path, target in self._links:
            leads_to = Path(os.path.realpath(self._tree / path))
            written = os.path.normpath(path.parent / target)
            if written.split("/")[0] in ("", "..") or not leads_to.is_relative_to(tree):
                raise SourceError(f"{_shown(path)} is a link that leaves the tree.")


def _blame(path: PurePosixPath, error: OSError) -> Exception:
    """The member's fault if its name is impossible here, else the disk's."""
    if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
        return SourceError(f"{_shown(path)} can't be created on this machine: {error.strerror}.")
    return error


def _shown(name: str | PurePosixPath) -> str:
    """A member's name for a message: on one line, visible, not endless."""
    text = str(name)
    text = text if len(text) <= 200 else text[:199] + "…"
    return f"“{text.encode('unicode_escape').decode()}”" if not text.isprintable() else f"“{text}”"


def _size(count: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count} bytes"
