"""What `--output` may name, and what becomes of it: files, links, pipes, devices, full disks."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deviloc_ros import atomic
from deviloc_ros.atomic import atomic_path
from deviloc_ros.errors import InputError


def write(target: Path, text: str = "new") -> None:
    with atomic_path(target) as temporary:
        temporary.write_text(text)


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/old.txt").write_text("old")
    for name in ("old.txt", "none.txt"):  # a link to a file that is not there yet makes it
        link = tmp_path / name
        link.symlink_to(Path("data") / name)
        write(link)
        assert link.is_symlink()
        assert (tmp_path / "data" / name).read_text() == "new"
    assert sorted(os.listdir(tmp_path / "data")) == ["none.txt", "old.txt"]


def test_a_chain_of_links_through_a_linked_folder(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "here").symlink_to("disk")
    (tmp_path / "disk/latest").symlink_to("target.txt")
    (tmp_path / "first").symlink_to(tmp_path / "here/latest")
    write(tmp_path / "first")
    assert (tmp_path / "disk/target.txt").read_text() == "new"
    assert (tmp_path / "first").is_symlink()


def test_permissions_of_the_old_file_stay(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    target.chmod(0o640)
    write(target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write(pipe, "through" * 100_000)
    reader.join(10)
    assert got == ["through" * 100_000]
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_pipe_that_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "SECONDS_FOR_A_READER", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="nobody reads this pipe"):
        write(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_devices_stay() -> None:
    write(Path("/dev/null"))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(InputError, match=r"/dev/full: No space left on the disk"):
        write(Path("/dev/full"))
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_socket_and_a_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(InputError, match="is a socket"):
            write(Path("socket"))
    with pytest.raises(InputError, match="is a folder"):
        write(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "loop")


WRITE_AND_PRINT = """
import sys
from pathlib import Path
from deviloc_ros.atomic import atomic_path
from deviloc_ros.cli.arguments import tell
print("before")
with atomic_path(Path(sys.argv[1])) as path:
    path.write_text("content\\n")
tell("told", Path(sys.argv[1]))
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("kind", ["pipe", "file", "appended"])
def test_standard_output_gets_the_content_alone(tmp_path: Path, name: str, kind: str) -> None:
    command = [sys.executable, "-c", WRITE_AND_PRINT, name]
    expected = "before\ncontent\n"
    if kind == "pipe":
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        out = done.stdout
    else:
        file = tmp_path / "out"
        file.write_text("there\n")
        with file.open("a" if kind == "appended" else "w") as stream:
            done = subprocess.run(
                command, stdout=stream, stderr=subprocess.PIPE, text=True, check=True
            )
        out = file.read_text()
        expected = "there\n" + expected if kind == "appended" else expected
    assert out == expected
    assert done.stderr == "told\n"


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_with_its_folder(tmp_path: Path, error: Exception) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(InputError) as caught, atomic_path(tmp_path / "file"):
        raise error
    assert f"No space left on the disk (or in the quota) of {tmp_path}" in str(caught.value)
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_another_error_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError), atomic_path(tmp_path / "file"):
        raise KeyError("bug")
    assert os.listdir(tmp_path) == []
