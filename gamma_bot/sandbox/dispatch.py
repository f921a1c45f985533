"""The way of a request through the API: record, plan of faults, credentials, limits, permission, answer, ETag."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

from aiohttp import web

from gamma_bot.sandbox import actions, actions_attempts, apps, checks, comments, graphql, meta, pulls, repos, reviews
from gamma_bot.sandbox.access import admit
from gamma_bot.sandbox.auth import authenticate
from gamma_bot.sandbox.call import Actor, Anonymous, Answer, ApiError, Call, Route
from gamma_bot.sandbox.faults import Fault, FaultKind
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.limits import secondary_limit
from gamma_bot.sandbox.model import RequestRecord

API_VERSIONS = ("2022-11-28", "2026-03-10")
UNKNOWN_ROUTE = "unknown"

# These parts of a path may hold slashes (branch names, file paths); the longer templates are registered first.
_LONG_PARTS = {"path": "{path:.*}", "ref": "{ref:.+}", "branch": "{branch:.+}", "basehead": "{basehead:.+}"}
_BY_NAME = "/repos/{owner}/{repo}"
_RECORDED_HEADERS = ("Accept", "Content-Type", "If-None-Match", "User-Agent", "X-GitHub-Api-Version")
_FREE = ("/rate_limit",)


def all_routes() -> Iterable[Route]:
    """Every endpoint, the more precise templates first."""
    families = (apps, actions, actions_attempts, checks, comments, reviews, pulls, repos, meta)
    return [route for family in families for route in family.ROUTES]


def add_api(application: web.Application, forge: Forge) -> None:
    """Put the API under ``/api/v3``, as an Enterprise Server does."""
    for route in all_routes():
        template = re.sub(r"\{(\w+)\}", lambda found: _LONG_PARTS.get(found[1], found[0]), route.path)
        application.router.add_route(route.method, f"/api/v3{template}", _handler(forge, route))
        if template.startswith(_BY_NAME):
            # Where the redirects from a repository's old names lead.
            by_id = template.replace(_BY_NAME, "/repositories/{repository_id}", 1)
            application.router.add_route(route.method, f"/api/v3{by_id}", _handler(forge, route))
    application.router.add_route("*", "/api/v3/{rest:.*}", _unknown(forge))
    # As on an Enterprise Server, beside /api/v3 and not under it.
    application.router.add_post("/api/graphql", _handler(forge, graphql.ROUTE))


def _handler(forge: Forge, route: Route) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await _Exchange(forge, route, request).run()

    return handle


def _unknown(forge: Forge) -> Callable[[web.Request], Any]:
    async def refuse(request: web.Request) -> web.StreamResponse:
        path = f"/{request.match_info['rest']}"
        record = RequestRecord(
            forge.clock(), request.method, UNKNOWN_ROUTE, path, dict(request.query), "unknown", {}, status=404
        )
        forge.record(record)
        return web.json_response(ApiError(404, "Not Found").body(), status=404)

    return refuse


class _Exchange:
    """One request and its answer."""

    def __init__(self, forge: Forge, route: Route, request: web.Request) -> None:
        self._forge, self._route, self._request = forge, route, request
        self._actor: Actor = Anonymous()
        self._record = RequestRecord(
            time=forge.clock(), method=request.method, route=route.path, path=_path(request),
            query=dict(request.query), actor="anonymous",
            request_headers={name: request.headers[name] for name in _RECORDED_HEADERS if name in request.headers},
            had_etag="If-None-Match" in request.headers,
        )  # fmt: skip
        forge.record(self._record)

    async def run(self) -> web.StreamResponse:
        fault = self._forge.faults.take(self._record.method, self._record.path)
        if fault is not None:
            self._record.fault = fault.kind.name
        if fault is not None and fault.kind is FaultKind.DROP_BEFORE:
            return self._drop()
        try:
            answer = await self._answer(fault)
        except ApiError as error:
            answer = Answer(error.status, error.body(), headers=error.headers)
        except Exception as error:
            # A mistake of the sandbox must not pass for a fault of GitHub's that a bot has to live with.
            self._forge.violations.append(f"the sandbox failed at {self._record.method} {self._record.path}: {error!r}")
            raise
        if fault is not None and fault.kind is FaultKind.DROP_AFTER:
            return self._drop()
        if fault is not None and fault.kind is FaultKind.DELAY:
            await asyncio.sleep(fault.delay_seconds)
        return self._respond(answer)

    async def _answer(self, fault: Fault | None) -> Answer:
        """The answer, unless something on the way refuses the request."""
        forge, route, record = self._forge, self._route, self._record
        text = await self._request.read()
        self._actor = authenticate(forge.state, self._request.headers.get("Authorization", ""))
        record.actor = self._actor.label
        self._check_headers()
        if fault is not None:
            self._refuse_as_planned(fault)
        body: Any = None
        if text:
            try:
                body = json.loads(text)
            except ValueError:
                raise ApiError(400, "Problems parsing JSON") from None
        record.request_json = body
        if route.path not in _FREE:
            forge.limits.enter(self._actor, route.method, content=route.content, resource=route.resource)
        free = False
        try:
            call = Call(
                forge, route, self._actor, dict(self._request.match_info), self._request.query, body,
                self._request.headers.get("Accept", ""),
            )  # fmt: skip
            admit(call)
            await forge.faults.tell("before", record)
            answer = await route.handler(call)
            answer = Answer(
                answer.status, answer.body, answer.data, answer.content_type, {**answer.headers, **call.headers}
            )
            answer = self._with_etag(answer)
            free = answer.status == 304
            record.status, record.response_json = answer.status, answer.body
            await forge.faults.tell("after", record)
            return answer
        finally:
            if route.path not in _FREE:
                forge.limits.leave(self._actor, free=free, resource=route.resource)

    def _check_headers(self) -> None:
        headers = self._request.headers
        if not headers.get("User-Agent"):
            message = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"
            raise ApiError(403, message)
        version = headers.get("X-GitHub-Api-Version", API_VERSIONS[0])
        if version not in API_VERSIONS:
            raise ApiError(400, f'"{version}" is not a supported version of the REST API.')

    def _refuse_as_planned(self, fault: Fault) -> None:
        match fault.kind:
            case FaultKind.STATUS:
                raise ApiError(fault.status, "Server Error" if fault.status >= 500 else "Planned fault")
            case FaultKind.SECONDARY_LIMIT:
                raise secondary_limit(fault.retry_after_seconds)
            case FaultKind.TOO_MANY_REQUESTS:
                raise secondary_limit(fault.retry_after_seconds, 429)
            case FaultKind.PRIMARY_LIMIT:
                raise self._forge.limits.exhausted(self._actor, self._route.resource)
            case FaultKind.STALE_NOT_FOUND:
                raise ApiError(404, "Not Found")
            case FaultKind.DROP_BEFORE | FaultKind.DROP_AFTER | FaultKind.DELAY:
                return

    def _with_etag(self, answer: Answer) -> Answer:
        """Reads carry an ETag that belongs to the token: another token of the same App sees another one."""
        if self._record.method != "GET" or answer.status != 200:
            return answer
        content = answer.data if answer.data is not None else _dump(answer.body)
        tag = hashlib.sha256(content + self._actor.secret.encode()).hexdigest()
        headers = {**answer.headers, "ETag": f'W/"{tag}"', "Cache-Control": "private, max-age=60, s-maxage=60"}
        asked = self._request.headers.get("If-None-Match", "").replace("W/", "")
        if asked and f'"{tag}"' in asked:
            return Answer(304, headers=headers)
        return Answer(answer.status, answer.body, answer.data, answer.content_type, headers)

    def _respond(self, answer: Answer) -> web.Response:
        headers = {
            **self._forge.limits.headers(self._actor, self._route.resource),
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Request-Id": uuid4().hex[:24].upper(),
            "X-GitHub-Api-Version-Selected": self._request.headers.get("X-GitHub-Api-Version", API_VERSIONS[0]),
            **answer.headers,
        }
        record = self._record
        record.status, record.response_json, record.response_headers = answer.status, answer.body, headers
        if answer.status in (204, 304):
            return web.Response(status=answer.status, headers=headers)
        headers["Content-Type"] = answer.content_type
        content = answer.data if answer.data is not None else _dump(answer.body)
        return web.Response(status=answer.status, body=content, headers=headers)

    def _drop(self) -> web.Response:
        """Close the connection; what is returned goes nowhere."""
        self._record.status = 0
        if self._request.transport is not None:
            self._request.transport.abort()
        return web.Response()


def _path(request: web.Request) -> str:
    """The path as a client writes it after the API's address."""
    return request.path.removeprefix("/api/v3").replace("/api/graphql", graphql.ROUTE.path)


def _dump(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
