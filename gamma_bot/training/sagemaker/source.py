"""Brings a commit's tree to S3, once: as a tarball that is the same whenever the tree is, with our entry beside it.

code/…            the tree, without the top folder that GitHub puts around it
gamma/entry.sh    what the container runs first
gamma/run.py      what that runs where the image has Python
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.names import source_key
from gamma_bot.training.source import unpack
from gamma_bot.training.trainer import Origin

_ENTRY = ("entry.sh", "run.py")


@dataclass(frozen=True)
class Packed:
    """A repacked tree on this machine's disk, and the SHA-256 of it."""

    path: Path
    digest: str


def repack(tarball: Path, folder: Path) -> Packed:
    """Make of GitHub's tarball the one that jobs are given. The same tree gives the same bytes.

    Args:
        folder: where the result is put; needs room for the whole tree, too.

    Raises:
        SourceError: the tarball holds what does not belong into a tree.
        OSError: the disk refused.
    """
    target = folder / "source.tar.gz"
    with tempfile.TemporaryDirectory(prefix="tree-", dir=folder) as scratch:
        tree = Path(scratch) / "code"
        unpack(tarball, tree)
        with target.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as zipped:
            _write(zipped, tree)
    digest = hashlib.sha256()
    with target.open("rb") as packed:
        while block := packed.read(1 << 20):
            digest.update(block)
    return Packed(target, digest.hexdigest())


async def bring(aws: Aws, bucket: str, origin: Origin, packed: Packed) -> str:
    """Put the tarball to S3 unless it is there; its key.

    Raises:
        AwsRefused
    """
    key = source_key(origin, packed.digest)
    # A listing, since the answer to HeadObject has no body: it can't say that credentials have expired.
    listed = await aws.call("s3", "ListObjectsV2", Bucket=bucket, Prefix=key, MaxKeys=1)
    if listed.get("KeyCount"):
        return key

    # Encrypted as the bucket says, and not by `kms_key`: other attempts, with other keys, use the same object.
    def upload(client: Any) -> None:
        client.upload_file(str(packed.path), bucket, key)

    await aws.using("s3", "s3:PutObject", upload)
    return key


def _write(zipped: gzip.GzipFile, tree: Path) -> None:
    with tarfile.open(fileobj=zipped, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        container = Path(__file__).parent / "container"
        for name in _ENTRY:
            content = (container / name).read_bytes()
            _add(archive, _member(f"gamma/{name}", 0o755), io.BytesIO(content), len(content))
        _add(archive, _member("code", 0o755, tarfile.DIRTYPE))
        # Sorted as bytes: the same on every machine, whatever its language.
        for path in sorted(tree.rglob("*"), key=os.fsencode):
            name = f"code/{path.relative_to(tree).as_posix()}"
            if path.is_symlink():
                member = _member(name, 0o777, tarfile.SYMTYPE)
                member.linkname = os.readlink(path)  # noqa: PTH115 - Path.readlink would tidy it up
                _add(archive, member)
            elif path.is_dir():
                _add(archive, _member(name, 0o755, tarfile.DIRTYPE))
            else:
                status = path.stat()
                mode = 0o755 if status.st_mode & 0o100 else 0o644
                with path.open("rb") as file:
                    _add(archive, _member(name, mode), file, status.st_size)


def _member(name: str, mode: int, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.type, member.mtime = mode, kind, 0
    return member


def _add(archive: tarfile.TarFile, member: tarfile.TarInfo, content: IO[bytes] | None = None, size: int = 0) -> None:
    member.size = size
    archive.addfile(member, content)
