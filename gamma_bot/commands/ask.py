"""``/gamma ask``: a question to the agent, which reads runs, logs, code and history to answer it."""

from __future__ import annotations

from dataclasses import dataclass

from gamma_bot.agent.ask_events import THINKING, Answered, Event, Status
from gamma_bot.agent.sanitiser import plain_text
from gamma_bot.commands.arguments import line, text
from gamma_bot.commands.ask_words import answer_words, not_answered_words, not_asked_words
from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import command
from gamma_bot.commands.desk import Refused
from gamma_bot.commands.job_words import job_and_commit, refused
from gamma_bot.commands.roles import Role
from gamma_bot.jobs.asking import Inquiry, NotAsked, WhyNotAsked
from gamma_bot.jobs.push import branch_of_fork
from gamma_bot.reporting.markdown import Markdown, prose
from gamma_bot.reporting.sections import compared_with, metrics_table
from gamma_bot.reporting.titles import mark, title

_LONGEST_QUESTION = 2_000
_ECHOED = 300
_METRICS = 5


@dataclass(frozen=True)
class AskArgs:
    """The question."""

    question: str = line(
        "QUESTION",
        "What you want to know, on the same line; quotes are not needed.",
        text(_LONGEST_QUESTION),
    )


@command(
    "ask",
    usage="ask QUESTION",
    summary="Ask the agent about the runs, the code and the history of this repository.",
    examples=["ask why did it drop?", "ask what's the best learning rate so far?"],
    needs=Role.WRITE,
    costs=True,
    also=("question", "why", "explain", "chat"),
    details="It reads runs, metrics, logs, diffs and files of this repository, changes nothing, and links what it"
    " relies on. Earlier questions of the pull request and their answers are known to it. On a private repository,"
    " `permissions: {ask: read}` in gamma.yml lets everybody ask who can see it.",
)
async def ask(context: CommandContext, args: AskArgs) -> Reply:
    """Answer the question, or say why not and what is known without an agent."""
    asking, pull = context.asking, context.pull
    echo = Markdown(f"> {plain_text(args.question, _ECHOED)}")
    branch = branch_of_fork(pull.number) if pull.from_fork else pull.head_branch
    if asking is None:
        return await _without_agent(context, echo, not_asked_words(NotAsked(WhyNotAsked.NO_AGENT)))
    if pull.from_fork and not await asking.is_approved(pull.repository_id, pull.head_sha, branch):
        return refused(
            Refused(
                "This pull request comes from a fork, and nobody has approved its head commit yet: the agent does not"
                " look at it before.",
                f"A maintainer can approve this one commit: `/gamma approve {pull.head_sha}`",
            )
        )

    async def tell(event: Event) -> None:
        if isinstance(event, Status):
            await context.progress(_progress(echo, event.text))

    if asking.model:
        await context.progress(_progress(echo, THINKING))
    inquiry = Inquiry(
        repository_id=pull.repository_id,
        request=context.request,
        thread=f"pull:{pull.number}",
        by=context.author,
        text=args.question,
        sha=pull.head_sha,
        branch=branch,
        default_branch=pull.default_branch,
    )
    outcome = await asking.ask(inquiry, tell)
    match outcome:
        case NotAsked(why=WhyNotAsked.NO_AGENT):
            return await _without_agent(context, echo, not_asked_words(outcome))
        case NotAsked():
            return Reply(Markdown(f"{echo}\n\n{not_asked_words(outcome)}"), ok=False)
        case Answered(why_not=""):
            return Reply(Markdown(f"{echo}\n\n{answer_words(outcome)}"))
        case _:
            return await _without_agent(context, echo, not_answered_words(outcome))


async def _without_agent(context: CommandContext, echo: Markdown, why: Markdown) -> Reply:
    return Reply(Markdown("\n\n".join(filter(None, [echo, why, await _facts(context)]))), ok=False)


async def _facts(context: CommandContext) -> Markdown:
    """What can be said without a model: how the newest job is."""
    jobs = await context.desk.jobs(context.pull, 1)
    if not jobs:
        return Markdown()
    facts = jobs[0]
    head = f"Without an agent, this is known: {mark(facts)} job {job_and_commit(facts)}: {prose(title(facts))}"
    more = "`/gamma metrics`, `/gamma logs` and `/gamma status` show more."
    return Markdown("\n\n".join(filter(None, [head, metrics_table(facts, _METRICS), compared_with(facts), more])))


def _progress(echo: Markdown, doing: str) -> Markdown:
    return Markdown(f"{echo}\n\n⏳ {doing} …")
