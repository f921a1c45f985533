"""``gamma doctor`` and the agent: a wrong key or model is found before the first commit has no write-up."""

from __future__ import annotations

from pathlib import Path

import pytest

from gamma_bot.agent.footer import footer
from gamma_bot.agent.write_up import NoModel, Rung, WriteUp
from gamma_bot.doctor import Finding, examine
from gamma_bot.settings import Settings
from tests.anthropic_fake import KEY, AnthropicFake


async def _findings(folder: Path, mlflow_uri: str, **values: str) -> list[Finding]:
    found: list[Finding] = []
    await examine(Settings(data_dir=folder, mlflow_tracking_uri=mlflow_uri, **values), found.append)  # type: ignore[arg-type]
    return [finding for finding in found if finding.name == "agent"]


@pytest.mark.parametrize(
    ("values", "well", "said"),
    [
        ({"anthropic_api_key": KEY}, [True, True], "claude-sonnet-5-5 answers; prices of 20"),
        ({"anthropic_api_key": "sk-ant-of-somebody-else"}, [False, False], "401 authentication_error: invalid bearer"),
        ({"anthropic_api_key": KEY, "anthropic_model": "claude-fable-5-1"}, [False, True], "claude-fable-5-1: 404"),
        ({"anthropic_api_key": KEY, "anthropic_model": "claude-sonet"}, [False], "claude-sonet has no prices"),
        ({}, [], ""),
    ],
    ids=["well", "wrong key", "no such model", "no prices", "no key"],
)
async def test_doctor_asks_the_api_for_nothing_that_costs(
    values: dict[str, str], well: list[bool], said: str, tmp_path: Path, mlflow_uri: str
) -> None:
    fake = AnthropicFake()
    async with fake.serve():
        found = await _findings(tmp_path, mlflow_uri, anthropic_base_url=fake.url, **values)
    assert fake.requests == []  # counting tokens is free, and no message was asked for
    assert [finding.well for finding in found] == well
    assert all(bool(finding.fix) is not finding.well for finding in found)
    assert said in "".join(finding.detail for finding in found)


async def test_doctor_names_an_address_where_nobody_answers(tmp_path: Path, mlflow_uri: str) -> None:
    values = {"anthropic_api_key": KEY, "anthropic_base_url": "http://127.0.0.1:9"}
    [first, _] = await _findings(tmp_path, mlflow_uri, **values)
    assert "GAMMA_ANTHROPIC_BASE_URL" in first.fix
    assert "APIConnectionError" in first.detail


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (NoModel.REJECTED, ": Anthropic's API refuses Gamma's requests; gamma doctor and Gamma's log say why"),
        (NoModel.REFUSED, ": the models declined to write about this commit"),
        (NoModel.WRONG, ": what the model wrote did not hold against the data"),
    ],
)
def test_a_comment_without_a_models_words_says_whose_turn_it_is(why: NoModel, said: str) -> None:
    assert footer(WriteUp(Rung.DETERMINISTIC, "claude-sonnet-5-5", why=why), 20.0).endswith(said)
