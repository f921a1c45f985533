"""What the footer of a comment says about who wrote it, and what that took."""

from __future__ import annotations

from gamma_bot.agent.write_up import NoModel, Rung, WriteUp

DETERMINISTIC = "Deterministic write-up (no model)"


def footer(done: WriteUp, month_cap: float) -> str:
    """One line: the model, tokens, cost and time, and whether something went wrong on the way."""
    tokens = f"{done.usage.prompt:,} tokens in ({done.cached_share:.0%} cached), {done.usage.output:,} out"
    took = [tokens, dollars(done.usd), f"{done.seconds:.0f} s"]
    if done.rung is Rung.DETERMINISTIC:
        # What a model wrote in vain is paid all the same.
        return " · ".join([f"{DETERMINISTIC}{_why(done, month_cap)}", *(took if done.usd else [])])
    parts = [f"Written by {done.model}{_how(done.rung)}", *took]
    if done.warns:
        parts.append(f"{done.month_share:.0%} of this month's {dollars(month_cap)} for the model are used")
    return " · ".join([*parts, *(sentence.rstrip(".") for sentence in done.cut)])


def _how(rung: Rung) -> str:
    match rung:
        case Rung.REPAIRED:
            return ", corrected once"
        case Rung.TRIMMED:
            return "; what did not hold was left out"
        case Rung.SECOND_MODEL:
            return ", the second model, since the first one gave nothing that holds"
        case _:
            return ""


def _why(done: WriteUp, month_cap: float) -> str:
    match done.why:
        case NoModel.CAP:
            return (
                f": this repository's budget for the model ({dollars(month_cap)} a month) is used up until the first of"
                " the next month"
            )
        case NoModel.TASK_CAP:
            return ": one write-up may not cost as much as this one would have"
        case NoModel.SPEND_LIMIT:
            return ": the account at Anthropic has reached its spend limit"
        case NoModel.NO_ANSWER:
            return ": the model did not answer"
        case NoModel.REJECTED:
            return ": Anthropic's API refuses Gamma's requests; gamma doctor and Gamma's log say why"
        case NoModel.REFUSED:
            return ": the models declined to write about this commit"
        case NoModel.WRONG:
            return ": what the model wrote did not hold against the data"
        case _:
            return ""


def dollars(amount: float) -> str:
    """``$0.07``, or ``$0.0042`` for what is less than a cent."""
    if amount and amount < 0.01:
        return f"${amount:.4f}".rstrip("0")
    return f"${amount:.2f}"
