"""The write-up of a commit: from facts to checked Markdown, down a ladder whose last rung needs no model.

The deterministic text is shown before any of this begins, so that there is nothing to lose: whatever goes wrong here
ends with "no better text", and says why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import structlog

from gamma_bot.agent.accounting import CapReached, SpendLimitReached
from gamma_bot.agent.checks import Checks, Violation, has_substance, without
from gamma_bot.agent.client import Answer, Claude, NoAnswer, Rejected
from gamma_bot.agent.facts import Commit
from gamma_bot.agent.ledger import WARN_AT, Charge, Ledger
from gamma_bot.agent.models import Model, Usage
from gamma_bot.agent.prompt import Prompt, prompt_version, write_up_prompt
from gamma_bot.agent.rendering import headline, render
from gamma_bot.agent.sanitiser import AllowedLinks
from gamma_bot.agent.schema import NotAWriteUp, Written, parse

log = structlog.get_logger()

_MOST_VIOLATIONS_TOLD = 12


class Rung(StrEnum):
    """How far down the ladder a write-up came to be."""

    MODEL = "model"
    REPAIRED = "repaired"
    TRIMMED = "trimmed"  # what was wrong in it was left out
    SECOND_MODEL = "second_model"
    DETERMINISTIC = "deterministic"


class NoModel(StrEnum):
    """Why a write-up has only its deterministic text."""

    NO_KEY = "no_key"
    CAP = "cap"  # ours, of the month
    TASK_CAP = "task_cap"  # ours, of one write-up
    SPEND_LIMIT = "spend_limit"  # Anthropic's
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"  # a wrong key, a model that the API does not know: asking again changes nothing
    REFUSED = "refused"
    WRONG = "wrong"  # what was written did not hold


@dataclass(frozen=True)
class WriteUp:
    """What came of it.

    Attributes:
        markdown: empty on the deterministic rung.
        headline: in plain words, for later prompts.
        written: what the Markdown was made from.
        model: the one that wrote it; on the deterministic rung the one that was asked first.
        why: why there is no better text.
        usage, usd: of everything that was tried.
        month_share: how much of the month's cap is used up.
        cut: what the model did not see, in words for a reader.
    """

    rung: Rung
    model: str
    markdown: str = ""
    headline: str = ""
    written: Written | None = None
    why: NoModel | None = None
    usage: Usage = field(default_factory=Usage)
    usd: float = 0.0
    seconds: float = 0.0
    month_share: float = 0.0
    cut: tuple[str, ...] = ()

    @property
    def cached_share(self) -> float:
        """Which share of all input tokens came from the cache."""
        return self.usage.cache_read / self.usage.prompt if self.usage.prompt else 0.0

    @property
    def warns(self) -> bool:
        """Whether the month's cap is near."""
        return self.month_share >= WARN_AT


class WriteUps:
    """Writes them.

    Args:
        first, second: the models, in the order they are asked.
        secrets: configured values that must not be in a prompt.
        most_seconds: for a whole write-up, with all that is tried.
    """

    def __init__(
        self,
        claude: Claude,
        ledger: Ledger,
        first: Model,
        second: Model | None,
        *,
        secrets: Collection[str] = (),
        most_seconds: float = 240.0,
    ) -> None:
        self._claude = claude
        self._ledger = ledger
        self._first = first
        self._second = second if second is not None and second.name != first.name else None
        self._secrets = secrets
        self._most_seconds = most_seconds

    @property
    def available(self) -> bool:
        """Whether there is a model to ask."""
        return self._claude.available

    @property
    def model(self) -> str:
        """The model that is asked first."""
        return self._first.name

    async def write(self, commit: Commit, links: AllowedLinks, *, kind: str = "write_up") -> WriteUp:
        """Write about a commit; never raises for what a model, the network or the money does.

        Raises:
            StoreUnavailable: nothing can be paid for; try again later.
        """
        if not self._claude.available:
            return WriteUp(Rung.DETERMINISTIC, self._first.name, why=NoModel.NO_KEY)
        began_at = time.time()
        # By job: another one of the same commit, with other hyperparameters, has a write-up and a cap of its own.
        of_commit = f"{commit.project.repository_id}:{commit.sha}:{prompt_version()}:{self._first.name}"
        task = f"write-up:{of_commit}:{commit.job}"
        charge = Charge(commit.project.repository_id, commit.job, kind, task)
        # A large diff takes a moment to be cleaned, in which the loop has other things to do.
        prompt = await asyncio.to_thread(write_up_prompt, commit, self._secrets)
        work = _Work(self._claude, charge, prompt, self._secrets)
        try:
            async with asyncio.timeout(self._most_seconds):
                done = await self._descend(work)
        except TimeoutError:
            done = NoModel.NO_ANSWER
        usage, usd = await self._ledger.spent_on(task, since=began_at)
        result: dict[str, Any] = {"usage": usage, "usd": usd, "seconds": time.time() - began_at}
        result["month_share"] = await self._ledger.month_share(charge.repository_id)
        if isinstance(done, NoModel):
            log.info("agent.deterministic", job=commit.job, why=done.value, problem=work.problem)
            return WriteUp(Rung.DETERMINISTIC, self._first.name, why=done, **result)
        rung, model, written = done
        return WriteUp(
            rung,
            model,
            render(written, work.prompt.shown, links),
            headline(written, work.prompt.shown),
            written,
            cut=tuple(work.prompt.cut),
            **result,
        )

    async def _descend(self, work: _Work) -> tuple[Rung, str, Written] | NoModel:
        why = NoModel.NO_ANSWER
        for model in (self._first, self._second):
            if model is None:
                continue
            try:
                found = await (work.with_repair(model) if model is self._first else work.once(model))
            except CapReached as reached:
                work.problem = str(reached)
                return NoModel.CAP if reached.over.what == "month" else NoModel.TASK_CAP
            except SpendLimitReached as reached:
                work.problem = str(reached)
                return NoModel.SPEND_LIMIT
            except Rejected as error:
                log.warning("agent.rejected", task=work.task, model=model.name, why=str(error))
                work.problem, why = str(error), NoModel.REJECTED
                continue
            except NoAnswer as error:
                work.problem, why = str(error), NoModel.NO_ANSWER
                continue
            if not isinstance(found, NoModel):
                rung, written = found
                return (rung if model is self._first else Rung.SECOND_MODEL), model.name, written
            why = found
        return why


