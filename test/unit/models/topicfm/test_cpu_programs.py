"""OpenVINO's programs against the torch modules they stand for."""

from __future__ import annotations

import pytest
import torch

from deviloc_ros.models.published.rule_weights import rule_network
from deviloc_ros.models.topicfm.cpu_programs import CpuPrograms
from deviloc_ros.models.topicfm.encoder_layer import EncoderLayer
from deviloc_ros.models.topicfm.fine_network import FineProgram
from deviloc_ros.models.topicfm.matcher import TopicFM

pytest.importorskip("openvino", reason="needs the package openvino")


@pytest.fixture(scope="module")
def matcher() -> TopicFM:
    return rule_network("test").matcher


@pytest.fixture(scope="module")
def programs(matcher: TopicFM) -> CpuPrograms:
    return CpuPrograms(matcher.backbone, matcher.coarse_net, matcher.fine_net, "float32")


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("count", [37, 4096, 4100])  # one part, a full one, parts that overlap
@torch.inference_mode()
def test_tokens_attend_to_topics(matcher: TopicFM, programs: CpuPrograms, count: int) -> None:
    tokens, topics = random(count, 256), random(100, 256)
    expected = tokens[None]
    for layer in matcher.coarse_net.feat_aug:
        assert isinstance(layer, EncoderLayer)
        expected = layer.from_few(expected, topics[None])
    torch.testing.assert_close(programs.augment(tokens, topics), expected[0], rtol=0.0, atol=2e-5)


@pytest.mark.parametrize("count", [0, 3, 64, 90])
@torch.inference_mode()
def test_windows_are_compared(matcher: TopicFM, programs: CpuPrograms, count: int) -> None:
    windows = random(count, 50, 128)
    for ours, expected in zip(programs.compare(windows), matcher.fine_net(windows), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0.0, atol=2e-5)


@pytest.mark.parametrize("block", [0, 1, 2])
@torch.inference_mode()
def test_the_fine_program_is_the_network(matcher: TopicFM, block: int) -> None:
    windows = random(20, 50, 128)
    program = FineProgram(matcher.fine_net)
    weights = program.mixing_weights()
    expected = matcher.fine_net(windows)
    for ours, right in zip(program(windows, *weights), expected, strict=True):
        torch.testing.assert_close(ours, right, rtol=0.0, atol=2e-5)
    weights[2 * block] = weights[2 * block].flip(0)
    assert not torch.allclose(program(windows, *weights)[2], expected[2], atol=1e-3)


@torch.inference_mode()
def test_windows_compared_in_bfloat16_stay_near(matcher: TopicFM) -> None:
    parts = matcher.backbone, matcher.coarse_net, matcher.fine_net
    windows = random(90, 50, 128)
    expected = matcher.fine_net(windows)
    for ours, exact in zip(CpuPrograms(*parts, "bfloat16").compare(windows), expected, strict=True):
        assert ours.shape == exact.shape
        assert float((ours - exact).abs().mean()) < 0.02 * float(exact.abs().mean())


@torch.inference_mode()
def test_only_bfloat16_describes_and_stays_near(matcher: TopicFM, programs: CpuPrograms) -> None:
    image = torch.rand(1, 1, 96, 128, generator=torch.Generator().manual_seed(1))
    assert programs.describe(image) is None
    parts = matcher.backbone, matcher.coarse_net, matcher.fine_net
    maps = CpuPrograms(*parts, "bfloat16").describe(image)
    assert maps is not None
    for ours, exact in zip(maps, matcher.backbone(image), strict=True):
        assert ours.dtype == torch.bfloat16
        assert ours.shape == exact.shape
        assert ours.is_contiguous(memory_format=torch.channels_last)
        cosine = torch.cosine_similarity(ours.float(), exact, dim=1)
        assert float(cosine.min()) > 0.99
