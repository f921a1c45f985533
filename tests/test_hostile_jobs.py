"""A job that attacks what looks after it: it can fool nobody but itself, and its limits hold all the same (I8)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gamma_bot.training.attempt_folder import AttemptFolder, Progress, StoredSpec
from gamma_bot.training.durable import is_locked, read_file, write_file
from gamma_bot.training.joblog import dropped_bytes, read_tail
from gamma_bot.training.trainer import Attempt, Ending, Outcome, Phase, TrainingSpec
from tests.local_machine import Machine, ended, exists, observe, reached

_LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell enough of a process")
_FORGED = {"ending": "completed", "message": "all is well", "exit_code": 0, "signal": None, "started_at": 1.0}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as machine:
        yield machine


@pytest.fixture
def folder(tmp_path: Path) -> AttemptFolder:
    return AttemptFolder(tmp_path)


@pytest.mark.parametrize(
    "stored",
    [
        {"phase": "nonsense", "detail": "x"},
        {"phase": "ended", "detail": "x"},
        {"phase": ["running"], "detail": "x"},
        {"phase": "running"},
        {"phase": "running", "detail": {"a": 1}},
        {"detail": "x"},
        {},
    ],
)
def test_a_progress_note_that_is_none_counts_as_absent(folder: AttemptFolder, stored: dict[str, Any]) -> None:
    (folder.path / "phase.json").write_text(json.dumps(stored))

    assert folder.read_progress() == Progress()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "7", "[]", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")]
)
def test_a_file_that_is_no_json_object_counts_as_absent(folder: AttemptFolder, text: str) -> None:
    for name in ("phase.json", "outcome.json", "processes.json", "spec.json", "started"):
        (folder.path / name).write_text(text)

    _assert_nothing_is_read(folder)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "huge"])
def test_what_stands_in_the_place_of_a_file_counts_as_absent(folder: AttemptFolder, kind: str) -> None:
    for name in ("phase.json", "outcome.json", "processes.json", "spec.json", "started"):
        path = folder.path / name
        match kind:
            case "pipe":
                os.mkfifo(path)
            case "folder":
                path.mkdir()
            case "link":
                path.symlink_to(path)
            case _:
                path.touch()
                os.truncate(path, 1 << 40)

    _assert_nothing_is_read(folder)


def _assert_nothing_is_read(folder: AttemptFolder) -> None:
    assert folder.read_progress() == Progress()
    assert folder.read_outcome() is None
    assert folder.read_spec() is None
    assert folder.supervisor() is None
    assert list(folder.read_processes()) == []


@pytest.mark.parametrize("moment", [9e99, -1.0, 0, True, "1", None, [], 10**400])
def test_an_impossible_time_is_not_taken_over(folder: AttemptFolder, moment: object) -> None:
    progress = {"phase": "running", "detail": "x", "started_at": moment}
    outcome = _FORGED | {"started_at": moment, "ended_at": moment}
    (folder.path / "phase.json").write_text(json.dumps(progress))
    (folder.path / "outcome.json").write_text(json.dumps(outcome))

    assert folder.read_progress() == Progress(Phase.RUNNING, "x", None)
    found = folder.read_outcome()
    assert found is not None
    assert found.started_at is None
    assert abs(found.ended_at - time.time()) < 60


def test_infinite_and_undefined_times_are_not_taken_over(folder: AttemptFolder) -> None:
    for word in ("NaN", "Infinity", "1e999", "-Infinity"):
        (folder.path / "phase.json").write_text(f'{{"phase": "running", "detail": "x", "started_at": {word}}}')
        assert folder.read_progress().started_at is None


def test_texts_are_made_harmless_and_short(folder: AttemptFolder) -> None:
    nasty = "\x1b[31mred\x1b[0m\n\u202e" + "x" * 10_000
    (folder.path / "phase.json").write_text(json.dumps({"phase": "running", "detail": nasty}))
    (folder.path / "outcome.json").write_text(json.dumps(_FORGED | {"message": nasty, "signal": nasty}))

    outcome = folder.read_outcome()
    assert outcome is not None
    for text in (folder.read_progress().detail, outcome.message, outcome.signal or ""):
        assert text.startswith("redxxx")
        assert len(text) == 500


@pytest.mark.parametrize(
    "wrong",
    [{"ending": "nonsense"}, {"ending": ["completed"]}, {"message": 7}, {"message": None}],
)
def test_an_outcome_that_is_none_counts_as_absent(folder: AttemptFolder, wrong: dict[str, Any]) -> None:
    (folder.path / "outcome.json").write_text(json.dumps(_FORGED | wrong))

    assert folder.read_outcome() is None


@pytest.mark.parametrize("exit_code", [-1, 256, 1.5, True, "0", [0]])
def test_an_impossible_exit_status_is_not_taken_over(folder: AttemptFolder, exit_code: object) -> None:
    (folder.path / "outcome.json").write_text(json.dumps(_FORGED | {"exit_code": exit_code}))

    outcome = folder.read_outcome()
    assert outcome is not None
    assert outcome.exit_code is None


def test_a_true_outcome_is_read_as_it_was_written(folder: AttemptFolder) -> None:
    now = time.time()
    outcome = Outcome(Ending.USER_CODE, "The command was ended by SIGSEGV.", None, "SIGSEGV", now - 5, now)
    folder.write_outcome(outcome)

    assert folder.read_outcome() == outcome


@pytest.mark.parametrize(
    "wrong",
    [
        {"marker": ""},
        {"marker": "PATH"},
        {"marker": ["a"]},
        {"submitted_at": "yesterday"},
        {"submitted_at": 9e99},
        {"spec": "text"},
    ],
)
def test_a_spec_that_would_harm_others_is_none(folder: AttemptFolder, wrong: dict[str, Any]) -> None:
    """An empty marker, for example, is part of every process's environment."""
    spec = TrainingSpec(Attempt("job"), folder.source, ["true"])
    stored = StoredSpec(spec, "0" * 32, time.time()).to_json()
    (folder.path / "spec.json").write_bytes(stored)
    assert folder.read_spec() is not None

    (folder.path / "spec.json").write_text(json.dumps(json.loads(stored) | wrong))

    assert folder.read_spec() is None


