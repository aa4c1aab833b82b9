"""A work folder has one user at a time, and a second one learns who that is."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deviloc_ros.errors import InputError
from deviloc_ros.lock import sole_user

HOLD = """
import sys
from pathlib import Path
from deviloc_ros.lock import sole_user
with sole_user(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_user_is_told_who_holds_it(tmp_path: Path) -> None:
    folder = tmp_path / "place.devmap.build"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InputError) as caught, sole_user(folder):
            pytest.fail("two users at once")
        other.kill()  # whose lock goes with it
    assert f"{folder}: is in use by process {other.pid} on {socket.gethostname()}" in str(
        caught.value
    )
    with sole_user(folder):
        assert str(os.getpid()) in (folder / "owner").read_text()
    assert os.listdir(folder) == []


def test_one_process_has_it_once(tmp_path: Path) -> None:
    with (
        sole_user(tmp_path),
        pytest.raises(InputError, match="is in use by process"),
        sole_user(tmp_path),
    ):
        pytest.fail("two users at once")
    with sole_user(tmp_path):
        shutil.rmtree(tmp_path)  # the user may delete it
    assert not tmp_path.exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"), sole_user(tmp_path / "file"):
        pass
