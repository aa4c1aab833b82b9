"""The map file: round trip, and damage of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_map import small_map

from deviloc_ros.errors import InputError
from deviloc_ros.maps import map_file
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map

Change: TypeAlias = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]


@pytest.fixture
def map_path(tmp_path: Path) -> Path:
    path = tmp_path / "place.devmap"
    small_map().save(path)
    return path


def test_round_trip_is_exact(map_path: Path) -> None:
    original, loaded = small_map(), Map.load(map_path)
    for name in Map.ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(original, name))
        assert not getattr(loaded, name).flags.writeable
    assert [r.name for r in loaded.references] == [r.name for r in original.references]
    for ours, theirs in zip(loaded.references, original.references, strict=True):
        assert ours.camera == theirs.camera
        np.testing.assert_allclose(ours.camera_from_map.matrix, theirs.camera_from_map.matrix)
        np.testing.assert_array_equal(
            ours.camera_from_map.translation, theirs.camera_from_map.translation
        )
    np.testing.assert_array_equal(loaded.origin, original.origin)
    np.testing.assert_array_equal(loaded.calibration.offset_bias, original.calibration.offset_bias)
    np.testing.assert_array_equal(loaded.calibration.offset_pull, original.calibration.offset_pull)
    assert loaded.calibration.covariance_scale == 2.5
    assert loaded.calibration.topicfm_covariance_scale == 3.5
    assert (loaded.metric, loaded.gravity_aligned) == (True, False)
    assert dict(loaded.unregistered) == {"b.jpg": "blurred"}


def test_the_same_map_is_the_same_file(tmp_path: Path) -> None:
    """The library that writes it has an order of its own for every file."""
    for index in range(8):
        small_map().save(tmp_path / f"{index}.devmap")
    assert len({(tmp_path / f"{index}.devmap").read_bytes() for index in range(8)}) == 1


def test_calibrations_of_older_maps_are_read() -> None:
    """One bias for the whole image, two factors, nothing of matcher topicfm."""
    old = {"offset_bias": [[0.1, -0.2], [0.0, 0.3]], "covariance_scale": [4.0, 2.0]}
    calibration = Calibration.from_json(old)
    np.testing.assert_array_equal(calibration.offset_pull, np.zeros((2, 2)))
    assert calibration.covariance_scale == 4.0
    assert calibration.topicfm_covariance_scale == 1.0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_a_flipped_bit_is_noticed(map_path: Path, data: st.DataObject) -> None:
    """Wherever it is: in the header, the description, or any array."""
    content = bytearray(map_path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    damaged = map_path.with_name("damaged.devmap")
    damaged.write_bytes(content)
    try:
        loaded = Map.load(damaged)
    except InputError as error:
        message = str(error)
    else:  # only a bit that means nothing may go unnoticed, such as padding of the header
        message = str(damaged)
        for name in Map.ARRAYS:
            np.testing.assert_array_equal(getattr(loaded, name), getattr(small_map(), name))
    assert "\n" not in message
    assert str(damaged) in message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(share=st.floats(0, 0.9999))
def test_a_file_cut_short_is_refused(map_path: Path, share: float) -> None:
    content = map_path.read_bytes()
    cut = map_path.with_name("cut.devmap")
    cut.write_bytes(content[: int(len(content) * share)])
    for verify in (True, False):
        with pytest.raises(InputError, match=r"cut short|damaged|no JSON"):
            Map.load(cut, verify)


def rewrite_metadata(path: Path, **changes: str) -> None:
    """Change entries of the header's metadata, leaving the arrays as they are."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"].update(changes)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def test_a_newer_version_is_refused_by_name(map_path: Path) -> None:
    rewrite_metadata(map_path, version=str(map_file.VERSION + 1))
    with pytest.raises(InputError, match=f"version {map_file.VERSION + 1} is newer"):
        Map.load(map_path)


NESTED = (100_000).to_bytes(8, "little") + b"[" * 100_000


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 7, b"no map at all", b"\xff" * 100, b"{}" * 50, NESTED]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a map of deviloc"):
        Map.load(path)


def test_a_missing_file_a_folder_and_a_foreign_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    with pytest.raises(InputError, match="cannot be read"):
        Map.load(tmp_path / "absent")
    with pytest.raises(InputError, match="cannot be read"):
        Map.load(tmp_path)
    save_file({"a": np.zeros(3)}, tmp_path / "foreign")
    with pytest.raises(InputError, match="is not a map of deviloc"):
        Map.load(tmp_path / "foreign")


def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    whole = small_map()
    arrays = {name: getattr(whole, name) for name in Map.ARRAYS}
    whole.save(tmp_path / "whole")
    description = map_file.read(tmp_path / "whole").description
    arrays["observation_points"] = arrays["observation_points"] + 20
    map_file.write(tmp_path / "wrong", arrays, description)
    with pytest.raises(InputError, match="its arrays do not fit"):
        Map.load(tmp_path / "wrong")


