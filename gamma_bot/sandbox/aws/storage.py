"""S3 as a training job uses it: channels in, checkpoints both ways, artifacts out. Straight to moto's buckets."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gamma_bot.sandbox.aws.calls import ACCOUNT
from gamma_bot.sandbox.aws.errors import Refused


def parted(uri: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URI."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, key


def bucket_problem(name: str, region: str) -> str | None:
    """What S3 says when a job of this region uses that bucket; ``None`` when it can."""
    bucket = _buckets().buckets.get(name)
    if bucket is None:
        return "NoSuchBucket (404): The specified bucket does not exist"
    if bucket.region_name != region:
        where = f"The bucket is in this region: {bucket.region_name}"
        return f"PermanentRedirect (301): {where}. Please use this region to retry the request"
    return None


def keys_under(uri: str) -> list[str]:
    """The keys that start with the URI's key, folder markers left out; empty too when there is no such bucket."""
    name, prefix = parted(uri)
    bucket = _buckets().buckets.get(name)
    if bucket is None:
        return []
    return sorted(key for key in list(bucket.keys) if key.startswith(prefix) and not key.endswith("/"))


def download(uri: str, folder: Path) -> int:
    """Copy what is under a prefix into ``folder``, named as SageMaker names it; the number of files."""
    bucket, prefix = parted(uri)
    keys = keys_under(uri)
    for key in keys:
        target = (folder / _name_below(prefix, key)).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise Refused("ClientError", f"Data download failed:the key {key} leads out of the channel")
        found = _buckets().get_object(bucket, key)
        if found is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(found.value)
    return len(keys)


def upload(content: bytes, uri: str, kms_key: str | None = None) -> None:
    bucket, key = parted(uri)
    _buckets().put_object(bucket, key, content, encryption="aws:kms" if kms_key else None, kms_key_id=kms_key)


def upload_folder(folder: Path, uri: str) -> None:
    for path in files_of(folder):
        upload(path.read_bytes(), f"{uri.rstrip('/')}/{path.relative_to(folder)}")


def packed(folders: list[Path]) -> bytes | None:
    """A gzipped tarball of what is in the folders together, or ``None`` when there is nothing."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        empty = True
        for folder in folders:
            for path in files_of(folder):
                archive.add(path, arcname=str(path.relative_to(folder)))
                empty = False
    return None if empty else buffer.getvalue()


def files_of(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


class Checkpoints:
    """Keeps a folder and its place in S3 the same: restored at the start, then every change goes up."""

    def __init__(self, folder: Path, uri: str) -> None:
        self._folder, self._uri = folder, uri
        self._seen: dict[Path, tuple[int, int]] = {}

    def restore(self) -> None:
        download(self._uri.rstrip("/") + "/", self._folder)
        self._seen = {path: _stamp(path) for path in files_of(self._folder)}

    def push(self) -> None:
        """Send what is new or changed since the last time."""
        for path in files_of(self._folder):
            try:
                stamp = _stamp(path)
                if self._seen.get(path) != stamp:
                    upload(path.read_bytes(), f"{self._uri.rstrip('/')}/{path.relative_to(self._folder)}")
                    self._seen[path] = stamp
            except FileNotFoundError:
                continue  # The script renamed or removed it while we looked.


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _name_below(prefix: str, key: str) -> str:
    """``s3://b/data`` may mean the folder ``data/``, the object ``data``, or all objects that start with ``data``."""
    rest = key[len(prefix) :]
    if prefix.endswith("/") or rest.startswith("/"):
        return rest.lstrip("/")
    return key[prefix.rfind("/") + 1 :]


def _buckets() -> Any:
    from moto.s3.models import s3_backends

    return s3_backends[ACCOUNT]["aws"]
