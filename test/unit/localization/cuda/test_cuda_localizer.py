"""On the mock CUDA device: the same poses as on the CPU, few launches, and hardly a wait."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import flat_map
import numpy as np
import pytest
import torch
from shared.mock_cuda import Log

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.errors import InputError
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.cuda import places
from deviloc_ros.localization.cuda.alignment import CudaAligner
from deviloc_ros.localization.cuda.matching import CudaMatcher
from deviloc_ros.localization.types import Localization, PoseEstimate, Way
from deviloc_ros.maps.map import Map

POSE = flat_map.pose(0.3, 3.0)
# Outside of graphs, and in them.
MAX_LAUNCHES, MAX_RECORDED = 30, 560
MAX_SYNCHRONISATIONS = 2


def localizer(board: Map, device: str, **values: Any) -> Localizer:
    settings = {**flat_map.SETTINGS, "matching.context": "never", **values, "device": device}
    return Localizer(board, build(LocalizerConfig, settings, "test"))


def apart(first: Localization, second: Localization) -> tuple[float, float]:
    """Return metres and degrees."""
    assert isinstance(first, PoseEstimate)
    assert isinstance(second, PoseEstimate)
    return first.map_from_camera.distance_to(second.map_from_camera)


@pytest.fixture(scope="module")
def on_cpu(board: Map) -> Localization:
    return localizer(board, "cpu").localize(flat_map.view(POSE), flat_map.CAMERA)


def test_a_query_takes_few_launches_and_waits_twice(
    board: Map, on_cpu: Localization, cuda: Log
) -> None:
    on_cuda = localizer(board, "cuda")
    assert on_cuda.device.type == "cuda"
    on_cuda.warm_up()
    cuda.clear()
    found = on_cuda.localize(flat_map.view(POSE), flat_map.CAMERA)
    assert 0 < cuda.num_launches <= MAX_LAUNCHES, cuda.of_stages()
    assert 0 < cuda.num_recorded <= MAX_RECORDED, cuda.of_stages()
    assert cuda.num_synchronisations <= MAX_SYNCHRONISATIONS, cuda.synchronisations
    metres, degrees = apart(found, on_cpu)
    assert metres < 1e-3
    assert degrees < 5e-3
    assert isinstance(found, PoseEstimate)
    assert found.map_from_camera.distance_to(POSE)[0] < 0.05


def test_the_same_query_gives_the_same_bits(board: Map, cuda: Log) -> None:
    on_cuda, image = localizer(board, "cuda"), flat_map.view(POSE)
    first, second = (on_cuda.localize(image, flat_map.CAMERA) for _ in range(2))
    assert isinstance(first, PoseEstimate)
    assert isinstance(second, PoseEstimate)
    assert first.camera_from_map.matrix.tobytes() == second.camera_from_map.matrix.tobytes()


def test_references_that_do_not_fit_are_replaced(
    board: Map, on_cpu: Localization, cuda: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A megabyte would hold three of these small references with their images.
    monkeypatch.setattr(places, "BYTES_PER_MB", 600_000)
    on_cuda = localizer(board, "cuda", **{"cuda.memory_mb": 1})
    on_cuda.warm_up()
    matcher = on_cuda._pipeline.match
    assert isinstance(matcher, CudaMatcher)
    assert matcher.stored.places == 2
    aligner = on_cuda._pipeline.align
    assert isinstance(aligner, CudaAligner)
    assert aligner.images.places == 2
    assert matcher.stored.num_bytes + aligner.images.pixels.nbytes <= 600_000
    found = on_cuda.localize(flat_map.view(POSE), flat_map.CAMERA)
    assert apart(found, on_cpu)[0] < 1e-3
    with_context = localizer(
        board, "cuda", **{"cuda.memory_mb": 1, "matching.context": "always"}
    ).localize(flat_map.view(POSE), flat_map.CAMERA)
    assert apart(with_context, on_cpu)[0] < 0.01


def test_context_runs_on_the_device_as_well(board: Map, cuda: Log) -> None:
    image = flat_map.view(POSE)
    results = [
        localizer(board, device, **{"matching.context": "always"}).localize(image, flat_map.CAMERA)
        for device in ("cpu", "cuda")
    ]
    assert results[1].way is Way.CONTEXT
    metres, degrees = apart(*results)
    assert metres < 1e-3
    assert degrees < 5e-3


def test_half_precision_stays_near(board: Map, on_cpu: Localization, cuda: Log) -> None:
    on_cuda = localizer(board, "cuda", **{"cuda.precision": "bfloat16"})
    found = on_cuda.localize(flat_map.view(POSE), flat_map.CAMERA)
    assert apart(found, on_cpu)[0] < 0.02


def test_a_batch_gives_the_poses_of_single_images_in_fewer_launches(board: Map, cuda: Log) -> None:
    on_cuda = localizer(board, "cuda")
    on_cuda.warm_up()
    poses = [POSE, flat_map.pose(-0.4, -4.0), flat_map.pose(0.1, 1.0), flat_map.pose(0.6, -2.0)]
    images, cameras = [flat_map.view(pose) for pose in poses], [flat_map.CAMERA] * len(poses)
    cuda.clear()
    alone = [on_cuda.localize(image, flat_map.CAMERA) for image in images]
    launches = cuda.num_launches + cuda.num_recorded
    waits = cuda.num_synchronisations
    cuda.clear()
    together = on_cuda.localize_batch(images, cameras)
    assert cuda.num_launches <= 3 * MAX_LAUNCHES, cuda.of_stages()
    assert cuda.num_launches + cuda.num_recorded < launches, cuda.of_stages()
    # The matches of all are one download; each pose waits for its own alignment.
    assert cuda.num_synchronisations <= len(poses) + 1 < waits
    for one, other in zip(together, alone, strict=True):
        metres, degrees = apart(one, other)
        assert metres < 1e-3
        assert degrees < 5e-3
        assert one.stage_seconds.keys() == other.stage_seconds.keys()


def test_a_batch_on_the_cpu_gives_the_bits_of_single_images(board: Map) -> None:
    on_cpu = localizer(board, "cpu", **{"matching.context": "auto"})
    poses = [POSE, flat_map.pose(-0.4, -4.0), flat_map.pose(0.6, -2.0)]
    blank = np.full_like(flat_map.view(POSE), 90)
    images = [*(flat_map.view(pose) for pose in poses), blank]
    admitted = on_cpu.admit(images, [flat_map.CAMERA] * 4)
    together = on_cpu.localize_admitted(admitted)
    for index, found in enumerate(together):
        alone = on_cpu.localize_query(admitted.queries[index])
        assert type(found) is type(alone)
        if isinstance(found, PoseEstimate):
            assert isinstance(alone, PoseEstimate)
            assert found.camera_from_map.matrix.tobytes() == alone.camera_from_map.matrix.tobytes()
            assert found.covariance.tobytes() == alone.covariance.tobytes()
    assert not isinstance(together[-1], PoseEstimate)


def test_a_rig_and_a_batch_run_on_the_device(board: Map, cuda: Log) -> None:
    on_cuda = localizer(board, "cuda")
    poses = [POSE, flat_map.pose(-0.4, -4.0)]
    images = [flat_map.view(pose) for pose in poses]
    cameras = [flat_map.CAMERA] * 2
    for found, pose in zip(on_cuda.localize_batch(images, cameras), poses, strict=True):
        assert isinstance(found, PoseEstimate)
        assert found.map_from_camera.distance_to(pose)[0] < 0.05
    rig = on_cuda.localize_rig(images, cameras, [poses[0].inverse() @ pose for pose in poses])
    assert rig.map_from_base.distance_to(poses[0])[0] < 0.05  # type: ignore[union-attr]


def test_float32_is_not_rounded_unless_it_is_asked_for(
    board: Map, cuda: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    for flags in (torch.backends.cuda.matmul, torch.backends.cudnn):
        monkeypatch.setattr(flags, "allow_tf32", not flags.allow_tf32)
    for tf32 in (True, False):
        localizer(board, "cuda", **{"cuda.tf32": tf32})
        assert torch.backends.cudnn.allow_tf32 is tf32
        assert torch.backends.cuda.matmul.allow_tf32 is tf32
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark


def test_too_little_memory_is_named(cuda: Log) -> None:
    large = flat_map.flat_map(1)
    descriptors = np.zeros((9000, 64), np.float16)
    large = replace(large, descriptors=descriptors, feature_offsets=np.array([0, 9000]))
    with pytest.raises(InputError, match=r"cuda\.memory_mb = 1: .* takes 2 MB"):
        localizer(large, "cuda", **{"cuda.memory_mb": 1})
