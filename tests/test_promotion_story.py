"""A run is promoted, by button or by command, and later ones are compared with it."""

from __future__ import annotations

import pytest

from gamma_bot.sandbox.model import CheckRun
from gamma_bot.tracking.registry import model_name
from gamma_bot.tracking.rest import RestTracking
from tests.conversation import say
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma

pytestmark = pytest.mark.asyncio(loop_scope="module")

# It prints a traceback and goes on, which is a notice in the check run: GitHub adds annotations, and takes none back.
GRUMBLING = "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()\n"
REPOSITORY = {"gamma.yml": CONFIG, "train.py": GRUMBLING + LOGGING_SCRIPT}


def buttons(run: CheckRun) -> list[str]:
    return [action.identifier for action in run.actions]


async def says(gamma: Gamma, run: CheckRun, *words: str) -> str:
    """Wait until the summary of a check run contains all these words."""

    def told() -> str | None:
        summary = run.output.summary or ""
        return summary if all(word in summary for word in words) else None

    return await gamma.eventually(told, f"{run.name} to say {words}")


async def test_a_promoted_run_is_what_later_ones_are_compared_with(shared: Gamma) -> None:
    gamma = shared.elsewhere(ada="maintain", bob="write")
    first = await gamma.push("models/energy", REPOSITORY)
    pull = await gamma.open_pull_request("models/energy", base="main")
    champion = await gamma.finished(first)
    assert buttons(champion) == ["retry", "promote"]
    assert len(champion.annotations) == 1

    # GitHub lets bob press it. He reads on the check run why nothing happened.
    await gamma.github.click(champion, "promote", "bob")
    said = await says(gamma, champion, "`bob` pressed “Promote”")
    assert "needs the role maintain in this repository, and `bob` has the role write." in said
    assert "Champion" not in said

    await gamma.github.click(champion, "promote", "ada")
    promoted = await says(gamma, champion, "**Champion** since")
    assert "promoted by `ada`: later runs are compared with this one." in promoted
    assert "bob" not in promoted
    await gamma.comment_says(pull, "**Champion** since", "promoted by `ada`")
    await gamma.flushed()
    assert buttons(champion) == ["retry"]
    assert len(champion.annotations) == 1, "not sent a second time"

    # The same press again, as GitHub delivers it when it was not sure of the first time.
    pressed = [delivery for delivery in gamma.app.deliveries if delivery.action == "requested_action"]
    gamma.github.redeliver(max(pressed, key=lambda delivery: delivery.id))
    await gamma.dispatched()

    # Another branch, another baseline branch: the champion is the one of the whole repository.
    second = await gamma.push("models/other", {**REPOSITORY, "gamma.yml": CONFIG.replace("0.1", "0.05")})
    other_pull = await gamma.open_pull_request("models/other", base="main")
    other = await gamma.finished(second)
    assert "worse than the champion" in (other.output.title or "")
    assert "on `models/energy`: the champion, promoted by `ada`." in (other.output.summary or "")

    reaction, answer = await say(gamma, other_pull, "/gamma promote")
    assert reaction == "rocket"
    assert f"`{other.external_id}`" in answer.partition("is the champion now")[0]
    assert f"`{champion.external_id}`" in answer.partition("It takes the place of job")[2]
    reaction, answer = await say(gamma, other_pull, "/gamma promote")
    assert (reaction, "is the champion already, promoted by `ada` on" in answer) == ("rocket", True)
    await gamma.flushed()
    assert "Champion" not in (champion.output.summary or "")
    assert (buttons(champion), buttons(other)) == (["retry", "promote"], ["retry"])
    assert "Champion" not in await gamma.comment_says(pull, first[:7])

    reaction, answer = await say(gamma, other_pull, "/gamma promote jnobody")
    assert (reaction, "This repository has no job `jnobody`" in answer) == ("confused", True)
    reaction, answer = await say(gamma, other_pull, f"/gamma simulate\n/gamma promote {champion.external_id}", "bob")
    assert f"`models/other`, job `{other.external_id}`, the champion" in answer
    assert (reaction, "`/gamma promote` needs the role **maintain**" in answer) == ("-1", True)

    tracking = RestTracking(gamma.settings.mlflow_tracking_uri or "")
    known = await tracking.champion(gamma.repository.full_name)
    await tracking.close()
    assert known is not None
    assert known.tags["gamma.job"] == other.external_id
    assert model_name(gamma.repository.full_name) == gamma.repository.full_name.replace("/", ".")


async def test_what_can_not_be_promoted_is_refused_and_a_command_may_take_more_than_github_asks(shared: Gamma) -> None:
    gamma = shared.elsewhere(ada="maintain", bob="write")
    await gamma.push("main", {"gamma.yml": "permissions: {retry: maintain}\n"})
    sha = await gamma.push("models/x", {"gamma.yml": CONFIG, "train.py": "raise SystemExit(3)\n"})
    pull = await gamma.open_pull_request("models/x", base="main")
    failed = await gamma.finished(sha)
    assert buttons(failed) == ["retry"]

    reaction, answer = await say(gamma, pull, "/gamma promote")
    assert reaction == "confused"
    assert f"Job `{failed.external_id}` failed, and only a run that succeeded can be promoted." in answer

    # gamma.yml on the default branch asks for more than GitHub does, and buttons and Re-run heed it.
    await gamma.github.click(failed, "retry", "bob")
    await says(gamma, failed, "`bob` pressed “Train again”. That needs the role maintain")
    await gamma.github.rerequest(failed, "bob")
    await says(gamma, failed, "`bob` pressed “Re-run”. That needs the role maintain")
    assert len(gamma.check_runs(sha)) == 1


async def test_without_mlflow_a_promotion_is_tried_again_and_then_said_to_have_failed(shared: Gamma) -> None:
    gamma = shared.elsewhere(ada="maintain")
    run = await gamma.finished(await gamma.push("models", {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT}))
    await gamma.flushed()
    real = gamma.settings.mlflow_tracking_uri
    await shared.stop()
    await shared.start(patience_seconds=1, mlflow_tracking_uri="http://127.0.0.1:9")

    await gamma.github.click(run, "promote", "ada")
    said = await says(gamma, run, "`ada` pressed “Promote”")

    assert "127.0.0.1:9 can't be reached" in said
    assert "Press it again once that is mended." in said
    await shared.stop()
    await shared.start(mlflow_tracking_uri=real)
    await gamma.github.click(run, "promote", "ada")
    assert "pressed" not in await says(gamma, run, "**Champion** since")
