"""A tree comes out of its tarball complete and harmless, or not at all."""

from __future__ import annotations

import gzip
import io
import os
import posixpath
import shutil
import stat
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamma_bot.training.source import SourceError, SourceLimits, unpack


@dataclass(frozen=True)
class Entry:
    name: str
    content: bytes = b""
    kind: bytes = tarfile.REGTYPE
    target: str = ""
    mode: int = 0o644


def archive(path: Path, *entries: Entry, kind: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w:gz", format=kind) as tar:
        for entry in entries:
            member = tarfile.TarInfo(entry.name)
            member.type, member.linkname, member.mode = entry.kind, entry.target, entry.mode
            member.size = len(entry.content)
            tar.addfile(member, io.BytesIO(entry.content))
    return path


def link(name: str, target: str) -> Entry:
    return Entry(name, kind=tarfile.SYMTYPE, target=target)


def hard_link(name: str, target: str) -> Entry:
    return Entry(name, kind=tarfile.LNKTYPE, target=target)


def folder(name: str) -> Entry:
    return Entry(name, kind=tarfile.DIRTYPE, mode=0o755)


def test_a_tree_comes_out_without_githubs_top_folder(tmp_path: Path) -> None:
    tarball = archive(
        tmp_path / "t.tar.gz",
        folder("acme-widgets-abc/"),
        Entry("acme-widgets-abc/train.py", b"print(1)"),
        Entry("acme-widgets-abc/bin/run.sh", b"#!/bin/sh", mode=0o100755),
        Entry("acme-widgets-abc/src/deep/ünïcode name.txt", b"x"),
        link("acme-widgets-abc/src/latest", "../bin/run.sh"),
        link("acme-widgets-abc/dangling", "not/here"),
        hard_link("acme-widgets-abc/again.py", "acme-widgets-abc/train.py"),
    )
    tree = tmp_path / "tree"
    unpack(tarball, tree)

    assert (tree / "train.py").read_bytes() == (tree / "again.py").read_bytes() == b"print(1)"
    assert (tree / "src/latest").read_bytes() == b"#!/bin/sh"
    assert (tree / "src/deep/ünïcode name.txt").exists()
    assert os.access(tree / "bin/run.sh", os.X_OK)
    assert not os.access(tree / "train.py", os.X_OK) or os.stat(tree / "train.py").st_mode & 0o111 == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.tar.gz", "tree"]


def test_what_git_archive_writes_is_understood(tmp_path: Path) -> None:
    import subprocess

    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "train.py").write_text("print(1)")
    (repository / ("deep/" * 40)).mkdir(parents=True)
    (repository / ("deep/" * 40) / "file").write_text("1")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    tarball = tmp_path / "t.tar.gz"
    archive_command = ["git", "archive", "--prefix=acme-1/", "-o", str(tarball), "HEAD"]
    subprocess.run(archive_command, cwd=repository, check=True)

    unpack(tarball, tmp_path / "tree")

    assert (tmp_path / "tree" / ("deep/" * 40) / "file").read_text() == "1"


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([Entry("/etc/passwd")], "“/etc/passwd” is not a path inside the tree"),
        ([Entry("top/../../evil")], "“top/../../evil” is not a path inside the tree"),
        ([Entry("../evil")], "is not a path inside"),
        ([Entry("top/a"), Entry("other/b")], "“other/b” is outside the tarball's one top folder “top”"),
        ([Entry("alone")], "no top folder"),
        ([link("top/l", "/etc")], "“l” is a link that leaves the tree"),
        ([link("top/l", "../x")], "“l” is a link that leaves the tree"),
        ([link("top/a/l", "../../x")], "link that leaves the tree"),
        ([link("top/l", "../top/a")], "link that leaves the tree"),
        ([folder("top/a"), link("top/a/up", ".."), link("top/out", "a/up/../x")], "“out” is a link that leaves"),
        ([link("top/out", "a/up/../x"), folder("top/a"), link("top/a/up", "..")], "“out” is a link that leaves"),
        ([link("top/l", "."), Entry("top/l/evil", b"x")], "“l” is a folder and also something else"),
        ([link("top/l", "a"), Entry("top/l", b"x")], "“l” is in the tarball twice"),
        ([Entry("top/a", b"1"), Entry("top/a", b"2")], "“a” is in the tarball twice"),
        ([Entry("top/a", b"1"), Entry("top/a/b", b"2")], "“a” is a folder and also something else"),
        ([hard_link("top/h", "/etc/passwd")], "“/etc/passwd” is not a path inside the tree"),
        ([hard_link("top/h", "top/../../x")], "is not a path inside the tree"),
        ([hard_link("top/h", "top/later")], "which is no file before it"),
        ([link("top/s", "a"), hard_link("top/h", "top/s")], "which is no file before it"),
        ([Entry("top/dev", kind=tarfile.BLKTYPE)], "“dev” is a device or a pipe"),
        ([Entry("top/null", kind=tarfile.CHRTYPE)], "is a device or a pipe"),
        ([Entry("top/pipe", kind=tarfile.FIFOTYPE)], "is a device or a pipe"),
        ([Entry("top/" + "a/" * 600 + "x")], "is a path longer than 1024 bytes"),
        ([link("top/l", "")], "“l” is a link to nothing"),
        ([link("top/l", "x" * 1_025)], "“l” is a link to nothing, or to a path longer"),
        ([Entry("top/" + "x" * 256)], "can't be created on this machine: File name too long"),
        ([folder("top/" + "x" * 256 + "/")], "can't be created on this machine"),
        ([Entry("top/a\nb\x1b[31m/../x")], r"“top/a\\nb\\x1b\[31m/../x” is not a path"),
        ([], "empty"),
    ],
)
def test_what_does_not_belong_into_a_tree_is_refused_by_name(tmp_path: Path, entries: list[Entry], words: str) -> None:
    tarball = archive(tmp_path / "t.tar.gz", *entries)
    with pytest.raises(SourceError, match=words.replace("(", r"\(")):
        unpack(tarball, tmp_path / "tree")
    assert [path.name for path in tmp_path.iterdir()] == ["t.tar.gz"]


