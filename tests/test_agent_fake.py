"""The stand-in for Anthropic's API has the shapes of the SDK's own types, and refuses what the API refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.anthropic_fake import KEY, AnthropicFake, Say, _events, tokens

MODEL = "claude-sonnet-5-5"
HELLO = [{"role": "user", "content": "Hello"}]


async def test_its_answers_and_events_are_those_of_the_sdk() -> None:
    import anthropic
    from pydantic import BaseModel, TypeAdapter

    fake = AnthropicFake()
    async with fake.serve(), anthropic.AsyncAnthropic(api_key=KEY, base_url=fake.url, max_retries=0) as client:
        said = Say("Two words", [("look", {"at": "x"})], thinking="Hm.", stop_reason="tool_use")
        fake.script = [said, said, Say("", stop_reason="refusal")]
        message = await client.messages.create(model=MODEL, max_tokens=10, messages=HELLO)
        assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
        assert not _unknown(message)
        async with client.messages.stream(model=MODEL, max_tokens=10, messages=HELLO) as stream:
            streamed = await stream.get_final_message()
        assert [block.to_dict() for block in streamed.content] == [
            {**block.to_dict(), **({"id": streamed.content[2].id} if block.type == "tool_use" else {})}  # type: ignore[union-attr]
            for block in message.content
        ]
        assert streamed.usage.to_dict() == message.usage.to_dict()
        refused = await client.messages.create(model=MODEL, max_tokens=10, messages=HELLO)
        assert refused.stop_reason == "refusal"
        assert refused.stop_details is not None
        assert refused.stop_details.type == "refusal"
        counted = await client.messages.count_tokens(model=MODEL, messages=HELLO)
        assert counted.input_tokens == tokens("Hello")

        event_type: TypeAdapter[Any] = TypeAdapter(anthropic.types.RawMessageStreamEvent)
        for event in _events({**message.to_dict(), "usage": message.usage.to_dict()}):
            if event["type"] != "ping":
                assert not _unknown(event_type.validate_python(event)), event
    assert issubclass(anthropic.types.Message, BaseModel)


_TOOL = {
    "name": "look",
    "description": "",
    "input_schema": {"type": "object", "properties": {}, "additionalProperties": False},
}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"temperature": 0}, 400),
        ({"tools": [_TOOL], "tool_choice": {"type": "any"}}, 400),
        ({"tools": [_TOOL], "tool_choice": {"type": "auto"}}, 200),
        ({"messages": [*HELLO, {"role": "assistant", "content": "{"}]}, 400),
        ({"messages": []}, 400),
        ({"max_tokens": None}, 400),
        ({"model": "claude-unheard-of"}, 404),
        ({"thinking": {"type": "disabled"}}, 400),
        ({"thinking": {"type": "between_tools"}}, 200),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {}}}}}, 400),
        ({"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5}, 400),
        (
            {
                "messages": [
                    *HELLO,
                    {"role": "assistant", "content": [{"type": "thinking", "thinking": "I", "signature": "me"}]},
                    *HELLO,
                ]
            },
            400,
        ),
        (
            {
                "messages": [
                    *HELLO,
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "look", "input": {}}]},
                    *HELLO,
                ]
            },
            400,
        ),
    ],
)
async def test_it_refuses_what_the_api_refuses(body: dict[str, Any], status: int) -> None:
    import aiohttp

    fake = AnthropicFake()
    headers = {"authorization": f"Bearer {KEY}", "anthropic-version": "2026-10-21"}
    whole = {"model": MODEL, "max_tokens": 5, "messages": HELLO, **body}
    async with fake.serve(), aiohttp.ClientSession() as session:
        async with session.post(f"{fake.url}/v1/messages", json=whole, headers=headers) as response:
            assert response.status == status, await response.text()
        for wrong in ({"x-api-key": KEY}, {**headers, "anthropic-version": "2023-06-01"}):
            async with session.post(f"{fake.url}/v1/messages", json=whole, headers=wrong) as response:
                assert response.status in (400, 401)


async def test_its_cache_reads_and_writes_real_prefixes() -> None:
    import anthropic

    fake = AnthropicFake()
    long = {"type": "text", "text": "policy " * 400}
    marked = {**long, "cache_control": {"type": "ephemeral", "ttl": "1h"}}

    async def ask(system: list[Any], *contents: str, **more: Any) -> tuple[int, int, int]:
        messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]
        message = await client.messages.create(model=MODEL, max_tokens=5, system=system, messages=messages, **more)  # type: ignore[arg-type]
        usage = message.usage
        assert usage.cache_creation is not None
        return (
            usage.cache_read_input_tokens or 0,
            usage.cache_creation.ephemeral_1h_input_tokens,
            usage.cache_creation.ephemeral_5m_input_tokens,
        )

    async with fake.serve(), anthropic.AsyncAnthropic(api_key=KEY, base_url=fake.url, max_retries=0) as client:
        size = tokens(long)
        assert await ask([marked], "a") == (0, size, 0)
        assert await ask([marked], "b") == (size, 0, 0)
        assert await ask([{**marked, "text": "P" + long["text"][1:]}], "b") == (
            0,
            size,
            0,
        )  # one letter at its beginning
        assert await ask([{"type": "text", "text": "short", "cache_control": {"type": "ephemeral"}}], "b") == (0, 0, 0)
        # A conversation that only grows: each turn reads what the one before has written.
        moving = {"cache_control": {"type": "ephemeral"}}
        read, hour, five = await ask([marked], "question " * 50, **moving)
        assert (read, hour) == (size, 0)
        assert five == tokens("question " * 50)
        assert (await ask([marked], "question " * 50, "answer", "more", **moving))[0] == size + five
        fake.now += 301
        assert (await ask([marked], "question " * 50, "answer", "more", "b", "c", **moving))[0] == size
        fake.now += 3600
        assert (await ask([marked], "b"))[0] == 0


def _unknown(value: Any) -> list[str]:
    """Fields that the SDK's types don't have."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        found = list(value.model_extra or {})
        return found + [name for field in type(value).model_fields for name in _unknown(getattr(value, field))]
    return [name for item in value for name in _unknown(item)] if isinstance(value, list) else []
