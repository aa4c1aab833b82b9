"""Whether a changed map still localizes its own old images as the old one did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon
from tqdm import tqdm

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.mapping.covariance_calibration import error_of_own, localize_own, with_neighbours
from deviloc_ros.maps.map import Map

# A median error that grows by less is that of the same map; so is one whose growth is no more than
# chance by the signed-rank test of the images' errors (F. Wilcoxon, Biometrics Bulletin 1945).
MAX_GROWTH = 1.1
SIGNIFICANCE = 0.02
# Images that are localized to tell; more would take minutes.
MAX_CHECKED = 40


@dataclass(frozen=True)
class OwnImages:
    """How a map localizes images of its own, each without itself.

    Attributes:
        indices: (N,) int64, the images.
        errors: (N, 2) float64, of position (map units) and rotation (degrees); NaN where there was
            no pose.
    """

    indices: NDArray[np.int64]
    errors: NDArray[np.float64]

    @property
    def found(self) -> NDArray[np.bool_]:
        """Which of them (N,) were localized."""
        return np.isfinite(self.errors[:, 0])

    @property
    def num_found(self) -> int:
        """How many of them were localized."""
        return int(np.count_nonzero(self.found))

    def median(self, among: NDArray[np.bool_]) -> tuple[float, float]:
        """Return the median errors of position and rotation of some of them; NaN without any."""
        if not among.any():
            return float("nan"), float("nan")
        position, rotation = np.median(self.errors[among], axis=0)
        return float(position), float(rotation)


@dataclass(frozen=True)
class Comparison:
    """The same images, localized in the old map and in the changed one."""

    before: OwnImages
    after: OwnImages

    @property
    def is_worse(self) -> bool:
        """Whether the changed map localizes fewer of them, or those of both less accurately."""
        if self.after.num_found < self.before.num_found:
            return True
        both = self.before.found & self.after.found
        if not both.any():
            return False
        if self.after.median(both)[0] <= MAX_GROWTH * self.before.median(both)[0]:
            return False
        growth = self.after.errors[both, 0] - self.before.errors[both, 0]
        return bool(wilcoxon(growth, alternative="greater").pvalue < SIGNIFICANCE)

    def text(self, unit: str) -> str:
        """Return both in one line."""
        both = self.before.found & self.after.found
        (old, old_turn), (new, new_turn) = self.before.median(both), self.after.median(both)
        return (
            f"{self.before.num_found} -> {self.after.num_found} of {len(self.before.indices)} "
            f"localized, median error {old:.4f} -> {new:.4f} {unit}, "
            f"{old_turn:.3f} -> {new_turn:.3f} deg"
        )


def localize_own_images(
    reference_map: Map, indices: NDArray[np.int64], config: LocalizerConfig, excluded_by: Map
) -> OwnImages:
    """Localize images of a map without themselves.

    Args:
        reference_map: the map.
        indices: of the images; they are the same in `excluded_by`.
        config: of the localizer.
        excluded_by: the map whose references most like an image are left out with it.
    """
    localizer = Localizer(reference_map, config)
    count = config.retrieval.num_references
    errors = np.full((len(indices), 2), np.nan)
    for row, index in enumerate(_progress(indices)):
        excluded = with_neighbours(excluded_by, index, count)
        result = localize_own(localizer, index, config, excluded)
        if result is not None:
            error = error_of_own(result, reference_map, index)
            errors[row] = np.linalg.norm(error[:3]), np.degrees(np.linalg.norm(error[3:]))
    return OwnImages(indices, errors)


def compare(
    old: Map, changed: Map, indices: NDArray[np.int64], config: LocalizerConfig
) -> Comparison:
    """Localize images of the old map in it and in the changed one, where they come first."""
    return Comparison(
        localize_own_images(old, indices, config, old),
        localize_own_images(changed, indices, config, old),
    )


def _progress(indices: NDArray[np.int64]) -> Iterator[int]:
    yield from tqdm([int(i) for i in indices], desc="old images", unit="image", disable=None)
