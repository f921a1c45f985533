"""The stand-in's server: moto behind our gateway, on the loopback interface only."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gamma_bot.sandbox.aws.gateway import Gateway
from gamma_bot.sandbox.aws.queues import quicken
from gamma_bot.sandbox.aws.world import World

HOST = "127.0.0.1"


class AwsServer:
    """Listens from the start, answers between ``start`` and ``stop``."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        class Quiet(MotoRequestHandler):  # type: ignore[misc, unused-ignore]
            def log(self, type: str, message: str, *args: Any) -> None:
                """Say nothing: a test reads /_gamma/calls instead."""

        # A session's client keeps its connection; a new one for each call would cost more than the call.
        Quiet.protocol_version = "HTTP/1.1"
        quicken()
        folder.mkdir(parents=True, exist_ok=True)
        self.world = World(folder)
        gateway = Gateway(self.world, DomainDispatcherApplication(create_backend_app))
        self._server = make_server(HOST, port, gateway, threaded=True, request_handler=Quiet)
        self.url = f"http://{HOST}:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and end every job process."""
        self._server.shutdown()
        self._thread.join(timeout=5)
        self.world.end_all()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