def test_noted_processes_are_pairs_and_never_the_bot(folder: AttemptFolder) -> None:
    pairs = [[os.getpid(), "x"], [1, "x"], [0, "x"], [-5, "x"], ["7", "x"], [7], 7, None, [7, 8], [True, "x"], [9, "x"]]
    (folder.path / "processes.json").write_text(json.dumps({"processes": pairs}))

    assert [process.pid for process in folder.read_processes()] == [9]


def test_a_log_that_is_a_pipe_holds_nobody_up(tmp_path: Path) -> None:
    for name in ("head", "new", "dropped"):
        os.mkfifo(tmp_path / name)

    assert read_tail(tmp_path, 10) == []
    assert dropped_bytes(tmp_path) == 0


def test_a_link_that_waits_for_a_write_is_not_written_through(tmp_path: Path) -> None:
    victim, target = tmp_path / "victim", tmp_path / "phase.json"
    victim.write_text("precious")
    for name in (f".phase.json.{os.getpid()}", "phase.json"):
        (tmp_path / name).symlink_to(victim)

    write_file(target, b"{}")

    assert victim.read_text() == "precious"
    assert read_file(target) == b"{}"


def test_a_lock_that_can_not_be_opened_counts_as_held(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()

    assert is_locked(tmp_path / "lock")


async def test_a_job_that_forges_its_progress_hides_no_other_job(machine: Machine) -> None:
    forger = machine.spec(
        f"""
        import pathlib, time
        for name in ("phase.json", "processes.json"):
            pathlib.Path("../..", name).unlink(missing_ok=True)
        pathlib.Path("../../phase.json").write_text('{{"phase": "nonsense", "started_at": []}}')
        pathlib.Path("../../processes.json").mkdir()
        pathlib.Path("../../spec.json").write_text('{{"spec": 7}}')
        pathlib.Path({str(machine.note("forged"))!r}).write_text("1")
        time.sleep(60)
        """,
        job="forger",
    )
    honest = machine.spec("print('trained')", job="honest")
    trainer = machine.trainer()
    await trainer.submit(forger)
    await exists(machine.note("forged"))
    await trainer.submit(honest)

    assert (await ended(trainer, honest.attempt)).ending is Ending.COMPLETED
    seen = await trainer.observe([forger.attempt, honest.attempt])
    assert [observation.attempt for observation in seen] == [forger.attempt, honest.attempt]
    await trainer.stop(forger.attempt)
    assert (await ended(trainer, forger.attempt)).ending is Ending.STOPPED


async def test_an_attempt_that_can_not_be_looked_at_hides_no_other_and_is_not_said_to_be_unknown(
    machine: Machine,
) -> None:
    unreadable, honest = machine.spec("import time; time.sleep(60)", job="a"), machine.spec("pass", job="b")
    trainer = machine.trainer()
    await trainer.submit(unreadable)
    await reached(trainer, unreadable.attempt, lambda seen: seen.phase is Phase.RUNNING)
    entries = (await _entries(trainer))["a-1"]
    readable = entries.folder
    entries.folder = AttemptFolder(Path("\0"))  # every question about it raises
    await trainer.submit(honest)

    assert (await ended(trainer, honest.attempt)).ending is Ending.COMPLETED
    seen = await observe(trainer, unreadable.attempt)
    assert (seen.phase, "bot's log" in seen.detail) == (Phase.RUNNING, True)

    entries.folder = readable
    await trainer.stop(unreadable.attempt)
    await ended(trainer, unreadable.attempt)


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_an_outcome_that_the_job_wrote_itself_is_neither_believed_nor_kept(
    machine: Machine, is_restarted: bool
) -> None:
    gate, forged = machine.note("gate"), json.dumps(_FORGED | {"ended_at": 9e99})
    os.mkfifo(gate)
    spec = machine.spec(
        f"""
        import pathlib, sys
        pathlib.Path("../../outcome.json").write_text({forged!r})
        pathlib.Path({str(machine.note("forged"))!r}).write_text("1")
        open({str(gate)!r}).read()
        sys.exit(3)
        """
    )
    first = machine.trainer()
    await first.submit(spec)
    await exists(machine.note("forged"))
    trainer = machine.trainer() if is_restarted else first

    for _ in range(3):
        assert (await observe(trainer, spec.attempt)).phase is Phase.RUNNING
    await trainer.forget(spec.attempt)
    assert (machine.root / "job-1/ml/code/train.py").exists()

    gate.write_text("go")
    outcome = await ended(trainer, spec.attempt)
    assert (outcome.ending, outcome.exit_code) == (Ending.USER_CODE, 3)
    assert abs(outcome.ended_at - time.time()) < 60
    await ended(first, spec.attempt)


async def test_a_job_that_forged_its_outcome_can_still_be_stopped(machine: Machine) -> None:
    spec = machine.spec(
        f"""
        import pathlib, time
        pathlib.Path("../../outcome.json").mkdir()
        pathlib.Path("../../outcome.json/x").write_text("in the way")
        pathlib.Path({str(machine.note("forged"))!r}).write_text("1")
        time.sleep(60)
        """
    )
    trainer = machine.trainer()
    await trainer.submit(spec)
    await exists(machine.note("forged"))

    await trainer.stop(spec.attempt)

    assert (await ended(trainer, spec.attempt)).ending is Ending.STOPPED


async def test_nothing_lives_of_a_job_that_killed_its_supervisor_and_wrote_its_own_outcome(machine: Machine) -> None:
    spec = machine.spec(
        f"""
        import json, os, pathlib, signal, time
        noted, supervisor = pathlib.Path("../../processes.json"), os.getppid()
        if os.fork() == 0:
            os.setsid()
            while not (noted.exists() and str(os.getpid()) in noted.read_text()): time.sleep(0.01)
            os.kill(supervisor, signal.SIGKILL)
            pathlib.Path("../../outcome.json").write_text({json.dumps(_FORGED | {"message": 7})!r})
            pathlib.Path({str(machine.note("pid"))!r}).write_text(str(os.getpid()))
        time.sleep(60)
        """
    )
    trainer = machine.trainer()
    await trainer.submit(spec)

    outcome = await ended(trainer, spec.attempt)

    assert outcome.ending is Ending.LOST
    assert "the job itself can do" in outcome.message
    assert machine.processes() == []


@_LINUX_ONLY
async def test_a_job_that_halts_its_supervisor_is_held_to_its_time_limit(machine: Machine) -> None:
    script = "import os, signal, time; os.kill(os.getppid(), signal.SIGSTOP); time.sleep(60)"
    outcome, _ = await machine.run(machine.spec(script, timeout_seconds=0.3), grace_seconds=1)

    assert outcome.ending is Ending.TIME_LIMIT
    assert outcome.message == "Ended because it ran longer than its time limit of 0.3 s."


@_LINUX_ONLY
@pytest.mark.parametrize("is_stopped", [False, True])
async def test_a_job_that_puts_itself_in_its_supervisors_place_is_held_to_its_time_limit(
    machine: Machine, is_stopped: bool
) -> None:
    spec = machine.spec(
        f"""
        import fcntl, os, pathlib, signal, time
        supervisor = os.getppid()
        while '"running"' not in pathlib.Path("../../phase.json").read_text(): time.sleep(0.01)
        if os.fork() == 0:
            os.setsid()
            lock = open("../../lock")
            os.kill(supervisor, signal.SIGKILL)
            fcntl.flock(lock, fcntl.LOCK_EX)
            pathlib.Path("../../outcome.json").write_text({json.dumps(_FORGED)!r})
            pathlib.Path({str(machine.note("held"))!r}).write_text("1")
        time.sleep(60)
        """,
        timeout_seconds=3600 if is_stopped else 0.3,
    )
    trainer = machine.trainer(grace_seconds=0.1, overdue_seconds=0.3)
    await trainer.submit(spec)
    await exists(machine.note("held"))
    if is_stopped:
        await trainer.stop(spec.attempt)

    outcome = await ended(trainer, spec.attempt)

    assert outcome.ending is (Ending.STOPPED if is_stopped else Ending.TIME_LIMIT)
    assert "far longer than its time limit of 0.3 s" in outcome.message or is_stopped
    assert machine.processes() == []
    assert await ended(machine.trainer(), spec.attempt) == outcome


@_LINUX_ONLY
async def test_a_supervisor_that_hangs_is_ended_with_its_job_long_after_the_time_limit(machine: Machine) -> None:
    # It is halted again as soon as it was woken.
    spec = machine.spec(
        f"""
        import os, pathlib, signal, subprocess, time
        subprocess.Popen(["sleep", "60"], start_new_session=True, env={{}})
        pathlib.Path({str(machine.note("up"))!r}).write_text(str(os.getppid()))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True: os.kill(os.getppid(), signal.SIGSTOP)
        """,
        timeout_seconds=0.2,
    )
    trainer = machine.trainer(grace_seconds=0.3, overdue_seconds=0.3)
    await trainer.submit(spec)
    supervisor = int(await exists(machine.note("up")))

    outcome = await ended(trainer, spec.attempt)

    assert outcome.ending is Ending.TIME_LIMIT
    assert not Path(f"/proc/{supervisor}").exists()
    assert machine.processes() == []


async def _entries(trainer: Any) -> dict[str, Any]:
    found: dict[str, Any] = trainer._load()
    return found


# A bot without any privilege, even if the tests run as root, for which no memory is hidden.
_BOT = """
import asyncio, ctypes, os, subprocess, sys
from pathlib import Path

if sys.argv[1] == "begin":
    for capability in range(64):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: whatever is started now has none
    os.execv(sys.executable, [sys.executable, "-c", sys.orig_argv[2], "go", *sys.argv[2:]])

from gamma_bot.training.local import LocalTrainer
from gamma_bot.training.processes import hide_memory
from gamma_bot.training.trainer import Attempt, Phase, TrainingSpec

def is_readable():
    return subprocess.run(["cat", f"/proc/{os.getpid()}/environ"], capture_output=True).returncode == 0

async def main():
    before = is_readable()
    hide_memory()
    trainer = LocalTrainer(Path(sys.argv[2]), slots=1)
    spec = TrainingSpec(Attempt("job"), Path(sys.argv[3]), ["python", "train.py", str(os.getpid())])
    await trainer.submit(spec)
    while True:
        (seen,) = await trainer.observe([spec.attempt])
        if seen.phase is Phase.ENDED:
            print(before, is_readable(), seen.outcome.ending)
            print(*await trainer.log_tail(spec.attempt, 20), sep="\\n")
            return
        await asyncio.sleep(0.02)

asyncio.run(main())
"""


@_LINUX_ONLY
def test_a_bot_that_hides_its_memory_keeps_its_secrets_from_its_jobs_which_stay_ordinary(machine: Machine) -> None:
    script = """
        import ctypes, os, sys
        def look(pid):
            for name in ("environ", "mem", "maps"):
                try:
                    open(f"/proc/{pid}/{name}", "rb").read(0)
                    print(name, "open")
                except PermissionError:
                    print(name, "refused")
        look(sys.argv[1])
        look(os.getppid())
        look("self")
        print("dumpable", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
    """
    spec = machine.spec(script)
    command = [sys.executable, "-c", _BOT, "begin", str(machine.root), str(spec.source)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    refused = ["environ refused", "mem refused", "maps refused"]
    own = ["environ open", "mem open", "maps open", "dumpable 1"]
    assert answer.stdout.splitlines() == ["True False completed", *refused, *refused, *own], answer.stderr
