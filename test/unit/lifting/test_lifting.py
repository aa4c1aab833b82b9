"""A 3D point for every keypoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy.spatial.transform import Rotation

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.lifting import learned as learned_module
from deviloc_ros.lifting.candidates import NUM_INPUTS, find_candidates
from deviloc_ros.lifting.geometric import GeometricInference, ReferenceView, lift
from deviloc_ros.lifting.learned import WEIGHTS, LearnedInference, make_inference
from deviloc_ros.lifting.network import DepthMixture, LiftNetwork

CAMERA = Camera("OPENCV", 640, 480, (500.0, 510.0, 320.0, 240.0, 0.05, -0.02, 0.001, -0.001))
POSE = Transform(Rotation.from_euler("xyz", [0.3, -0.2, 1.0]), np.array([1.0, -2.0, 0.5]))


def plane_view(
    generator: np.random.Generator, count: int, slope: float
) -> tuple[ReferenceView, NDArray[np.float64]]:
    """A view of a slanted plane, and the plane in the camera's frame: n . x = 1."""
    normal = np.array([slope, -slope / 2, 1.0]) / 8.0
    pixels = generator.uniform((0, 0), (640, 480), (count, 2))
    rays = CAMERA.rays(pixels)
    points = rays / (rays @ normal)[:, None]
    return ReferenceView(CAMERA, POSE, pixels, POSE.inverse().apply(points)), normal


@given(seed=st.integers(0, 1000), slope=st.floats(-0.5, 0.5))
def test_points_of_a_plane_stay_on_it(seed: int, slope: float) -> None:
    """Inverse depth is linear in the image on any plane, up to distortion."""
    view, normal = plane_view(np.random.default_rng(seed), 300, slope)
    keypoints = np.random.default_rng(seed + 1).uniform((120, 100), (520, 380), (50, 2))
    lifted = lift(view, keypoints, 0.0, GeometricInference())
    in_camera = POSE.apply(lifted.points3d)
    np.testing.assert_allclose(in_camera @ normal, 1.0, atol=2e-3)
    np.testing.assert_allclose(CAMERA.project(in_camera), keypoints, atol=1e-6)
    assert not lifted.observed.any()
    assert ((lifted.confidence > 0) & (lifted.confidence <= 1)).all()


def test_near_an_observation_its_depth_on_the_own_ray_with_confidence_one() -> None:
    view, _ = plane_view(np.random.default_rng(3), 200, 0.3)
    keypoints = view.observations[:20] + 1.0
    lifted = lift(view, keypoints, 2.0, GeometricInference())
    assert lifted.observed.all()
    assert (lifted.confidence == 1.0).all()
    in_camera = POSE.apply(lifted.points3d)
    np.testing.assert_allclose(CAMERA.project(in_camera), keypoints, atol=1e-6)
    depths = POSE.apply(view.points3d[:20])[:, 2]
    np.testing.assert_allclose(in_camera[:, 2], depths, rtol=1e-9)


def test_across_a_depth_edge_confidence_falls() -> None:
    pixels = np.array([(x, y) for x in range(20, 640, 40) for y in range(20, 480, 40)], dtype=float)
    depth = np.where(pixels[:, 0] < 320, 4.0, 12.0)
    points = CAMERA.rays(pixels) * depth[:, None]
    view = ReferenceView(CAMERA, POSE, pixels, POSE.inverse().apply(points))
    lifted = lift(view, np.array([[160.0, 240.0], [320.0, 250.0]]), 0.0, GeometricInference())
    assert lifted.confidence[0] > 0.7
    assert lifted.confidence[1] < 0.1


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_observations(count: int) -> None:
    view, _ = plane_view(np.random.default_rng(0), count, 0.0)
    lifted = lift(view, np.array([[100.0, 100.0], [600.0, 400.0]]), 0.0, GeometricInference())
    if count == 0:
        assert np.isnan(lifted.points3d).all()
        assert (lifted.confidence == 0).all()
    else:
        assert np.isfinite(lifted.points3d).all()
        assert (lifted.confidence < 0.6).all()


def test_observations_on_one_line_and_behind_the_camera() -> None:
    pixels = np.array([[100.0, 240.0], [200.0, 240.0], [300.0, 240.0], [320.0, 240.0]])
    points = CAMERA.rays(pixels) * np.array([[5.0], [5.0], [5.0], [-5.0]])
    view = ReferenceView(CAMERA, POSE, pixels, POSE.inverse().apply(points))
    lifted = lift(view, np.array([[150.0, 260.0]]), 0.0, GeometricInference())
    assert POSE.apply(lifted.points3d)[0, 2] == pytest.approx(5.0)


@pytest.fixture(scope="module")
def learned() -> LearnedInference:
    return LearnedInference(torch.device("cpu"))


