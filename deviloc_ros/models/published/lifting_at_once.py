"""Matches of topicfm lifted on a GPU: all references as one batch, nothing selected on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from deviloc_ros.models.cuda import upload
from deviloc_ros.models.published.assignment import NOWHERE, assign_at_once
from deviloc_ros.models.published.pin import PointInferenceNetwork
from deviloc_ros.models.published.pin_geometry import (
    UNDISTORTION_ITERATIONS,
    ReferenceCamera,
    to_colmap,
)
from deviloc_ros.models.published.reference import EncodedReference
from deviloc_ros.models.published.settings import PublishedSettings
from deviloc_ros.models.topicfm.at_once import MatchesAtOnce
from deviloc_ros.models.topicfm.fine_matching import NETWORK_PER_FINE
from deviloc_ros.models.topicfm.image_features import ImageFeatures

# Columns of a lifted match; its confidence, observation and validity follow.
QUERY, REFERENCE, POINT = slice(0, 2), slice(2, 4), slice(4, 7)
CONFIDENCE, OBSERVATION, VALID = 7, 8, 9
SIZE = 10


def lift_all(
    network: PointInferenceNetwork,
    settings: PublishedSettings,
    query: ImageFeatures,
    references: Sequence[EncodedReference],
    matches: MatchesAtOnce,
) -> Tensor:
    """Lift the matches of a query with K references; PIN sees all keypoints.

    Args:
        network: PIN.
        settings: thresholds and behaviour.
        query: backbone features of the query.
        references: with observed points each.
        matches: of the query with them.

    Returns:
        Their columns (K, M, 10) float64, see above; of each reference the most confident first, at
        most `max_matches`. Rows beyond a reference's matches are padding: none is valid.
    """
    device = query.scale.device
    counts = np.array(matches.counts)
    longest = int(counts.max(initial=0))
    if not longest:
        return torch.zeros(len(counts), 0, SIZE, dtype=torch.float64, device=device)
    places = np.arange(longest)
    index = (np.cumsum(counts) - counts)[:, None] + places
    there = upload(places < counts[:, None], device)
    index = upload(index.clip(max=len(matches.confidence) - 1), device)
    ranked = torch.where(there, matches.confidence[index], -1.0)
    order = ranked.argsort(dim=1, descending=True, stable=True)[:, : settings.max_matches]
    best, there = index.gather(1, order), there.gather(1, order)

    mended = settings.behaviour == "fix"
    scales = torch.stack([reference.features.scale for reference in references])[:, None]
    query_keypoints = matches.query_keypoints[best]
    trained_keypoints = keypoints = matches.reference_keypoints[best]
    if mended:
        query_keypoints = to_colmap(query_keypoints, query.scale)
        keypoints = to_colmap(trained_keypoints, scales)
    observations = torch.nn.utils.rnn.pad_sequence(
        [reference.observations for reference in references], True, NOWHERE
    )
    observation = assign_at_once(observations, keypoints, settings.cell_size, mended)
    known = observation >= 0

    cameras = _Cameras([reference.camera for reference in references])
    # As keypoints for the network were trained, and as they are.
    both = torch.cat([trained_keypoints, keypoints], dim=1) if mended else trained_keypoints
    rays = cameras.rays(both)
    trained_rays, rays = rays[:, : order.shape[1]].float(), rays[:, -order.shape[1] :]
    maps = [reference.features.fine for reference in references]
    features = _sampled(maps, trained_keypoints / (NETWORK_PER_FINE * scales))
    branches = [each.observed for each in references if each.observed is not None]
    depth, certainty = network.of_views(trained_rays, features, branches)
    inferred = cameras.points_in_map((rays * depth[:, :, None]).to(keypoints.dtype))
    points = torch.cat([reference.points for reference in references])
    first = np.cumsum([0, *(len(reference.points) for reference in references[:-1])])
    observed = points[observation.clamp(min=0) + upload(first, device)[:, None]]
    valid = there & (known | (depth > 0)) if mended else there
    lifted = torch.where(known[:, :, None], observed, inferred)
    confidence = torch.where(known, torch.ones_like(certainty), certainty)
    rest = (column[:, :, None].double() for column in (confidence, observation, valid))
    return torch.cat([query_keypoints.double(), keypoints.double(), lifted.double(), *rest], dim=2)


def _sampled(maps: Sequence[Tensor], places: Tensor) -> Tensor:
    """Do what `sample_features` does at places (K, M, 2) of K maps (C, H, W): (K, M, C)."""
    height, width = maps[0].shape[1:]
    x, y = places.float().unbind(2)
    grid = torch.stack([x * (2 / (width - 1)) - 1, y * (2 / (height - 1)) - 1], dim=2)
    sampled = [
        torch.nn.functional.grid_sample(own[None].float(), at[None, None], align_corners=True)
        for own, at in zip(maps, grid, strict=True)
    ]
    return torch.cat(sampled)[:, :, 0].mT


class _Cameras:
    """Does what ReferenceCamera does for K of them at once."""

    def __init__(self, cameras: Sequence[ReferenceCamera]) -> None:
        intrinsics = torch.stack([camera.intrinsics for camera in cameras])
        poses = torch.stack([camera.camera_from_map for camera in cameras])
        self._focal = intrinsics.diagonal(dim1=1, dim2=2)[:, None, :2]
        self._centre = intrinsics[:, None, :2, 2]
        self._unprojecting = torch.linalg.inv_ex(intrinsics).inverse.mT
        self._rotation = poses[:, :3, :3]
        self._shift = poses[:, None, :3, 3]
        known = [camera.distortion for camera in cameras if camera.distortion is not None]
        self._distortion: Tensor | None = None
        if known:
            none = torch.zeros_like(known[0])
            self._distortion = torch.stack(
                [none if camera.distortion is None else camera.distortion for camera in cameras]
            )

    def rays(self, keypoints: Tensor) -> Tensor:
        """Return the viewing rays (K, M, 3) of keypoints (K, M, 2), in their precision."""
        if self._distortion is not None:
            keypoints = self._undistorted(keypoints)
        pixels = torch.nn.functional.pad(keypoints, (0, 1), value=1.0)
        rays: Tensor = pixels @ self._unprojecting.to(keypoints.dtype)
        return rays

    def points_in_map(self, points: Tensor) -> Tensor:
        """Transform points (K, M, 3) from the camera frames to the map frame."""
        in_map: Tensor = (points - self._shift) @ torch.linalg.inv_ex(self._rotation.mT).inverse
        return in_map

    def _undistorted(self, keypoints: Tensor) -> Tensor:
        """Do what `undistort` does, in fewer launches."""
        assert self._distortion is not None
        dtype = keypoints.dtype
        focal, centre = self._focal.to(dtype), self._centre.to(dtype)
        distortion = self._distortion.to(dtype)[:, None]
        k1, k2, tangential = distortion[..., :1], distortion[..., 1:2], distortion[..., 2:]
        twice, crossed, one = 2 * tangential, tangential.flip(2), torch.ones_like(k1)
        start = places = (keypoints - centre) / focal
        for _ in range(UNDISTORTION_ITERATIONS):
            squares = places * places
            squared = squares.sum(dim=2, keepdim=True)
            radial = torch.addcmul(one, squared, torch.addcmul(k1, k2, squared))
            # x and y: 2 p1 x y + p2 (r^2 + 2 x^2), and 2 p2 x y + p1 (r^2 + 2 y^2).
            shift = torch.addcmul(
                twice * places.prod(dim=2, keepdim=True),
                crossed,
                torch.add(squared, squares, alpha=2),
            )
            places = (start - shift) / radial
        return places * focal + centre


def downloaded(
    parts: Sequence[Tensor], dtype: torch.dtype
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """Download what `lift_all` gave, and yield the valid matches of each reference; waits once.

    Args:
        parts: what it gave for some references.
        dtype: of what is yielded.

    Yields:
        Keypoints (M, 2) of the query and of the reference, points (M, 3) and confidence (M,), all
        of a type, and observations (M,) int64.
    """
    if not parts:
        return
    rows = [reference for part in parts for reference in part]
    every = torch.cat(rows).cpu()
    for part in torch.split(every, [len(row) for row in rows]):
        sound = part[part[:, VALID] > 0]
        exact = sound.to(dtype)
        yield (
            exact[:, QUERY], exact[:, REFERENCE], exact[:, POINT], exact[:, CONFIDENCE],
            sound[:, OBSERVATION].long(),
        )  # fmt: skip
