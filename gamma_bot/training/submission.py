"""Writes an attempt down, all at once: its folder either has everything or does not exist."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from pathlib import Path

from gamma_bot.training.attempt_folder import AttemptFolder, StoredSpec
from gamma_bot.training.durable import sync_folder, write_file
from gamma_bot.training.trainer import TrainingSpec

_UNFINISHED = ".new-"
_ABANDONED_SECONDS = 3_600


def write_down(root: Path, folder: AttemptFolder, spec: TrainingSpec) -> None:
    """Create the folder of an attempt, durably; nothing happens if another bot was faster.

    Raises:
        OSError: the tarball can't be read, or the disk refused; nothing is left behind.
    """
    fresh = AttemptFolder(root / f"{_UNFINISHED}{secrets.token_hex(8)}")
    fresh.path.mkdir()
    try:
        _link_or_copy(spec.source, fresh.source)
        stored = StoredSpec(spec, secrets.token_hex(16), time.time())
        write_file(fresh.path / "spec.json", stored.to_json())
        try:
            # A folder can't be renamed onto one with files in it, so of two bots one comes too late.
            fresh.path.rename(folder.path)
        except OSError:
            if not folder.exists():
                raise
        sync_folder(root)
    finally:
        shutil.rmtree(fresh.path, ignore_errors=True)


def remove_abandoned(root: Path) -> None:
    """Delete what a bot left that died while it wrote an attempt down."""
    for path in root.glob(f"{_UNFINISHED}*"):
        # Another bot may be writing right now, so only old ones go.
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
