"""Chooses how to speak to MLflow from its tracking URI alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gamma_bot.tracking.addresses import is_http
from gamma_bot.tracking.embedded import MlflowTracking
from gamma_bot.tracking.rest import RestTracking

if TYPE_CHECKING:
    import aiohttp

    from gamma_bot.tracking.runs import Tracking


def open_tracking(
    uri: str,
    *,
    artifact_root: Path,
    public_url: str | None,
    http_session: aiohttp.ClientSession | None = None,
) -> Tracking:
    """The store of runs behind a tracking URI. Nothing is opened or imported before the first call.

    Args:
        uri: ``http(s)://…`` for a server; anything else MLflow knows runs embedded in this process.
        artifact_root: where an embedded store puts the artifacts of the experiments that it makes.
        public_url: where people reach MLflow's pages; the server's own address if ``None``.
        http_session: used for a server and left open; without it one is made and closed with the tracking.

    Raises:
        TrackingError: the URI names something no job could reach.
    """
    if is_http(uri):
        return RestTracking(uri, public_url=public_url, http_session=http_session)
    return MlflowTracking(uri, artifact_root=artifact_root, public_url=public_url)
