"""The words around an answer of the agent: its footer, what was left out of it, and why there is none."""

from __future__ import annotations

from gamma_bot.agent.ask_events import Answered
from gamma_bot.agent.footer import dollars
from gamma_bot.agent.ledger import WARN_AT
from gamma_bot.jobs.asking import MOST_AN_HOUR, NotAsked, WhyNotAsked
from gamma_bot.reporting.markdown import Markdown, code
from gamma_bot.reporting.numbers import count, format_moment, format_seconds


def answer_words(answered: Answered) -> Markdown:
    """The answer, what was taken out of it, and what it took."""
    return Markdown(
        "\n\n".join(
            filter(None, [answered.markdown, _cut(answered), left_out(answered), f"<sub>{footer(answered)}</sub>"])
        )
    )


def left_out(answered: Answered) -> Markdown:
    """That sentences were taken out; empty if none was."""
    if not answered.dropped:
        return Markdown()
    was = "was" if answered.dropped == 1 else "were"
    return Markdown(
        f"*{count(answered.dropped, 'sentence')} {was} left out here: nothing that the agent read accounts for a number"
        " in it.*"
    )


def _cut(answered: Answered) -> str:
    whole = answered.stop != "max_tokens"
    return "" if whole else "*The answer ends here, as long as one may be. Ask for the rest, or for less at once.*"


def footer(answered: Answered) -> Markdown:
    """Who answered, and what it took."""
    usage = answered.usage
    cached = f" ({usage.cache_read / usage.prompt:.0%} cached)" if usage.prompt else ""
    tokens = f"{usage.prompt:,} tokens in{cached}, {usage.output:,} out"
    month = f" · {answered.month_share:.0%} of this month's budget for the agent are used"
    return Markdown(
        f"Answered by {answered.model} · {tokens} · {dollars(answered.usd)} · {format_seconds(answered.seconds)}"
        + (month if answered.month_share >= WARN_AT else "")
    )


def not_asked_words(outcome: NotAsked) -> Markdown:
    """Why no model was asked, and what to do; what was said before in this thread is not repeated."""
    match outcome.why:
        case WhyNotAsked.NO_AGENT if outcome.told_before:
            return Markdown()
        case WhyNotAsked.NO_AGENT:
            return Markdown(
                "No agent is configured here, so nobody can answer questions. Whoever runs Gamma can set"
                f" {code('GAMMA_ANTHROPIC_API_KEY')}."
            )
        case WhyNotAsked.BUSY:
            return Markdown(
                "Another question of this pull request is being answered. Write the command again when its answer is"
                " there."
            )
        case WhyNotAsked.TOO_MANY:
            again = f" You can ask again at {format_moment(outcome.again_at)}." if outcome.again_at else ""
            return Markdown(f"One person may ask {MOST_AN_HOUR} questions in an hour.{again}")
        case WhyNotAsked.INTERRUPTED:
            return Markdown(
                "Gamma was stopped while it worked on this answer, more than once, and has given it up. Sorry; write"
                " the command again."
            )


def not_answered_words(answered: Answered) -> Markdown:
    """Why a model gave no answer, and what to do."""
    match answered.why_not:
        case "cap_month" if not answered.first_refusal:
            said = "The agent's budget for this month is used up."
        case "cap_month":
            said = (
                "The agent's budget of this repository for this month is used up. Questions are answered again from the"
                " first of the next month on."
            )
        case "cap_task":
            said = "Answering this would cost more than one answer may. Ask for less at once."
        case "spend_limit":
            said = (
                "The account that the agent is paid from has reached its limit at Anthropic. Whoever runs Gamma can"
                " raise it there."
            )
        case "rejected":
            said = "Anthropic's API refuses Gamma's requests. Gamma's log says why, for whoever runs it."
        case "refused":
            said = "The models declined to answer this. Put it differently, or look yourself."
        case "empty":
            said = "The models came to an end without an answer. Put it differently, or ask for less at once."
        case "untraced":
            said = (
                "The agent wrote an answer that is not shown: nothing that it read accounts for the numbers in it."
                " Ask more narrowly."
            )
        case "slow":
            said = "The agent took too long and was stopped. Ask for less at once."
        case _:
            said = (
                "The agent can't be reached now, though it was tried several times, with two models. Write the command"
                " again in a few minutes."
            )
    return Markdown(said)
