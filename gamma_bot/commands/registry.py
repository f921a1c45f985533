"""The commands that Gamma knows: a new one is a file beside this one, and a line here."""

from __future__ import annotations

from gamma_bot.commands.approve import approve
from gamma_bot.commands.artifacts import artifacts
from gamma_bot.commands.ask import ask
from gamma_bot.commands.config import config
from gamma_bot.commands.cost import cost
from gamma_bot.commands.declaration import Registry, command
from gamma_bot.commands.help import help_command
from gamma_bot.commands.logs import logs
from gamma_bot.commands.metrics import metrics
from gamma_bot.commands.promote import promote
from gamma_bot.commands.retry import retry
from gamma_bot.commands.simulate import simulate
from gamma_bot.commands.skip import skip
from gamma_bot.commands.status import status
from gamma_bot.commands.stop import stop
from gamma_bot.commands.summary import summary
from gamma_bot.commands.train import train

__all__ = ["Registry", "build_registry", "command"]


def build_registry() -> Registry:
    """All commands, in the order in which help lists them."""
    return Registry(
        (
            help_command,
            status,
            metrics,
            logs,
            artifacts,
            config,
            simulate,
            cost,
            summary,
            ask,
            train,
            retry,
            stop,
            skip,
            approve,
            promote,
        )
    )
