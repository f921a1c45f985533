"""The middleware that pays for attempts: it runs inside the SDK's retry loop, once for each of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import structlog

from gamma_bot.agent.ledger import Charge, Ledger, OverTheCap
from gamma_bot.agent.models import Model, Usage

log = structlog.get_logger()

# They come as 429 or 402 like limits that pass in a moment, and last until somebody pays or the month is over.
_SPEND_LIMITS = (
    "enforced_spend_limit_reached",
    "contract_spend_limit_reached",
    "linked_organization_spend_limit_reached",
    "linked_organization_billing_unavailable",
)


class CapReached(Exception):
    """A call would come to more than a cap of ours allows."""

    def __init__(self, over: OverTheCap) -> None:
        super().__init__(f"the cap of the {over.what} ({over.cap:g} USD) is reached")
        self.over = over


class SpendLimitReached(Exception):
    """The account at Anthropic may spend no more; trying again changes nothing."""


class Accounting:
    """Pays for one stream, whatever attempts it takes.

    Attributes:
        usage, usd: what they came to, once they are settled.
        request_id: of the newest one.
    """

    def __init__(self, ledger: Ledger, charge: Charge, model: Model, request: Mapping[str, Any]) -> None:
        self._ledger = ledger
        self._charge = charge
        self._model = model
        self._prompt_tokens = tokens_in(request)
        self._output_tokens = int(request["max_tokens"])
        self._open: str | None = None
        self.usage = Usage()
        self.usd = 0.0
        self.request_id = ""

    @property
    def task(self) -> str:
        """What it is paid for."""
        return self._charge.task

    async def __call__(self, request: Any, call_next: Any) -> Any:
        """One attempt.

        Raises:
            CapReached, SpendLimitReached, StoreUnavailable
        """
        opened = await self._ledger.reserve(self._charge, self._model, self._prompt_tokens, self._output_tokens)
        if isinstance(opened, OverTheCap):
            raise CapReached(opened)
        self._open, self.request_id = opened, ""
        try:
            response = await call_next(request)
        except Exception as error:
            await self._unanswered(error)
            raise
        self.request_id = response.headers.get("request-id", "")
        if response.status_code >= 400:
            await self._failed(response)
        return response

    async def settle(
        self, usage: Usage | None, stop_reason: str, *, message: Any = None, estimated: bool = False
    ) -> None:
        """Close the attempt that is open, if one is.

        Args:
            usage: as far as it was said; ``None`` if nothing was.
            estimated: what came of the answer has to be counted by ourselves, in ``message``.
        """
        if self._open is None:
            return
        if usage is None or not usage.prompt:  # a gateway may leave it out; it would look as if it cost nothing
            usage, estimated = (usage or Usage()) + Usage(fresh=self._prompt_tokens), True
        if estimated and message is not None:
            written = "".join(
                str(getattr(block, "text", None) or getattr(block, "thinking", "")) for block in message.content
            )
            usage += Usage(output=max(0, tokens_of(written) - usage.output))
        await self._close(usage, stop_reason, estimated=estimated)

    async def _unanswered(self, error: Exception) -> None:
        """What never reached the API costs nothing; what may have reached it, its prompt."""
        import httpx2

        cause = error.__cause__ or error
        if isinstance(
            cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout | httpx2.UnsupportedProtocol
        ):
            await self._close(Usage(), "unreachable")
        else:
            await self._close(Usage(fresh=self._prompt_tokens), "unanswered", estimated=True)

    async def _failed(self, response: Any) -> None:
        body = await response.read()
        await self._close(Usage(), f"http {response.status_code}")
        try:
            code = json.loads(body)["error"]["details"]["error_code"]
        except (ValueError, KeyError, TypeError):
            return
        if code in _SPEND_LIMITS:
            raise SpendLimitReached(code)

    async def _close(self, usage: Usage, stop_reason: str, *, estimated: bool = False) -> None:
        attempt, self._open = self._open, None
        assert attempt is not None
        usd = await self._ledger.settle(attempt, self._model, usage, stop_reason, self.request_id, estimated=estimated)
        self.usage, self.usd = self.usage + usage, self.usd + usd
        log.info(
            "agent.attempt",
            job=self._charge.job,
            kind=self._charge.kind,
            model=self._model.name,
            request_id=self.request_id,
            stop=stop_reason,
            tokens_in=usage.prompt,
            tokens_out=usage.output,
            usd=round(usd, 6),
        )


def usage_of(message: Any) -> Usage | None:
    """The tokens that a message says it took; ``None`` if it does not say."""
    said = message.usage if message is not None else None
    if said is None:  # what stands between the API and us may have lost it
        return None
    written = said.cache_creation_input_tokens or 0
    # Only the split tells what the writes cost: an hour's are dearer. Without it they are taken for the dearer ones.
    hour = said.cache_creation.ephemeral_1h_input_tokens if said.cache_creation is not None else written
    details = said.output_tokens_details
    return Usage(
        fresh=said.input_tokens or 0,
        cache_read=said.cache_read_input_tokens or 0,
        cache_write_5m=max(0, written - hour),
        cache_write_1h=hour,
        output=said.output_tokens or 0,
        thinking=details.thinking_tokens if details is not None else 0,
    )


def tokens_of(text: str) -> int:
    """About how many tokens a text has; rather too many than too few."""
    return (len(text.encode("utf-8", "replace")) + 2) // 3


def tokens_in(request: Mapping[str, Any]) -> int:
    """About how many tokens a request's prompt has."""
    parts = {key: request[key] for key in ("tools", "system", "messages", "output_config") if key in request}
    return tokens_of(json.dumps(parts, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)
