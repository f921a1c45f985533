"""A scripted stand-in for Anthropic's Messages API, with its limits: it refuses what the real one refuses.

It counts tokens (three bytes each), keeps a prompt cache that reads and writes by real prefixes of blocks, streams, and
breaks off where it is told to. It knows nothing of Gamma. Its shapes are held against the SDK's own types by
``tests/test_agent_fake.py``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "sk-ant-fake-0123456789abcdef"
VERSION = "2026-10-21"
MODELS = {"claude-sonnet-5-5": 512, "claude-haiku-5-5": 512, "claude-opus-5-5": 1024}
_NO_FORCED_TOOLS = ("claude-sonnet-5-5", "claude-opus-5-5")
_TTL_SECONDS = {"5m": 300.0, "1h": 3600.0}
_LOOK_BACK = 20  # blocks before a breakpoint in which an earlier prefix is looked for
_MOST_STRICT_TOOLS, _MOST_OPTIONAL = 20, 24


@dataclass(frozen=True)
class Say:
    """What the model answers next.

    Attributes:
        text: of its text block; empty for none.
        tools: calls of tools, as (name, input).
        thinking: of a thinking block before all others.
        status, error: an HTTP error in place of an answer; ``code`` is its ``error_code``.
        after: the answer begins only once this is set.
        breaks: how the stream ends after its first half: ``error``, ``cut``, ``early``, ``corrupt`` or ``stall``.
    """

    text: str = ""
    tools: Sequence[tuple[str, Mapping[str, Any]]] = ()
    thinking: str | None = None
    stop_reason: str = ""
    status: int = 200
    error: str = "api_error"
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks: str = ""
    after: asyncio.Event | None = None


Script = Callable[[Mapping[str, Any]], Say]


class AnthropicFake:
    """One API. Times are its own: ``now`` moves only when a test moves it.

    Attributes:
        script: the answers in order, or a function of the request; with none left, "ok".
        requests: the bodies of all calls of ``/v1/messages``, also of those that were refused.
        usages: what each answered call was told to have taken.
    """

    def __init__(self) -> None:
        self.script: list[Say] | Script = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.usages: list[dict[str, Any]] = []
        self.aborted = 0
        self.now = 0.0
        self.url = ""
        self._cache: dict[str, float] = {}  # prefix → until when
        self._signatures: set[str] = set()
        self._released = asyncio.Event()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[AnthropicFake]:
        """Listen on a free port of this machine."""
        app = web.Application(client_max_size=32 * 1024**2)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/count_tokens", self._count)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            self._released.set()
            await runner.cleanup()

    async def _count(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if refusal := self._refusal(request, {"max_tokens": 1, **body}):
            return refusal
        return web.json_response({"input_tokens": sum(tokens(block) for block, _ in _blocks(body))})

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.headers.append(request.headers)
        if refusal := self._refusal(request, body):
            return refusal
        said = self._next(body)
        if said.after is not None:
            await said.after.wait()
        if said.status != 200:
            return _error(said.status, said.error, "told to fail", said.code, said.headers)
        usage = self._usage(body, said)
        message = {
            "id": f"msg_{len(self.requests):08d}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": self._content(said),
            "stop_reason": said.stop_reason or ("tool_use" if said.tools else "end_turn"),
            "stop_sequence": None,
            "stop_details": {"type": "refusal", "category": "general_harms", "explanation": None}
            if said.stop_reason == "refusal"
            else None,
            "usage": usage,
        }
        headers = {"request-id": f"req_{len(self.requests):08d}"}
        if not body.get("stream"):
            self.usages.append(usage)
            return web.json_response(message, headers=headers)
        return await self._stream(request, message, said, headers)

    def _next(self, body: Mapping[str, Any]) -> Say:
        if callable(self.script):
            return self.script(body)
        return self.script.pop(0) if self.script else Say("ok")

    def _content(self, said: Say) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = []
        if said.thinking is not None:
            signature = hashlib.sha256(f"signed {said.thinking}".encode()).hexdigest()
            self._signatures.add(signature)
            content.append({"type": "thinking", "thinking": said.thinking, "signature": signature})
        if said.text:
            content.append({"type": "text", "text": said.text, "citations": None})
        for number, (name, values) in enumerate(said.tools):
            call = f"toolu_{len(self.requests):04d}{number:02d}"
            content.append({"type": "tool_use", "id": call, "name": name, "input": dict(values)})
        return content

    # The stream

    async def _stream(
        self, request: web.Request, message: dict[str, Any], said: Say, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", **headers})
        await response.prepare(request)
        events = list(_events(message))
        if said.breaks:
            # In the middle of the text, or right after the beginning if there is none.
            events = events[: max(1, len(events) // 2)]
        try:
            for event in events:
                await response.write(_sse(event))
            match said.breaks:
                case "":
                    self.usages.append(message["usage"])
                case "error":
                    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
                    await response.write(_sse(error))
                case "corrupt":
                    await response.write(b'event: content_block_delta\ndata: {"type": "content_block_delta", "ind\n\n')
                case "cut":
                    assert request.transport is not None
                    request.transport.abort()
                case "stall":
                    await self._released.wait()
        except (ConnectionResetError, asyncio.CancelledError):
            self.aborted += 1
            raise
        return response

    # The limits

    def _refusal(self, request: web.Request, body: Mapping[str, Any]) -> web.Response | None:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return _error(401, "authentication_error", "invalid bearer token")
        if request.headers.get("anthropic-version") != VERSION:
            return _error(400, "invalid_request_error", "anthropic-version: not a known version")
        if body.get("model") not in MODELS:
            return _error(404, "not_found_error", f"model: {body.get('model')}")
        wrong = next(self._wrong(body), "")
        return _error(400, "invalid_request_error", wrong) if wrong else None

    def _wrong(self, body: Mapping[str, Any]) -> Iterator[str]:
        model, messages = body["model"], body.get("messages") or []
        if not isinstance(body.get("max_tokens"), int):
            yield "max_tokens: Field required"
        for gone in ("temperature", "top_p", "top_k"):
            if gone in body:
                yield f"{gone}: is not supported by this API version"
        if body.get("tool_choice", {}).get("type") in ("any", "tool") and model in _NO_FORCED_TOOLS:
            yield f"tool_choice: {model} does not support forced tool use"
        if body.get("thinking", {}).get("type") == "disabled" and model == "claude-sonnet-5-5":
            yield "thinking.type: disabled is not supported; use between_tools"
        if not messages:
            yield "messages: at least one message is required"
        elif messages[0]["role"] != "user":
            yield "messages: first message must use the user role"
        elif messages[-1]["role"] == "assistant":
            yield "messages: this model does not support prefill"
        yield from self._wrong_history(messages)
        yield from _wrong_caching(body)
        yield from _wrong_schema(body)

    def _wrong_history(self, messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        asked: list[str] = []
        for message in messages:
            content = message["content"] if isinstance(message["content"], list) else []
            answered = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
            if sorted(answered) != sorted(asked):
                yield "messages: each tool_use must have one tool_result in the next message"
            asked = [block["id"] for block in content if block["type"] == "tool_use"]
            for block in content:
                if block["type"] == "text" and not block["text"].strip():
                    yield "messages: text content blocks must be non-empty"
                if block["type"] == "thinking":
                    expected = hashlib.sha256(f"signed {block['thinking']}".encode()).hexdigest()
                    if block["signature"] != expected or expected not in self._signatures:
                        yield "messages: thinking blocks cannot be modified"

    # The cache

    def _usage(self, body: Mapping[str, Any], said: Say) -> dict[str, Any]:
        blocks = _blocks(body)
        # A changed output format is another hidden system prompt.
        state = hashlib.sha256(json.dumps([body["model"], body.get("output_config", {}).get("format")]).encode())
        prefixes, sizes, total = [], [], 0
        for block, _ in blocks:
            state.update(json.dumps({k: v for k, v in block.items() if k != "cache_control"}, sort_keys=True).encode())
            total += tokens(block)
            prefixes.append(state.hexdigest())
            sizes.append(total)
        marks = [(at, ttl) for at, (_, ttl) in enumerate(blocks) if ttl and sizes[at] >= MODELS[body["model"]]]
        near = {place for at, _ in marks for place in range(max(0, at - _LOOK_BACK), at + 1)}
        hits = [at for at in near if self._cache.get(prefixes[at], -1.0) > self.now]
        read = sizes[max(hits)] if hits else 0
        written = {"5m": 0, "1h": 0}
        done = read
        for at, ttl in marks:
            self._cache[prefixes[at]] = self.now + _TTL_SECONDS[ttl]
            written[ttl] += max(0, sizes[at] - done)
            done = max(done, sizes[at])
        thinking = tokens(said.thinking or "")
        return {
            "input_tokens": total - done,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": sum(written.values()),
            "cache_creation": {
                "ephemeral_5m_input_tokens": written["5m"],
                "ephemeral_1h_input_tokens": written["1h"],
            },
            "output_tokens": thinking + tokens(said.text) + sum(tokens(dict(values)) for _, values in said.tools) + 1,
            "output_tokens_details": {"thinking_tokens": thinking},
            "server_tool_use": None,
            "service_tier": "standard",
            "speed": "standard",
            "inference_geo": None,
        }


def tokens(value: Any) -> int:
    """Three bytes a token."""
    if isinstance(value, dict) and value.get("type") == "text":
        value = value["text"]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return (len(text.encode()) + 2) // 3


def _blocks(body: Mapping[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Every block of a prompt in the order that the cache has them, with the time to live that is asked for there."""
    found: list[dict[str, Any]] = list(body.get("tools") or [])
    system = body.get("system") or []
    found += [{"type": "text", "text": system}] if isinstance(system, str) else system
    for message in body.get("messages") or []:
        content = message["content"]
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found += [{**block, "role": message["role"]} for block in content]
    blocks = [
        (block, (block.get("cache_control") or {}).get("ttl", "5m") if block.get("cache_control") else "")
        for block in found
    ]
    if body.get("cache_control") and blocks:
        blocks[-1] = (blocks[-1][0], body["cache_control"].get("ttl", "5m"))
    return blocks


