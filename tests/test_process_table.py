"""A machine without ``/proc``, such as a Mac: ``ps`` tells which processes are a job's, well enough to end them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gamma_bot.training import processes

# In a process of its own: what end_all is told here would be the other tests' children too.
_SCRIPT = """
import os, pathlib, subprocess, sys
from gamma_bot.training import processes
processes._PROC = pathlib.Path("/no/proc")
job = subprocess.Popen([sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '60'])"])
family = []
while len(family) < 2:
    family = processes.descendants(os.getpid())
assert processes.is_alive(family[0])
assert processes.memory_bytes(family) > 1_000_000
assert processes.carriers("anything") == []
found = lambda: processes.descendants(os.getpid())
assert processes.end_all(found, seconds=10, collect=lambda: job.poll())
assert not processes.is_alive(family[0])
assert not any(processes.is_alive(process) for process in family)
print("all ended")
"""


@pytest.mark.skipif(shutil.which("ps") is None, reason="there is no ps on this machine")
def test_without_proc_a_jobs_processes_are_found_and_ended_all_the_same() -> None:
    answer = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert (answer.stdout, answer.stderr) == ("all ended\n", "")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_is_told_from_another_one_with_its_number() -> None:
    myself = processes.read_process(os.getpid())
    assert myself is not None
    assert processes.is_alive(myself)
    assert not processes.is_alive(processes.Process(myself.pid, "another boot/1"))
