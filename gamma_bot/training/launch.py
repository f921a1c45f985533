"""How a supervisor is started: detached, with an environment that holds none of the bot's secrets."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gamma_bot
from gamma_bot.training.attempt_folder import AttemptFolder
from gamma_bot.training.job_environment import allowed_environment, install_environment

# Isolated and without site-packages: the supervisor needs the standard library and this package, whose place comes
# last so that nothing beside it can take the place of a module of the standard library.
_BOOTSTRAP = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from gamma_bot.training.supervisor import main; sys.exit(main(sys.argv[2]))"
)
_MESSAGE_BYTES = 16_384  # what a pipe takes everywhere without anybody reading


@dataclass(frozen=True)
class LaunchSettings:
    """What a supervisor is told besides the spec.

    Attributes:
        environments: folder of the cached virtual environments.
        install_environment: pip's variables; they may hold passwords.
    """

    python: str
    environments: str
    grace_seconds: float = 30.0
    process_limit: int = 512
    install_seconds: float = 1800.0
    source_files: int = 200_000
    source_bytes: int = 8 << 30
    install_environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: bytes) -> LaunchSettings:
        """Read what ``start_supervisor`` sent.

        Raises:
            ValueError: it is not complete.
        """
        return cls(**json.loads(text))


def start_supervisor(
    folder: AttemptFolder, settings: LaunchSettings, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start the supervisor of an attempt; it goes on when this process ends.

    Raises:
        OSError: the machine refused.
    """
    told: dict[str, Any] = asdict(settings) | {"install_environment": install_environment(environment)}
    message = json.dumps(told).encode()
    if len(message) > _MESSAGE_BYTES:
        raise OSError("pip's environment variables are too long to be handed on")
    # Through a pipe and not as variables: a job can read the environment of its parents.
    read_end, write_end = os.pipe()
    try:
        os.write(write_end, message)
        os.close(write_end)
        with folder.supervisor_log.open("ab") as log:
            return subprocess.Popen(
                [
                    settings.python,
                    "-I",
                    "-S",
                    "-Xutf8",  # names in a tree are UTF-8, whatever the machine's language
                    "-c",
                    _BOOTSTRAP,
                    str(Path(gamma_bot.__file__).absolute().parent.parent),
                    str(folder.path),
                ],
                cwd=folder.path,
                env=allowed_environment(environment),
                stdin=read_end,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    finally:
        os.close(read_end)
