"""COLMAP's mappers find the poses of simulated matches, and the same ones each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest

from deviloc_ros.errors import InputError
from deviloc_ros.mapping.sfm import mappers
from deviloc_ros.mapping.sfm.mapper_process import Task, map_in_process
from deviloc_ros.mapping.sfm.mappers import Mapper, Matched, find_models

NUM_IMAGES = 12


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pycolmap.Reconstruction]:
    """Return a database of matches with half a pixel of noise, and the truth."""
    path = tmp_path_factory.mktemp("simulated") / "database.db"
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, NUM_IMAGES, 150
    options.camera_has_prior_focal_length = True
    pycolmap.set_random_seed(0)
    with pycolmap.Database.open(path) as database:
        truth = pycolmap.synthesize_dataset(options, database)
        noise = pycolmap.SyntheticNoiseOptions()
        noise.point2D_stddev = 0.5
        pycolmap.synthesize_noise(noise, truth, database)
    return path, truth


def models(path: Path, tmp_path: Path, mapper: Mapper) -> list[pycolmap.Reconstruction]:
    def fresh(name: str) -> Path:
        folder = tmp_path / f"{name}{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return folder

    matched = Matched(path, tmp_path, fresh, 0, NUM_IMAGES, refine_intrinsics=False)
    return find_models(matched, mapper)


@pytest.mark.parametrize("mapper", ["global", "incremental", "hierarchical"])
def test_poses_are_found(
    simulated: tuple[Path, pycolmap.Reconstruction], tmp_path: Path, mapper: Mapper
) -> None:
    path, truth = simulated
    (found,) = models(path, tmp_path, mapper)
    check(found, truth)


def check(found: pycolmap.Reconstruction, truth: pycolmap.Reconstruction) -> None:
    assert found.num_reg_images() == NUM_IMAGES
    aligned = pycolmap.align_reconstructions_via_proj_centers(found, truth, 0.1)
    assert aligned is not None
    found.transform(aligned)
    centres = [
        [image.projection_center() for image in sorted(model.images.values(), key=lambda i: i.name)]
        for model in (found, truth)
    ]
    scale = np.linalg.norm(np.std(centres[1], axis=0))
    apart = np.array(centres[0]) - np.array(centres[1])
    assert np.linalg.norm(apart, axis=1).max() < 0.01 * scale


def test_clusters_of_images_are_mapped_and_merged(
    simulated: tuple[Path, pycolmap.Reconstruction], tmp_path: Path
) -> None:
    path, truth = simulated
    found = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        task = Task(path, tmp_path, folder, 0, False, cluster_size=8, cluster_overlap=5)
        found += map_in_process("hierarchical", task)
    assert poses_of(found[0]) == poses_of(found[1])
    check(found[0], truth)


def poses_of(model: pycolmap.Reconstruction) -> dict[str, bytes]:
    """Return cam_from_world of each image by name, bit for bit."""
    return {i.name: i.cam_from_world().matrix().tobytes() for i in model.images.values()}


def test_many_images_are_mapped_at_once_and_the_same_each_time(
    simulated: tuple[Path, pycolmap.Reconstruction],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mappers, "MANY_IMAGES", NUM_IMAGES)
    found = [models(simulated[0], tmp_path, "auto")[0] for _ in range(2)]
    assert any(path.name.startswith("global") for path in tmp_path.iterdir())
    assert not any(path.name.startswith("models") for path in tmp_path.iterdir())
    assert poses_of(found[0]) == poses_of(found[1])


@pytest.mark.parametrize("mapper", ["global", "hierarchical"])
def test_what_fails_in_the_other_process_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], mapper: Mapper
) -> None:
    (tmp_path / "database.db").write_bytes(b"no database")
    with pytest.raises(InputError, match=rf"database.db: COLMAP's {mapper} mapper .*--mapper incr"):
        models(tmp_path / "database.db", tmp_path, mapper)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("mapper", ["global", "hierarchical"])
def test_images_that_do_not_match_give_no_model(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], mapper: Mapper
) -> None:
    pycolmap.Database.open(tmp_path / "empty.db").close()
    assert models(tmp_path / "empty.db", tmp_path, mapper) == []
    assert capfd.readouterr().err == ""