class _Work:
    """One write-up while it is made."""

    def __init__(self, claude: Claude, charge: Charge, prompt: Prompt, secrets: Collection[str]) -> None:
        self._claude = claude
        self._charge = charge
        self._checks = Checks(prompt.shown, secrets)
        self.prompt = prompt
        self.task = charge.task
        self.problem = ""

    async def with_repair(self, model: Model) -> tuple[Rung, Written] | NoModel:
        """Ask, ask once more for what is wrong, and leave out what stays wrong."""
        request = self.prompt.request(model)
        first = await self._ask(model, request)
        if isinstance(first, NoModel):
            return first
        if not first.problems and first.written is not None:
            return Rung.MODEL, first.written
        self.problem = "; ".join(first.problems)[:1000]
        # What it wrote goes back unchanged, thinking too, and what is wrong comes after it: the history only grows.
        messages = [
            *request["messages"],
            {"role": "assistant", "content": first.answer.content},
            {"role": "user", "content": _repair_words(first.problems)},
        ]
        try:
            second = await self._ask(model, {**request, "messages": messages})
        except (NoAnswer, Rejected, CapReached) as error:
            log.info("agent.no_repair", task=self._charge.task, why=str(error))
            second = NoModel.NO_ANSWER
        if isinstance(second, _Draft) and not second.problems and second.written is not None:
            return Rung.REPAIRED, second.written
        drafts = [draft for draft in (second, first) if isinstance(draft, _Draft)]
        return self._trimmed(drafts)

    async def once(self, model: Model) -> tuple[Rung, Written] | NoModel:
        """Ask, and leave out what is wrong."""
        draft = await self._ask(model, self.prompt.request(model))
        return draft if isinstance(draft, NoModel) else self._trimmed([draft])

    def _trimmed(self, drafts: list[_Draft]) -> tuple[Rung, Written] | NoModel:
        for draft in drafts:
            if draft.written is None:
                continue
            kept = without(draft.written, draft.violations)
            # To leave out one thing must not make another one wrong.
            if has_substance(kept) and not self._checks.violations(kept):
                return Rung.TRIMMED, kept
        return NoModel.WRONG

    async def _ask(self, model: Model, request: dict[str, Any]) -> _Draft | NoModel:
        answer = await self._claude.call(model, request, self._charge)
        if answer.stop_reason == "refusal":
            self.problem = "the model refused"
            return NoModel.REFUSED
        try:
            written = parse(answer.text)
        except NotAWriteUp as error:
            cut = (
                ["it was cut at the most tokens it may have; write less"] if answer.stop_reason == "max_tokens" else []
            )
            return _Draft(answer, None, (), [*cut, *error.violations])
        violations = self._checks.violations(written)
        return _Draft(answer, written, tuple(violations), [violation.text for violation in violations])


@dataclass(frozen=True)
class _Draft:
    answer: Answer
    written: Written | None
    violations: tuple[Violation, ...]
    problems: list[str]


def _repair_words(problems: list[str]) -> str:
    told = "\n".join(f"- {problem}" for problem in problems[:_MOST_VIOLATIONS_TOLD])
    return (
        "Your answer was checked against the input and can't be shown as it is:\n\n"
        f"{told}\n\n"
        "Write the whole answer again, in the same form, with these places corrected or left out. Keep the rest."
    )
