"""Answers a question: a conversation with a model, a second model where the first gives up, and the checks at the end.

It ends with a checked answer or with the reason why there is none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog

from gamma_bot.agent.allowed_links import AllowedLinks
from gamma_bot.agent.ask_events import Answered, Event
from gamma_bot.agent.ask_prompt import Question
from gamma_bot.agent.client import Answer, CapReached, Claude, NoAnswer, Rejected, SpendLimitReached
from gamma_bot.agent.ledger import Charge, Ledger
from gamma_bot.agent.models import Model
from gamma_bot.agent.reading import ProjectReader
from gamma_bot.agent.sanitiser import sanitise
from gamma_bot.agent.talk import Talk, Unusable

WHOLE_SECONDS = 300.0

log = structlog.get_logger()


class Asker:
    """Answers questions with a model, and with a second one where the first does not come to an end.

    Args:
        secrets: values that are configured here, which no model may see.
        pages: addresses below which pages may be linked, beside the repository's.
    """

    def __init__(
        self,
        claude: Claude,
        ledger: Ledger,
        models: Sequence[Model],
        *,
        secrets: Collection[str] = (),
        pages: Sequence[str] = (),
    ) -> None:
        self._claude = claude
        self._ledger = ledger
        self._models = models
        self._secrets = tuple(secrets)
        self._pages = tuple(pages)

    @property
    def model(self) -> str:
        """The model that is asked first."""
        return self._models[0].name

    async def answer(
        self,
        question: Question,
        reader: ProjectReader,
        charge: Charge,
        on_event: Callable[[Event], Awaitable[None]],
    ) -> Answered:
        """Answer a question.

        Raises:
            StoreUnavailable
        """
        began, began_at = time.monotonic(), time.time()
        talk = Talk(self._claude, question, reader, charge, on_event, self._secrets)
        why_not, first_refusal = "", False
        for model in self._models:
            if why_not:
                await talk.start_again()
            try:
                async with asyncio.timeout(WHOLE_SECONDS - (time.monotonic() - began)):
                    last = await talk.go_on(model)
                return await self._checked(talk, last, charge, began_at)
            except TimeoutError:
                why_not = "slow"
                break
            except (NoAnswer, Unusable) as error:
                log.info("agent.no_answer", task=charge.task, model=model.name, why=str(error))
                why_not = "unreachable"
                if isinstance(error, Unusable):
                    why_not = "refused" if error.is_refusal else "empty"
            except Rejected as error:
                log.warning("agent.rejected", task=charge.task, model=model.name, why=str(error))
                why_not = "rejected"
            except SpendLimitReached:
                why_not = "spend_limit"
                break
            except CapReached as reached:
                why_not, first_refusal = f"cap_{reached.over.what}", reached.over.first
                if reached.over.what == "month":
                    break
        usage, usd = await self._ledger.spent_on(charge.task, since=began_at)
        return Answered(
            "",
            why_not,
            usage=usage,
            usd=usd,
            seconds=time.monotonic() - began,
            looked_at=talk.looked_at,
            first_refusal=first_refusal,
        )

    async def _checked(self, talk: Talk, last: Answer, charge: Charge, began_at: float) -> Answered:
        """The answer as it may be shown: numbers traced, citations resolved, sanitised."""
        text, dropped = talk.ground().without_untraced(last.text)
        links = AllowedLinks(talk.reader.repository, self._pages, talk.cited.commits)
        markdown = sanitise(talk.cited.resolve(text), links)
        usage, usd = await self._ledger.spent_on(charge.task, since=began_at)
        return Answered(
            markdown,
            "" if markdown.strip() else "untraced",
            dropped=dropped,
            model=last.model,
            usage=usage,
            usd=usd,
            seconds=time.time() - began_at,
            looked_at=talk.looked_at,
            stop=last.stop_reason,
            month_share=await self._ledger.month_share(charge.repository_id),
        )
