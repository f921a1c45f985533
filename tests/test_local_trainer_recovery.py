"""The bot or the supervisor dies: a job runs at most once, is found again, and its end is told honestly (I3, I4)."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gamma_bot.training.trainer import Ending, Phase, TrainingSpec
from tests.local_machine import Machine, ended, exists, observe, reached

_BOT = """
import asyncio, os, pickle, sys
from pathlib import Path
from gamma_bot.training.local import LocalTrainer
from gamma_bot.training.trainer import Phase

PHASES = list(Phase)

async def main():
    root, spec, die_at = Path(sys.argv[1]), pickle.loads(bytes.fromhex(sys.argv[2])), sys.argv[3]
    trainer = LocalTrainer(root, slots=1, grace_seconds=5)
    if die_at == "recorded":
        trainer._advance = lambda open_attempts: os.kill(os.getpid(), 9)
    await trainer.submit(spec)
    if die_at == "started":
        os.kill(os.getpid(), 9)
    while True:
        (seen,) = await trainer.observe([spec.attempt])
        # A slow look can miss a short phase: then the next one will do.
        if PHASES.index(seen.phase) >= PHASES.index(die_at):
            os.kill(os.getpid(), 9)
        await asyncio.sleep(0.005)

asyncio.run(main())
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as machine:
        yield machine


def run_a_bot_that_dies(machine: Machine, spec: TrainingSpec, die_at: str) -> None:
    command = [sys.executable, "-c", _BOT, str(machine.root), pickle.dumps(spec).hex(), die_at]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL


def supervisor_pid(machine: Machine) -> int:
    return int(json.loads((machine.root / "job-1/started").read_text())["processes"][0][0])


@pytest.mark.parametrize("die_at", ["recorded", "started", "queued", "preparing", "running", "ended"])
async def test_a_job_survives_its_bot_and_runs_once(machine: Machine, die_at: str) -> None:
    starts = machine.note("starts")
    script = f"""
        import os, time
        with open({str(starts)!r}, "a") as file: file.write("x")
        time.sleep(0.2)
        open(os.environ["SM_MODEL_DIR"] + "/m", "w").write("model")
        print("trained")
    """
    spec = machine.spec(script)
    if die_at == "queued":
        die_at = "recorded"
        run_a_bot_that_dies(machine, spec, die_at)
    run_a_bot_that_dies(machine, spec, die_at)

    trainer = machine.trainer()
    await trainer.submit(spec)
    outcome = await ended(trainer, spec.attempt)

    assert outcome.ending is Ending.COMPLETED
    assert starts.read_text() == "x"
    assert await trainer.log_tail(spec.attempt, 5) == ["trained"]
    assert [artifact.path for artifact in await trainer.artifacts(spec.attempt)] == ["model/m"]


async def test_a_new_bot_starts_what_the_old_one_had_queued_without_being_told(machine: Machine) -> None:
    spec = machine.spec(f"open({str(machine.note('ran'))!r}, 'w').write('1')")
    run_a_bot_that_dies(machine, spec, "recorded")
    trainer = machine.trainer()

    await trainer.observe([])

    assert await exists(machine.note("ran")) == "1"
    assert (await ended(trainer, spec.attempt)).ending is Ending.COMPLETED


async def test_a_new_bot_can_stop_the_job_of_the_old_one(machine: Machine) -> None:
    spec = machine.spec("import time; time.sleep(60)")
    run_a_bot_that_dies(machine, spec, "running")
    trainer = machine.trainer()

    await trainer.stop(spec.attempt)

    assert (await ended(trainer, spec.attempt)).ending is Ending.STOPPED


