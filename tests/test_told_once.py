"""A project without a model, or without money for one, is told so once: by one comment, which goes on telling it."""

from __future__ import annotations

import re
import time

from pydantic import SecretStr

from gamma_bot.agent.ledger import Caps
from gamma_bot.sandbox.model import PullRequest
from gamma_bot.store.database import Database
from gamma_bot.store.ledger import AgentLedger, NewAttempt
from tests.anthropic_fake import KEY, AnthropicFake
from tests.conversation import say
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma

NO_KEY = "Deterministic write-up (no model): whoever runs Gamma can set GAMMA"
NO_MONEY = "this repository's budget for the model (&#36;20.00 a month) is used up until the first of the next month"
NOTHING = ", attempt 1</sub>"


class Team:
    """Two pull requests to which somebody pushes."""

    def __init__(self, gamma: Gamma) -> None:
        self._gamma = gamma
        self._rates = iter(range(20, 99))
        self.pulls: dict[str, PullRequest] = {}

    async def pushes(self, branch: str, *, and_reads: str) -> None:
        """Push another learning rate, and wait until the pull request's comment tells its result with these words."""
        gamma = self._gamma
        changed = CONFIG.replace("0.1", f"0.{next(self._rates)}")
        sha = await gamma.push(branch, {"gamma.yml": changed}, start_from="models/main")
        if branch not in self.pulls:
            self.pulls[branch] = await gamma.open_pull_request(branch, base="models/main")
        await gamma.finished(sha)
        await gamma.comment_says(self.pulls[branch], sha[:7], "In gamma.yml, `lr` went from `0.1`", and_reads)


async def test_why_no_model_writes_is_said_in_one_pull_request_and_not_in_the_next(stage: Gamma) -> None:
    await stage.start()
    await stage.finished(await stage.push("models/main", {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT}))
    team = Team(stage)
    await team.pushes("models/a", and_reads=NO_KEY)
    await team.pushes("models/b", and_reads=NOTHING)
    await say(stage, team.pulls["models/a"], "/gamma summary")  # which shows the comment anew
    await stage.comment_says(team.pulls["models/a"], NO_KEY)

    await stage.stop()
    database = Database(stage.settings.store_url)
    all_of_it = NewAttempt(stage.repository.id, "a-job", "write_up", "a task", "claude-sonnet-5-5", Caps().month)
    await AgentLedger(database).reserve(all_of_it, time.time(), lambda _: None)
    database.close()
    async with AnthropicFake().serve() as fake:
        await stage.start(anthropic_api_key=SecretStr(KEY), anthropic_base_url=fake.url)
        await team.pushes("models/b", and_reads=NO_MONEY)
        await team.pushes("models/a", and_reads=NOTHING)
        await team.pushes("models/b", and_reads=NO_MONEY)
        _, reply = await say(stage, team.pulls["models/a"], "/gamma summary")
        assert NO_MONEY in reply  # whoever asks for a write-up is told why there is none
        await stage.comment_says(team.pulls["models/a"], NOTHING)
        _, reply = await say(stage, team.pulls["models/a"], "/gamma cost")
        assert "| 20 USD | 20 USD | 0 USD |" in reply
        assert re.search(r"\| Training and agent, \d{4}-\d\d \| 20 USD \|", reply)
        assert fake.requests == []
        await stage.stop()
