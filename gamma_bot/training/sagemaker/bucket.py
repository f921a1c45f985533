"""Whether the operator's bucket is there, may be used, and is where jobs train."""

from __future__ import annotations

from gamma_bot.config.errors import Problem
from gamma_bot.training.sagemaker.aws import Aws
from gamma_bot.training.sagemaker.refusals import AwsRefused, Refusal

_SECTION = ("train", "sagemaker")


class BucketCheck:
    """Asks S3 until all is well, and then no more."""

    def __init__(self, aws: Aws, bucket: str) -> None:
        self._aws, self._bucket = aws, bucket
        self._is_fine = False

    async def problems(self, region: str) -> list[Problem]:
        """What is wrong with the bucket, as far as AWS can be asked."""
        if self._is_fine or not self._bucket:
            return []
        try:
            answer = await self._aws.call("s3", "HeadBucket", Bucket=self._bucket)
        except AwsRefused as error:
            return self._refused(error)
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        found = answer.get("BucketRegion") or headers.get("x-amz-bucket-region") or region
        if found != region:
            words = f"the bucket `{self._bucket}` is in {found}, but jobs train in {region}; both must be the same"
            return [Problem(words, "Whoever runs Gamma corrects AWS_REGION or GAMMA_AWS_BUCKET.", _SECTION)]
        self._is_fine = True
        return []

    def _refused(self, error: AwsRefused) -> list[Problem]:
        if error.kind is Refusal.NOT_FOUND:
            words = f"the bucket `{self._bucket}`, for the code and the results of SageMaker jobs, does not exist"
            return [Problem(words, "Whoever runs Gamma creates it, or corrects GAMMA_AWS_BUCKET.", _SECTION)]
        if error.kind is Refusal.DENIED:
            words = f"AWS denies Gamma the permission s3:ListBucket on the bucket `{self._bucket}`"
            hint = "Whoever runs Gamma adds it to Gamma's policy (see infra/iam.tf), or corrects GAMMA_AWS_BUCKET."
            return [Problem(words, hint, _SECTION)]
        return []  # AWS can't be asked now: what is wrong will be seen when the code is brought there
