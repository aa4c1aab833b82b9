"""What seeds gather from images one by one is what they would see of all at once."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deviloc_ros.models.published.rule_weights import rule_network
from deviloc_ros.models.topicfm.attention import joined, mean_of_tokens
from deviloc_ros.models.topicfm.encoder_layer import EncoderLayer


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    # Up to logits whose exponentials no float32 holds.
    magnitude=st.floats(0.1, 40),
)
def test_means_of_images_join_to_the_mean_of_all(
    seed: int, counts: list[int], magnitude: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(7, 16, generator=generator) * magnitude
    images = [torch.randn(count, 16, generator=generator) for count in counts]
    every = torch.cat(images)
    expected = (queries @ every.T).softmax(dim=1) @ every
    together = joined([mean_of_tokens(queries, tokens) for tokens in images])
    torch.testing.assert_close(together, expected, rtol=0.0, atol=1e-4)


@torch.inference_mode()
def test_topics_are_those_of_all_layers_on_both_images() -> None:
    matcher = rule_network("test").matcher
    images = torch.rand(3, 1, 64, 80, generator=torch.Generator().manual_seed(2))
    query, *references = matcher.encode(images, torch.ones(3, 2))
    topics = matcher.coarse_net.infer_topics(query, references)
    for reference, ours in zip(references, topics, strict=True):
        expected = matcher.coarse_net.seed_tokens[None]
        for layer in matcher.coarse_net.layers:
            assert isinstance(layer, EncoderLayer)
            expected = layer.from_many(expected, torch.cat([query.coarse, reference.coarse])[None])
        torch.testing.assert_close(ours, expected[0], rtol=0.0, atol=2e-5)
