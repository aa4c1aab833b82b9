"""The method: from a query image and a map to a pose with covariance."""

from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.types import (
    FailureReason,
    LocalizationFailure,
    PoseEstimate,
    PosePrior,
)

__all__ = ["FailureReason", "LocalizationFailure", "Localizer", "PoseEstimate", "PosePrior"]
