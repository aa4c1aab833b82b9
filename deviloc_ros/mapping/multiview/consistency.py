"""References that see the same surface must agree on it: depths are fused across views.

The matcher's keypoints of a reference are found again in its neighbours, whose poses are known.
Each match measures the depth on the keypoint's own ray; what several views and the depth lifted
from the reference's own SfM points agree on replaces the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.cluster.workers import THIS_PROCESS, Workers
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.lifting.geometric import (
    DEPTH_TOLERANCE,
    USUAL_OBSERVED_SIGMA,
)
from deviloc_ros.localization.photometric.aligner import Aligner
from deviloc_ros.mapping.multiview.depth_fusion import (
    FusedDepths,
    Measurements,
    fuse,
    fused_depths,
    lifted_inverse_depth,
    robust_sigma,
)
from deviloc_ros.mapping.multiview.epipolar import estimate_bias, share_on_epipolar_lines
from deviloc_ros.mapping.multiview.leave_one_out import LeftOut
from deviloc_ros.mapping.multiview.matching import SeenAgain, ViewMatcher, ViewMatches
from deviloc_ros.mapping.multiview.neighbours import Neighbourhood
from deviloc_ros.mapping.multiview.view_depths import SeenDepths, ViewDepths, line_sigma_of
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.offset_bias import OffsetBias

# References that the bias of offsets and the noise of the SfM points are measured on.
SAMPLED_REFERENCES = 30
# Bounds on the relative standard deviation of the depth of observed SfM points, and how many
# features it takes to tell.
OBSERVED_SIGMA = (0.001, 0.1)
MIN_COMPARED = 200


def make_consistent(
    reference_map: Map,
    config: LocalizerConfig,
    match: ViewMatches | None = None,
    left_out: LeftOut | None = None,
    added: NDArray[np.int64] | None = None,
    workers: Workers = THIS_PROCESS,
) -> Map:
    """Return the map with depths fused across references.

    Features that a neighbour sees again get the fused depth, and as confidence the probability that
    it is right to within DEPTH_TOLERANCE. A feature at an SfM point keeps 1 unless the other views
    contradict that point. Any other feature that lies in the view of a neighbour, but that none
    finds again there, is not likely to be found in a query: its confidence becomes 0. Features that
    lie in nobody's view keep what was lifted. The map's offset bias is set to what epipolar lines
    say of it.

    Args:
        reference_map: lifted, not calibrated.
        config: `lifting.neighbours` of each reference are matched with it.
        match: finds a reference's features again; made here unless given. It does not depend on
            3D points, so that maps of the same images may share one.
        left_out: is told the depths without each of the images that it is for.
        added: references that came to a map that is finished and calibrated: depths are fused for
            these alone, and the map's offset bias is used and kept. Whether their features are
            found again is asked of their own look. None: all.
        workers: who matches, measures and fuses.
    """
    left_out = left_out or LeftOut()
    neighbourhood = Neighbourhood(reference_map)
    count = len(reference_map.references)
    indices = np.arange(count) if added is None else added
    neighbours = {int(i): neighbourhood.of(int(i), config.lifting.neighbours) for i in indices}
    places = np.linspace(0, len(indices) - 1, min(len(indices), SAMPLED_REFERENCES))
    sample = [int(i) for i in indices[np.unique(places.astype(np.int64))]]
    matched = workers.map(
        MatchReferences(reference_map, config, match),
        [(i, neighbours[i]) for i in sample],
        "matching references",
    )
    seen = dict(zip(sample, matched, strict=True))
    if added is None:
        bias = estimate_bias(reference_map, seen)
        calibration = Calibration(bias.constant, offset_pull=bias.pull)
    else:
        calibration = reference_map.calibration
        bias = OffsetBias(calibration.offset_bias, calibration.offset_pull)
    epipolar_share = share_on_epipolar_lines(reference_map, seen, bias)
    aligns = config.alignment.enabled and reference_map.alignable
    measured = workers.map(
        MeasureDepths(reference_map, config, bias), list(seen.items()), "measuring depths"
    )
    depths = dict(zip(sample, measured, strict=True))
    line_sigma = line_sigma_of([part for parts in depths.values() for part in parts])
    observed_sigma = _observed_sigma(reference_map, depths, line_sigma)
    points = np.array(reference_map.feature_points)
    confidence = np.array(reference_map.confidence)
    depth_sigma = (
        np.empty(len(confidence), dtype=np.float16)
        if reference_map.depth_sigma is None
        else np.array(reference_map.depth_sigma)
    )
    supported = num_features = 0
    work = [
        ReferenceWork(
            i,
            neighbours[i],
            neighbours[i] if added is None else _of_its_look(reference_map, i, neighbours[i]),
            tuple(left_out.among(neighbours[i])),
            _by_neighbour(seen[i], depths[i]) if i in depths else None,
        )
        for i in neighbours
    ]
    fuse_depths = FuseDepths(reference_map, config, match, bias, line_sigma, observed_sigma)
    for item, (fused, without) in zip(
        work, workers.map(fuse_depths, work, "fusing depths"), strict=True
    ):
        rows = reference_map.features_of(item.index)
        points[rows], confidence[rows], depth_sigma[rows] = (
            fused.points, fused.confidence, fused.sigma,
        )  # fmt: skip
        supported += fused.num_supported
        num_features += len(fused.points)
        for image, its in without.items():
            left_out.add(image, item.index, its)
    return replace(
        reference_map,
        feature_points=points,
        confidence=confidence,
        depth_sigma=depth_sigma,
        calibration=calibration,
    ).with_meta(
        {
            "consistent_share": supported / max(1, num_features),
            "observed_depth_sigma": observed_sigma,
            "epipolar_share": epipolar_share,
            "epipolar_sigma_px": line_sigma if aligns else None,
        }
    )


@dataclass(frozen=True)
class MatchReferences:
    """Makes what finds a reference's features again in its neighbours."""

    reference_map: Map
    config: LocalizerConfig
    match: ViewMatches | None

    def __call__(self) -> Callable[[tuple[int, NDArray[np.int64]]], list[SeenAgain]]:
        """Load the network."""
        match = self.match or ViewMatcher(self.reference_map, self.config)
        return lambda item: match(*item)


