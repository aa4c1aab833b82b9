"""Whether covariances are true: the normalised estimation error squared (NEES).

Per degree of freedom it averages 1 where covariances are true, more where they are too small
(overconfident), less where they are too large (Bar-Shalom, Li and Kirubarajan, "Estimation with
Applications to Tracking and Navigation", 2001, section 5.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.geometry.uncertainty import (
    DEGREES_OF_FREEDOM,
    normalised_squared_errors,
    pose_error,
)

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Nees:
    """NEES of the positions, or of the orientations, of many poses, per degree of freedom.

    Attributes:
        values: (N,) float64, of every pose; those of a drive in its order.
    """

    values: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Their mean: 1 where covariances are true."""
        return float(self.values.mean())

    @property
    def median_ratio(self) -> float:
        """Their median over the one that true covariances give: a few wrong poses do not matter."""
        return float(np.median(self.values) * DEGREES_OF_FREEDOM / chi2.median(DEGREES_OF_FREEDOM))

    @property
    def share_within(self) -> float:
        """Share of poses inside of their 95 % ellipsoid: 0.95 where covariances are true."""
        limit = chi2.ppf(LEVEL, DEGREES_OF_FREEDOM) / DEGREES_OF_FREEDOM
        return float(np.mean(self.values <= limit))

    @property
    def expected(self) -> tuple[float, float]:
        """Where the mean of so many independent Gaussian errors lies with 95 % if all is true."""
        total = DEGREES_OF_FREEDOM * len(self.values)
        low, high = (float(chi2.ppf(p, total)) / total for p in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        return low, high

    def interval(self, seed: int = 0, run: int = 1) -> tuple[float, float]:
        """Return the 95 % bootstrap interval of the mean.

        Args:
            seed: of what is drawn.
            run: how many poses in a row are drawn at once, with replacement. Images of a drive that
                follow each other see the same surfaces and err alike: the circular block bootstrap
                (Politis and Romano, "A circular block-resampling procedure for stationary data",
                1992).
        """
        generator = np.random.default_rng(seed)
        count = len(self.values)
        starts = generator.integers(0, count, (RESAMPLES, -(-count // run), 1))
        drawn = (starts + np.arange(run)).reshape(RESAMPLES, -1)[:, :count] % count
        means = self.values[drawn].mean(axis=1)
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)


def nees(
    errors: Sequence[NDArray[np.float64]], covariances: Sequence[NDArray[np.float64]]
) -> tuple[Nees, Nees]:
    """Return the NEES of position and of orientation.

    Args:
        errors: (6,) of each pose, see `pose_error`.
        covariances: (6, 6) of each.

    Raises:
        InputError: there is no pose.
    """
    if not errors:
        raise InputError("there is no pose whose covariance could be compared with its error")
    both = np.array(
        [normalised_squared_errors(*item) for item in zip(errors, covariances, strict=True)]
    )
    position, rotation = both.T / DEGREES_OF_FREEDOM
    return Nees(position), Nees(rotation)


def nees_of_poses(
    estimated: Mapping[str, Transform],
    covariances: Mapping[str, NDArray[np.float64]],
    truth: Mapping[str, Transform],
) -> tuple[Nees, Nees]:
    """Return the NEES of all images that have an estimated pose, a covariance and a true pose.

    Args:
        estimated: camera_from_map by image name.
        covariances: (6, 6) of map_from_camera by image name.
        truth: camera_from_map by image name.

    Raises:
        InputError: no image has all three.
    """
    names = sorted(estimated.keys() & covariances.keys() & truth.keys())
    errors = [pose_error(estimated[name].inverse(), truth[name].inverse()) for name in names]
    return nees(errors, [covariances[name] for name in names])


def nees_text(position: Nees, rotation: Nees) -> str:
    """Return what the covariances are worth, a line for positions and one for orientations."""
    lines = []
    for name, part in (("position", position), ("rotation", rotation)):
        low, high = part.interval()
        lines.append(
            f"NEES of {name} per degree of freedom  {part.mean:.2f} ({low:.2f} to {high:.2f}, "
            f"{len(part.values)} poses; 1 is true), {part.share_within:.0%} within 95 %"
        )
    return "\n".join(lines)


def nees_json(position: Nees, rotation: Nees) -> dict[str, Any]:
    """Return the same as JSON-serialisable values."""
    return {
        name: {
            "mean": part.mean,
            "interval": list(part.interval()),
            "expected": list(part.expected),
            "median_ratio": part.median_ratio,
            "share_within_95": part.share_within,
            "num_poses": len(part.values),
        }
        for name, part in (("position", position), ("rotation", rotation))
    }
