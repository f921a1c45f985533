"""The environment becomes one frozen ``Settings``; nothing else reads the environment.

The names are a promise to whoever deploys Gamma (``README.md`` lists them). A ``.env`` file in the working
directory is read too; a variable that is set wins over it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gamma_bot.stored_app import read_stored_app


class WrongSettings(Exception):
    """What is configured can't work; the text says what to change."""


class Settings(BaseSettings):
    """Everything about Gamma that an operator can set; the defaults run on a laptop without an account.

    Raises:
        pydantic.ValidationError: a variable has a value that can't be used.
    """

    model_config = SettingsConfigDict(
        env_prefix="GAMMA_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    data_dir: Path = Path("gamma-data")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 3.0
    public_url: str | None = None
    database_url: str | None = None
    executor: str = "local"
    branches: Annotated[tuple[str, ...], NoDecode] = ("models", "models/*")
    local_jobs: Annotated[int, Field(ge=1)] = max(1, (os.cpu_count() or 1) // 2)

    github_api_url: str = "https://api.github.com"
    github_app_id: str | None = None
    github_private_key: SecretStr | None = None
    github_webhook_secret: SecretStr | None = None
    github_client_id: str | None = None
    github_client_secret: SecretStr | None = None
    tunnel_url: str | None = None

    mlflow_tracking_uri: str | None = None
    mlflow_public_url: str | None = None

    # By AWS's own names. Of the two boto3 reads only the second one, so that it has to be told.
    aws_region: Annotated[str | None, Field(validation_alias=AliasChoices("aws_region", "aws_default_region"))] = None

    aws_endpoint_url: Annotated[str | None, Field(validation_alias="aws_endpoint_url")] = None
    aws_bucket: str | None = None
    aws_role_arn: str | None = None
    aws_events_queue_url: str | None = None

    anthropic_api_key: SecretStr | None = None
    anthropic_base_url: str | None = None
    anthropic_model: str | None = None
    anthropic_second_model: str | None = None
    api_token: SecretStr | None = None
    supabase_url: str | None = None

    @field_validator("branches", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("branches")
    @classmethod
    def _some_branch(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one branch that trains, such as models,models/*")
        return value

    @field_validator("public_url", "mlflow_public_url", "github_api_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("write a whole address, such as https://gamma.example.com")
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("github_api_url", "public_url", "mlflow_public_url")
    @classmethod
    def _no_slash(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value else value

    @field_validator("tunnel_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value and not value.startswith(("https://", "http://")):
            raise ValueError("a channel's address begins with https://")
        return value

    @property
    def webhook_secrets(self) -> tuple[bytes, ...]:
        """All secrets that sign webhooks now; two while one is being rotated out."""
        value = self.github_webhook_secret.get_secret_value() if self.github_webhook_secret else ""
        return tuple(part.strip().encode() for part in value.split(",") if part.strip())

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret value that is configured, to be taken out of logs and errors. The private key is none of them:
        a PEM block is known by its looks."""
        values = [value.decode() for value in self.webhook_secrets]
        values += [
            secret.get_secret_value()
            for secret in (self.github_client_secret, self.anthropic_api_key, self.api_token)
            if secret
        ]
        values += [urlsplit(url or "").password or "" for url in (self.database_url, self.mlflow_tracking_uri)]
        return tuple(value for value in values if value)

    @property
    def private_key(self) -> str | None:
        """The App's private key as PEM text, read from its file if a path was given.

        Two keys while one is being rotated out: two PEM blocks one after the other, or two paths with a comma between.

        Raises:
            OSError: the file can't be read; the message is fit for a person.
        """
        if self.github_private_key is None:
            return None
        value = self.github_private_key.get_secret_value()
        if "-----BEGIN" in value:
            return value
        return "\n".join(_key_file(part.strip()) for part in value.split(",") if part.strip())

    @property
    def store_url(self) -> str:
        """SQLAlchemy's URL of Gamma's own tables."""
        return self.database_url or f"sqlite:///{self.data_dir / 'gamma.db'}"

    @property
    def engine_url(self) -> str:
        """SQLAlchemy's URL of the durable engine's tables: a file of its own on SQLite, the same Postgres otherwise."""
        return self.database_url or f"sqlite:///{self.data_dir / 'engine.db'}"

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI; embedded in the data directory by default."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.data_dir / 'mlflow' / 'mlflow.db'}"


def with_stored_app(settings: Settings) -> Settings:
    """The settings with what ``gamma setup`` stored in the data directory, where the environment says nothing.

    The environment wins. If it names another App or another GitHub, nothing of the stored App fits, and it is left out.

    Raises:
        StoredAppError: the stored file can't be used.
    """
    if settings.github_app_id and settings.github_private_key and settings.github_webhook_secret:
        return settings  # complete: a damaged file of old must not stop a service that doesn't need it
    stored = read_stored_app(settings.data_dir)
    if stored is None:
        return settings
    if settings.github_app_id not in (None, stored.id, stored.client_id):
        return settings
    if "github_api_url" in settings.model_fields_set and settings.github_api_url != stored.api_url:
        return settings
    found: dict[str, object] = {
        "github_api_url": stored.api_url,
        "github_app_id": settings.github_app_id or stored.id,
        "github_private_key": settings.github_private_key or SecretStr(stored.pem),
        "github_webhook_secret": settings.github_webhook_secret or SecretStr(stored.webhook_secret),
        "github_client_id": settings.github_client_id or stored.client_id,
        "github_client_secret": settings.github_client_secret or SecretStr(stored.client_secret),
    }
    return settings.model_copy(update=found)


def _key_file(path: str) -> str:
    # A key without its BEGIN line would pass for a path: only what can be one may stand in a message.
    shown = path if len(path) <= 255 and "\n" not in path else "a text that is no path"
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text file"
        raise OSError(f"GAMMA_GITHUB_PRIVATE_KEY names {shown}, which can't be read: {reason}") from None