def _wrong_caching(body: Mapping[str, Any]) -> Iterator[str]:
    marks = [ttl for _, ttl in _blocks(body) if ttl]
    if len(marks) > 4:
        yield f"cache_control: a maximum of 4 blocks may be marked, found {len(marks)}"
    if "1h" in marks[marks.index("5m") :] if "5m" in marks else False:
        yield "cache_control: a ttl='1h' block must not come after a ttl='5m' block"


def _wrong_schema(body: Mapping[str, Any]) -> Iterator[str]:
    tools = [tool for tool in body.get("tools") or [] if tool.get("strict")]
    if len(tools) > _MOST_STRICT_TOOLS:
        yield f"tools: at most {_MOST_STRICT_TOOLS} strict tools"
    schemas = [tool["input_schema"] for tool in tools]
    wanted = body.get("output_config", {}).get("format")
    if wanted is not None:
        schemas.append(wanted["schema"])
    optional = 0
    for schema in schemas:
        for each in _objects(schema):
            if each.get("additionalProperties") is not False:
                yield "schema: for 'object' type, 'additionalProperties' must be explicitly set to false"
            optional += len(set(each.get("properties", {})) - set(each.get("required", [])))
        for unknown in ("minLength", "maxLength", "minimum", "maximum", "maxItems", "pattern"):
            # As a keyword it has a number or a text; a property of that name has a schema.
            if re.search(rf'"{unknown}": [^{{]', json.dumps(schema)):
                yield f"schema: {unknown} is not supported"
    if optional > _MOST_OPTIONAL:
        yield f"schema: at most {_MOST_OPTIONAL} optional parameters, found {optional}"


