"""Which of GitHub's runs is an attempt's own, by the name that they carry. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gamma_bot.store.actions_runs import ActionsRun
from gamma_bot.training.workflows import WorkflowRun


def own_and_doubles(run: ActionsRun, listed: Sequence[WorkflowRun]) -> tuple[int | None, Sequence[WorkflowRun]]:
    """The id of the attempt's own run, if there is one, and the others under way that have its name.

    A double waits for the first run by the workflow's concurrency group. Cancelled meanwhile it never trains.
    """
    named = sorted((one for one in listed if run.attempt in one.name.split()), key=lambda one: one.id)
    own = run.run_id
    # What GitHub answered is the attempt's own: another one was started by somebody. Only if GitHub was asked more than
    # once, a run of the first time may have shown late; the one that came first is the one that trains.
    if named and (own is None or (run.tries > 1 and named[0].id < own)):
        own = named[0].id
    return own, [one for one in named if one.id != own and not one.is_over]
