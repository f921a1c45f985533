"""A job's log: bounded, quick, fit to be shown, and alive while the job prints."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamma_bot.training.joblog import LogWriter, clean_line, dropped_bytes, read_tail
from gamma_bot.training.trainer import Ending
from tests.local_machine import Machine, ended


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as machine:
        yield machine


def written(folder: Path, *chunks: bytes, close: bool = True, **sizes: int) -> LogWriter:
    writer = LogWriter(folder, **sizes)
    for chunk in chunks:
        writer.feed(chunk)
    if close:
        writer.close()
    return writer


async def test_a_job_that_prints_200_megabytes_is_neither_slow_nor_large(machine: Machine) -> None:
    script = """
        import sys
        line = b"step 123456 loss 0.123456 and some more words to make it long enough for a line\\n"
        block = line * (1_000_000 // len(line))
        for _ in range(200):
            sys.stdout.buffer.write(block)
        print("the end")
    """
    spec = machine.spec(script)
    trainer = machine.trainer()
    before = time.monotonic()
    await trainer.submit(spec)
    outcome = await ended(trainer, spec.attempt)

    assert outcome.ending is Ending.COMPLETED
    assert time.monotonic() - before < 20
    size = sum(path.stat().st_size for path in (machine.root / "job-1/log").iterdir())
    assert 4_000_000 < size < 9_000_000
    dropped = await trainer.log_dropped(spec.attempt)
    assert 190_000_000 < dropped < 200_000_000
    tail = await trainer.log_tail(spec.attempt, 3)
    assert tail[-1] == "the end"
    assert tail[0].startswith("step 123456")


async def test_an_unfinished_line_is_seen_while_the_job_runs(machine: Machine) -> None:
    script = "import sys, time\nsys.stdout.write('10%\\r 20%\\r 30%')\nsys.stdout.flush()\ntime.sleep(60)"
    spec = machine.spec(script)
    trainer = machine.trainer()
    await trainer.submit(spec)
    for _ in range(500):
        await trainer.observe([spec.attempt])
        if await trainer.log_tail(spec.attempt, 5) == [" 30%"]:
            break
        await asyncio.sleep(0.02)
    else:
        pytest.fail("the progress never showed")
    await trainer.stop(spec.attempt)
    await ended(trainer, spec.attempt)

    assert await trainer.log_tail(spec.attempt, 5) == [" 30%"]


async def test_there_is_no_log_before_there_is_one(machine: Machine) -> None:
    spec = machine.spec()
    assert await machine.trainer().log_tail(spec.attempt, 10) == []
    assert await machine.trainer().log_dropped(spec.attempt) == 0


def test_the_beginning_and_the_newest_lines_stay_and_the_gap_is_said(tmp_path: Path) -> None:
    lines = [f"line {i:05}\n".encode() for i in range(1_000)]
    writer = written(tmp_path, *lines, head_bytes=110, segment_bytes=1_100)

    kept = read_tail(tmp_path, 10_000)
    assert kept[:10] == [f"line {i:05}" for i in range(10)]
    assert kept[10].startswith("[… ")
    assert kept[10].endswith(" bytes of the log were not kept …]")
    assert kept[11:] == [f"line {i:05}" for i in range(1_000 - len(kept) + 11, 1_000)]
    assert 100 <= len(kept) - 11 <= 200
    assert writer.dropped_bytes == dropped_bytes(tmp_path) == 11 * (1_000 - 10 - (len(kept) - 11))


@pytest.mark.parametrize("wanted", [0, 1, 2, 150, 5_000])
def test_a_tail_has_as_many_lines_as_were_asked_for(tmp_path: Path, wanted: int) -> None:
    written(tmp_path, *(b"%d " % i + b"x" * 90 + b"\n" for i in range(4_000)))

    tail = read_tail(tmp_path, wanted)
    assert [int(line.split()[0]) for line in tail] == list(range(max(0, 4_000 - wanted), 4_000))


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"10%\r20%\r30%\n", ["30%"]),
        (b"\r10%\r20%\r", ["20%"]),
        (b"dos\r\nline\r\n", ["dos", "line"]),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07text\x1b[2K\n", ["red text"]),
        (b"nul\x00 bell\x07 back\x08\n", ["nul bell back"]),
        (b"\xff\xfe binary \x80\n", ["\ufffd\ufffd binary \ufffd"]),
        ("é ✓ \u202egnp.exe\n".encode(), ["é ✓ gnp.exe"]),
        (b"tab\tstays\n", ["tab\tstays"]),
        (b"a\n\nb\n", ["a", "", "b"]),
        (b"no line end", ["no line end"]),
        (b"", []),
    ],
)
def test_what_a_job_prints_becomes_harmless_lines(tmp_path: Path, printed: bytes, shown: list[str]) -> None:
    written(tmp_path, printed)
    assert read_tail(tmp_path, 10) == shown


def test_a_line_without_end_is_cut_and_what_follows_is_not_lost(tmp_path: Path) -> None:
    writer = written(tmp_path, *[b"x" * 100_000] * 50, b"\nnext\n")

    long, following = read_tail(tmp_path, 2)
    assert long == "x" * 1_999 + "…"
    assert following == "next"
    assert writer.dropped_bytes == 5_000_000 - 16_384
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 20_000


def test_a_line_of_escape_sequences_is_cleaned_in_linear_time() -> None:
    before = time.monotonic()
    for nasty in (b"\x1b]" * 8_000, b"\x1b[" * 8_000, b"\x1bP" * 8_000, b"\x1b[0;" * 4_000, b"\x1b" * 16_000):
        clean_line(nasty)
    assert time.monotonic() - before < 1


def test_a_reader_in_the_middle_of_a_rotation_sees_no_line_twice(tmp_path: Path) -> None:
    writer = written(tmp_path, close=False, head_bytes=0, segment_bytes=500)
    for i in range(2_000):
        writer.feed(b"%d\n" % i)
        if i % 7 == 0:
            writer.feed(b"progr")
            writer.refresh()
            writer.feed(b"ess\n")
        numbers = [int(line) for line in read_tail(tmp_path, 40) if line.isdigit()]
        assert numbers == list(range(i - len(numbers) + 1, i + 1))
    writer.close()


def test_a_link_in_place_of_the_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("password\n")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "new").symlink_to(tmp_path / "secret")
    assert read_tail(tmp_path / "log", 10) == []


@given(st.lists(st.text("ab\r\n", max_size=40), max_size=20))
def test_how_the_output_is_cut_into_pieces_makes_no_difference(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str]
) -> None:
    whole, cut = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("cut")
    written(whole, "".join(pieces).encode())
    written(cut, *(piece.encode() for piece in pieces))
    assert read_tail(whole, 1_000) == read_tail(cut, 1_000)