def _objects(schema: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for each in schema.values():
            yield from _objects(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _objects(each)


def _events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a stream, in the API's order; texts come in pieces."""
    usage = message["usage"]
    start = {
        **message,
        "content": [],
        "stop_reason": None,
        "stop_details": None,
        "usage": {**usage, "output_tokens": 1},
    }
    yield {"type": "message_start", "message": start}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        match block["type"]:
            case "text":
                empty, deltas = (
                    {**block, "text": ""},
                    [{"type": "text_delta", "text": t} for t in _pieces(block["text"])],
                )
            case "thinking":
                empty = {**block, "thinking": "", "signature": ""}
                deltas = [{"type": "thinking_delta", "thinking": t} for t in _pieces(block["thinking"])]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            case _:
                empty = {**block, "input": {}}
                deltas = [{"type": "input_json_delta", "partial_json": t} for t in _pieces(json.dumps(block["input"]))]
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    told = (
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
        "output_tokens_details",
    )
    yield {
        "type": "message_delta",
        "delta": {key: message[key] for key in ("stop_reason", "stop_sequence", "stop_details")},
        "usage": {key: usage[key] for key in told},
    }
    yield {"type": "message_stop"}


def _pieces(text: str) -> list[str]:
    size = max(1, len(text) // 6)
    return [text[at : at + size] for at in range(0, len(text), size)]


def _sse(event: Mapping[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _error(
    status: int, kind: str, message: str, code: str = "", headers: Mapping[str, str] | None = None
) -> web.Response:
    error: dict[str, Any] = {"type": kind, "message": message}
    if code:
        error["details"] = {"error_code": code}
    body = {"type": "error", "error": error, "request_id": "req_failed"}
    return web.json_response(body, status=status, headers={"request-id": "req_failed", **(headers or {})})
