"""What a map knows of the errors of matches and poses in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of the image pyramid that features come from (localization/features.py).
NUM_LEVELS = 2
# What an error that aligned matches share usually is, pixels of the working size; where a map's
# images are too few to tell.
USUAL_SHARED_ERROR = 0.1


@dataclass(frozen=True)
class Calibration:
    """What the map learned from localizing its own images (mapping/self_calibration.py).

    Attributes:
        offset_bias: (levels, 2) float64, mean error of a match's query keypoint per pyramid level,
            at the image's centre: x and y, network pixels.
        covariance_scale: factor on the covariance of poses, with matcher xfeat.
        topicfm_covariance_scale: the same with matcher topicfm, measured in a map made for it.
        offset_pull: (levels, 2) float64, what comes to the bias at the right and the lower edge of
            an image (maps/offset_bias.py), network pixels.
        aligned_shared_error: standard deviation of an error that aligned matches in a part of an
            image share (localization/photometric/pose.py), pixels of the working size.
    """

    offset_bias: NDArray[np.float64]
    covariance_scale: float = 1.0
    topicfm_covariance_scale: float = 1.0
    offset_pull: NDArray[np.float64] = field(default_factory=lambda: np.zeros((NUM_LEVELS, 2)))
    aligned_shared_error: float = USUAL_SHARED_ERROR

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Calibration:
        """Read what `to_json` returns.

        Raises:
            KeyError, TypeError, ValueError, IndexError: it is something else.
        """
        # Older maps know nothing of matcher topicfm, and have one bias for the whole image, and no
        # images to align matches with.
        return Calibration(
            np.array(values["offset_bias"], dtype=np.float64),
            _factor(values["covariance_scale"]),
            _factor(values.get("topicfm_covariance_scale", 1.0)),
            np.array(values.get("offset_pull", np.zeros((NUM_LEVELS, 2))), dtype=np.float64),
            float(values.get("aligned_shared_error", USUAL_SHARED_ERROR)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the calibration as JSON-serialisable values."""
        return {
            "offset_bias": self.offset_bias.tolist(),
            "covariance_scale": self.covariance_scale,
            "topicfm_covariance_scale": self.topicfm_covariance_scale,
            "aligned_shared_error": self.aligned_shared_error,
            "offset_pull": self.offset_pull.tolist(),
        }

    def scale_of(self, matcher: str) -> float:
        """Return the factor for a matcher."""
        return self.topicfm_covariance_scale if matcher == "topicfm" else self.covariance_scale


def _factor(value: float | Sequence[float]) -> float:
    """Return a factor; older maps have one for the position and one for the rotation."""
    return float(np.max(value))
