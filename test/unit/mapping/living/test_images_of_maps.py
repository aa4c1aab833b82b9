"""What was localized before an interruption is not localized again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_map import small_map

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.types import Query
from deviloc_ros.mapping.living import images_of_maps
from deviloc_ros.mapping.living.images_of_maps import certain, localize_images
from deviloc_ros.mapping.living.registration import Registered


def registered(index: int) -> Registered:
    return Registered(
        Transform.identity(),
        np.eye(3) * (index + 1),
        np.array([index], dtype=np.int64),
        np.array([index, index + 1], dtype=np.int32),
        np.full((2, 2), float(index)),
    )


def test_an_interrupted_run_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, calls = small_map(0, references=4), []

    class Localizer:
        def __init__(self, *_: object) -> None:
            self.device = "cpu"

    def register(localizer: object, query: Query) -> Registered | str:
        calls.append(query)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return registered(len(calls)) if len(calls) != 2 else "cannot be localized"

    monkeypatch.setattr(images_of_maps, "Localizer", Localizer)
    monkeypatch.setattr(images_of_maps, "register", register)
    monkeypatch.setattr(images_of_maps, "reference_features", lambda *_: "features")
    monkeypatch.setattr(type(images), "image_of", lambda *_: None)
    arguments = images, images, LocalizerConfig(), tmp_path / "there", "test"
    with pytest.raises(KeyboardInterrupt):
        localize_images(*arguments)
    found = localize_images(*arguments)
    # Four images, one of which was begun twice.
    assert len(calls) == 5
    assert list(found) == [0, 2, 3]
    np.testing.assert_array_equal(found[0].position_covariance, 2 * np.eye(3))
    again = localize_images(*arguments)
    assert len(calls) == 5
    assert list(again) == [0, 2, 3]
    np.testing.assert_array_equal(again[3].pixels, found[3].pixels)


def test_only_the_images_that_are_asked_for(tmp_path: Path) -> None:
    images = small_map(0, references=4)
    assert not localize_images(
        images, images, LocalizerConfig(), tmp_path, "test", np.zeros(0, dtype=np.int64)
    )


def test_images_that_see_the_other_map_from_afar_do_not_tell_the_frame() -> None:
    sigmas = [1.0, 1.5, 0.5, 40.0, 1.2, 1.9, 90.0, 1.1]
    found = {
        i: replace(registered(i), position_covariance=np.eye(3) * sigma**2)
        for i, sigma in enumerate(sigmas)
    }
    assert list(certain(found, 3)) == [0, 1, 2, 4, 5, 7]
    few = {i: found[i] for i in (2, 3, 6)}
    assert list(certain(few, 3)) == [2, 3, 6]
    assert certain({}, 3) == {}
