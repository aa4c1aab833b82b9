"""The published matching layer at its interface: what it reuses, and what its FIX mends."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.models.published.absolute_pose import estimate_pose
from deviloc_ros.models.published.assignment import assign_observed, assign_observed_exactly
from deviloc_ros.models.published.deviloc import DeViLoc, DeViLocNetwork, LiftedMatches
from deviloc_ros.models.published.merging import Matches2D3D, merge, merge_exactly
from deviloc_ros.models.published.pin_geometry import ReferenceCamera
from deviloc_ros.models.published.preprocessing import (
    network_image,
    network_tensor,
    pin_intrinsics,
    read_gray,
    reference_target,
)
from deviloc_ros.models.published.reference import ReferenceView, choose_observations
from deviloc_ros.models.published.reference_files import ReferenceCache, ReferenceFiles, fingerprint
from deviloc_ros.models.published.rule_weights import rule_network
from deviloc_ros.models.published.settings import Behaviour, Precision, PublishedSettings

SCALE = (1.5, 1.25)


@pytest.fixture(scope="module")
def network() -> DeViLocNetwork:
    return rule_network("test")


def texture(shift: int, height: int = 128, width: int = 160) -> torch.Tensor:
    noise = np.random.default_rng(3).uniform(0, 255, (height, width + 64)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5)
    smooth = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return network_tensor(smooth[:, shift : shift + width])


def view(num_points: int = 150, offset: float = 0.0, shift: int = 8) -> ReferenceView:
    """A reference that looks along +y, `offset` metres from the map's origin in every axis."""
    generator = torch.Generator().manual_seed(5)
    intrinsics = torch.tensor([[150.0, 0, 120], [0, 150, 80], [0, 0, 1]], dtype=torch.float64)
    camera_from_map = torch.eye(4, dtype=torch.float64)
    camera_from_map[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    camera_from_map[:3, 3] = -camera_from_map[:3, :3] @ torch.full((3,), offset).double()
    camera = ReferenceCamera(intrinsics, camera_from_map, None)
    span = torch.tensor([240.0, 160.0], dtype=torch.float64)
    pixels = torch.rand(num_points, 2, generator=generator).double() * span
    depth = 4 + 6 * torch.rand(num_points, 1, generator=generator).double()
    points = camera.points_in_map(camera.rays(pixels) * depth)
    return ReferenceView(texture(shift), SCALE, pixels, points, camera)


def method(
    network: DeViLocNetwork,
    behaviour: Behaviour = "compat",
    precision: Precision = "float32",
) -> DeViLoc:
    chosen = PublishedSettings(
        behaviour=behaviour, coarse_threshold=0.05, cell_size=3, min_confidence=0.1
    )
    return DeViLoc(network, chosen, precision=precision)


def run(deviloc: DeViLoc, *views: ReferenceView) -> list[LiftedMatches]:
    query = deviloc.encode_query(texture(0), SCALE)
    return deviloc.match(query, [deviloc.encode_reference(each) for each in views])


def test_backbone_runs_once_an_image(network: DeViLocNetwork) -> None:
    deviloc = method(network)
    cache = ReferenceCache(10**9)
    sizes = []
    hook = network.matcher.backbone.register_forward_pre_hook(
        lambda _module, images: sizes.append(len(images[0]))
    )
    with hook:
        for _ in range(3):
            query = deviloc.encode_query(texture(0), SCALE)
            references = [
                cache.get(shift, lambda shift=shift: deviloc.encode_reference(view(shift=shift)))
                for shift in (8, 16, 24)
            ]
            assert all(len(part.points) for part in deviloc.match(query, references))
    assert sum(sizes) == 3 + 3


def test_batches_give_the_same_as_one_by_one(network: DeViLocNetwork) -> None:
    deviloc = method(network)
    views = [view(shift=8), view(shift=16), replace(view(), image=texture(8, 112, 144))]
    together = run(deviloc, *views)
    for part, alone in zip(together, [run(deviloc, each)[0] for each in views], strict=True):
        assert len(part.points) == len(alone.points) > 20
        order, other = part.query_keypoints[:, 0].argsort(), alone.query_keypoints[:, 0].argsort()
        torch.testing.assert_close(part.points[order], alone.points[other], atol=1e-3, rtol=1e-3)


def test_cache_is_bounded_and_drops_the_least_recently_used(network: DeViLocNetwork) -> None:
    deviloc = method(network)
    size = deviloc.encode_reference(view()).num_bytes
    cache = ReferenceCache(2 * size)
    made: list[str] = []

    def get(name: str) -> None:
        cache.get(name, lambda: made.append(name) or deviloc.encode_reference(view()))  # type: ignore[func-returns-value]

    for name in "abacab":
        get(name)
        assert cache.num_bytes <= 2 * size
    assert made == ["a", "b", "c", "b"]
    nothing = ReferenceCache(size - 1)
    assert nothing.get("a", lambda: deviloc.encode_reference(view())).num_bytes == size
    assert len(nothing) == 0


def test_files_give_back_the_same_matches(network: DeViLocNetwork, tmp_path: Path) -> None:
    deviloc = method(network)
    files = ReferenceFiles(tmp_path, fingerprint(network, "compat", "float32"), 10**9)
    reference = deviloc.encode_reference(view())
    assert files.load("street/1.jpg@160", deviloc.device) is None
    files.save("street/1.jpg@160", reference)
    loaded = files.load("street/1.jpg@160", deviloc.device)
    assert loaded is not None
    query = deviloc.encode_query(texture(0), SCALE)
    before, after = deviloc.match(query, [reference]), deviloc.match(query, [loaded])
    assert torch.equal(before[0].points, after[0].points)
    other = ReferenceFiles(tmp_path, fingerprint(network, "fix", "float32"), 10**9)
    assert other.load("street/1.jpg@160", deviloc.device) is None
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    assert files.load("street/1.jpg@160", deviloc.device) is None


def test_files_are_bounded_and_the_least_recently_used_goes(
    network: DeViLocNetwork, tmp_path: Path
) -> None:
    deviloc = method(network)
    reference = deviloc.encode_reference(view())
    foreign = tmp_path / "weights.safetensors"
    foreign.write_bytes(b"x" * 10**6)
    limit = 3 * (reference.num_bytes + 20_000)
    files = ReferenceFiles(tmp_path, "made by", limit)
    for time, key in enumerate("abc"):
        files.save(key, reference)
        written = max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        os.utime(written, (time, time))
    assert files.load("a", deviloc.device) is not None
    files.save("d", reference)
    held = {key for key in "abcd" if files.load(key, deviloc.device) is not None}
    assert held == {"a", "c", "d"}
    ours = [path for path in tmp_path.iterdir() if path != foreign]
    assert sum(path.stat().st_size for path in ours) <= limit
    assert foreign.stat().st_size == 10**6
    # One that could never fit displaces nothing.
    ReferenceFiles(tmp_path, "made by", 1000).save("e", reference)
    assert files.load("e", deviloc.device) is None
    assert len(list(tmp_path.iterdir())) == 4


def test_no_match_is_no_error(network: DeViLocNetwork) -> None:
    strict = PublishedSettings(coarse_threshold=0.999)
    (lifted,) = run(DeViLoc(network, strict), view(shift=60))
    assert len(lifted.points) == 0
    assert lifted.query_keypoints.shape == (0, 2)


def test_reduced_precision_stays_near(network: DeViLocNetwork) -> None:
    exact, reduced = (
        run(method(network, precision=precision), view())[0]
        for precision in ("float32", "bfloat16")
    )
    assert reduced.points.dtype == torch.float32
    distance = torch.cdist(exact.query_keypoints, reduced.query_keypoints).amin(1)
    assert float((distance < 0.25).float().mean()) > 0.7


def test_float16_needs_cuda(network: DeViLocNetwork) -> None:
    with pytest.raises(InputError, match="float16 needs device cuda"):
        method(network, precision="float16")


@pytest.mark.parametrize("behaviour", get_args(Behaviour))
def test_reference_without_observations_lifts_nothing(
    network: DeViLocNetwork, behaviour: Behaviour
) -> None:
    deviloc = method(network, behaviour)
    (lifted,) = run(deviloc, view(num_points=0))
    assert len(lifted.points) == 0
    assert len(deviloc.merge([lifted])) == 0


def test_fix_puts_query_keypoints_into_colmap_pixels(network: DeViLocNetwork) -> None:
    (compat,) = run(method(network), view())
    (fix,) = run(method(network, "fix"), view())
    shift = torch.tensor(SCALE, dtype=torch.float64) / 2
    expected = compat.query_keypoints.double() + shift
    # FIX may drop points behind the camera; the ones it keeps are shifted and nothing else.
    assert float(torch.cdist(fix.query_keypoints, expected).amin(1).max()) < 1e-4
    assert len(fix.points) > 20


def test_fix_puts_inferred_points_on_the_keypoints_ray(network: DeViLocNetwork) -> None:
    reference = view()
    (fix,) = run(method(network, "fix"), reference)
    inferred = fix.observation < 0
    assert int(inferred.sum()) > 10
    in_camera = reference.camera.points_in_camera(fix.points[inferred])
    assert bool((in_camera[:, 2] > 0).all())
    homogeneous = in_camera @ reference.camera.intrinsics.T
    pixels = homogeneous[:, :2] / homogeneous[:, 2:]
    torch.testing.assert_close(pixels, fix.reference_keypoints[inferred], atol=1e-6, rtol=0)


def test_fix_is_exact_far_from_the_origin(network: DeViLocNetwork) -> None:
    far = 1e6
    for behaviour, limit, exact in (("fix", 1e-6, True), ("compat", 1e-2, False)):
        (near_origin,) = run(method(network, behaviour), view())
        (moved,) = run(method(network, behaviour), view(offset=far))
        same = near_origin.points.shape == moved.points.shape
        worst = (
            float((moved.points.double() - far - near_origin.points.double()).abs().max())
            if same
            else float("inf")
        )
        assert (worst < limit) is exact


def test_fix_ignores_points_behind_the_reference(network: DeViLocNetwork) -> None:
    reference = view()
    behind = torch.tensor([[0.0, -300.0, 0.0]], dtype=torch.float64)
    spoiled = replace(
        reference,
        observations=torch.cat([reference.observations, torch.tensor([[5.0, 5.0]])]),
        points=torch.cat([reference.points, behind]),
    )
    deviloc = method(network, "fix")
    assert torch.equal(run(deviloc, reference)[0].points, run(deviloc, spoiled)[0].points)


def matches(seed: int, count: int) -> Matches2D3D:
    generator = torch.Generator().manual_seed(seed)
    return Matches2D3D(
        torch.rand(count, 2, generator=generator) * 40 + 500,
        torch.randn(count, 3, generator=generator) * 5 + 1000,
        torch.rand(count, generator=generator) * 0.9 + 0.1,
    )


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 200), cell=st.sampled_from([1.0, 3.0, 50]))
def test_merging_keeps_to_cells_and_hulls(seed: int, count: int, cell: float) -> None:
    parts = matches(seed, count)
    exact, published = merge_exactly(parts, cell, 0.3), merge(parts, cell, 0.3)
    kept = parts.confidence > 0.3
    occupied = {tuple(row) for row in (parts.keypoints[kept] / cell).round().long().tolist()}
    assert len(exact) == len(published) == len(occupied)
    for name, ours in (("keypoints", exact.keypoints), ("points", exact.points)):
        values = getattr(parts, name)[kept].double()
        if len(values):
            assert bool((ours >= values.amin(0) - 1e-9).all())
            assert bool((ours <= values.amax(0) + 1e-9).all())
    # The published mean is shrunk by 1e-6 / confidence: 3 mm at 1000 m and confidence 0.3.
    torch.testing.assert_close(published.points.double(), exact.points, rtol=5e-6, atol=1e-3)


