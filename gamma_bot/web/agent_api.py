"""``/api/agent/…``: questions to the agent and write-ups over REST, for whoever has the token.

Until there is a sign-in, one token opens both, for all projects. Without one configured they are off.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import ClientConnectionResetError, web

from gamma_bot.agent.ask_events import Answered, Event
from gamma_bot.commands.ask_words import not_answered_words, not_asked_words
from gamma_bot.github.errors import GitHubError
from gamma_bot.jobs.asking import Asking, Inquiry, NotAsked
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.projects import Projects, ProjectState
from gamma_bot.web.agent_events import PING, done_frame, error_frame, event_frame, frame

LARGEST_BODY_BYTES = 64 * 1024
LONGEST_QUESTION = 2_000
PING_SECONDS = 15.0
_LOOK_SECONDS = 0.2
# All who have the token are one person here; the month's cap limits what they spend.
_MOST_AN_HOUR = 60

log = structlog.get_logger()


class Refusal(Exception):
    """Why a request gets no answer: a status, a code for programs, and words for people."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.response = web.json_response(
            {"error": {"code": code, "message": message}}, status=status, headers=dict(headers or {})
        )


@dataclass(frozen=True)
class Summary:
    """A write-up as it is stored. ``created`` is false for one that was there before."""

    sha: str
    markdown: str
    headline: str
    rung: str
    model: str
    prompt_version: str
    created: bool


