"""The agent as the settings have it: its client, its books and its models, one of each for the whole process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gamma_bot.agent.client import Claude, Patience
from gamma_bot.agent.ledger import Ledger
from gamma_bot.agent.models import DEFAULT_MODEL, SECOND_MODEL, Model, ModelsUnusable, UnknownModel, load_models
from gamma_bot.settings import Settings, WrongSettings
from gamma_bot.store.asks import Asks
from gamma_bot.store.database import Database
from gamma_bot.store.ledger import AgentLedger
from gamma_bot.store.told import Told
from gamma_bot.store.write_ups import WriteUpTexts

if TYPE_CHECKING:
    from gamma_bot.agent.ask import Asker
    from gamma_bot.agent.write_up import WriteUps


@dataclass(frozen=True)
class Agent:
    """What calls models.

    Attributes:
        first, second: the models, in the order they are asked; there is no second one if it is the same.
        prices_of: the day that their prices are of.
    """

    claude: Claude
    ledger: Ledger
    first: Model
    second: Model | None
    asks: Asks
    texts: WriteUpTexts
    told: Told
    prices_of: str

    def writer(self, settings: Settings) -> WriteUps:
        """Who writes about commits."""
        from gamma_bot.agent.write_up import WriteUps

        return WriteUps(self.claude, self.ledger, self.first, self.second, secrets=settings.secrets)

    def asker(self, settings: Settings, url: str) -> Asker | None:
        """Who answers questions; ``None`` without a key.

        Args:
            url: Gamma's own address, whose pages of jobs may be linked.
        """
        if not self.claude.available:
            return None
        from gamma_bot.agent.ask import Asker

        models = [self.first, *([self.second] if self.second is not None else [])]
        pages = (f"{url}/jobs", *([settings.mlflow_public_url] if settings.mlflow_public_url else []))
        return Asker(self.claude, self.ledger, models, secrets=settings.secrets, pages=pages)


def agent_of(settings: Settings, database: Database, patience: Patience | None = None) -> Agent:
    """What the settings ask for.

    Raises:
        WrongSettings: the model that is asked for has no prices, so that what it costs could not be limited.
    """
    try:
        models = load_models(settings.data_dir)
        first = models.get(settings.anthropic_model or DEFAULT_MODEL)
        second = models.get(settings.anthropic_second_model or SECOND_MODEL)
    except (UnknownModel, ModelsUnusable) as error:
        raise WrongSettings(
            f"The model for the agent can't be used (GAMMA_ANTHROPIC_MODEL, …_SECOND_MODEL): {error}"
        ) from None
    ledger = Ledger(AgentLedger(database))
    key = settings.anthropic_api_key.get_secret_value() if settings.anthropic_api_key else None
    claude = Claude(key, settings.anthropic_base_url, ledger, patience)
    other = second if second.name != first.name else None
    return Agent(claude, ledger, first, other, Asks(database), WriteUpTexts(database), Told(database), models.as_of)
