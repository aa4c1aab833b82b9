"""A map of a wall is extended along it, merged with another one, and thinned."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from wall_map import BASE_FROM_CAMERA, CAMERA, SETTINGS, map_from_base, view

from deviloc_ros.cli.main import main
from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.datasets.colmap import PosedImage, posed_images
from deviloc_ros.errors import NothingFoundError
from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import write_image
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.types import PoseEstimate
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.mapping.cut import select
from deviloc_ros.mapping.living.extend import ExtendOptions, ExtendSummary, extend_map
from deviloc_ros.mapping.living.merge import MergeOptions, merge_maps
from deviloc_ros.mapping.living.prune import PruneOptions, prune_map
from deviloc_ros.mapping.map_frame import transform_map
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.open_map import open_map
from deviloc_ros.simulation import wall

# What is compiled or loaded first would take longer than these few images.
QUICK = {"features.backend": "torch", "matching.context": "never"}
CONFIG = build(LocalizerConfig, {**SETTINGS, **QUICK}, "test")
QUERIES = (-2.4, 0.1, 2.8)


@dataclass(frozen=True)
class Wall:
    """A map of the left of the wall, and images of the rest with their true poses."""

    left: Path
    images: Path
    model: Path


def pose_at(x: float, index: int = 0) -> Transform:
    """Return map_from_camera."""
    return map_from_base(x, yaw=float(8 * (-1) ** index)) @ BASE_FROM_CAMERA


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Wall:
    folder = tmp_path_factory.mktemp("wall")

    def photographed(name: str, first: float, last: float) -> tuple[Path, Path]:
        poses = [pose_at(float(x), i) for i, x in enumerate(np.linspace(first, last, 5))]
        return wall.write_map_images(poses, CAMERA, folder / name)

    images, model = photographed("left", -3, 0.3)
    options = BuildOptions(config=CONFIG, metric=True, gravity_aligned=True)
    build_map(images, folder / "left.devmap", model, options)
    images, model = photographed("right", -0.3, 3)
    return Wall(folder / "left.devmap", images, model)


@pytest.fixture(scope="module")
def extended(place: Wall) -> tuple[Path, ExtendSummary]:
    images = place.left.parent / "new"
    shutil.copytree(place.images, images)
    write_image(images / "grey.png", np.full((360, 480), 90, np.uint8))
    names = sorted(path.name for path in images.iterdir())
    output = place.left.parent / "extended.devmap"
    options = ExtendOptions(label="later", config=CONFIG)
    summary = extend_map(place.left, images, dict.fromkeys(names, CAMERA), None, output, options)
    return output, summary


def errors_of(
    reference_map: Map, model: Path, first: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    true = {item.name: item.camera_from_map.inverse() for item in posed_images(model)}
    return np.array(
        [
            r.camera_from_map.inverse().distance_to(true[Path(r.name).name])[0]
            for r in reference_map.references[first:]
        ]
    )


def localized(path: Path, x: float) -> PoseEstimate | None:
    result = Localizer(Map.load(path), CONFIG).localize(view(pose_at(x)), CAMERA)
    return result if isinstance(result, PoseEstimate) else None


def test_new_images_are_added_where_they_were_taken(
    place: Wall, extended: tuple[Path, ExtendSummary]
) -> None:
    output, summary = extended
    old, new = Map.load(place.left), Map.load(output)
    assert summary.num_added == 5
    assert summary.num_images == 6
    assert [r.look for r in new.references] == [""] * 5 + ["later"] * 5
    assert [r.name for r in new.references[5:]] == [f"later/{i:02d}.png" for i in range(5)]
    assert errors_of(new, place.model, 5).max() < 0.02
    assert "cannot be localized" in new.unregistered["later/grey.png"]
    assert not output.with_name("extended.devmap.build").exists()
    # What was in the map is there as it was.
    for before, after in zip(old.references, new.references, strict=False):
        assert before.camera_from_map.matrix.tolist() == after.camera_from_map.matrix.tolist()
    rows = slice(0, len(old.keypoints))
    np.testing.assert_array_equal(old.feature_points, new.feature_points[rows])
    np.testing.assert_array_equal(old.confidence, new.confidence[rows])
    # Both looks are tied together by what they see.
    assert new.shared_points(np.arange(10))[:5, 5:].max() > 50
    assert summary.check.after.num_found >= summary.check.before.num_found


def test_the_extended_map_localizes_along_the_whole_wall(
    extended: tuple[Path, ExtendSummary],
) -> None:
    for x in QUERIES:
        found = localized(extended[0], x)
        assert found is not None
        assert found.map_from_camera.distance_to(pose_at(x))[0] < 0.02


def test_given_poses_in_another_frame_are_brought_into_the_maps(
    place: Wall, tmp_path: Path
) -> None:
    moved = Similarity(0.4, Rotation.from_euler("z", 70, degrees=True), np.array([9.0, 8, 7]))
    posed = [
        PosedImage(item.name, item.camera, moved.camera_pose(item.camera_from_map))
        for item in posed_images(place.model)
    ]
    cameras = {item.name: item.camera for item in posed}
    output = tmp_path / "out.devmap"
    options = ExtendOptions(adjust_old=True, config=CONFIG)
    summary = extend_map(place.left, place.images, cameras, posed, output, options)
    assert summary.frame is not None
    assert not summary.frame.same_frame
    assert summary.frame.target_from_source.scale == pytest.approx(2.5, rel=0.01)
    assert summary.look == "look-2"
    assert errors_of(Map.load(output), place.model, 5).max() < 0.03
    # Old poses may move, and hardly had to.
    moved = [
        before.camera_from_map.inverse().distance_to(after.camera_from_map.inverse())[0]
        for before, after in zip(Map.load(place.left).references, summary.map.references,
                                 strict=False)
    ]  # fmt: skip
    assert 0 < max(moved) < 0.03


def test_images_of_another_place_are_not_added(place: Wall, tmp_path: Path) -> None:
    poses = [pose_at(float(x)) for x in (-1, 0, 1)]
    images, _ = wall.write_map_images(
        poses, CAMERA, tmp_path, (wall.Board(-10, 10, 6, -3, 5, seed=77),)
    )
    cameras = dict.fromkeys(("00.png", "01.png", "02.png"), CAMERA)
    output = tmp_path / "out.devmap"
    with pytest.raises(NothingFoundError, match="none of 3 images can be localized in the map"):
        extend_map(place.left, images, cameras, None, output, ExtendOptions(config=CONFIG))
    assert not output.exists()


def test_two_maps_are_merged_in_the_frame_of_the_first(
    place: Wall, extended: tuple[Path, ExtendSummary], tmp_path: Path
) -> None:
    whole = Map.load(extended[0])
    moved = Similarity(1.0, Rotation.from_euler("z", -40, degrees=True), np.array([50.0, 3, -1]))
    transform_map(whole, moved, metric=True, gravity_aligned=True).save(tmp_path / "b.devmap")
    output = tmp_path / "merged.devmap"
    summary = merge_maps(place.left, tmp_path / "b.devmap", output, MergeOptions(CONFIG))
    merged = Map.load(output)
    assert len(merged.references) == 15
    assert len({r.name for r in merged.references}) == 15
    assert summary.seam[0] < 0.02
    back = summary.frame.target_from_source @ moved
    centre = np.array([1.0, 0.0, 1.0])
    np.testing.assert_allclose(back.apply(centre), centre, atol=0.02)
    assert errors_of(merged, place.model, 10).max() < 0.03
    found = localized(output, QUERIES[-1])
    assert found is not None
    assert found.map_from_camera.distance_to(pose_at(QUERIES[-1]))[0] < 0.02


def test_maps_that_are_said_to_be_in_one_frame_stay_where_they_are(
    place: Wall, extended: tuple[Path, ExtendSummary], tmp_path: Path
) -> None:
    """A second map that lies 3 cm off, as maps of one survey do that were made with less care."""
    off = Similarity(1.0, Rotation.identity(), np.array([0.03, 0.0, 0.0]))
    transform_map(Map.load(extended[0]), off, True, True).save(tmp_path / "b.devmap")
    options = MergeOptions(CONFIG, same_frame=True)
    summary = merge_maps(place.left, tmp_path / "b.devmap", tmp_path / "c.devmap", options)
    assert summary.frame.same_frame
    assert summary.refined is None
    assert summary.seam[0] == pytest.approx(0.03, abs=0.01)
    kept = Map.load(tmp_path / "b.devmap").references
    for one, other in zip(kept, summary.map.references[5:], strict=True):
        assert one.camera_from_map.distance_to(other.camera_from_map)[0] < 1e-9


def test_tiles_that_overlap_are_aligned(
    place: Wall,
    extended: tuple[Path, ExtendSummary],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    right = select(Map.load(extended[0]), np.arange(4, 10))
    off = Similarity(1.0, Rotation.from_euler("z", 2, degrees=True), np.array([0.4, -0.2, 0.1]))
    transform_map(right, off, metric=True, gravity_aligned=True).save(tmp_path / "right.devmap")
    settings = [f"--set={key}={value}" for key, value in {**SETTINGS, **QUICK}.items()]
    index = tmp_path / "wall.devtiles"
    code = main(
        ["map", "tile", str(place.left), str(tmp_path / "right.devmap"), "--align", "--output",
         str(index), *settings]
    )  # fmt: skip
    out = capsys.readouterr().out
    assert code == 0
    [(before, after)] = re.findall(r"seam (\S+) -> (\S+) m", out)
    assert float(before) > 0.3
    assert float(after) < 0.02
    tiled = open_map(index)
    assert len(tiled.references) == 11
    true = {f"later/{i.name}": i.camera_from_map.inverse() for i in posed_images(place.model)}
    for reference in tiled.references[6:]:
        pose = reference.camera_from_map.inverse()
        assert pose.distance_to(true[reference.name])[0] < 0.03
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "right.devmap", "wall.devtiles", "wall.tiles",
    ]  # fmt: skip


def test_a_pruned_map_says_what_it_costs(
    extended: tuple[Path, ExtendSummary], tmp_path: Path
) -> None:
    output = tmp_path / "small.devmap"
    summary = prune_map(extended[0], output, PruneOptions(num_images=6, config=CONFIG))
    assert len(Map.load(output).references) == 6
    assert len(summary.cost.before.indices) == 4
    assert "of 4 localized" in summary.cost.text("m")
    assert output.stat().st_size < 0.8 * extended[0].stat().st_size
    assert localized(output, QUERIES[1]) is not None
