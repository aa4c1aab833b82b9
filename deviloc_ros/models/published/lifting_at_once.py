"""Matches of topicfm lifted on a GPU: nothing is selected on the way, so nothing waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from deviloc_ros.models.published.assignment import assign_at_once, sample_features
from deviloc_ros.models.published.pin import PointInferenceNetwork
from deviloc_ros.models.published.pin_geometry import to_colmap
from deviloc_ros.models.published.reference import EncodedReference
from deviloc_ros.models.published.settings import PublishedSettings
from deviloc_ros.models.topicfm.fine_matching import NETWORK_PER_FINE
from deviloc_ros.models.topicfm.image_features import ImageFeatures
from deviloc_ros.models.topicfm.matcher import PairMatches

# Columns of a lifted match; its confidence, observation and validity follow.
QUERY, REFERENCE, POINT = slice(0, 2), slice(2, 4), slice(4, 7)
CONFIDENCE, OBSERVATION, VALID = 7, 8, 9


def lift_all(
    network: PointInferenceNetwork,
    settings: PublishedSettings,
    query: ImageFeatures,
    reference: EncodedReference,
    pairs: PairMatches,
) -> Tensor:
    """Return the columns of matches with a reference, (M, 10) float64; PIN sees all keypoints."""
    mended = settings.behaviour == "fix"
    best = pairs.confidence.argsort(descending=True, stable=True)[: settings.max_matches]
    query_keypoints = pairs.query_keypoints[best]
    trained_keypoints = keypoints = pairs.reference_keypoints[best]
    if mended:
        query_keypoints = to_colmap(query_keypoints, query.scale)
        keypoints = to_colmap(trained_keypoints, reference.features.scale)
    observation = assign_at_once(reference.observations, keypoints, settings.cell_size, mended)
    known = observation >= 0
    # Where nothing is known about this view's depth, its keypoints have no 3D point.
    valid, points = known, keypoints.new_zeros(len(best), 3)
    confidence = torch.ones_like(points[:, 0])
    if reference.observed is not None and len(best):
        camera, scale = reference.camera, NETWORK_PER_FINE * reference.features.scale
        rays = camera.to(keypoints.device, torch.float32).rays(trained_keypoints)
        features = sample_features(reference.features.fine, trained_keypoints, scale)
        depth, certainty = network(rays, features, reference.observed)
        rays = camera.rays(keypoints) if mended else rays
        inferred = camera.points_in_map(rays * depth[:, None])
        observed = reference.points[observation.clamp(min=0)]
        valid = known | (depth > 0) if mended else torch.ones_like(known)
        points = torch.where(known[:, None], observed, inferred)
        confidence = torch.where(known, confidence, certainty.to(confidence.dtype))
    rest = (column[:, None].double() for column in (confidence, observation, valid))
    return torch.cat([query_keypoints.double(), keypoints.double(), points.double(), *rest], dim=1)


def downloaded(
    parts: Sequence[Tensor], dtype: torch.dtype
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """Download what `lift_all` gave for each reference, and yield the valid matches of each.

    Yields:
        Keypoints (M, 2) of the query and of the reference, points (M, 3) and confidence (M,), all
        of a type, and observations (M,) int64.
    """
    if not parts:
        return
    every = torch.cat(list(parts)).cpu()
    for part in torch.split(every, [len(part) for part in parts]):
        sound = part[part[:, VALID] > 0]
        exact = sound.to(dtype)
        yield (
            exact[:, QUERY], exact[:, REFERENCE], exact[:, POINT], exact[:, CONFIDENCE],
            sound[:, OBSERVATION].long(),
        )  # fmt: skip
