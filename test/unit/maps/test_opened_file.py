"""A map whose file is changed under it: noticed, survived, and mended by loading it again."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from maps import CAMERA, write_random_map
from small_map import small_map

from deviloc_ros.config import LocalizerConfig, MatchingConfig
from deviloc_ros.errors import DamagedMapError
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.types import FailureReason, LocalizationFailure
from deviloc_ros.maps.map import Map


@pytest.fixture
def path(tmp_path: Path) -> Path:
    result = tmp_path / "place.devmap"
    small_map().save(result)
    return result


def of_one_size(path: Path) -> Path:
    """Write another map with as many bytes, as the next build of a place may have."""
    other = small_map()
    replace(other, keypoints=other.keypoints + 1).save(path)
    return path


@pytest.mark.parametrize("resident", [None, 0], ids=["in memory", "mapped"])
def test_another_map_copied_over_it_is_noticed(
    path: Path, tmp_path: Path, resident: int | None
) -> None:
    loaded = Map.load(path, resident=resident)
    loaded.check()
    other = of_one_size(tmp_path / "other.devmap")
    assert other.stat().st_size == path.stat().st_size
    shutil.copyfile(other, path)
    for _ in range(2):
        with pytest.raises(DamagedMapError, match=r"place\.devmap: was written over.*mv new"):
            loaded.check()
    Map.load(path).check()


def test_a_map_cut_short_is_noticed_and_what_was_read_stays(path: Path) -> None:
    loaded = Map.load(path)
    os.truncate(path, 100)
    with pytest.raises(DamagedMapError, match="written over"):
        loaded.check()
    for name in Map.ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(small_map(), name))


@pytest.mark.parametrize("resident", [None, 0], ids=["in memory", "mapped"])
def test_the_same_content_is_the_same_map(path: Path, tmp_path: Path, resident: int | None) -> None:
    loaded = Map.load(path, resident=resident)
    os.utime(path, ns=(1, 1))
    loaded.check()
    copy = shutil.copyfile(path, tmp_path / "copy")
    os.truncate(path, 100)
    with pytest.raises(DamagedMapError):
        loaded.check()
    shutil.copyfile(copy, path)
    loaded.check()


@pytest.mark.parametrize("resident", [None, 0], ids=["in memory", "mapped"])
def test_a_map_that_was_replaced_by_renaming_stays_in_use(
    path: Path, tmp_path: Path, resident: int | None
) -> None:
    loaded = Map.load(path, resident=resident)
    of_one_size(tmp_path / "new").rename(path)
    loaded.check()
    np.testing.assert_array_equal(loaded.keypoints, small_map().keypoints)
    path.unlink()
    loaded.check()


def test_a_localizer_refuses_until_the_map_is_sound(tmp_path: Path) -> None:
    path = write_random_map(tmp_path / "random.devmap", 3, 64, words=2)
    # Converting the networks of context takes long, and is of no matter here.
    quick = LocalizerConfig(matching=MatchingConfig(context="never"))
    localizer = Localizer.load(path, quick)
    pixels = np.random.default_rng(0).integers(0, 256, (240, 320), np.uint8)

    def reason() -> FailureReason:
        result = localizer.localize(pixels, CAMERA)
        assert isinstance(result, LocalizationFailure)
        return result.reason

    usual = reason()
    assert usual is not FailureReason.DAMAGED_MAP
    whole = path.read_bytes()
    os.truncate(path, 1000)
    assert reason() is FailureReason.DAMAGED_MAP
    path.write_bytes(whole)
    assert reason() is usual
