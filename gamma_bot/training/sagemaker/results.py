"""What training jobs left in S3: listed with sizes, opened, and as links that work for a few minutes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import quote

from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.names import output_prefix
from gamma_bot.training.sagemaker.refusals import AwsRefused, Refusal
from gamma_bot.training.trainer import Artifact

_MOST_FILES = 1_000
_LINK_SECONDS = 300
_IN_MEMORY_BYTES = 1 << 20


class Results:
    """The objects below a training job's output folder."""

    def __init__(self, aws: Aws, bucket: str) -> None:
        self._aws, self._bucket = aws, bucket

    async def of(self, name: str) -> Sequence[Artifact]:
        """The files of a training job, at most a thousand; none if it left none.

        Raises:
            AwsRefused
        """
        prefix = output_prefix(name)
        try:
            answer = await self._aws.call(
                "s3", "ListObjectsV2", Bucket=self._bucket, Prefix=prefix, MaxKeys=_MOST_FILES
            )
        except AwsRefused as error:
            if error.kind is Refusal.NOT_FOUND:
                return ()
            raise
        found = ((str(each["Key"]).removeprefix(prefix), int(each["Size"])) for each in answer.get("Contents", ()))
        return [Artifact(path, size) for path, size in found if path and not path.endswith("/") and path.isprintable()]

    async def open(self, name: str, path: str) -> BinaryIO:
        """A file, copied to this machine's disk while it is open.

        Raises:
            OSError: there is no such file, or AWS does not give it.
        """
        key = _key(name, path)
        file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - the caller closes it

        def fetch(client: Any) -> None:
            client.download_fileobj(self._bucket, key, file)

        try:
            await self._aws.using("s3", "s3:GetObject", fetch)
        except AwsRefused as error:
            file.close()
            raise OSError(str(error)) from error
        file.seek(0)
        return cast("BinaryIO", file)

    async def link(self, name: str, path: str) -> str:
        """An address from which anybody can fetch a file for five minutes. Not to be shown where many read.

        Raises:
            OSError: there can be no such file.
            AwsRefused: there are no credentials to sign it with.
        """
        filename = quote(PurePosixPath(path).name, safe="")
        parameters = {
            "Bucket": self._bucket,
            "Key": _key(name, path),
            "ResponseContentType": "application/octet-stream",
            "ResponseContentDisposition": f"attachment; filename*=UTF-8''{filename}",
        }

        def sign(client: Any) -> str:
            return str(client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=_LINK_SECONDS))

        return await self._aws.using("s3", "s3:GetObject", sign)


def _key(name: str, path: str) -> str:
    if ".." in PurePosixPath(path).parts or path.startswith("/"):
        raise FileNotFoundError(path)
    return output_prefix(name) + path