def test_setuid_and_writable_for_all_do_not_survive(tmp_path: Path) -> None:
    unpack(archive(tmp_path / "t.tar.gz", Entry("top/x", b"1", mode=0o6777)), tmp_path / "tree")
    mode = stat.S_IMODE((tmp_path / "tree/x").stat().st_mode)
    assert mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH) == 0


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    tarball = archive(tmp_path / "t.tar.gz", *(Entry(f"top/{i}") for i in range(11)))
    with pytest.raises(SourceError, match="more than 10 files"):
        unpack(tarball, tmp_path / "tree", SourceLimits(files=10))
    assert not (tmp_path / "tree").exists()


def test_too_many_bytes_are_refused_before_they_are_written(tmp_path: Path) -> None:
    tarball = archive(tmp_path / "t.tar.gz", Entry("top/a", b"x" * 600), Entry("top/b", b"x" * 600))
    with pytest.raises(SourceError, match="more than 1 KiB, reached at “top/b”"):
        unpack(tarball, tmp_path / "tree", SourceLimits(bytes=1_024))
    assert [path.name for path in tmp_path.iterdir()] == ["t.tar.gz"]


def test_a_sparse_file_counts_with_its_full_size(tmp_path: Path) -> None:
    # An old GNU sparse header: 512 bytes in the archive, a terabyte on the disk.
    member = tarfile.TarInfo("top/huge")
    member.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:512]))
    tarball = tmp_path / "t.tar.gz"
    tarball.write_bytes(gzip.compress(bytes(header) + bytes(10_240)))
    with pytest.raises(SourceError, match="too large"):
        unpack(tarball, tmp_path / "tree")


def test_a_bomb_is_stopped_early_and_cheaply(tmp_path: Path) -> None:
    tarball = tmp_path / "t.tar.gz"
    member = tarfile.TarInfo("top/zeros")
    member.size = 1 << 33
    with gzip.open(tarball, "wb", compresslevel=1) as file:
        file.write(member.tobuf())
        for _ in range(400):
            file.write(bytes(1 << 20))
    with pytest.raises(SourceError, match="expands to more than 100 times its size"):
        unpack(tarball, tmp_path / "tree", SourceLimits(bytes=1 << 40, ratio=100))
    assert [path.name for path in tmp_path.iterdir()] == ["t.tar.gz"]


