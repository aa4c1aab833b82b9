"""Coarse matches with context on a CUDA device: all references at once."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.context.attention import MIN_PROBABILITY, WIDTHS, AttentionFeatures
from deviloc_ros.localization.context.guided import MIN_COSINE, UNIT
from deviloc_ros.localization.context.windows import pose_windows
from deviloc_ros.localization.cuda.matching import MAX_SIMILARITIES
from deviloc_ros.localization.cuda.semi_dense import PaddedPairs
from deviloc_ros.localization.cuda.stored_references import StoredReferences
from deviloc_ros.localization.features import normalised
from deviloc_ros.localization.types import Features, Query
from deviloc_ros.maps.descriptor_codes import decoded
from deviloc_ros.maps.map import Map
from deviloc_ros.models.cuda import upload
from deviloc_ros.models.lighterglue import load_lighterglue

# Pairs of images that attention sees at once.
MAX_BATCH = 32
# Arrays of the size of the similarities that guided matching needs at once.
ARRAYS = 4


class CudaContextSearch:
    """Attention by LighterGlue and guided matching, each in few launches."""

    def __init__(
        self, reference_map: Map, config: LocalizerConfig, stored: StoredReferences
    ) -> None:
        """Load the network; what attention sees of a reference is uploaded when first used.

        Args:
            reference_map: any map for matcher xfeat.
            config: the configuration.
            stored: its references on the device.

        Raises:
            InputError: the weights are missing.
        """
        self._map = reference_map
        self._stored = stored
        self._device = stored.descriptors.device
        self._max_size = config.features.max_size
        self._num_keypoints = config.matching.context_keypoints
        self._dtype: torch.dtype = getattr(torch, config.cuda.precision)
        self._whole, self._narrowing = (
            load_lighterglue(widths).to(self._device, self._dtype) for widths in ((), WIDTHS)
        )
        self._references: LRUCache[int, AttentionFeatures] = LRUCache(
            config.matching.cached_references
        )

    @torch.inference_mode()
    def attended(self, query: Query, references: NDArray[np.int64]) -> PaddedPairs:
        """Match a query with references by attention; see ContextSearch."""
        chosen = self._chosen(query)
        stored = [self._reference(int(index)) for index in references]
        found: list[PaddedPairs | None] = [None] * len(stored)
        # References with equally many features run as one batch: padding would be attended to.
        for count in sorted({len(each.index) for each in stored}):
            rows = [i for i, each in enumerate(stored) if len(each.index) == count]
            for begin in range(0, len(rows), MAX_BATCH):
                part = rows[begin : begin + MAX_BATCH]
                pairs = self._attended_batch(chosen, [stored[i] for i in part])
                for i, row in enumerate(part):
                    found[row] = PaddedPairs(pairs.query[i], pairs.reference[i], pairs.found[i])
        return _stacked([each for each in found if each is not None])

    @torch.inference_mode()
    def near(
        self, query: Query, cluster: NDArray[np.int64], camera_from_map: Transform, radius: float
    ) -> PaddedPairs:
        """Match the query's features near where a pose puts those of references."""
        features = query.features
        windows = upload(self._windows(query, cluster, camera_from_map, radius), self._device)
        size = max(1, ARRAYS * len(features) * self._stored.padded_length)
        at_once = min(self._stored.places, max(1, MAX_SIMILARITIES // size))
        codes = unit_codes(features.descriptors)
        places = F.pad(features.keypoints, (0, 1), value=1.0)
        parts = [
            self._guided(codes, places, cluster[first : first + at_once], part)
            for first, part in zip(
                range(0, len(cluster), at_once), torch.split(windows, at_once), strict=True
            )
        ]
        return PaddedPairs(
            torch.cat([part.query for part in parts]),
            torch.cat([part.reference for part in parts]),
            torch.cat([part.found for part in parts]),
        )

    def _chosen(self, query: Query) -> AttentionFeatures:
        """Return the query's most reliable features, those of the finest level."""
        features: Features = query.features
        finest = features.levels == features.levels.max()
        index = torch.nonzero(finest)[:, 0][: self._num_keypoints]
        middle = np.array([query.camera.width, query.camera.height], np.float32) / 2
        places = (features.keypoints[index] - upload(middle, self._device)) / float(middle.max())
        return AttentionFeatures(index, normalised(features.descriptors[index]), places)

    def _reference(self, index: int) -> AttentionFeatures:
        """Return a reference's most reliable features, those of the finest level."""
        known = self._references.get(index)
        if known is not None:
            return known
        rows, camera = self._map.features_of(index), self._map.references[index].camera
        levels = np.asarray(self._map.levels[rows])
        (finest,) = np.nonzero(levels == levels.max(initial=0))
        finest = finest[: self._num_keypoints]
        middle = np.array([camera.width, camera.height], np.float32) / 2
        keypoints = np.asarray(self._map.keypoints[rows])[finest]
        descriptors = decoded(np.asarray(self._map.descriptors[rows])[finest])
        entry = self._references[index] = AttentionFeatures(
            upload(finest.astype(np.int64), self._device),
            normalised(upload(descriptors.astype(np.float32), self._device)),
            upload(((keypoints - middle) / middle.max()).astype(np.float32), self._device),
        )
        return entry

    def _attended_batch(
        self, query: AttentionFeatures, references: list[AttentionFeatures]
    ) -> PaddedPairs:
        """Match with references that have equally many features."""
        count, others = len(query.index), len(references[0].index)
        if not min(count, others):
            nothing = torch.zeros(len(references), 0, dtype=torch.int64, device=self._device)
            return PaddedPairs(nothing, nothing, nothing.bool())
        network = self._narrowing if min(count, others) >= WIDTHS[0] else self._whole
        inputs = (
            query.descriptors.expand(len(references), -1, -1),
            query.places.expand(len(references), -1, -1),
            torch.stack([reference.descriptors for reference in references]),
            torch.stack([reference.places for reference in references]),
        )
        scores, of_query, of_reference = network(*(each.to(self._dtype) for each in inputs))
        value, best = scores.max(dim=2)
        back = scores.argmax(dim=1).gather(1, best)
        mutual = back == torch.arange(best.shape[1], device=self._device)
        index = torch.stack([reference.index for reference in references])
        return PaddedPairs(
            query.index[of_query],
            index.gather(1, of_reference.gather(1, best)),
            mutual & (value > np.log(MIN_PROBABILITY)),
        )

    def _windows(
        self, query: Query, cluster: NDArray[np.int64], camera_from_map: Transform, radius: float
    ) -> NDArray[np.float32]:
        """Return centre, direction and half sides (K, M, 6) of the windows; NaN: nowhere."""
        size = len(cluster), self._stored.padded_length, 6
        result = np.full(size, np.nan, dtype=np.float32)
        scale = query.camera.reduction_to(self._max_size)
        sigma = self._map.depth_sigma
        for row, index in zip(result, cluster, strict=True):
            rows = self._map.features_of(int(index))
            points = np.asarray(self._map.feature_points[rows], np.float64) + self._map.origin
            windows = pose_windows(
                query.camera, camera_from_map, self._map.references[index], points,
                None if sigma is None else np.asarray(sigma[rows], dtype=np.float64),
                radius, scale,
            )  # fmt: skip
            row[: len(points)] = np.concatenate(
                [windows.centre, windows.direction, windows.half_sides], axis=1
            )
        return result

    def _guided(
        self, codes: Tensor, places: Tensor, cluster: NDArray[np.int64], windows: Tensor
    ) -> PaddedPairs:
        """Match features that are each other's most similar among those that windows allow.

        Args:
            codes: (N, D), of the query, see `unit_codes`.
            places: (N, 3), of the query, pixels, and 1.
            cluster: indices of references (K,).
            windows: (K, M, 6).
        """
        reference = unit_codes(self._stored.descriptors[self._stored.places_of(cluster)].float())
        centre, direction, sides = torch.split(windows, 2, dim=2)
        across = torch.stack([-direction[..., 1], direction[..., 0]], dim=2)
        similarity = codes @ reference.mT
        for axis, side in ((direction, 0), (across, 1)):
            # Distance of each feature from the middle of each window along one of its sides.
            offset = -(axis * centre).sum(dim=2, keepdim=True)
            distance = (places @ torch.cat([axis, offset], dim=2).mT).abs_()
            similarity.masked_fill_(~(distance <= sides[:, None, :, side]), -torch.inf)
        similarity.masked_fill_(similarity < MIN_COSINE * UNIT**2, -torch.inf)
        value, nearest = similarity.max(dim=2)
        back = similarity.argmax(dim=1).gather(1, nearest)
        number = torch.arange(nearest.shape[1], device=self._device).expand(len(cluster), -1)
        return PaddedPairs(number, nearest, (back == number) & (value > -torch.inf))


def unit_codes(descriptors: Tensor) -> Tensor:
    """Return descriptors (..., D) as `guided.unit_codes` does: whole numbers, here in float32."""
    return (normalised(descriptors) * UNIT).round_()


def _stacked(parts: list[PaddedPairs]) -> PaddedPairs:
    """Join what was found with each reference, padded to the same length."""
    longest = max(len(part.found) for part in parts)

    def padded(values: list[Tensor]) -> Tensor:
        return torch.stack([F.pad(value, (0, longest - len(value))) for value in values])

    return PaddedPairs(
        padded([part.query for part in parts]),
        padded([part.reference for part in parts]),
        padded([part.found for part in parts]),
    )