async def test_a_running_job_of_the_old_bot_takes_a_slot(machine: Machine) -> None:
    running, waiting = machine.spec("import time; time.sleep(60)"), machine.spec("pass", job="other")
    run_a_bot_that_dies(machine, running, "running")
    trainer = machine.trainer(slots=1)
    await trainer.submit(waiting)

    assert (await observe(trainer, waiting.attempt)).phase is Phase.QUEUED
    await trainer.stop(running.attempt)
    assert (await ended(trainer, waiting.attempt)).ending is Ending.COMPLETED


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_a_job_whose_supervisor_was_killed_is_lost_and_nothing_of_it_lives(
    machine: Machine, is_stopped: bool
) -> None:
    # The worker left its group, and the daemon has neither the family nor the variables of the job.
    script = f"""
        import os, subprocess, sys, time
        with open({str(machine.note("starts"))!r}, "a") as file: file.write("x")
        worker = subprocess.Popen(["sleep", "60"], start_new_session=True)
        daemon = subprocess.Popen(["sleep", "60"], start_new_session=True, env={{"PATH": os.environ["PATH"]}})
        open({str(machine.note("pids"))!r}, "w").write(f"{{os.getpid()}} {{worker.pid}} {{daemon.pid}}")
        time.sleep(60)
    """
    spec = machine.spec(script)
    trainer = machine.trainer()
    await trainer.submit(spec)
    pids = (await exists(machine.note("pids"))).split()
    await _noted(machine, pids)
    if is_stopped:
        (machine.root / "job-1/stop").touch()

    os.kill(supervisor_pid(machine), signal.SIGKILL)
    outcome = await ended(trainer, spec.attempt)

    assert outcome.ending is (Ending.STOPPED if is_stopped else Ending.LOST)
    assert "died without a word" in outcome.message
    assert outcome.started_at is not None
    assert machine.processes() == []
    assert not any(_is_alive(pid) for pid in pids)
    await machine.trainer().submit(spec)
    assert (await ended(machine.trainer(), spec.attempt)) == outcome
    assert machine.note("starts").read_text() == "x"


async def test_bot_and_supervisor_die_together_and_the_next_bot_cleans_up(machine: Machine) -> None:
    script = f"""
        import os, subprocess, time
        child = subprocess.Popen(["sleep", "60"], start_new_session=True)
        open({str(machine.note("up"))!r}, "w").write(str(child.pid))
        time.sleep(60)
    """
    spec = machine.spec(script)
    run_a_bot_that_dies(machine, spec, "running")
    child = await exists(machine.note("up"))
    os.kill(supervisor_pid(machine), signal.SIGKILL)
    assert _is_alive(child)

    trainer = machine.trainer()
    outcome = await ended(trainer, spec.attempt)

    assert outcome.ending is Ending.LOST
    assert not _is_alive(child)


async def test_a_process_that_merely_has_the_number_of_a_lost_one_is_left_alone(machine: Machine) -> None:
    spec = machine.spec("import time; time.sleep(60)")
    trainer = machine.trainer()
    await trainer.submit(spec)
    await reached(trainer, spec.attempt, lambda seen: seen.phase is Phase.RUNNING)
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        os.kill(supervisor_pid(machine), signal.SIGKILL)
        noted = {"processes": [[bystander.pid, "another-boot/1"]]}
        (machine.root / "job-1/processes.json").write_text(json.dumps(noted))

        assert (await ended(trainer, spec.attempt)).ending is Ending.LOST
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_supervisor_told_to_end_without_a_stop_request_is_no_stop(machine: Machine) -> None:
    """A machine that shuts down sends SIGTERM to everybody; nobody asked Gamma for it."""
    spec = machine.spec("import time; time.sleep(60)")
    trainer = machine.trainer()
    await trainer.submit(spec)
    await reached(trainer, spec.attempt, lambda seen: seen.phase is Phase.RUNNING)

    os.kill(supervisor_pid(machine), signal.SIGTERM)

    outcome = await ended(trainer, spec.attempt)
    assert outcome.ending is Ending.LOST
    assert "SIGTERM" in outcome.message


async def test_two_supervisors_of_one_attempt_run_it_once(machine: Machine) -> None:
    from gamma_bot.training.attempt_folder import AttemptFolder
    from gamma_bot.training.launch import LaunchSettings, start_supervisor

    starts = machine.note("starts")
    spec = machine.spec(f"open({str(starts)!r}, 'a').write('x')")
    run_a_bot_that_dies(machine, spec, "recorded")
    folder = AttemptFolder(machine.root / "job-1")
    settings = LaunchSettings(sys.executable, str(machine.root / "venvs"))

    supervisors = [start_supervisor(folder, settings, os.environ) for _ in range(3)]
    codes = await asyncio.gather(*(asyncio.to_thread(supervisor.wait, 30) for supervisor in supervisors))

    assert codes == [0, 0, 0]
    assert starts.read_text() == "x"
    assert (await ended(machine.trainer(), spec.attempt)).ending is Ending.COMPLETED


async def _noted(machine: Machine, pids: list[str]) -> None:
    path = machine.root / "job-1/processes.json"
    for _ in range(300):
        if path.exists() and set(map(int, pids)) <= {pid for pid, _ in json.loads(path.read_text())["processes"]}:
            return
        await asyncio.sleep(0.02)
    pytest.fail("the supervisor never wrote the job's processes down")


def _is_alive(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
