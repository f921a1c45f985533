"""The GitHub App as ``gamma setup`` stores it: one file in the data directory that only its owner may read."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FILE_NAME = "github-app.json"


class StoredAppError(Exception):
    """The stored App can't be read or written; the words say why and hold no secret."""


@dataclass(frozen=True)
class StoredApp:
    """What GitHub tells once, when an App is created.

    Attributes:
        api_url: the GitHub that knows this App.
        html_url: the App's public page.
        pem: the private key.
    """

    api_url: str
    id: str
    slug: str
    html_url: str
    client_id: str
    client_secret: str
    webhook_secret: str
    pem: str

    def __repr__(self) -> str:
        return f"StoredApp(id={self.id!r}, slug={self.slug!r}, api_url={self.api_url!r})"  # no secret in a traceback

    @property
    def install_url(self) -> str:
        """Where people choose the repositories that Gamma works in."""
        return f"{self.html_url}/installations/new"


def read_stored_app(data_dir: Path) -> StoredApp | None:
    """The App that was set up in this data directory; ``None`` if there is none.

    Raises:
        StoredAppError: the file is there and can't be used.
    """
    path = data_dir / FILE_NAME
    try:
        found = json.loads(path.read_bytes())
        return StoredApp(**{field.name: str(found[field.name]) for field in fields(StoredApp)})
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoredAppError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        words = f"{path} is damaged: set the GAMMA_GITHUB_… variables, or run `gamma setup --force`"
        raise StoredAppError(words) from None


def check_place(data_dir: Path, *, force: bool) -> None:
    """Prove that an App can be stored here, before GitHub shows the secrets that it shows only once.

    Raises:
        StoredAppError: there is an App already, or the directory can't be written.
    """
    path = data_dir / FILE_NAME
    if path.exists() and not force:
        raise StoredAppError(_taken(path))
    try:
        _private_folder(data_dir)
        probe = data_dir / f".{FILE_NAME}.{secrets.token_hex(4)}"
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        probe.unlink()
    except OSError as error:
        raise StoredAppError(_unwritable(data_dir, error)) from None


def write_stored_app(data_dir: Path, app: StoredApp, *, force: bool = False) -> Path:
    """Store the App: complete or not at all, mode 0600 from its first byte, in a directory of mode 0700.

    Raises:
        StoredAppError: there is an App already (and no ``force``), or the directory can't be written.
    """
    path = data_dir / FILE_NAME
    partial = data_dir / f".{FILE_NAME}.{secrets.token_hex(8)}"
    try:
        _private_folder(data_dir)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(app), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        if force:
            partial.replace(path)
        else:
            path.hardlink_to(partial)  # unlike a rename, this refuses to take the place of another file
        _flush_folder(data_dir)
    except FileExistsError:
        raise StoredAppError(_taken(path)) from None
    except OSError as error:
        raise StoredAppError(_unwritable(data_dir, error)) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def _private_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _taken(path: Path) -> str:
    return f"{path} holds an App already. Keep it, or say --force to replace it (its secrets are then gone from here)"


def _unwritable(folder: Path, error: OSError) -> str:
    return f"{folder} can't be written: {error.strerror}. Set GAMMA_DATA_DIR to a directory of your own"
