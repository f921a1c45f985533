"""One REST call to an MLflow server: time limits, credentials, and every failure as a ``TrackingError``."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from gamma_bot.tracking.addresses import credentials, without_credentials
from gamma_bot.tracking.refusals import plain, refusal
from gamma_bot.tracking.runs import TrackingError

_CONNECT_SECONDS = 5.0
_CALL_SECONDS = 30.0
_AT_ONCE = 4  # one MLflow worker gets slower, not faster, with more
_IDLE_SECONDS = 3.0  # shorter than the five after which MLflow's web server hangs up

Query = Mapping[str, str | int | list[str]]


class ServerCalls:
    """Speaks JSON with one MLflow server.

    Args:
        uri: the server's address; user and password in it are sent as basic authentication and shown nowhere.
        http_session: used and left open; without it one is made at the first call.
    """

    def __init__(
        self,
        uri: str,
        *,
        username: str | None = None,
        password: str | None = None,
        http_session: aiohttp.ClientSession | None = None,
    ) -> None:
        self.address = without_credentials(uri).rstrip("/")
        written = credentials(uri)
        login = (username, password or "") if username is not None else written
        self._headers = {"Accept": "application/json"}
        if login:
            self._headers["Authorization"] = aiohttp.encode_basic_auth(*login)
        self._given = http_session
        self._own: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def get(self, path: str, query: Query) -> dict[str, Any]:
        """Ask for something; asked a second time if the connection breaks.

        Raises:
            TrackingError
        """
        return await self._call("GET", path, query=query, repeatable=True)

    async def post(self, path: str, body: Mapping[str, object], *, repeatable: bool = True) -> dict[str, Any]:
        """Send something; sent a second time if the connection breaks, unless that would do it twice.

        Raises:
            TrackingError
        """
        return await self._call("POST", path, body=body, repeatable=repeatable)

    async def close(self) -> None:
        """Close the session, if it is our own."""
        if self._own is not None:
            await self._own.close()

    async def _call(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool,
        query: Query | None = None,
        body: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        async with self._turns:
            for again in (True, False):
                try:
                    status, text = await self._exchange(method, path, query, body)
                    break
                except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
                    raise TrackingError(f"MLflow at {self.address} can't be reached: {_reason(error)}.") from error
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                    # A kept connection that the server was just closing looks like this, too.
                    if not (repeatable and again):
                        raise TrackingError(f"MLflow at {self.address} broke the connection off.") from error
                except TimeoutError:
                    raise TrackingError(
                        f"MLflow at {self.address} did not answer in time (it has {_CALL_SECONDS:.0f} seconds)."
                    ) from None
                except (aiohttp.ClientError, UnicodeDecodeError) as error:
                    raise TrackingError(f"MLflow at {self.address} can't be understood: {_reason(error)}.") from error
        if not 200 <= status < 300:
            raise refusal(status, text, self.address, urlsplit(self.address).netloc)
        return self._json(text)

    async def _exchange(
        self, method: str, path: str, query: Query | None, body: Mapping[str, object] | None
    ) -> tuple[int, str]:
        async with self._session().request(
            method,
            f"{self.address}/api/2.0/mlflow/{path}",
            params=query,
            json=body,
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=_CALL_SECONDS, sock_connect=_CONNECT_SECONDS),
            allow_redirects=False,  # a redirect is a login page, or would turn a POST into a GET
            raise_for_status=False,
        ) as response:
            return response.status, await response.text()

    def _session(self) -> aiohttp.ClientSession:
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = aiohttp.ClientSession(connector=aiohttp.TCPConnector(keepalive_timeout=_IDLE_SECONDS))
        return self._own

    def _json(self, text: str) -> dict[str, Any]:
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise TrackingError(
                f"MLflow at {self.address} answered with something that is not JSON. "
                "GAMMA_MLFLOW_TRACKING_URI must be the address of the MLflow server itself, not of a page in front."
            )
        return answer


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0  # negative or absent where a name could not be resolved
        return os.strerror(number) if number > 0 else plain(str(error.os_error))
    return plain(str(error)) or type(error).__name__