def test_exact_merge_is_the_papers_equation() -> None:
    parts = Matches2D3D(
        torch.tensor([[9.0, 9.0], [10.0, 10.0]]),
        torch.tensor([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]),
        torch.tensor([0.25, 0.75]),
    )
    merged = merge_exactly(parts, 10, None)
    assert merged.keypoints.tolist() == [[9.75, 9.75]]
    assert merged.points.tolist() == [[4.0, 5.0, 6.0]]
    assert merged.confidence.tolist() == [0.625]


def test_equally_near_observations() -> None:
    observations = torch.tensor([[0.0, 0.0], [4.0, 0.0], [4.0, 0.0], [9.0, 9.0]])
    keypoints = torch.tensor([[4.5, 0.0], [2.0, 0.0], [40.0, 0.0]])
    assert assign_observed(observations, keypoints, 2.5).tolist() == [2, 2, -1]
    exact = assign_observed_exactly(observations, keypoints, 2.5).tolist()
    assert exact[0] in (1, 2)
    assert exact[1] in (0, 1, 2)
    assert exact[2] == -1
    assert assign_observed(observations, keypoints, 2.0).tolist() == [2, -1, -1]  # strictly nearer


def test_exact_assignment_is_exact_where_the_published_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    observations = torch.rand(400, 2, generator=generator) * 50 + 1500
    keypoints = observations[:200] + 0.004
    distances = torch.cdist(observations.double(), keypoints.double())
    exact = assign_observed_exactly(observations, keypoints, 1.0)
    assert torch.equal(exact, distances.argmin(0))
    assert not torch.equal(assign_observed(observations, keypoints, 1.0), exact)


