"""A job on this machine: what it finds, how its end is told, and how jobs wait for each other."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gamma_bot.training.trainer import Artifact, Attempt, Ending, Phase, Trainer, TrainingSpec
from tests.local_machine import Machine, ended, exists, observe, pack, reached


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as machine:
        yield machine


def test_the_local_trainer_is_a_trainer(machine: Machine) -> None:
    trainer: Trainer = machine.trainer()
    assert trainer.name == "local"


async def test_a_job_finds_sagemakers_folders_files_and_variables(machine: Machine) -> None:
    spec = machine.spec(
        """
        import json, os, pathlib
        v = os.environ
        hyperparameters = json.load(open(v["GAMMA_HYPERPARAMETERS"]))
        folders = {name: pathlib.Path(v[name]).is_dir() for name in (
            "SM_MODEL_DIR", "SM_OUTPUT_DIR", "SM_OUTPUT_DATA_DIR", "SM_INPUT_DIR", "SM_INPUT_CONFIG_DIR",
            "SM_CHECKPOINT_DIR", "SM_SOURCE_DIR", "GAMMA_MODEL_DIR", "GAMMA_OUTPUT_DIR", "GAMMA_CHECKPOINT_DIR",
            "HOME", "TMPDIR")}
        resources = json.load(open(v["SM_INPUT_CONFIG_DIR"] + "/resourceconfig.json"))
        pathlib.Path(v["SM_MODEL_DIR"], "found.json").write_text(json.dumps({
            "hyperparameters": hyperparameters, "folders": folders, "resources": resources,
            "cwd": os.getcwd(), "variables": dict(v)}))
        """,
        hyperparameters={"lr": 0.1, "epochs": 3, "net-size": "wide", "amp": True, "seed": None},
        environment={"MLFLOW_RUN_ID": "r1"},
    )

    outcome, _ = await machine.run(spec)

    assert outcome.ending is Ending.COMPLETED
    found = json.loads((machine.root / "job-1/ml/model/found.json").read_text())
    assert found["hyperparameters"] == {
        "lr": "0.1",
        "epochs": "3",
        "net-size": "wide",
        "amp": "true",
        "seed": "null",
    }
    assert set(found["folders"].values()) == {True}
    assert found["resources"]["current_host"] == "algo-1"
    variables = found["variables"]
    assert json.loads(variables["SM_HPS"]) == dict(spec.hyperparameters)
    assert variables["SM_HP_NET_SIZE"] == "wide"
    assert variables["SM_HP_LR"] == "0.1"
    assert variables["SM_CHANNELS"] == "[]"
    assert variables["SM_CURRENT_HOST"] == "algo-1"
    assert json.loads(variables["SM_HOSTS"]) == ["algo-1"]
    assert int(variables["SM_NUM_CPUS"]) >= 1
    assert int(variables["SM_NUM_GPUS"]) >= 0
    assert variables["TRAINING_JOB_NAME"] == "job-1"
    assert (variables["GAMMA_JOB_ID"], variables["GAMMA_ATTEMPT"]) == ("job", "1")
    assert variables["MLFLOW_RUN_ID"] == "r1"
    assert variables["PYTHONUNBUFFERED"] == "1"
    assert found["cwd"] == variables["SM_SOURCE_DIR"] == str(machine.root / "job-1/ml/code")


async def test_a_failing_script_tells_its_exit_status_and_its_traceback(machine: Machine) -> None:
    outcome, log = await machine.run(machine.spec("def train():\n    raise ValueError('loss is nan')\ntrain()\n"))

    assert outcome.ending is Ending.USER_CODE
    assert outcome.exit_code == 1
    assert outcome.message == "The command ended with exit status 1."
    assert outcome.started_at is not None
    assert outcome.started_at <= outcome.ended_at
    assert log[0] == "Traceback (most recent call last):"
    assert log[-1] == "ValueError: loss is nan"


async def test_what_a_job_writes_into_its_failure_file_is_part_of_the_message(machine: Machine) -> None:
    script = """
        import os, sys
        open(os.environ["SM_OUTPUT_DIR"] + "/failure", "w").write("the data set is empty\\n" + "x" * 5000)
        sys.exit(3)
    """
    outcome, _ = await machine.run(machine.spec(script))

    assert outcome.message.startswith("The command ended with exit status 3: the data set is empty xxx")
    assert len(outcome.message) < 500


async def test_a_job_that_dies_of_a_signal_names_it(machine: Machine) -> None:
    outcome, _ = await machine.run(machine.spec("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"))

    assert (outcome.ending, outcome.signal, outcome.exit_code) == (Ending.USER_CODE, "SIGSEGV", None)
    assert "SIGSEGV" in outcome.message


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["no-such-program", "--lr", "1"], "no program “no-such-program” is installed"),
        (["./missing.sh"], "there is no file “./missing.sh”"),
        (["./plain.txt"], "“./plain.txt” is not executable"),
        (["./bad.sh"], "the first line of “./bad.sh” must name an interpreter"),
        ([], "The command is empty"),
        (["python", "a\0b"], "an impossible character"),
        (["python", "x" * 3_000_000], "too long"),
    ],
)
async def test_a_command_that_can_not_be_started_says_why(machine: Machine, command: list[str], words: str) -> None:
    files = {"plain.txt": "hello", "bad.sh": "#!/no/such/interpreter\n"}
    outcome, _ = await machine.run(machine.spec(command=command, files=files))

    assert outcome.ending is Ending.COMMAND
    assert words in outcome.message
    assert outcome.started_at is None


async def test_an_executable_file_of_the_tree_can_be_the_command(machine: Machine) -> None:
    files = {"run.sh": '#!/bin/sh\necho "hello $1"\n'}
    outcome, log = await machine.run(machine.spec(command=["./run.sh", "a b; exit 4"], files=files))

    assert outcome.ending is Ending.COMPLETED
    assert log == ["hello a b; exit 4"]


async def test_a_damaged_tarball_ends_the_attempt_and_not_the_trainer(machine: Machine) -> None:
    spec = machine.spec("print(1)")
    spec.source.write_bytes(spec.source.read_bytes()[:-20])
    outcome, _ = await machine.run(spec)

    assert outcome.ending is Ending.SOURCE
    assert "damaged" in outcome.message
    assert not (machine.root / "job-1/ml/code").exists()


async def test_artifacts_are_the_files_of_the_model_and_output_folders_without_links(machine: Machine) -> None:
    script = """
        import os, pathlib
        model, output = pathlib.Path(os.environ["SM_MODEL_DIR"]), pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"])
        (model / "deep").mkdir()
        (model / "deep/policy.bin").write_bytes(b"12345")
        (model / "secrets").symlink_to("/etc/passwd")
        (model / "etc").symlink_to("/etc")
        os.mkfifo(model / "pipe")
        (output / "returns.csv").write_text("1\\n")
    """
    spec = machine.spec(script)
    trainer = machine.trainer()
    await trainer.submit(spec)
    await ended(trainer, spec.attempt)

    found = await trainer.artifacts(spec.attempt)
    assert found == [Artifact("model/deep/policy.bin", 5), Artifact("output/data/returns.csv", 2)]
    with await trainer.open_artifact(spec.attempt, "model/deep/policy.bin") as file:
        assert file.read() == b"12345"
    for path in ("model/secrets", "model/etc/passwd", "model/pipe", "model/../../spec.json", "code/train.py", "model"):
        with pytest.raises(OSError, match=r".*"):
            await trainer.open_artifact(spec.attempt, path)


async def test_at_most_a_thousand_artifacts_are_listed(machine: Machine) -> None:
    script = "import os\nfor i in range(1001): open(f\"{os.environ['SM_MODEL_DIR']}/{i:04}\", 'w')"
    spec = machine.spec(script)
    trainer = machine.trainer()
    await trainer.submit(spec)
    await ended(trainer, spec.attempt)

    assert len(await trainer.artifacts(spec.attempt)) == 1_000


async def test_forgetting_an_attempt_frees_the_disk_but_keeps_its_log_and_artifacts(machine: Machine) -> None:
    script = """
        import os, pathlib
        pathlib.Path(os.environ["SM_MODEL_DIR"], "m").write_text("m")
        pathlib.Path(os.environ["SM_CHECKPOINT_DIR"], "c").write_text("c" * 1000)
        locked = pathlib.Path(os.environ["HOME"], "locked")
        locked.mkdir()
        (locked / "f").write_text("")
        locked.chmod(0)
        print("done")
    """
    spec = machine.spec(script)
    trainer = machine.trainer()
    await trainer.submit(spec)
    await ended(trainer, spec.attempt)

    await trainer.forget(spec.attempt)
    await trainer.forget(spec.attempt)

    folder = machine.root / "job-1"
    assert not any((folder / name).exists() for name in ("ml/code", "ml/input", "ml/checkpoints", "home", "tmp"))
    assert await trainer.artifacts(spec.attempt) == [Artifact("model/m", 1)]
    assert await trainer.log_tail(spec.attempt, 5) == ["done"]
    assert (await observe(machine.trainer(), spec.attempt)).phase is Phase.ENDED


async def test_a_running_attempt_is_not_forgotten(machine: Machine) -> None:
    spec = machine.spec(f"open({str(machine.note('up'))!r}, 'w').write('1')\nimport time; time.sleep(60)")
    trainer = machine.trainer()
    await trainer.submit(spec)
    await exists(machine.note("up"))

    await trainer.forget(spec.attempt)

    assert (machine.root / "job-1/ml/code/train.py").exists()
    await trainer.stop(spec.attempt)
    await ended(trainer, spec.attempt)


async def test_eight_submits_at_once_start_one_process(machine: Machine) -> None:
    starts = machine.note("starts")
    spec = machine.spec(f"open({str(starts)!r}, 'a').write('x')")
    bots = [machine.trainer(), machine.trainer()]

    await asyncio.gather(*(bots[i % 2].submit(spec) for i in range(8)))
    await asyncio.gather(*(ended(bot, spec.attempt) for bot in bots))
    await asyncio.gather(*(bot.submit(spec) for bot in bots))

    assert (await ended(machine.trainer(), spec.attempt)).ending is Ending.COMPLETED
    assert starts.read_text() == "x"


async def test_a_second_submit_changes_nothing_even_without_the_tarball(machine: Machine) -> None:
    spec = machine.spec("print('first')")
    trainer = machine.trainer()
    await trainer.submit(spec)
    await ended(trainer, spec.attempt)
    spec.source.unlink()

    await trainer.submit(replace(spec, command=["python", "-c", "print('second')"]))

    assert await trainer.log_tail(spec.attempt, 9) == ["first"]


async def test_a_missing_tarball_is_refused_at_once_and_leaves_nothing(machine: Machine) -> None:
    spec = machine.spec("print(1)")
    spec.source.unlink()
    with pytest.raises(FileNotFoundError):
        await machine.trainer().submit(spec)

    assert list(machine.root.iterdir()) == []
    assert await machine.trainer().observe([spec.attempt]) == []


@pytest.mark.parametrize("job", ["../evil", "a/b", "", ".hidden", "a b", "x" * 300])
async def test_an_attempt_key_that_is_no_plain_name_is_refused(machine: Machine, job: str) -> None:
    with pytest.raises(ValueError, match="letters, digits and hyphens"):
        await machine.trainer().submit(TrainingSpec(Attempt(job), machine.folder / "x.tar.gz", ["true"]))


async def test_with_one_slot_jobs_run_one_after_the_other_oldest_first(machine: Machine) -> None:
    order = machine.note("order")
    script = f"import os\nwith open({str(order)!r}, 'a') as f: f.write(os.environ['GAMMA_JOB_ID'] + ' ')"
    gate = machine.note("gate")
    os.mkfifo(gate)
    trainer = machine.trainer(slots=1)
    first = machine.spec(f"open({str(gate)!r}).read()\n{script}", job="z")
    await trainer.submit(first)
    await reached(trainer, first.attempt, lambda seen: seen.phase is Phase.RUNNING)
    others = [machine.spec(script, job=job) for job in ("y", "x")]
    for spec in others:
        await trainer.submit(spec)

    waiting = await trainer.observe([spec.attempt for spec in others])
    assert [seen.phase for seen in waiting] == [Phase.QUEUED, Phase.QUEUED]
    assert [seen.detail for seen in waiting] == ["waiting for a free slot", "waiting for a free slot; 1 before it"]
    assert not (machine.root / "y-1/started").exists()

    gate.write_text("go")
    for spec in (first, *others):
        await ended(trainer, spec.attempt)
    assert order.read_text() == "z y x "


async def test_a_job_says_what_it_is_doing(machine: Machine) -> None:
    spec = machine.spec("import time; time.sleep(60)", command=["python", "train.py"])
    trainer = machine.trainer()
    await trainer.submit(spec)
    running = await reached(trainer, spec.attempt, lambda seen: seen.phase is Phase.RUNNING)

    assert running.detail == "running python train.py"
    assert running.outcome is None
    await trainer.stop(spec.attempt)
    assert (await ended(trainer, spec.attempt)).ending is Ending.STOPPED


async def test_a_job_leaves_no_zombie_in_the_bot(machine: Machine) -> None:
    spec = machine.spec("pass")
    trainer = machine.trainer()
    await trainer.submit(spec)
    supervisor = json.loads(await exists(machine.root / "job-1/started"))["processes"][0][0]
    await ended(trainer, spec.attempt)

    for _ in range(200):
        await trainer.observe([])
        if not Path(f"/proc/{supervisor}").exists():
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"the supervisor {supervisor} is still in the process table")


async def test_a_supervisor_that_can_not_start_ends_the_attempt_with_the_reason(machine: Machine) -> None:
    outcome, _ = await machine.run(machine.spec("pass"), python="/no/such/python")

    assert outcome.ending is Ending.LOST
    assert "could not be started" in outcome.message
    assert "no/such/python" in (machine.root / "job-1/supervisor.log").read_text()


async def test_an_attempt_whose_folder_somebody_deleted_is_forgotten(machine: Machine) -> None:
    blocker, lost = machine.spec("import time; time.sleep(60)", job="a"), machine.spec("pass", job="b")
    trainer = machine.trainer(slots=1)
    await trainer.submit(blocker)
    await trainer.submit(lost)
    for path in sorted((machine.root / "b-1").iterdir()):
        path.unlink()
    (machine.root / "b-1").rmdir()

    assert await trainer.observe([lost.attempt]) == []
    await trainer.stop(lost.attempt)
    await trainer.stop(blocker.attempt)
    await ended(trainer, blocker.attempt)


async def test_data_loaders_can_open_their_sockets_however_deep_the_folder_is(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    script = """
        import multiprocessing.connection, os, stat
        with multiprocessing.connection.Listener(family="AF_UNIX"):
            print("listening")
        print(os.environ["TMPDIR"])
    """
    with Machine(deep) as machine:
        outcome, log = await machine.run(machine.spec(script))

    assert outcome.ending is Ending.COMPLETED
    assert log[0] == "listening"
    assert not Path(log[1]).exists()


async def test_observing_many_waiting_attempts_is_cheap(machine: Machine) -> None:
    trainer = machine.trainer(slots=1)
    pack(machine.folder / "w.tar.gz", {"train.py": "import time; time.sleep(60)"})
    specs = [TrainingSpec(Attempt("w", i), machine.folder / "w.tar.gz", ["python", "train.py"]) for i in range(25)]
    for spec in specs:
        await trainer.submit(spec)
    await reached(trainer, specs[0].attempt, lambda seen: seen.phase is Phase.RUNNING)
    loop = asyncio.get_running_loop()

    before = loop.time()
    for _ in range(10):
        assert len(await trainer.observe([spec.attempt for spec in specs])) == 25
    assert (loop.time() - before) / 10 < 0.1

    for spec in reversed(specs):
        await trainer.stop(spec.attempt)
    outcome = await ended(trainer, specs[0].attempt)
    assert outcome.ending is Ending.STOPPED
    assert stat.S_ISDIR((machine.root / "w-24").stat().st_mode)