@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-3, 0.37, 50.0]))
@settings(max_examples=15, deadline=None)
def test_learned_points_are_on_their_rays_and_grow_with_the_scene(
    learned: LearnedInference, seed: int, scale: float
) -> None:
    generator = np.random.default_rng(seed)
    pixels = generator.uniform((0, 0), (640, 480), (int(generator.integers(1, 80)), 2))
    depths = generator.uniform(2.0, 30.0, len(pixels))
    points = POSE.inverse().apply(CAMERA.rays(pixels) * depths[:, None])
    keypoints = generator.uniform((0, 0), (640, 480), (40, 2))
    lifted = lift(ReferenceView(CAMERA, POSE, pixels, points), keypoints, 0.0, learned)
    in_camera = POSE.apply(lifted.points3d)
    assert (in_camera[:, 2] > 0).all()
    np.testing.assert_allclose(CAMERA.project(in_camera), keypoints, atol=1e-6)
    assert ((lifted.confidence >= 0) & (lifted.confidence <= 1)).all()
    larger, confidence = learned(keypoints, pixels, scale * depths)
    np.testing.assert_allclose(larger, scale * in_camera[:, 2], rtol=1e-4)
    np.testing.assert_allclose(confidence, lifted.confidence, atol=1e-3)


def test_learned_inference_knows_a_plane_and_doubts_an_edge(learned: LearnedInference) -> None:
    view, normal = plane_view(np.random.default_rng(5), 300, 0.2)
    keypoints = np.random.default_rng(6).uniform((150, 120), (500, 360), (100, 2))
    lifted = lift(view, keypoints, 0.0, learned)
    assert np.median(np.abs(POSE.apply(lifted.points3d) @ normal - 1.0)) < 0.01
    assert np.median(lifted.confidence) > 0.8
    pixels = np.array([(x, y) for x in range(20, 640, 40) for y in range(20, 480, 40)], dtype=float)
    depths = np.where(pixels[:, 0] < 320, 4.0, 12.0)
    depth, confidence = learned(np.array([[160.0, 240.0], [320.0, 250.0]]), pixels, depths)
    assert confidence[1] < confidence[0] - 0.2
    assert depth[0] == pytest.approx(4.0, rel=0.02)
    # One surface or the other, nothing in the air between them.
    assert min(abs(depth[1] - 4.0) / 4.0, abs(depth[1] - 12.0) / 12.0) < 0.15


def test_the_answer_is_the_median_within_the_most_probable_interval() -> None:
    shares = torch.tensor([[0.2, 0.3, 0.2, 0.3]])
    centres = torch.tensor([[0.009, 0.0, -0.001, 0.5]])
    mixture = DepthMixture(shares.log(), centres, torch.full((1, 4), 0.001))
    value, probability = mixture.best(0.02)
    assert value.item() == 0.0  # of the first three; the fourth is another surface
    assert probability.item() == pytest.approx(0.7 * 0.99, abs=0.001)


@given(noise=st.floats(0.0003, 0.02), scale=st.sampled_from([1e-3, 1.0, 50.0]))
@settings(max_examples=10, deadline=None)
def test_roughness_is_the_noise_of_points_on_a_plane(noise: float, scale: float) -> None:
    generator = np.random.default_rng(3)
    pixels = generator.uniform((0, 0), (640, 480), (400, 2))
    keypoints = generator.uniform((50, 50), (590, 430), (200, 2))
    depths = scale / (0.1 + 0.0001 * pixels[:, 0])
    spoilt = depths * np.exp(noise * generator.standard_normal(len(depths)))
    exact, rough = (find_candidates(keypoints, pixels, d) for d in (depths, spoilt))
    assert np.median(exact.roughness) < 2e-4
    assert np.median(rough.roughness) == pytest.approx(noise, rel=0.35)
    true = np.log((0.1 + 0.0001 * keypoints[:, 0]) / (scale * rough.base))
    geometric, _, wide = (np.abs(rough.log_ratio[:, i] - true).mean() for i in range(3))
    assert wide < 0.6 * geometric  # the mean of 16 against that of three


def test_learned_inference_of_nothing_and_its_device(learned: LearnedInference) -> None:
    none = learned(np.zeros((0, 2)), np.zeros((1, 2)), np.ones(1))
    assert [len(part) for part in none] == [0, 0]
    assert {value.device for value in learned.network.parameters()} == {learned.device}
    meta = LearnedInference(torch.device("meta"))
    assert {value.device.type for value in meta.network.parameters()} == {"meta"}


def test_shipped_weights_are_small_and_load_strictly() -> None:
    path = Path(learned_module.__file__).parents[1] / "weights" / WEIGHTS
    assert path.stat().st_size < 5_000_000
    LiftNetwork(NUM_INPUTS).load_state_dict(load_file(path), strict=True)


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    save_file({"nothing": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    for name in ("foreign", "cut", "absent"):
        with pytest.raises(InputError, match=f"{name}.safetensors"):
            LearnedInference(torch.device("cpu"), tmp_path / f"{name}.safetensors")


def test_the_configuration_chooses_the_inference() -> None:
    for method, kind in (("learned", LearnedInference), ("geometric", GeometricInference)):
        config = build(LocalizerConfig, {"lifting.method": method, "device": "cpu"}, "test")
        assert isinstance(make_inference(config), kind)
