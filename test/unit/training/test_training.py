"""Training of the point inference: it learns, resumes exactly, and says what it cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deviloc_ros.cli.main import main
from deviloc_ros.errors import InputError
from deviloc_ros.lifting.candidates import NUM_INPUTS
from deviloc_ros.lifting.network import LiftNetwork
from deviloc_ros.training import examples
from deviloc_ros.training.batches import BatchSource
from deviloc_ros.training.curves import draw_curves
from deviloc_ros.training.examples import from_dense, from_sparse
from deviloc_ros.training.trainer import Trainer, TrainingOptions
from deviloc_ros.training.validation import reliability, validate
from deviloc_ros.training.views import DenseView, SparseView, depth_views, load_rendered


def steps_of_depth(seed: int) -> DenseView:
    """Slanted ground and upright boxes before a wall, with random pictures on them."""
    generator = np.random.default_rng(seed)
    gray = generator.integers(0, 256, (120, 160)).astype(np.uint8)
    row = np.arange(120)[:, None] + np.zeros((1, 160))
    depth = np.minimum(12.0, 200.0 / np.maximum(row - 40, 1))
    for _ in range(3):
        x, y = generator.integers(0, (120, 80))
        depth[y : y + 40, x : x + 40] = np.minimum(
            depth[y : y + 40, x : x + 40], generator.uniform(3, 9)
        )
    return DenseView(gray, depth.astype(np.float32))


def observed(seed: int) -> SparseView:
    generator = np.random.default_rng(seed)
    pixels = generator.uniform((0, 0), (640, 480), (200, 2))
    return SparseView(pixels, 5 + pixels[:, 0] / 100)


@pytest.fixture
def source() -> BatchSource:
    dense, sparse = [steps_of_depth(i) for i in range(6)], [observed(i) for i in range(3)]
    return BatchSource([], dense, sparse, seed=3, views=2, keypoints=64)


def options(steps: int, **others: int) -> TrainingOptions:
    return TrainingOptions(steps=steps, every=10, **others)


def test_training_lowers_the_loss(source: BatchSource, tmp_path: Path) -> None:
    held_out = [source.batch(1000 + i) for i in range(6)]
    trainer = Trainer(tmp_path, options(60))
    untrained = validate(trainer.network, held_out)
    found = trainer.run(source, held_out)
    assert found.loss < untrained.loss - 0.5
    assert len(trainer.history.loss) == 60
    draw_curves(trainer.history, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    source: BatchSource, tmp_path: Path
) -> None:
    held_out = [source.batch(1000)]
    whole = Trainer(tmp_path / "whole", options(20))
    whole.run(source, held_out)

    class Stopped(BatchSource):
        def batch(self, number: int):  # type: ignore[no-untyped-def]
            if number == 13:
                raise KeyboardInterrupt
            return source.batch(number)

    stopped = Stopped([], [steps_of_depth(0)], [], 0, 1, 2)
    with pytest.raises(KeyboardInterrupt):
        Trainer(tmp_path / "parts", options(20)).run(stopped, held_out)
    resumed = Trainer(tmp_path / "parts", options(20))
    assert resumed.step == 10
    resumed.run(source, held_out)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert resumed.history.loss == whole.history.loss
    resumed.export(tmp_path / "pin.safetensors")
    LiftNetwork(NUM_INPUTS).load_state_dict(load_file(tmp_path / "pin.safetensors"), strict=True)


def test_a_folder_of_another_run_is_refused(source: BatchSource, tmp_path: Path) -> None:
    Trainer(tmp_path, options(10)).run(source, [source.batch(99)])
    with pytest.raises(InputError, match="other options"):
        Trainer(tmp_path, options(10, seed=1))
    (tmp_path / "checkpoint.pt").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="cannot be read"):
        Trainer(tmp_path, options(10))


def test_batches_depend_on_their_number_only(source: BatchSource) -> None:
    first = source.batch(7)
    source.batch(2)
    again = source.batch(7)
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.target, source.batch(8).target)


def test_examples_hide_most_points_and_ask_for_hidden_ones() -> None:
    view = observed(1)
    example = from_sparse(view, 50, np.random.default_rng(0))
    assert len(example.depths) <= len(view.depths) / 2
    known = {tuple(pixel) for pixel in example.observations}
    assert not known & {tuple(pixel) for pixel in example.keypoints}


def test_examples_of_dense_views_are_true_to_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "MAGNIFICATION", (2.0, 2.0))
    view = steps_of_depth(2)
    for seed in range(20):
        example = from_dense(view, 32, np.random.default_rng(seed))
        assert example is not None
        assert (example.depths > 0).all()
        at = np.floor(np.abs(example.keypoints) / 2).astype(int)  # mirrored ones are negative
        np.testing.assert_allclose(example.true_depths, view.depth[at[:, 1], at[:, 0]])
    sky = DenseView(view.gray, np.full(view.gray.shape, np.inf, dtype=np.float32))
    assert from_dense(sky, 32, np.random.default_rng(0)) is None


def test_points_within_a_surface_keep_the_depth_of_their_pixel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(examples, "MAGNIFICATION", (1.0, 1.0))
    monkeypatch.setattr(examples, "EXACT_SHARE", 1.0)
    monkeypatch.setattr(examples, "PIXEL_NOISE", (1e-6, 1e-6))
    generator = np.random.default_rng(0)
    gray = generator.integers(0, 256, (120, 160)).astype(np.uint8)
    depth = (200.0 / (20 + np.arange(160)) + np.zeros((120, 1))).astype(np.float32)
    depth[:, 80:] *= 3.0
    of_edges, exact = 0, 0
    for seed in range(30):
        example = from_dense(DenseView(gray, depth), 32, np.random.default_rng(seed))
        assert example is not None
        column = np.floor(np.abs(example.observations[:, 0])).astype(int)
        inside = np.abs(column - 79.5) > 2
        own = example.depths == depth[0, column]
        # The rest are the points that are wrong on purpose.
        assert own[inside].mean() > 0.85
        exact += own[inside].all()
        of_edges += np.count_nonzero(~own[np.abs(column - 79.5) < 1])
    assert exact > 5
    assert of_edges > 10


def test_reliability_counts_what_is_right() -> None:
    confidence = np.array([0.05, 0.05, 0.95, 0.95])
    predicted, actual, counts = reliability(confidence, np.array([False, True, True, True]))
    assert counts == [2, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert predicted[0] == pytest.approx(0.05)
    assert (actual[0], actual[9]) == (0.5, 1.0)


def write_rgbd(folder: Path, count: int) -> None:
    cv2 = pytest.importorskip("cv2")
    for name in ("images", "depth"):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        view = steps_of_depth(i)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), view.gray)
        cv2.imwrite(str(folder / "depth" / f"{i}.png"), (view.depth * 5000).astype(np.uint16))


def test_command_line_trains_on_depth_images(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_rgbd(tmp_path / "desk", 9)
    assert len(depth_views(tmp_path / "desk")) == 9
    arguments = [
        "train", "--output", str(tmp_path / "out"), "--scenes", "0", "--rgbd",
        str(tmp_path / "desk"), "--steps", "3", "--views", "1", "--keypoints", "16",
    ]  # fmt: skip
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "out" / "pin.safetensors")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["options"]["steps"] == 3
    assert report["options"]["data"][1] == "desk"
    assert (tmp_path / "out" / "curves.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scenes", "0"], "nothing to train on"),
        (["--scenes", "1"], "held out"),
        (["--steps", "0"], "--steps 0: must be 1 or more"),
        (["--scenes", "0", "--rgbd", "nowhere"], "nowhere: needs images/"),
        (["--scenes", "0", "--model", "nowhere"], "nowhere"),
    ],
)
def test_command_line_says_what_is_wrong(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["train", "--output", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_scenes_are_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vtkmodules", reason="scenes are rendered with VTK")
    from deviloc_ros.training import views

    monkeypatch.setattr(views, "VIEWS_PER_SCENE", 2)
    monkeypatch.setattr(views, "KINDS", ("room", "courtyard", "vegetation"))
    scenes = views.rendered_views(tmp_path, 2, seed=5)
    assert [kind for kind, _, _ in scenes] == ["room"] * 2 + ["courtyard"] * 2 + ["vegetation"] * 2
    before = {path: path.stat().st_mtime_ns for _, _, path in scenes}
    for _, _, path in scenes:
        for view in load_rendered(path):
            assert view.gray.shape == view.depth.shape
            seen = view.depth[np.isfinite(view.depth)]
            assert len(seen) > 0.4 * view.depth.size
            assert (seen > 0).all()
    assert views.rendered_views(tmp_path, 2, seed=5) == scenes
    assert before == {path: path.stat().st_mtime_ns for _, _, path in scenes}
    train, held_out = views.split(scenes)
    assert len(train) == len(held_out) == 3
    assert not set(train) & set(held_out)
