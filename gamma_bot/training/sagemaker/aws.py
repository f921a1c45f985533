"""Calls to AWS off the event loop: clients made when they are first needed, a few calls at once, errors as values."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from gamma_bot.training.sagemaker.refusals import AwsRefused, Refusal, refused

Result = TypeVar("Result")

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 30.0  # longer than the longest wait for messages that SQS offers
_TRIES = 4
_FRESH_SECONDS = 30.0
# Where the IAM action has another name than the call.
_ACTIONS = {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
}


class Aws:
    """boto3's clients, one per service.

    Where AWS is and who asks is found as boto3 always does (``AWS_PROFILE``, the machine's role, …).

    Args:
        region, endpoint_url: take the place of what boto3 would find.
        at_once: how many calls are under way at most; the long wait for messages has a thread of its own.
    """

    def __init__(self, *, region: str | None = None, endpoint_url: str | None = None, at_once: int = 8) -> None:
        self._region, self._endpoint_url, self._at_once = region, endpoint_url, at_once
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._renewed_at = float("-inf")
        self.calls: Counter[str] = Counter()

    async def call(self, service: str, operation: str, *, region: str | None = None, **parameters: Any) -> Any:
        """One call, such as ``call("sagemaker", "StopTrainingJob", TrainingJobName=…)``.

        Raises:
            AwsRefused
        """
        return await self._run(self._call, service, operation, region, parameters)

    async def wait(self, service: str, operation: str, **parameters: Any) -> Any:
        """A call that AWS answers late on purpose.

        Raises:
            AwsRefused
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any, error: Exception | None) -> None:
            if not answer.done():
                answer.set_result(result) if error is None else answer.set_exception(error)

        def wait() -> None:
            result, problem = None, None
            try:
                result = self._call(service, operation, None, parameters)
            except Exception as error:
                problem = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
                loop.call_soon_threadsafe(settle, result, problem)

        # A daemon, unlike the threads of a pool: whoever wants to end does not wait for AWS.
        threading.Thread(target=wait, name="aws-wait", daemon=True).start()
        return await answer

    async def using(self, service: str, action: str, work: Callable[[Any], Result]) -> Result:
        """Let ``work`` use a service's client in a thread; for what is more than one call.

        Raises:
            AwsRefused
        """
        return await self._run(self._use, service, action, work)

    async def region(self) -> str:
        """The region that jobs run in.

        Raises:
            AwsRefused: none is set.
        """
        return await self.using("sagemaker", "sagemaker:CreateTrainingJob", lambda client: str(client.meta.region_name))

    def close(self) -> None:
        """End the threads until the next call; a wait for messages is left to end by itself."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def _run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._at_once, thread_name_prefix="aws")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _call(self, service: str, operation: str, region: str | None, parameters: Mapping[str, Any]) -> Any:
        action = _action(service, operation)
        return self._use(service, action, lambda client: _method(client, operation)(**parameters), region)

    def _use(self, service: str, action: str, work: Callable[[Any], Result], region: str | None = None) -> Result:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        self.calls[action] += 1
        try:
            return work(self._client(service, region))
        except (BotoCoreError, ClientError, Boto3Error) as error:
            problem = refused(error, action)
            if problem.kind in (Refusal.EXPIRED, Refusal.NO_CREDENTIALS):
                self._look_for_new_credentials()
            raise problem from error

    def _client(self, service: str, region: str | None) -> Any:
        with self._lock:  # making a client is not safe in several threads, using one is
            found = self._clients.get((service, region))
            if found is None:
                found = self._clients[service, region] = self._make(service, region)
            return found

    def _make(self, service: str, region: str | None) -> Any:
        import boto3
        from botocore.config import Config

        if self._session is None:
            self._session = boto3.session.Session(region_name=self._region)
        config = Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            max_pool_connections=self._at_once + 1,
            signature_version="s3v4" if service == "s3" else None,
            user_agent_appid="gamma",
        )
        return self._session.client(service, region_name=region, endpoint_url=self._endpoint_url, config=config)

    def _look_for_new_credentials(self) -> None:
        """A session keeps what it once read from a file; only a new one sees what was written there since."""
        with self._lock:
            if time.monotonic() - self._renewed_at >= _FRESH_SECONDS:
                self._renewed_at = time.monotonic()
                self._session = None
                self._clients.clear()


def is_aws_refusal(error: BaseException, *kinds: Refusal) -> bool:
    """Whether this is a refusal of one of these kinds."""
    return isinstance(error, AwsRefused) and error.kind in kinds


def _action(service: str, operation: str) -> str:
    action = f"{service}:{operation}"
    return _ACTIONS.get(action, action)


def _method(client: Any, operation: str) -> Any:
    from botocore import xform_name

    return getattr(client, xform_name(operation))
