"""Ways to give the keypoints of a map their depth, which the tables compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.lifting.geometric import PointInference, lift
from deviloc_ros.lifting.learned import make_inference
from deviloc_ros.mapping.multiview.consistency import make_consistent
from deviloc_ros.mapping.multiview.matching import SeenAgain, ViewMatcher
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map
from lifting.maps import view_of

AGREE, ALONE = "views agree", "each view by itself"
# What each view infers by itself (`lifting.method`, or nothing), and whether views then agree.
LIFTS: dict[str, tuple[str | None, bool]] = {
    f"learned, {AGREE}": ("learned", True),
    f"geometric, {AGREE}": ("geometric", True),
    f"observed points only, {AGREE}": (None, True),
    f"learned, {ALONE}": ("learned", False),
    f"geometric, {ALONE}": ("geometric", False),
    "observed points only": (None, False),
}


class SharedMatches:
    """Matches between references, made once: they depend on images and poses, not on points."""

    def __init__(self, whole: Map, config: LocalizerConfig) -> None:
        """Match references of a map."""
        self._match = ViewMatcher(whole, config)
        self._found: dict[tuple[int, int], list[SeenAgain]] = {}

    def __call__(self, index: int, neighbours: NDArray[np.int64]) -> list[SeenAgain]:
        """Return what neighbours see of a reference; see ViewMatcher."""
        for other in neighbours:
            if (index, int(other)) not in self._found:
                self._found[index, int(other)] = self._match(index, np.array([other]))
        return [seen for other in neighbours for seen in self._found[index, int(other)]]


class Lifter:
    """Lifts one map in several ways; what they have in common is computed once."""

    def __init__(
        self, place: Map, config: LocalizerConfig, match: Callable[..., list[SeenAgain]]
    ) -> None:
        """Lift this map; its references are matched by `match`."""
        self._place = place
        self._config = config
        self._match = match
        self._lifted: dict[str, Map] = {}

    def __call__(self, name: str) -> Map:
        """Return the map lifted in the way of this name in LIFTS."""
        if name not in self._lifted:
            method, agree = LIFTS[name]
            config = self._configured(method)
            alone = next(key for key, value in LIFTS.items() if value == (method, False))
            if agree:
                self._lifted[name] = self._agreed(self(alone), config)
            else:
                infer = nothing if method is None else make_inference(config)
                self._lifted[name] = per_view(infer)(self._place, config)
        return self._lifted[name]

    def _configured(self, method: str | None) -> LocalizerConfig:
        if method is None:
            return self._config
        lifting = self._config.lifting.model_copy(update={"method": method})
        return self._config.model_copy(update={"lifting": lifting})

    def _agreed(self, alone: Map, config: LocalizerConfig) -> Map:
        # What building measures of the matcher does not depend on the points: it stays.
        unbiased = Calibration(np.zeros_like(alone.calibration.offset_bias))
        agreed = make_consistent(alone.with_calibration(unbiased), config, self._match)
        return agreed.with_calibration(alone.calibration)


def per_view(infer: PointInference) -> Callable[[Map, LocalizerConfig], Map]:
    """Return a lift that looks at one reference after the other."""

    def lifted(whole: Map, config: LocalizerConfig) -> Map:
        points, confidence = np.empty((len(whole.keypoints), 3)), np.empty(len(whole.keypoints))
        for index, reference in enumerate(whole.references):
            rows = whole.features_of(index)
            longer = max(reference.camera.width, reference.camera.height)
            radius = config.lifting.observed_radius * max(1.0, longer / config.features.max_size)
            keypoints = np.asarray(whole.keypoints[rows], dtype=np.float64)
            result = lift(view_of(whole, index), keypoints, radius, infer)
            points[rows], confidence[rows] = result.points3d - whole.origin, result.confidence
        return replace(
            whole,
            feature_points=points.astype(np.float32),
            confidence=confidence.astype(np.float16),
        )

    return lifted


def nothing(
    keypoints: NDArray[np.float64],
    observations: NDArray[np.float64],
    depths: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Infer nothing: only keypoints with an observed point near get one; see PointInference."""
    return np.full(len(keypoints), np.nan), np.zeros(len(keypoints))