def test_choice_of_observations_follows_the_seed_alone() -> None:
    first, second = choose_observations(100, 20, 7), choose_observations(100, 20, 7)
    assert np.array_equal(first, second)
    assert len(np.unique(first)) == 20
    assert not np.array_equal(first, choose_observations(100, 20, 8))
    assert choose_observations(20, 100, 7).tolist() == list(range(20))


def test_pose_is_none_where_there_is_none() -> None:
    camera = Camera.parse("PINHOLE 640 480 500 500 320 240")
    few = np.zeros((3, 2)), np.zeros((3, 3))
    assert estimate_pose(*few, camera, PublishedSettings()) is None
    same_point = np.full((50, 2), 100.0), np.zeros((50, 3))
    assert estimate_pose(*same_point, camera, PublishedSettings()) is None


def test_pin_cannot_take_every_camera() -> None:
    fisheye = Camera.parse("OPENCV_FISHEYE 640 480 500 500 320 240 0 0 0 0")
    with pytest.raises(InputError, match="OPENCV_FISHEYE"):
        pin_intrinsics(fisheye)


def test_references_follow_the_reduced_query() -> None:
    reduced, scale = network_image(np.zeros((480, 640), np.uint8), 864)
    assert reduced.shape == (480, 640)
    assert scale == (1.0, 1.0)
    assert reference_target(network_tensor(reduced)) == 640


def test_unusable_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too small"):
        network_image(np.zeros((9, 400), np.uint8), 864)
    path = tmp_path / "not an image.png"
    path.write_text("hello")
    with pytest.raises(InputError, match="not an image"):
        read_gray(path)
