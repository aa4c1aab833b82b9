"""The whole way on real photographs with surveyed poses, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deviloc_ros.cli.main import main
from deviloc_ros.datasets.colmap import posed_images, write_posed_images
from deviloc_ros.maps.map import Map

pytestmark = pytest.mark.real
QUERIES = ("0003.jpg", "0005.jpg", "0007.jpg")
# A third of the time of the defaults; benchmarks/accuracy.py measures those.
SMALLER = ("--set", "features.max_size=640", "--set", "features.num_keypoints=2048")


@pytest.fixture(scope="module")
def scene(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a map of eight images of a fountain, and poses of three others."""
    folder = tmp_path_factory.mktemp("fountain")
    images = posed_images(data_dir / "fountain-P11")
    write_posed_images(folder / "queries", [i for i in images if i.name in QUERIES])
    write_posed_images(folder / "references", [i for i in images if i.name not in QUERIES])
    code = main(
        [
            "map", "build", "--images", str(data_dir / "fountain-P11/images"), "--metric",
            "--model", str(folder / "references"), "--output", str(folder / "fountain.devmap"),
            *SMALLER,
        ]
    )  # fmt: skip
    assert code == 0
    assert _localize(folder, data_dir / "fountain-P11/images", folder / "queries", "poses") == 0
    return folder


def _localize(scene: Path, images: Path, model: Path, name: str) -> int:
    return main(
        [
            "localize", str(scene / "fountain.devmap"), "--images", str(images),
            "--model", str(model), "--output", str(scene / f"{name}.txt"),
            "--json", str(scene / f"{name}.json"), *SMALLER,
        ]
    )  # fmt: skip


def test_photographs_are_localized_to_centimetres(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    arguments = ["--poses", str(scene / "poses.txt"), "--model", str(scene / "queries"), "--json"]
    assert main(["evaluate", *arguments]) == 0
    errors = json.loads(capsys.readouterr().out)
    assert errors["num_localized"] == 3
    assert errors["median_position_error_m"] < 0.05
    assert errors["median_rotation_error_deg"] < 0.2


def test_references_agree_on_most_depths(scene: Path) -> None:
    meta = Map.load(scene / "fountain.devmap").meta
    assert meta["consistent_share"] > 0.5
    assert 0.0005 < meta["observed_depth_sigma"] < 0.02


def test_statistics_tell_what_was_done(scene: Path) -> None:
    stats = json.loads((scene / "poses.json").read_text())
    # The folder holds the map's images too, which are no queries of this model.
    assert len(stats["images_without_camera"]) == 8
    for record in stats["images"]:
        assert record["localized"]
        assert not set(record["references"]) & set(QUERIES)
        assert 0 < record["num_inliers"] <= record["num_matches"]
        assert len(record["covariance"]) == 6
        assert {"extract", "match", "pose"} <= set(record["stage_seconds"])


def test_the_same_image_and_map_give_the_same_pose_bit_for_bit(scene: Path, data_dir: Path) -> None:
    images = data_dir / "fountain-P11/images"
    assert _localize(scene, images, scene / "queries", "again") == 0
    assert (scene / "again.txt").read_bytes() == (scene / "poses.txt").read_bytes()


def test_another_place_is_refused_with_reasons(scene: Path, data_dir: Path) -> None:
    street = data_dir / "kitti-residential"
    some = [image for image in posed_images(street)][:3]
    write_posed_images(scene / "street", some)
    assert _localize(scene, street / "images", scene / "street", "street") == 3
    assert (scene / "street.txt").read_text() == ""
    stats = json.loads((scene / "street.json").read_text())
    assert all(record["reason"] and record["details"] for record in stats["images"])