@dataclass(frozen=True)
class MeasureDepths:
    """Makes what measures the depths of features that were found again."""

    reference_map: Map
    config: LocalizerConfig
    bias: OffsetBias

    def __call__(self) -> Callable[[tuple[int, Sequence[SeenAgain]]], list[SeenDepths]]:
        """Make ready for aligning."""
        aligns = self.config.alignment.enabled and self.reference_map.alignable
        aligner = Aligner(self.reference_map, self.config) if aligns else None
        measure = ViewDepths(self.reference_map, self.bias, aligner)
        return lambda item: measure(*item)


# What each of a reference's neighbours says of depths, and which neighbour it is.
OfNeighbours = Sequence[tuple[int, SeenDepths]]


@dataclass(frozen=True)
class ReferenceWork:
    """A reference whose depths are to be fused.

    Attributes:
        index: of it.
        neighbours: (M,), in which its features are looked for.
        asked: those of them that tell whether features are found again.
        left_out: those of them without which depths are wanted, too.
        depths: what they say, if it was measured already.
    """

    index: int
    neighbours: NDArray[np.int64]
    asked: NDArray[np.int64]
    left_out: tuple[int, ...]
    depths: OfNeighbours | None


@dataclass(frozen=True)
class FuseDepths:
    """Makes what fuses the depths of one reference, and again without each image of `left_out`."""

    reference_map: Map
    config: LocalizerConfig
    match: ViewMatches | None
    bias: OffsetBias
    line_sigma: float
    observed_sigma: float

    def __call__(
        self,
    ) -> Callable[[ReferenceWork], tuple[FusedDepths, Mapping[int, FusedDepths]]]:
        """Load the network."""
        match = MatchReferences(self.reference_map, self.config, self.match)()
        measure = MeasureDepths(self.reference_map, self.config, self.bias)()

        def of(work: ReferenceWork) -> tuple[FusedDepths, Mapping[int, FusedDepths]]:
            depths = work.depths
            if depths is None:
                found = match((work.index, work.neighbours))
                depths = _by_neighbour(found, measure((work.index, found)))
            measured = [(image, part.measurements(self.line_sigma)) for image, part in depths]

            def fused_without(image: int | None) -> FusedDepths:
                return fused_depths(
                    self.reference_map,
                    work.index,
                    work.asked[work.asked != image] if image is not None else work.asked,
                    [part for neighbour, part in measured if neighbour != image],
                    self.observed_sigma,
                )

            return fused_without(None), {image: fused_without(image) for image in work.left_out}

        return of


def _by_neighbour(found: Sequence[SeenAgain], depths: Sequence[SeenDepths]) -> OfNeighbours:
    return [(seen.neighbour, part) for seen, part in zip(found, depths, strict=True)]


def _of_its_look(
    reference_map: Map, index: int, neighbours: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the neighbours that show a reference's own look of the place."""
    look = reference_map.references[index].look
    return neighbours[[reference_map.references[i].look == look for i in neighbours]]


def _observed_sigma(
    reference_map: Map, depths: Mapping[int, Sequence[SeenDepths]], line_sigma: float
) -> float:
    """Return how far the depths of SfM points are off, relative, by what other views say."""
    differences = []
    for i, seen in depths.items():
        parts = [part.measurements(line_sigma) for part in seen]
        if not parts:
            continue
        inverse_depth, observed = lifted_inverse_depth(reference_map, i)
        fused = fuse(Measurements.joined(parts), len(inverse_depth))
        with np.errstate(invalid="ignore"):
            relative_sigma = fused.sigma / fused.inverse_depth
            certain = observed & (fused.support > 1) & (relative_sigma < DEPTH_TOLERANCE / 2)
        differences.append((inverse_depth / fused.inverse_depth - 1.0)[certain])
    joined = np.concatenate([np.zeros(0), *differences])
    if len(joined) < MIN_COMPARED:
        return USUAL_OBSERVED_SIGMA
    return float(np.clip(robust_sigma(joined), *OBSERVED_SIGMA))
