"""Topics shared by two images, and coarse features made comparable through them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deviloc_ros.models.topicfm.encoder_layer import EncoderLayer

DIM = 256


class TopicTransformer(nn.Module):
    """Latent topics are inferred from both images, then each image attends to the topics.

    The two images never attend to each other directly, and there is no positional encoding.
    """

    def __init__(self) -> None:
        """Make 100 seeds, 5 layers that update them, and 2 that update the images."""
        super().__init__()
        self.seed_tokens = nn.Parameter(torch.randn(100, DIM))
        self.layers = nn.ModuleList(EncoderLayer(DIM, 2) for _ in range(5))
        self.feat_aug = nn.ModuleList(EncoderLayer(DIM, 2) for _ in range(2))

    def infer_topics(self, query: Tensor, references: Tensor) -> Tensor:
        """Return the topics (K, 100, 256) of a query (L, 256) with each of K references.

        Args:
            query: backbone tokens (L, 256).
            references: backbone tokens (K, S, 256).
        """
        count = len(references)
        tokens = torch.cat([query.expand(count, -1, -1), references], dim=1)
        topics = self.seed_tokens.to(tokens.dtype).expand(count, -1, -1)
        for layer in self.layers:
            assert isinstance(layer, EncoderLayer)
            topics = layer.from_many(topics, tokens)
        return topics

    def forward(self, query: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        """Return matchable features of the query for each reference, and of the references.

        Args:
            query: backbone tokens (L, 256).
            references: backbone tokens (K, S, 256).

        Returns:
            (K, L, 256) and (K, S, 256).
        """
        topics = self.infer_topics(query, references)
        query = query.unsqueeze(0)
        for layer in self.feat_aug:
            assert isinstance(layer, EncoderLayer)
            query = layer.from_few(query, topics)
            references = layer.from_few(references, topics)
        return query, references

    @staticmethod
    def topic_of(tokens: Tensor, topics: Tensor) -> Tensor:
        """Return the topic (L,) that fits each backbone token (L, 256) best; topics (100, 256).

        Only for looking at: matches do not depend on it.
        """
        return (tokens @ topics.T).argmax(dim=1)
