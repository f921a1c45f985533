"""The environment becomes one frozen ``Settings``; nothing else reads the environment.

The names are a promise to whoever deploys Gamma (``README.md`` lists them). A ``.env`` file in the working
directory is read too; a variable that is set wins over it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


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

    mlflow_tracking_uri: str | None = None
    mlflow_public_url: str | None = None

    anthropic_api_key: SecretStr | None = None
    anthropic_base_url: str | None = None
    anthropic_model: str | None = None
    supabase_url: str | None = None

    @field_validator("branches", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("github_api_url", "public_url", "mlflow_public_url")
    @classmethod
    def _no_slash(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value else value

    @property
    def webhook_secrets(self) -> tuple[bytes, ...]:
        """All secrets that sign webhooks now; two while one is being rotated out."""
        value = self.github_webhook_secret.get_secret_value() if self.github_webhook_secret else ""
        return tuple(part.strip().encode() for part in value.split(",") if part.strip())

    @property
    def private_key(self) -> str | None:
        """The App's private key as PEM text, read from its file if a path was given.

        Raises:
            OSError: the file can't be read.
        """
        if self.github_private_key is None:
            return None
        value = self.github_private_key.get_secret_value()
        return value if "-----BEGIN" in value else Path(value).expanduser().read_text(encoding="utf-8")

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
