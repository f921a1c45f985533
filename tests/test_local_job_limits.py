"""How a job on this machine is ended: its limits, a stop request, and everything it started."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gamma_bot.training.trainer import Ending, Phase
from tests.local_machine import Machine, ended, exists, reached


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as machine:
        yield machine


async def test_a_job_over_its_time_limit_is_ended(machine: Machine) -> None:
    outcome, log = await machine.run(
        machine.spec("import time; print('up'); time.sleep(60)", timeout_seconds=0.3), grace_seconds=1
    )

    assert outcome.ending is Ending.TIME_LIMIT
    assert outcome.message == "Ended because it ran longer than its time limit of 0.3 s."
    assert outcome.signal == "SIGTERM"
    assert log == ["up"]


async def test_a_job_over_its_time_limit_that_ignores_sigterm_is_killed_after_the_grace_time(machine: Machine) -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    outcome, _ = await machine.run(machine.spec(script, timeout_seconds=0.3), grace_seconds=0.2)

    assert (outcome.ending, outcome.signal) == (Ending.TIME_LIMIT, "SIGKILL")
    words = "Ended because it ran longer than its time limit of 0.3 s; it ignored SIGTERM and was killed 0.2 s later."
    assert outcome.message == words


async def test_a_job_over_its_memory_limit_is_killed(machine: Machine) -> None:
    script = "import time; block = bytearray(b'x') * 120_000_000; time.sleep(60)"
    outcome, _ = await machine.run(machine.spec(script, memory_bytes=60 << 20))

    assert outcome.ending is Ending.MEMORY_LIMIT
    assert outcome.message.endswith("its limit is 60 MiB.")
    assert outcome.signal == "SIGKILL"


async def test_the_memory_of_a_jobs_processes_counts_together_wherever_they_hide(machine: Machine) -> None:
    script = """
        import os, time
        for _ in range(4):
            if os.fork() == 0:
                os.setsid()
                if os.fork():
                    os._exit(0)
                block = bytearray(b"x") * 30_000_000
                time.sleep(60)
        time.sleep(60)
    """
    outcome, _ = await machine.run(machine.spec(script, memory_bytes=90 << 20))

    assert outcome.ending is Ending.MEMORY_LIMIT


async def test_memory_that_forked_workers_share_counts_once(machine: Machine) -> None:
    script = """
        import os, time
        block = bytearray(b"x") * 40_000_000
        workers = []
        for _ in range(4):
            worker = os.fork()
            if worker == 0:
                time.sleep(0.6)  # two looks at its memory
                os._exit(0)
            workers.append(worker)
        for worker in workers:
            os.waitpid(worker, 0)
    """
    outcome, _ = await machine.run(machine.spec(script, memory_bytes=100 << 20))

    assert outcome.ending is Ending.COMPLETED


async def test_a_fork_bomb_is_ended(machine: Machine) -> None:
    outcome, _ = await machine.run(
        machine.spec("import os, time\nwhile True:\n    os.fork()\n    time.sleep(0.05)"), process_limit=20
    )

    assert outcome.ending is Ending.USER_CODE
    assert "processes at once; 20 are allowed" in outcome.message


async def test_a_job_can_save_when_it_is_stopped(machine: Machine) -> None:
    script = f"""
        import os, pathlib, signal, sys, time
        def save(*_):
            pathlib.Path(os.environ["SM_CHECKPOINT_DIR"], "last").write_text("saved")
            print("saved")
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
        pathlib.Path({str(machine.note("up"))!r}).write_text("1")
        time.sleep(60)
    """
    spec = machine.spec(script)
    trainer = machine.trainer(grace_seconds=20)
    await trainer.submit(spec)
    await exists(machine.note("up"))

    await trainer.stop(spec.attempt)
    outcome = await ended(trainer, spec.attempt)
    await trainer.stop(spec.attempt)

    assert outcome.ending is Ending.STOPPED
    assert outcome.exit_code == 0
    assert (machine.root / "job-1/ml/checkpoints/last").read_text() == "saved"
    assert await trainer.log_tail(spec.attempt, 1) == ["saved"]


async def test_a_job_that_ignores_sigterm_is_killed_after_the_grace_time(machine: Machine) -> None:
    script = f"""
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open({str(machine.note("up"))!r}, "w").write("1")
        while True: time.sleep(60)
    """
    spec = machine.spec(script)
    trainer = machine.trainer(grace_seconds=0.3)
    await trainer.submit(spec)
    await exists(machine.note("up"))

    before = time.monotonic()
    await trainer.stop(spec.attempt)
    outcome = await ended(trainer, spec.attempt)

    assert (outcome.ending, outcome.signal) == (Ending.STOPPED, "SIGKILL")
    words = "Stopped because somebody asked for it; it ignored SIGTERM and was killed 0.3 s later."
    assert outcome.message == words
    assert 0.3 <= time.monotonic() - before < 10


async def test_a_queued_attempt_that_is_stopped_never_starts(machine: Machine) -> None:
    blocker = machine.spec("import time; time.sleep(60)", job="a")
    queued = machine.spec(f"open({str(machine.note('ran'))!r}, 'w')", job="b")
    trainer = machine.trainer(slots=1)
    await trainer.submit(blocker)
    await trainer.submit(queued)

    await trainer.stop(queued.attempt)
    outcome = await ended(trainer, queued.attempt)
    await trainer.stop(blocker.attempt)
    await ended(trainer, blocker.attempt)
    await trainer.observe([])

    assert outcome.ending is Ending.STOPPED
    assert outcome.started_at is None
    assert outcome.message == "Stopped before the command was started."
    assert not machine.note("ran").exists()


async def test_a_stop_right_after_the_submit_is_obeyed(machine: Machine) -> None:
    trainer = machine.trainer()
    spec = machine.spec("import time; time.sleep(60)")
    await trainer.submit(spec)
    await trainer.stop(spec.attempt)

    assert (await ended(trainer, spec.attempt)).ending is Ending.STOPPED


async def test_a_stop_while_requirements_are_installed_ends_quickly(machine: Machine) -> None:
    # An index that accepts the connection and never answers.
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        spec = machine.spec("pass", files={"requirements.txt": f"--index-url {index}\nno-such-thing\n"})
        trainer = machine.trainer()
        await trainer.submit(spec)
        await reached(trainer, spec.attempt, lambda seen: "requirements.txt" in seen.detail)

        before = time.monotonic()
        await trainer.stop(spec.attempt)
        outcome = await ended(trainer, spec.attempt)

    assert outcome.ending is Ending.STOPPED
    assert outcome.started_at is None
    assert time.monotonic() - before < 8


async def test_a_stop_request_that_nobody_delivers_is_obeyed_all_the_same(machine: Machine) -> None:
    """The bot dies between writing the request down and sending the signal."""
    spec = machine.spec("import time; time.sleep(60)")
    trainer = machine.trainer()
    await trainer.submit(spec)
    await reached(trainer, spec.attempt, lambda seen: seen.phase is Phase.RUNNING)

    (machine.root / "job-1/stop").touch()

    assert (await ended(trainer, spec.attempt)).ending is Ending.STOPPED


async def test_everything_a_job_started_ends_with_it(machine: Machine) -> None:
    script = f"""
        import os, subprocess, sys, time
        sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
        subprocess.Popen(sleep)
        subprocess.Popen(sleep, start_new_session=True, env={{}})
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open({str(machine.note("daemon"))!r}, "w").write(str(os.getpid()))
                time.sleep(60)
            os._exit(0)
        while not os.path.exists({str(machine.note("daemon"))!r}): time.sleep(0.01)
    """
    before = _sleepers()
    outcome, _ = await machine.run(machine.spec(script))

    assert outcome.ending is Ending.COMPLETED
    assert not Path("/proc", machine.note("daemon").read_text()).exists()
    assert _sleepers() <= before


async def test_a_daemon_that_keeps_the_output_open_does_not_hold_the_job_up(machine: Machine) -> None:
    script = "import subprocess\nprint('bye')\nsubprocess.Popen(['sleep', '60'], start_new_session=True)"
    before = time.monotonic()
    outcome, log = await machine.run(machine.spec(script))

    assert outcome.ending is Ending.COMPLETED
    assert log == ["bye"]
    assert time.monotonic() - before < 10


def _sleepers() -> set[str]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"time.sleep(60)" in (entry / "cmdline").read_bytes() and os.stat(entry).st_uid == os.getuid():
                found.add(entry.name)
        except OSError:
            continue
    return found
