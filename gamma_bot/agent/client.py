"""Claude, reached so that nothing goes unnoticed: every attempt is paid from the ledger, every broken stream is seen.

The SDK is imported at the first call: a Gamma without a key never does. What the SDK does not say, ``_events`` finds
out: a stream that just ends early raises nothing there.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from gamma_bot.agent.accounting import Accounting, CapReached, SpendLimitReached, tokens_in, usage_of
from gamma_bot.agent.ledger import Charge, Ledger
from gamma_bot.agent.models import Model, Usage

if TYPE_CHECKING:
    from anthropic import APIError, AsyncAnthropic

log = structlog.get_logger()


class NoAnswer(Exception):
    """The model could not be asked, or did not answer to the end, however often it was tried."""


class Rejected(Exception):
    """The API refuses the call, and would refuse it again: a wrong key, a wrong request, an unknown model."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a model.

    Attributes:
        read_seconds: for the next piece of an answer.
        call_seconds: for all of one call, with everything that is tried again.
        retries: of what failed before the answer began; the SDK makes them, as the API asks it to.
        streams: how often an answer that broke off is asked for.
        backoff_seconds: before the second of these; then twice as long each time.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 60.0
    request_seconds: float = 120.0
    call_seconds: float = 150.0
    retries: int = 2
    streams: int = 3
    backoff_seconds: float = 1.0


@dataclass(frozen=True)
class Answer:
    """What a model answered.

    Attributes:
        content: its blocks as they came; they go back unchanged if the conversation goes on.
        text: its text blocks; thinking is none of them.
        stop_reason: never ``None``: an answer without one has broken off.
        usage, usd: of all attempts that this call took.
    """

    model: str
    content: list[Any]
    text: str
    stop_reason: str
    usage: Usage
    usd: float
    request_id: str


class Claude:
    """One per process.

    Args:
        base_url: another address of the API; ``None`` for Anthropic's own.
    """

    def __init__(self, api_key: str | None, base_url: str | None, ledger: Ledger, patience: Patience | None = None):
        self._api_key = api_key
        self._base_url = base_url
        self._ledger = ledger
        self._patience = patience or Patience()
        self._client: AsyncAnthropic | None = None

    @property
    def available(self) -> bool:
        """Whether a key is configured."""
        return bool(self._api_key)

    async def call(
        self,
        model: Model,
        request: Mapping[str, Any],
        charge: Charge,
        *,
        on_event: Callable[[Any], Awaitable[None]] | None = None,
        on_restart: Callable[[], Awaitable[None]] | None = None,
    ) -> Answer:
        """Ask once; the answer is complete.

        Args:
            request: what ``messages.stream`` takes, without the model.
            on_event: hears each event of the stream as it comes.
            on_restart: what was heard so far is void, since the answer broke off and is asked for again.

        Raises:
            CapReached, SpendLimitReached, NoAnswer, Rejected, StoreUnavailable
        """
        spent, usd = Usage(), 0.0
        try:
            async with asyncio.timeout(self._patience.call_seconds):
                for number in range(self._patience.streams):
                    if number:
                        await asyncio.sleep(self._patience.backoff_seconds * 2 ** (number - 1))
                        if on_restart is not None:
                            await on_restart()
                    accounting = Accounting(self._ledger, charge, model, request)
                    answer = await self._stream(model, request, accounting, on_event)
                    spent, usd = spent + accounting.usage, usd + accounting.usd
                    if answer is not None:
                        return Answer(model.name, *answer, spent, usd, accounting.request_id)
        except TimeoutError:
            raise NoAnswer(f"no answer within {self._patience.call_seconds:g} seconds") from None
        raise NoAnswer(f"its answer broke off {self._patience.streams} times")

    async def probe(self, model: Model) -> None:
        """Let the API count the tokens of a word, which is free: it shows whether key, address and model fit.

        Raises:
            NoAnswer, Rejected
        """
        client = await self._open()
        import anthropic

        try:
            await client.messages.count_tokens(model=model.name, messages=[{"role": "user", "content": "Hello"}])
        except anthropic.APIError as error:
            raise _ours(error) from error

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _stream(
        self,
        model: Model,
        request: Mapping[str, Any],
        accounting: Accounting,
        on_event: Callable[[Any], Awaitable[None]] | None,
    ) -> tuple[list[Any], str, str] | None:
        """Content, text and stop reason; ``None`` if the answer broke off."""
        client = (await self._open()).with_options(middleware=[accounting])
        import anthropic

        message: Any = None
        try:
            async with client.messages.stream(model=model.name, **request) as stream:
                try:
                    async for event in _events(stream):
                        message = stream.current_message_snapshot
                        if on_event is not None:
                            await on_event(event)
                except _BrokeOff as broken:
                    log.info("agent.stream_broke_off", model=model.name, why=str(broken), task=accounting.task)
                    await accounting.settle(usage_of(message), str(broken), message=message, estimated=True)
                    return None
            await accounting.settle(usage_of(message), message.stop_reason, message=message)
            text = "".join(block.text for block in message.content if block.type == "text")
            return list(message.content), text, str(message.stop_reason)
        except (anthropic.APIConnectionError, anthropic.APIStatusError) as error:
            raise _ours(error) from error
        finally:
            await accounting.settle(usage_of(message), "cancelled", message=message, estimated=True)

    async def _open(self) -> AsyncAnthropic:
        if self._client is None:
            # It takes a second, in which the loop has other things to do.
            await asyncio.to_thread(importlib.import_module, "anthropic")
            import httpx2
            from anthropic import AsyncAnthropic

            patience = self._patience
            timeout = httpx2.Timeout(
                patience.request_seconds, connect=patience.connect_seconds, read=patience.read_seconds
            )
            self._client = AsyncAnthropic(
                api_key=self._api_key,
                base_url=self._base_url or "https://api.anthropic.com",
                timeout=timeout,
                max_retries=patience.retries,
                open_telemetry=False,
            )
        return self._client


class _BrokeOff(Exception):
    """A stream that did not come to its end; the text says how."""


async def _events(stream: Any) -> AsyncIterator[Any]:
    import anthropic
    import httpx2

    try:
        async for event in stream:
            yield event
    except anthropic.APIStatusError as error:  # an error event: the status of the response stays 200
        raise _BrokeOff(f"error {error.type or 'event'}") from error
    except httpx2.TimeoutException as error:
        raise _BrokeOff("stalled") from error
    except (httpx2.HTTPError, anthropic.APIConnectionError) as error:
        raise _BrokeOff("cut") from error
    except (ValueError, RuntimeError, IndexError, AssertionError, AttributeError, TypeError) as error:
        raise _BrokeOff("corrupt") from error
    try:
        complete = stream.current_message_snapshot.stop_reason is not None
    except AssertionError:  # not even its beginning came
        complete = False
    if not complete:
        raise _BrokeOff("ended early")


def _ours(error: APIError) -> NoAnswer | Rejected:
    import anthropic

    if not isinstance(error, anthropic.APIStatusError):
        return NoAnswer(f"{type(error).__name__}: {error}".splitlines()[0][:200])
    if error.status_code >= 500 or error.status_code in (408, 409, 429):
        return NoAnswer(f"{error.status_code} {error.type or ''}".strip())
    return Rejected(f"{error.status_code} {error.type or ''}: {error.api_message or ''}".strip(": "))


__all__ = ["Answer", "CapReached", "Claude", "NoAnswer", "Patience", "Rejected", "SpendLimitReached", "tokens_in"]
