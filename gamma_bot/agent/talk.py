"""One conversation with a model: its turns and its calls of tools, within fixed bounds.

It only grows at its end, so that every turn reads the ones before it from the cache. Each call of a tool gets a result,
whatever becomes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gamma_bot.agent.ask_events import Delta, Event, Restart, Status, ToolDone, UsageNow, status_of
from gamma_bot.agent.ask_prompt import AskPrompt, Question, ask_prompt
from gamma_bot.agent.cited import Cited
from gamma_bot.agent.cleaning import clean
from gamma_bot.agent.client import Answer, Claude
from gamma_bot.agent.ledger import Charge
from gamma_bot.agent.models import Model, Usage
from gamma_bot.agent.reading import ProjectReader
from gamma_bot.agent.tool_results import ToolResult, failed
from gamma_bot.agent.tools import USED_UP, Toolbox
from gamma_bot.agent.traced import Ground

MOST_TURNS = 6
MOST_CALLS = 10
AT_ONCE = 4

_ANSWER_NOW = "This is your last turn: answer now with what you have, and call no tool."
_MEND = (
    "Gamma checked your answer and can't accept these parts of it. Write the whole answer again without them, or as"
    " what you read supports it; call no tool and say nothing about this check.\n"
)


class Unusable(Exception):
    """A model came to its end without an answer that can be used."""

    def __init__(self, why: str, *, is_refusal: bool = False) -> None:
        super().__init__(why)
        self.is_refusal = is_refusal


class Talk:
    """One conversation about one question; a second model can go on with it."""

    def __init__(
        self,
        claude: Claude,
        question: Question,
        reader: ProjectReader,
        charge: Charge,
        on_event: Callable[[Event], Awaitable[None]],
        secrets: Collection[str],
    ) -> None:
        self._claude = claude
        self._charge = charge
        self._on_event = on_event
        self._prompt: AskPrompt = ask_prompt(question, secrets)
        self.reader = reader
        self.cited = _cited(question, reader, self._prompt)
        self._toolbox = Toolbox(reader, lambda text: clean(text, secrets), self.cited)
        self._messages: list[dict[str, Any]] = [dict(self._prompt.first)]
        self._turns = 0
        self._has_shown_text = False
        self.looked_at: list[str] = []
        self.usage = Usage()
        self.usd = 0.0

    def ground(self) -> Ground:
        """The numbers that an answer may hold: those of the question and the thread, and of all that tools returned."""
        return Ground([*self._prompt.shown, *self.cited.results])

    async def start_again(self) -> None:
        """Another model goes on. Thinking is for the model that thought it; calls and results stay."""
        await self._restart()
        self._messages = [_without_thinking(message) for message in self._messages]
        # However far the first one came, there is one turn left to answer in.
        if self._turns >= MOST_TURNS - 1:
            self._turns = MOST_TURNS - 1
            self._messages[-1]["content"].append({"type": "text", "text": _ANSWER_NOW})

    async def go_on(self, model: Model) -> Answer:
        """Turn after turn until there is an answer.

        Raises:
            CapReached, SpendLimitReached, NoAnswer, Rejected, StoreUnavailable, Unusable
        """
        is_mended = False
        while True:
            answer = await self._turn(model)
            self._turns += 1
            calls = [block for block in answer.content if block.type == "tool_use"]
            is_last = self._turns >= MOST_TURNS
            if answer.stop_reason == "refusal":
                raise Unusable("refusal", is_refusal=True)
            if calls and not is_last and answer.stop_reason == "tool_use":
                self._say("assistant", _blocks(answer))
                results = await self._results(calls)
                if self._turns == MOST_TURNS - 1 or len(self.looked_at) >= MOST_CALLS:
                    results.append({"type": "text", "text": _ANSWER_NOW})
                self._say("user", results)
                await self._restart()  # what was said before the calls is no part of the answer
                continue
            if not answer.text.strip():
                raise Unusable(f"no text ({answer.stop_reason})")
            problems = [] if is_mended or is_last or calls else self._problems(answer.text)
            if not problems:
                return answer
            is_mended = True
            self._say("assistant", _blocks(answer))
            told = "\n".join(f"- {problem}" for problem in problems[:20])
            self._say("user", [{"type": "text", "text": _MEND + told}])
            await self._restart()
            self._turns = MOST_TURNS - 1  # one turn, and it is the last one

    async def _turn(self, model: Model) -> Answer:
        answer = await self._claude.call(
            model,
            self._prompt.request(model, self._messages),
            self._charge,
            on_event=self._heard,
            on_restart=self._restart,
        )
        self.usage, self.usd = self.usage + answer.usage, self.usd + answer.usd
        await self._on_event(UsageNow(self.usage, self.usd))
        return answer

    async def _results(self, calls: Sequence[Any]) -> list[dict[str, Any]]:
        """One result for each call, in their order, whatever becomes of it."""
        gate = asyncio.Semaphore(AT_ONCE)
        allowed = calls[: max(0, MOST_CALLS - len(self.looked_at))]
        self.looked_at += [str(call.name) for call in allowed]

        async def result(call: Any, *, may_run: bool) -> ToolResult:
            if not may_run:
                return ToolResult(*failed(USED_UP))
            async with gate:
                await self._on_event(Status(status_of(str(call.name))))
                done = await self._toolbox.run(str(call.name), call.input)
                await self._on_event(ToolDone(str(call.name), done.ok, round(done.seconds * 1000)))
                return done

        allowed_ids = {id(call) for call in allowed}
        done = await asyncio.gather(*(result(call, may_run=id(call) in allowed_ids) for call in calls))
        return [
            {
                "type": "tool_result",
                "tool_use_id": call.id,
                "content": one.content,
                **({} if one.ok else {"is_error": True}),
            }
            for call, one in zip(calls, done, strict=True)
        ]

    def _problems(self, text: str) -> list[str]:
        numbers = [
            f"the number {each}, which nothing you were shown accounts for" for each in self.ground().untraced(text)
        ]
        return numbers + [f"{each}, which names nothing you were shown" for each in self.cited.unknown(text)]

    def _say(self, role: str, content: list[dict[str, Any]]) -> None:
        self._messages.append({"role": role, "content": content})

    async def _heard(self, event: Any) -> None:
        if event.type == "text" and event.text:
            self._has_shown_text = True
            await self._on_event(Delta(event.text))

    async def _restart(self) -> None:
        if self._has_shown_text:
            self._has_shown_text = False
            await self._on_event(Restart())


def _cited(question: Question, reader: ProjectReader, prompt: AskPrompt) -> Cited:
    cited = Cited(reader.repository)
    cited.commit(question.sha)
    if question.run is not None:
        cited.run(question.run)
    cited.diff(question.sha, [replace(file, patch=None) for file in question.files])  # of lines nothing was shown
    for data in prompt.shown[:1]:  # the commit; what a thread or a question names was not read
        cited.shown(data)
    return cited


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    """What the model answered as it goes back: unchanged, or the API refuses its thinking."""
    return [block.model_dump(mode="json", exclude_none=True) for block in answer.content]


def _without_thinking(message: Mapping[str, Any]) -> dict[str, Any]:
    kept = [block for block in message["content"] if block["type"] not in ("thinking", "redacted_thinking")]
    return {**message, "content": kept or [{"type": "text", "text": "…"}]}
