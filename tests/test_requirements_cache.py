"""``requirements.txt`` becomes a virtual environment that the next job with the same one finds ready."""

from __future__ import annotations

import asyncio
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gamma_bot.training.trainer import Ending, TrainingSpec
from gamma_bot.training.virtualenv import EnvironmentCache, RequirementsError, interpreter_of, read_requirements
from tests.local_machine import Machine, ended


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as machine:
        yield machine


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with one tiny package, since tests reach no index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tinypkg-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinypkg.py", "ANSWER = 42\ndef main(): print('console script runs')\n")
        information = "tinypkg-1.0.dist-info"
        wheel.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: tinypkg\nVersion: 1.0\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/entry_points.txt", "[console_scripts]\ntiny = tinypkg:main\n")
        wheel.writestr(f"{information}/RECORD", "")
    return folder


def requirements(wheels: Path, *lines: str) -> dict[str, str]:
    return {"requirements.txt": "\n".join(["--no-index", f"--find-links {wheels}", *lines, ""])}


async def test_requirements_are_installed_once_and_their_scripts_run(machine: Machine, wheels: Path) -> None:
    files = requirements(wheels, "tinypkg==1.0")
    first = machine.spec("import sys, tinypkg; print(tinypkg.ANSWER, sys.prefix)", job="a", files=files)
    second = machine.spec(job="b", command=["tiny"], files=files)

    outcome, log = await machine.run(first)
    assert outcome.ending is Ending.COMPLETED, (outcome, log)
    answer, prefix = log[-1].split()
    assert answer == "42"
    assert Path(prefix).parent == machine.root / "venvs"
    assert any("Successfully installed tinypkg-1.0" in line for line in log)

    (wheels / "tinypkg-1.0-py3-none-any.whl").unlink()
    outcome, log = await machine.run(second)
    assert outcome.ending is Ending.COMPLETED, (outcome, log)
    assert log == ["console script runs"]


async def test_jobs_that_need_the_same_environment_at_once_build_it_once(machine: Machine, wheels: Path) -> None:
    files = requirements(wheels, "tinypkg==1.0")
    specs: list[TrainingSpec] = [machine.spec("import tinypkg", job=job, files=files) for job in ("a", "b", "c")]
    trainer = machine.trainer(slots=3)
    await asyncio.gather(*(trainer.submit(spec) for spec in specs))
    outcomes = [await ended(trainer, spec.attempt) for spec in specs]

    assert {outcome.ending for outcome in outcomes} == {Ending.COMPLETED}
    logs = [await trainer.log_tail(spec.attempt, 100) for spec in specs]
    assert sum("Successfully installed" in "".join(log) for log in logs) == 1


async def test_requirements_that_can_not_be_installed_end_the_attempt_in_pips_words(
    machine: Machine, wheels: Path
) -> None:
    spec = machine.spec("pass", files=requirements(wheels, "no-such-package==9"))
    outcome, log = await machine.run(spec)

    assert outcome.ending is Ending.REQUIREMENTS
    assert outcome.message == (
        "requirements.txt could not be installed: No matching distribution found for no-such-package==9"
    )
    assert outcome.started_at is None
    assert any("no-such-package" in line for line in log)
    assert not list((machine.root / "venvs").glob("*/.complete"))


async def test_what_comes_from_the_tree_itself_is_not_shared(machine: Machine, wheels: Path) -> None:
    spec = machine.spec(
        "import sys, tinypkg; print(sys.prefix)",
        files={"requirements.txt": "--no-index\n./vendor/tinypkg-1.0-py3-none-any.whl"},
    )
    wheel = (wheels / "tinypkg-1.0-py3-none-any.whl").read_bytes()
    _add(spec.source, "acme-widgets-abc1234/vendor/tinypkg-1.0-py3-none-any.whl", wheel)
    outcome, log = await machine.run(spec)

    assert outcome.ending is Ending.COMPLETED, (outcome, log)
    assert log[-1] == str(machine.root / "job-1/venv")


async def test_requirements_that_ask_for_nothing_make_no_environment(machine: Machine) -> None:
    spec = machine.spec("print('ran')", files={"requirements.txt": "# nothing yet\n\n"})
    outcome, log = await machine.run(spec)

    assert (outcome.ending, log) == (Ending.COMPLETED, ["ran"])
    assert not (machine.root / "venvs").exists()


def test_everything_that_decides_what_is_installed_is_in_the_digest(tmp_path: Path) -> None:
    def digest(text: str, base: str = "numpy") -> str:
        (tmp_path / "base.txt").write_text(base)
        (tmp_path / "requirements.txt").write_text(text)
        found = read_requirements(tmp_path)
        assert found is not None
        assert not found.is_local
        return found.digest

    assert digest("mujoco==3") == digest("mujoco==3")
    assert digest("mujoco==3") != digest("mujoco==4")
    assert digest("-r base.txt") != digest("-r base.txt", base="numpy>=2")
    assert digest("numpy\n-c base.txt") != digest("numpy\n-c base.txt", base="numpy<3")


@pytest.mark.parametrize("line", ["-e .", "./package", "package/x.whl", "tiny @ ./package", "--find-links=package/"])
def test_a_line_that_points_into_the_tree_is_noticed(tmp_path: Path, line: str) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package/x.whl").touch()
    (tmp_path / "requirements.txt").write_text(f"numpy\n{line}\n")
    found = read_requirements(tmp_path)
    assert found is not None
    assert found.is_local


def test_requirements_files_that_refer_to_each_other_or_outside_are_no_trap(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "secret").write_text("secret")
    (tree / "requirements.txt").write_text("-r requirements.txt\n-r ../secret\n-r /etc/passwd\n-r missing\n")
    assert read_requirements(tree) is not None
    (tree / "requirements.txt").write_text("x" * 2_000_000)
    with pytest.raises(RequirementsError, match="larger than 1 MiB"):
        read_requirements(tree)


def test_a_half_built_environment_is_never_used(tmp_path: Path) -> None:
    cache = EnvironmentCache(tmp_path)

    def half(environment: Path) -> None:
        interpreter_of(environment).parent.mkdir(parents=True)
        interpreter_of(environment).touch()
        raise RequirementsError("the power went out")

    def whole(environment: Path) -> None:
        assert not environment.exists()
        interpreter_of(environment).parent.mkdir(parents=True)
        interpreter_of(environment).touch()

    with pytest.raises(RequirementsError):
        cache.obtain("d", half, lambda: None)
    assert cache.obtain("d", whole, lambda: None) == tmp_path / "d"
    assert cache.obtain("d", half, lambda: None) == tmp_path / "d"


def test_the_ten_environments_used_last_are_kept_and_those_in_use(tmp_path: Path) -> None:
    def build(environment: Path) -> None:
        interpreter_of(environment).parent.mkdir(parents=True)
        interpreter_of(environment).touch()

    for number in range(12):
        cache = EnvironmentCache(tmp_path)
        cache.obtain(f"e{number:02}", build, lambda: None)
        os.utime(tmp_path / f"e{number:02}.lock", (number, number))
        if number == 0:
            in_use = cache
        else:
            cache.release()

    kept = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert kept == ["e00", *(f"e{number:02}" for number in range(2, 12))]
    in_use.release()


def _add(tarball: Path, name: str, content: bytes) -> None:
    import gzip
    import io
    import tarfile

    plain = io.BytesIO(gzip.decompress(tarball.read_bytes()))
    with tarfile.open(fileobj=plain, mode="a:") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    tarball.write_bytes(gzip.compress(plain.getvalue()))
