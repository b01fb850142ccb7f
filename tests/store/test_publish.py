"""Files appear complete, under their final name, or not at all."""

import errno
import fcntl
import mmap
import os
import shutil
from pathlib import Path

import pytest

from jdq.store.errors import StoreError
from jdq.store.files import publish as publishing
from jdq.store.files.publish import NO_LINKS, is_partial, publish, remove, replace, require_file_system
from jdq.store.store import open_store


def test_the_first_of_two_publications_stays(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    assert publish(path, b"first") is True
    assert publish(path, b"second") is False
    assert path.read_bytes() == b"first"
    assert [name.name for name in path.parent.iterdir()] == ["file"]


def test_pieces_are_written_one_after_another(tmp_path: Path) -> None:
    publish(tmp_path / "file", [b"ab", bytearray(b"cd"), memoryview(b"ef")])
    assert (tmp_path / "file").read_bytes() == b"abcdef"


def test_a_replacement_is_complete(tmp_path: Path) -> None:
    replace(tmp_path / "file", b"first")
    replace(tmp_path / "file", b"second", durable=False)
    assert (tmp_path / "file").read_bytes() == b"second"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int, __: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "writev", full)
    for write in (publish, replace):
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path / "file", b"data")
    assert list(tmp_path.iterdir()) == []


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "writev", lambda fd, data: os.write(fd, b"".join(data)[:3]))
    publish(tmp_path / "file", [b"0", b"", b"12345", b"6789"])
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_more_than_a_system_takes_is_written_in_several_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, writev = [], os.writev
    monkeypatch.setattr(publishing, "LARGEST_WRITE", 4)

    def noting(fd: int, data: list[memoryview]) -> int:
        sizes.append(sum(map(len, data)))
        return writev(fd, data)

    monkeypatch.setattr(os, "writev", noting)
    publish(tmp_path / "file", [b"012345", b"67", b"89"])
    assert (tmp_path / "file").read_bytes() == b"0123456789" and sizes == [4, 2, 4]


def test_file_folder_and_parents_are_flushed_before_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def noting(fd: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        fsync(fd)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("handles have no names here")
    monkeypatch.setattr(os, "fsync", noting)
    publish(tmp_path / "new" / "file", b"x")
    assert flushed[0] == str(tmp_path)
    assert is_partial(Path(flushed[1]).name)
    assert flushed[2] == str(tmp_path / "new")
    flushed.clear()
    publish(tmp_path / "new" / "file", b"x")
    assert flushed[-1] == str(tmp_path / "new")


def test_a_link_that_is_repeated_by_a_file_server_is_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def lost_answer(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(target)

    monkeypatch.setattr(os, "link", lost_answer)
    assert publish(tmp_path / "file", b"x") is True


@pytest.mark.parametrize("number", NO_LINKS)
def test_without_hard_links_an_exclusive_rename_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse_links(monkeypatch, number)
    require_file_system(tmp_path)
    assert publish(tmp_path / "file", b"x") is True
    assert publish(tmp_path / "file", b"y") is False
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"x")]


def refuse_links(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(_: Path, __: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)


def test_a_file_system_without_what_the_store_needs_is_named_before_anything_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_call(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", no_call)
        with pytest.raises(StoreError, match=r"has no locks \(flock\), which the store needs \(Function not"):
            open_store(tmp_path / "store")
    with monkeypatch.context() as patched:
        patched.setattr(mmap, "mmap", no_call)
        with pytest.raises(StoreError, match=r"has no files that can be mapped \(mmap\)"):
            open_store(tmp_path / "store")
    with monkeypatch.context() as patched:
        refuse_links(patched, errno.ENOSYS)
        patched.setattr("ctypes.CDLL", lambda *_, **__: object())
        with pytest.raises(StoreError, match=r"has no hard links \(or an exclusive rename\)"):
            open_store(tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_a_removed_folder_has_no_name_while_its_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "m").mkdir(parents=True)
    (tmp_path / "models" / "m" / "weights").touch()

    def die(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", die)
    with pytest.raises(KeyboardInterrupt):
        remove(tmp_path / "models" / "m", trash_in=tmp_path)
    assert list((tmp_path / "models").iterdir()) == []
    (trash,) = tmp_path.glob(".removed-*")
    assert (trash / "weights").exists()


def test_a_removed_file_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "head").touch()
    remove(tmp_path / "head", trash_in=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_replacement_that_cannot_get_its_name_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        replace(tmp_path / "file", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_any_other_error_of_the_link_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path, __: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(OSError, match="Input/output error"):
        publish(tmp_path / "file", b"x")
    assert list(tmp_path.iterdir()) == []
