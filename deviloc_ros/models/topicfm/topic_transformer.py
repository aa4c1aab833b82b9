"""Topics shared by two images, and coarse features made comparable through them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deviloc_ros.models.topicfm.attention import joined, mean_of_tokens
from deviloc_ros.models.topicfm.encoder_layer import EncoderLayer
from deviloc_ros.models.topicfm.image_features import CoarseTokens, TokenMean

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

    def gather(self, tokens: Tensor) -> TokenMean:
        """Return what the seeds gather from an image's tokens (N, 256) in the first layer."""
        first, seeds = self.layers[0], self.seed_tokens.to(tokens.dtype)[None]
        assert isinstance(first, EncoderLayer)
        return mean_of_tokens(first.queries(seeds)[0], tokens)

    def infer_topics(self, query: CoarseTokens, references: Sequence[CoarseTokens]) -> Tensor:
        """Return the topics (K, 100, 256) of a query with each of K references of one size."""
        count = len(references)
        # In the first layer the seeds ask all images the same, in the later ones each pair.
        of_references = torch.stack([each.coarse for each in references])
        tokens = torch.cat([query.coarse.expand(count, -1, -1), of_references], dim=1)
        of_query = TokenMean(
            query.gathered.mean.expand(count, -1, -1), query.gathered.log_sum.expand(count, -1)
        )
        others = TokenMean(
            torch.stack([each.gathered.mean for each in references]),
            torch.stack([each.gathered.log_sum for each in references]),
        )
        gathered = joined([of_query, others])
        topics = self.seed_tokens.to(tokens.dtype).expand(count, -1, -1)
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, EncoderLayer)
            if index == 0:
                topics = layer.from_means(topics, gathered.to(tokens.dtype))
            else:
                topics = layer.from_many(topics, tokens)
        return topics

    def forward(
        self, query: CoarseTokens, references: Sequence[CoarseTokens]
    ) -> tuple[Tensor, Tensor]:
        """Return matchable features of the query for each of K references, and of the references.

        Returns:
            (K, L, 256) and (K, S, 256).
        """
        topics = self.infer_topics(query, references)
        of_query = query.coarse.unsqueeze(0)
        of_references = torch.stack([reference.coarse for reference in references])
        for layer in self.feat_aug:
            assert isinstance(layer, EncoderLayer)
            of_query = layer.from_few(of_query, topics)
            of_references = layer.from_few(of_references, topics)
        return of_query, of_references

    @staticmethod
    def topic_of(tokens: Tensor, topics: Tensor) -> Tensor:
        """Return the topic (L,) that fits each backbone token (L, 256) best; topics (100, 256).

        Only for looking at: matches do not depend on it.
        """
        return (tokens @ topics.T).argmax(dim=1)