def rewritten(path: Path, arrays: dict[str, Any], description: dict[str, Any]) -> Path:
    """Write a map again with changes and right checksums, as no builder would."""
    content = map_file.read(path)
    target = path.with_name("rewritten.devmap")
    map_file.write(target, {**content.arrays, **arrays}, {**content.description, **description})
    return target


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("keypoints", lambda a: a[:, :1]),
        ("keypoints", lambda a: a.astype(np.float64)),
        ("keypoints", lambda a: a * np.float32(np.nan)),
        ("descriptors", lambda a: a[:, :32]),
        ("descriptors", lambda a: np.full_like(a, np.inf)),
        ("levels", lambda a: a + 2),
        ("confidence", lambda a: a + 2),
        ("feature_points", lambda a: a[:, :2]),
        ("global_descriptors", lambda a: a[:, :-1]),
        ("codebook", lambda a: a[:1]),
        ("observation_points", lambda a: a - 100),
        ("observation_points", lambda a: a.astype(np.int64)),
        ("feature_offsets", lambda a: a[::-1].copy()),
        ("feature_offsets", lambda a: a[1:]),
        ("observation_offsets", lambda a: a.astype(np.float64)),
    ],
)
def test_arrays_that_cannot_be_are_named(map_path: Path, name: str, change: Change) -> None:
    path = rewritten(map_path, {name: change(getattr(small_map(), name))}, {})
    with pytest.raises(InputError, match=f"damaged: (array {name}|array .* fit|its arrays)"):
        Map.load(path)


def test_points_that_are_not_known_are_taken(map_path: Path) -> None:
    points = np.full((15, 3), np.nan, np.float32)
    assert np.isnan(
        Map.load(rewritten(map_path, {"feature_points": points}, {})).feature_points
    ).all()


REFERENCE = small_map().references[0].to_json()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"references": []}, "references"),
        ({"references": 3}, "references"),
        ({"references": [{**REFERENCE, "quaternion_wxyz": [0, 0, 0, 0]}] * 3}, "normalised"),
        ({"references": [{**REFERENCE, "quaternion_wxyz": [0, 0, 0, 1e-310]}] * 3}, "normalised"),
        ({"references": [{**REFERENCE, "quaternion_wxyz": [1, 0, 0]}] * 3}, "quaternion_wxyz"),
        ({"references": [{**REFERENCE, "translation": [0, 0, 1e300]}] * 3}, "translation"),
        ({"references": [{**REFERENCE, "camera": "PINHOLE 1"}] * 3}, "camera"),
        ({"references": [{**REFERENCE, "name": 5}] * 3}, "name"),
        ({"origin": [0, 0]}, "origin"),
        ({"origin": "here"}, "origin"),
        ({"metric": "perhaps"}, "metric"),
        ({"unregistered": [1]}, "unregistered"),
        ({"meta": "text"}, "meta"),
        ({"covariance_scale": 0}, "covariance_scale"),
        ({"offset_bias": [[0, 0]]}, "offset_bias"),
        ({"image_size": -1}, "image_size"),
    ],
)
def test_descriptions_that_cannot_be_are_named(
    map_path: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=f"the map is damaged: .*{named}"):
        Map.load(rewritten(map_path, {}, change))


def test_an_absurd_version_is_refused(map_path: Path) -> None:
    rewrite_metadata(map_path, version="9" * 5000)
    with pytest.raises(InputError, match="its version is"):
        Map.load(map_path)


def test_a_failed_write_leaves_the_old_map(map_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = map_path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(map_file, "save_file", fail)
    with pytest.raises(KeyboardInterrupt):
        small_map(1).save(map_path)
    assert map_path.read_bytes() == before
    assert list(map_path.parent.iterdir()) == [map_path]


def test_shared_points_counts_common_observations() -> None:
    whole = small_map()
    shared = whole.shared_points(np.array([0, 2]))
    points = [set(whole.observation_points[whole.observations_of(i)].tolist()) for i in range(3)]
    if all(len(points[i]) == 4 for i in range(3)):  # no point seen twice by one image
        assert shared[0, 1] == len(points[0] & points[2])
        assert whole.shared_points_with(0)[2] == shared[0, 1]
    assert shared[0, 1] == shared[1, 0]


def test_viewpoints_are_where_cameras_are_and_where_they_look() -> None:
    place = small_map(references=4)
    centres, axes = place.viewpoints
    for reference, centre, axis in zip(place.references, centres, axes, strict=True):
        pose = reference.camera_from_map.inverse()
        np.testing.assert_allclose(centre, pose.translation, rtol=1e-12)
        np.testing.assert_allclose(axis, pose.rotation.apply([0.0, 0.0, 1.0]), atol=1e-12)
    np.testing.assert_array_equal(place.bounds, [centres.min(axis=0), centres.max(axis=0)])
