"""MLflow by fork: importing it takes seconds, so one process does that for the server and for all scripts of the suite.

    python -m tests.mlflow_forks FOLDER PORT

makes an empty database, serves it (MLflow's own application and database, ``FOLDER/server.log``), and forks a process
per script that it is sent through ``FOLDER/scripts``. Nothing else runs in it, so a script finds itself as in a fresh
process that begins with ``import mlflow``: no thread, no connection, its own environment, folder and pipes.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

_SCRIPTS, _EMPTY = "scripts", "empty.db"


def start_script(
    folder: Path, script: str, arguments: Sequence[str], environment: Mapping[str, str], cwd: Path
) -> Script:
    """Run a script as ``python -c`` would."""
    order = {"script": script, "arguments": list(arguments), "environment": dict(environment), "cwd": str(cwd)}
    pipes = [os.pipe() for _ in range(3)]
    theirs, ours = zip(*(pair if n == 0 else pair[::-1] for n, pair in enumerate(pipes)), strict=True)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(str(folder / _SCRIPTS))
    socket.send_fds(connection, [json.dumps(order).encode() + b"\n"], list(theirs))
    for descriptor in theirs:
        os.close(descriptor)
    return Script(connection, *ours)


class Script:
    """A script under way, with as much of a subprocess's manners as the tests need."""

    def __init__(self, connection: socket.socket, stdin: int, stdout: int, stderr: int) -> None:
        self._connection = connection
        self._stdin, self._stdout, self._stderr = (
            os.fdopen(stdin, "wb", buffering=0),
            os.fdopen(stdout, "rb"),
            os.fdopen(stderr, "rb"),
        )
        self._pid = int(connection.recv(100))
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        """Send a signal to a script that nobody has waited for yet."""
        os.kill(self._pid, number)

    async def read_line(self) -> bytes:
        """The next line that it prints."""
        return await asyncio.to_thread(self._stdout.readline)

    async def communicate(self, said: bytes = b"") -> tuple[bytes, bytes]:
        """Say something to it, wait for its end; what it printed and what it complained of."""
        if said:
            self._stdin.write(said)
        self._stdin.close()
        output = await asyncio.gather(asyncio.to_thread(self._stdout.read), asyncio.to_thread(self._stderr.read))
        self.returncode = int(await asyncio.to_thread(self._connection.recv, 100))
        for end in (self._stdout, self._stderr, self._connection):
            end.close()
        return output[0], output[1]


def copy_empty_database(folder: Path, target: Path) -> None:
    """A database with MLflow's tables, whose making takes more than a second."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / _EMPTY, target)


def _serve_scripts(folder: Path, port: int) -> None:
    """Start the server, then fork a script per connection until killed."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    empty = folder / _EMPTY
    SqlAlchemyStore(f"sqlite:///{empty}", str(folder / "artifacts")).engine.dispose()
    shutil.copyfile(empty, folder / "mlflow.db")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(folder / _SCRIPTS))
    listener.listen()
    if os.fork() == 0:
        listener.close()
        _serve_http(folder, port)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _run(connection)
        connection.close()


def _serve_http(folder: Path, port: int) -> None:
    # MLflow reads these when its application is imported; ``mlflow server`` sets them for the servers that it starts.
    os.environ |= {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    }
    # Its Flask application, as it runs under gunicorn: the server around it that MLflow prefers takes twice the time
    # for the same answers.
    from mlflow.server import app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_request(self, *_: object) -> None:
            """Thousands of lines that nobody reads."""

    make_server("127.0.0.1", port, app, threaded=True, request_handler=Quiet).serve_forever()


def _run(connection: socket.socket) -> None:
    """Fork the script, and tell how it ended."""
    text, pipes, *_ = socket.recv_fds(connection, 1 << 20, 3)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        connection.close()
        os._exit(_become(json.loads(text), pipes))
    connection.send(str(pid).encode())
    for descriptor in pipes:
        os.close(descriptor)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.send(str(status).encode())
    os._exit(0)


def _become(order: Mapping[str, object], pipes: Sequence[int]) -> int:
    for number, descriptor in enumerate(pipes):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    os.chdir(str(order["cwd"]))
    sys.argv[:] = ["-c", *order["arguments"]]  # type: ignore[misc]
    status = 0
    try:
        exec(compile(str(order["script"]), "<script>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    _serve_scripts(Path(sys.argv[1]), int(sys.argv[2]))
