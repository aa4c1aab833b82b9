"""Maps that become one: nothing of either is lost or mixed up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_map import small_map

from deviloc_ros.errors import InputError
from deviloc_ros.mapping.alike import check_alike
from deviloc_ros.mapping.living.join import (
    Sightings,
    described_by,
    join,
    renamed,
)
from deviloc_ros.maps.descriptor_codes import decoded
from deviloc_ros.maps.map import Map


def two_maps() -> tuple[Map, Map]:
    """Return maps in one frame with other origins, as many features and other names."""
    first = small_map(0)
    second = small_map(1, references=2, features=7)
    second = replace(
        second,
        origin=first.origin + np.array([30.0, -20.0, 1.0]),
        references=[replace(r, name=f"other/{r.name}", look="night") for r in second.references],
    )
    return first, second


def test_features_and_points_stay_where_they_are(tmp_path: Path) -> None:
    first, second = two_maps()
    join(first, second).save(tmp_path / "joined.devmap")
    joined = Map.load(tmp_path / "joined.devmap")
    names = [r.name for r in (*first.references, *second.references)]
    assert [r.name for r in joined.references] == names
    assert [r.look for r in joined.references] == [""] * 3 + ["night"] * 2
    for offset, part in ((0, first), (3, second)):
        for index in range(len(part.references)):
            rows, own = joined.features_of(offset + index), part.features_of(index)
            np.testing.assert_array_equal(joined.keypoints[rows], part.keypoints[own])
            np.testing.assert_allclose(
                decoded(joined.descriptors[rows]), decoded(part.descriptors[own]), atol=1 / 32
            )
            np.testing.assert_allclose(
                joined.feature_points[rows] + joined.origin,
                part.feature_points[own] + part.origin,
                atol=1e-5,
            )
            seen = joined.observation_points[joined.observations_of(offset + index)]
            own_seen = part.observation_points[part.observations_of(index)]
            np.testing.assert_allclose(joined.points3d[seen], part.points3d[own_seen], atol=1e-5)


def test_sightings_tie_the_two_together() -> None:
    first, second = two_maps()
    assert not join(first, second).shared_points(np.arange(5))[:3, 3:].any()
    points, pixels = np.array([4, 7, 9], dtype=np.int32), np.full((3, 2), 11.0)
    joined = join(
        first,
        second,
        first_in_second=Sightings({1: points}, {1: pixels}),
        second_in_first=Sightings({0: points}, {0: pixels}),
    )
    of_second = joined.observation_points[joined.observations_of(4)]
    assert of_second[-3:].tolist() == [4, 7, 9]
    of_first = joined.observation_points[joined.observations_of(0)]
    assert of_first[-3:].tolist() == [24, 27, 29]  # behind the first map's 20 points
    assert (joined.observation_pixels[joined.observations_of(0)][-3:] == 11).all()


def test_names_that_are_taken_get_a_folder() -> None:
    first = small_map(0)
    again = renamed(small_map(1), {r.name for r in first.references}, "night")
    assert [r.name for r in again.references] == [f"night/{r.name}" for r in first.references]
    assert set(again.unregistered) == {"night/b.jpg"}
    assert renamed(again, {r.name for r in first.references}, "night") is again


def test_global_descriptors_follow_the_words_of_the_other_map() -> None:
    first, second = two_maps()
    described = described_by(second, first.codebook)
    norms = np.linalg.norm(described.global_descriptors.astype(np.float32), axis=1)
    np.testing.assert_allclose(norms, 1.0, atol=1e-2)
    again = described_by(described, first.codebook)
    np.testing.assert_array_equal(described.global_descriptors, again.global_descriptors)


def test_maps_of_other_kinds_are_refused() -> None:
    first, second = two_maps()
    other = replace(second, meta={"features": {"max_size": 480}}, source="other.devmap")
    with pytest.raises(InputError, match=r"other\.devmap: feature settings.*; be alike"):
        check_alike(first, other, False, "be alike")


def test_maps_of_one_frame_agree_on_what_it_is() -> None:
    first, second = two_maps()
    other = replace(second, gravity_aligned=not first.gravity_aligned, source="other.devmap")
    check_alike(first, other, False, "")
    with pytest.raises(InputError, match=r"other\.devmap: z up"):
        check_alike(first, other, True, "")


def test_maps_without_looks_are_as_they_were(tmp_path: Path) -> None:
    # A map of one look does not name it: older programs and maps see no difference.
    whole = small_map(0)
    assert "look" not in whole.references[0].to_json()
    whole.save(tmp_path / "map.devmap")
    assert [r.look for r in Map.load(tmp_path / "map.devmap").references] == ["", "", ""]