class AgentApi:
    """The two endpoints.

    Args:
        token: who has it may use them; empty to switch them off.
        asking: who answers questions, once Gamma works.
        summary: the write-up of a commit of a repository, written now if there is none or ``force`` is set; ``None``
            if the commit has no finished run there. ``None`` in its place until Gamma works.
    """

    def __init__(
        self,
        token: str,
        projects: Projects,
        asking: Callable[[], Asking | None],
        summary: Callable[[], Callable[[int, str, bool], Awaitable[Summary | None]] | None],
        *,
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        self._token = token.encode()
        self._projects = projects
        self._asking = asking
        self._summary = summary
        self._ping_seconds = ping_seconds

    def add_routes(self, app: web.Application) -> None:
        """Serve the endpoints."""
        app.router.add_post("/api/agent/chat/{project}", self.chat)
        app.router.add_post("/api/agent/summary/{project}/{sha}", self.summary)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a question as a stream of events."""
        try:
            project = await self._project(request)
            inquiry = _inquiry(project, await _json(request))
            asking = self._asking()
            if asking is None or not asking.model:
                raise Refusal(503, "no_agent", "No agent is configured here: GAMMA_ANTHROPIC_API_KEY is not set.")
        except Refusal as refusal:
            return refusal.response
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
                "X-Content-Type-Options": "nosniff",
            }
        )
        await response.prepare(request)
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        answering = asyncio.create_task(asking.ask(inquiry, events.put), name=f"chat {inquiry.request}")
        answering.add_done_callback(lambda _: events.put_nowait(None))
        watching = asyncio.create_task(_cancel_when_gone(request, answering), name=f"watch {inquiry.request}")
        try:
            meta = {"request_id": inquiry.request, "model": asking.model}
            await response.write(frame("meta", meta))
            await self._stream(response, events)
            await response.write(await _last(answering))
        except (ConnectionResetError, ClientConnectionResetError, asyncio.CancelledError):
            log.info("chat.left", request=inquiry.request)
            raise
        finally:
            for task in (watching, answering):
                task.cancel()
            await asyncio.gather(watching, answering, return_exceptions=True)
        return response

    async def summary(self, request: web.Request) -> web.StreamResponse:
        """The write-up of a commit; the same one each time, unless ``?force=1`` asks for a new one."""
        try:
            project = await self._project(request)
            sha = request.match_info["sha"].lower()
            if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", sha):
                raise Refusal(400, "bad_sha", "The commit must be named by its whole SHA.")
            write = self._summary()
            if write is None:
                raise Refusal(503, "starting", "Gamma is starting. Try again in a moment.")
            try:
                found = await write(project, sha, request.query.get("force") == "1")
            except (GitHubError, StoreUnavailable) as error:
                log.warning("summary.failed", project=project, sha=sha, error=str(error))
                raise Refusal(503, "unreachable", "What is needed for it is out of reach now. Try again.") from None
            if found is None:
                raise Refusal(404, "no_run", "This commit has no finished run in this project.")
        except Refusal as refusal:
            return refusal.response
        return web.json_response(vars(found), status=201 if found.created else 200)

    async def _project(self, request: web.Request) -> int:
        """The project that may be asked about.

        Raises:
            Refusal
        """
        if not self._token:
            raise Refusal(404, "off", "This API is off: whoever runs Gamma can set GAMMA_API_TOKEN.")
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        # Compared first, so that the time it takes says nothing of the token, and nothing else is said without it.
        is_right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        if not is_right or kind.lower() != "bearer":
            headers = {"WWW-Authenticate": 'Bearer realm="gamma"'}
            raise Refusal(401, "unauthorized", "Send `Authorization: Bearer` with the token of this Gamma.", headers)
        name = request.match_info["project"]
        project = await self._projects.get(int(name)) if re.fullmatch("[0-9]{1,18}", name) else None
        if project is None:
            raise Refusal(404, "no_project", "There is no such project; its id is the repository's id at GitHub.")
        if project.state is not ProjectState.ACTIVE:
            raise Refusal(409, "out_of_reach", project.why)
        return project.repository_id

    async def _stream(self, response: web.StreamResponse, events: asyncio.Queue[Event | None]) -> None:
        while True:
            try:
                async with asyncio.timeout(self._ping_seconds):
                    event = await events.get()
            except TimeoutError:
                await response.write(PING)
                continue
            if event is None:
                return
            await response.write(event_frame(event))


async def _last(answering: asyncio.Task[Answered | NotAsked]) -> bytes:
    """The event that ends a stream: the answer, or why there is none."""
    try:
        outcome = await answering
    except (GitHubError, StoreUnavailable) as error:
        log.warning("chat.failed", error=str(error))
        return error_frame("unreachable", "What is asked about is out of reach now. Try again.")
    except Exception:
        log.exception("chat.crashed")
        return error_frame("internal", "Gamma itself failed at this. Its log has the details.")
    match outcome:
        case NotAsked():
            return error_frame(outcome.why.value, str(not_asked_words(outcome)))
        case Answered(why_not=""):
            return done_frame(outcome)
        case _:
            return error_frame(outcome.why_not, str(not_answered_words(outcome)))


async def _cancel_when_gone(request: web.Request, answering: asyncio.Task[Any]) -> None:
    """Nobody is told that a client left; while nothing is written to it, one has to look."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(_LOOK_SECONDS)
    answering.cancel()


async def _json(request: web.Request) -> Mapping[str, Any]:
    body = b""
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > LARGEST_BODY_BYTES:
            raise Refusal(413, "too_large", f"The body may have at most {LARGEST_BODY_BYTES:,} bytes.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "bad_json", "The body must be a JSON object.") from None
    if not isinstance(found, dict):
        raise Refusal(400, "bad_json", "The body must be a JSON object.")
    return found


def _inquiry(project: int, body: Mapping[str, Any]) -> Inquiry:
    unknown = sorted(set(body) - {"question", "sha", "conversation"})
    if unknown:
        raise Refusal(400, "bad_request", "The body may have `question`, `sha` and `conversation`, and nothing else.")
    question, sha, conversation = body.get("question"), body.get("sha", ""), body.get("conversation", "")
    if not isinstance(question, str) or not question.strip() or len(question) > LONGEST_QUESTION:
        raise Refusal(400, "bad_question", f"`question` must be a text of 1 to {LONGEST_QUESTION:,} characters.")
    if not isinstance(sha, str) or not re.fullmatch("|[0-9a-f]{40}|[0-9a-f]{64}", sha):
        raise Refusal(400, "bad_sha", "`sha` must be a whole SHA in lower case, or left out.")
    if not isinstance(conversation, str) or not re.fullmatch("[A-Za-z0-9_-]{0,64}", conversation):
        raise Refusal(400, "bad_conversation", "`conversation` must have at most 64 letters, digits, `-` and `_`.")
    request = uuid.uuid4().hex
    return Inquiry(
        repository_id=project,
        request=f"chat-{request}",
        thread=f"chat:{conversation or request}",
        by="somebody over the API",
        text=question.strip(),
        sha=sha,
        kind="chat",
        resumes=False,
        most_an_hour=_MOST_AN_HOUR,
    )
