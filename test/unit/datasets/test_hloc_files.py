"""HDF5 files of hloc: global descriptors that replace retrieval, and matches."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deviloc_ros.datasets.hloc_files import MatchFile, check_hdf5, rank_by_descriptors
from deviloc_ros.datasets.pairs import read_pairs
from deviloc_ros.errors import InputError

h5py = pytest.importorskip("h5py", reason="h5py is optional (docs/benchmarks.md)")


def write(path: Path, descriptors: Mapping[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in descriptors.items():
            group = file.create_group(name)
            group.create_dataset("global_descriptor", data=values)
    return path


def test_references_are_ranked_by_the_inner_product(tmp_path: Path) -> None:
    path = write(
        tmp_path / "global.h5",
        {
            "db/1.jpg": np.float32([1, 0]),
            "db/2.jpg": np.float32([0, 1]),
            "db/3.jpg": np.float16([0.6, 0.8]),
            "query/night/a.jpg": np.float32([0.1, 0.9]),
        },
    )
    queries = ["query/night/a.jpg", "query/night/b.jpg"]
    found = rank_by_descriptors(path, queries, ["db/0.jpg", "db/1.jpg", "db/2.jpg", "db/3.jpg"], 2)
    assert found == {"query/night/a.jpg": ["db/2.jpg", "db/3.jpg"]}


@pytest.mark.parametrize(
    ("descriptors", "said"),
    [
        ({"a": np.zeros(2, np.float32)}, "has no descriptor of 1 references, such as b"),
        ({"b": np.zeros(2, np.float32)}, "has no descriptor of 1 queries, such as a"),
        ({"a": np.zeros(2, np.int32), "b": np.zeros(2)}, "a/global_descriptor is no vector of fl"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, r"different lengths: \[2, 3\]"),
        ({"a": np.full(2, np.nan), "b": np.zeros(2)}, "not finite"),
    ],
)
def test_wrong_descriptors_are_told(
    tmp_path: Path, descriptors: Mapping[str, Any], said: str
) -> None:
    path = write(tmp_path / "global.h5", descriptors)
    with pytest.raises(InputError, match=said):
        rank_by_descriptors(path, ["a"], ["b"], 1)


def test_a_file_that_is_no_hdf5_is_told(tmp_path: Path) -> None:
    (tmp_path / "global.h5").write_text("pairs")
    with pytest.raises(InputError, match="cannot be read as HDF5"):
        rank_by_descriptors(tmp_path / "global.h5", ["a"], ["b"], 1)
    with pytest.raises(InputError, match="no such file"):
        rank_by_descriptors(tmp_path / "none.h5", ["a"], ["b"], 1)


def test_without_h5py_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match="pip install h5py"):
        check_hdf5()


def test_matches_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = MatchFile(tmp_path / "matches.h5")
    file.write("q/1.jpg", np.zeros((1, 2)), np.zeros((1, 3)), np.zeros(1))
    file.write("q/1.jpg", [[1, 2], [3, 4]], [[5, 6, 7], [8, 9, 10]], [0.5, 1])
    assert MatchFile(tmp_path / "matches.h5").names(["q/1.jpg", "q/2.jpg"]) == {"q/1.jpg"}
    with h5py.File(tmp_path / "matches.h5") as read:
        np.testing.assert_array_equal(
            read["q/1.jpg"][()], [[1, 2, 5, 6, 7, 0.5], [3, 4, 8, 9, 10, 1]]
        )


def test_a_pair_file_keeps_its_order_and_tells_wrong_lines(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("q b\nq a\nr a\n")
    assert read_pairs(path) == {"q": ["b", "a"], "r": ["a"]}
    path.write_text("q a\nq\n")
    with pytest.raises(InputError, match=r"pairs.txt:2: expected 'query reference', got 1 fields"):
        read_pairs(path)
    path.write_text("# nothing\n")
    with pytest.raises(InputError, match="holds no pair"):
        read_pairs(path)