def test_a_giant_attribute_is_not_read_into_memory(tmp_path: Path) -> None:
    tarball = tmp_path / "t.tar.gz"
    header = tarfile.TarInfo("top/x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    tarball.write_bytes(gzip.compress(header.tobuf() + bytes(10_240)))
    with pytest.raises(SourceError, match="header of unreasonable size"):
        unpack(tarball, tmp_path / "tree")


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


def _wrong_checksum(data: bytes) -> bytes:
    return data[:-8] + bytes(4) + data[-4:]


@pytest.mark.parametrize(
    "damage", [_cut, _flip, _wrong_checksum, lambda data: data[:-4], lambda data: b"hello", lambda data: b""]
)
def test_a_damaged_tarball_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    tarball = archive(tmp_path / "t.tar.gz", Entry("top/a", os.urandom(50_000)), Entry("top/b", b"x"))
    tarball.write_bytes(damage(tarball.read_bytes()))
    with pytest.raises(SourceError):
        unpack(tarball, tmp_path / "tree")
    assert [path.name for path in tmp_path.iterdir()] == ["t.tar.gz"]


def test_a_tarball_with_a_broken_header_in_the_middle_is_refused_and_not_cut_short(tmp_path: Path) -> None:
    tarball = archive(tmp_path / "t.tar.gz", Entry("top/a", b"1"), Entry("top/b", b"2"), kind=tarfile.USTAR_FORMAT)
    plain = bytearray(gzip.decompress(tarball.read_bytes()))
    plain[1024 + 150] ^= 0xFF
    tarball.write_bytes(gzip.compress(bytes(plain)))
    with pytest.raises(SourceError, match="header can't be read"):
        unpack(tarball, tmp_path / "tree")


def test_a_member_with_a_negative_size_does_not_go_round_for_ever(tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("top/a").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:512]))
    tarball = tmp_path / "t.tar.gz"
    tarball.write_bytes(gzip.compress(bytes(header) + bytes(10_240)))
    with pytest.raises(SourceError, match="damaged"):
        unpack(tarball, tmp_path / "tree")


def test_unpacking_can_be_ended_from_outside(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop() -> None:
        raise Enough

    with pytest.raises(Enough):
        unpack(archive(tmp_path / "t.tar.gz", Entry("top/a")), tmp_path / "tree", between=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["t.tar.gz"]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]), st.data())
def test_a_tarball_with_a_wrong_byte_anywhere_is_a_tree_or_an_error_of_ours(
    tmp_path: Path, kind: int, data: st.DataObject
) -> None:
    entries = (folder("top/"), Entry("top/ü" * 40, b"1"), link("top/l", "x" * 120), hard_link("top/h", "top/" + "ü"))
    plain = bytearray(gzip.decompress(archive(tmp_path / "t.tar.gz", *entries, kind=kind).read_bytes()))
    header = data.draw(st.integers(0, len(plain) // 512 - 1)) * 512
    plain[header + data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
    block = plain[header : header + 512]
    if data.draw(st.booleans()):  # with the right checksum the mistake gets further
        plain[header + 148 : header + 156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))
    (tmp_path / "t.tar.gz").write_bytes(gzip.compress(bytes(plain), 1))
    tree = tmp_path / "tree"
    try:
        unpack(tmp_path / "t.tar.gz", tree)
    except SourceError as error:
        words = str(error)
    else:
        words = ""
    assert words.isprintable()
    assert tree.exists() == (not words)
    shutil.rmtree(tree, ignore_errors=True)


_PARTS = st.sampled_from(["a", "b", "up", "..", ".", "", "c"])
_PATHS = st.lists(_PARTS, min_size=1, max_size=5).map("/".join)
_ENTRIES = st.builds(
    lambda kind, name, target: Entry(
        f"top/{name}", b"x" if kind == tarfile.REGTYPE else b"", kind, target and posixpath.join(target)
    ),
    st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE]),
    _PATHS,
    _PATHS,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_ENTRIES, min_size=1, max_size=6))
def test_no_tarball_gets_anything_out_of_its_folder(tmp_path: Path, entries: list[Entry]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        place = Path(name) / "inner"
        place.mkdir()
        (Path(name) / "c").write_text("outside")
        tarball = archive(Path(name) / "t.tar.gz", *entries)
        try:
            unpack(tarball, place / "tree")
        except SourceError:
            assert list(place.iterdir()) == []
        else:
            tree = (place / "tree").resolve()
            assert all(Path(os.path.realpath(path)).is_relative_to(tree) for path in tree.rglob("*"))
        assert sorted(path.name for path in Path(name).iterdir()) == ["c", "inner", "t.tar.gz"]
        assert (Path(name) / "c").read_text() == "outside"
        assert (Path(name) / "c").stat().st_nlink == 1
