"""How far estimated poses are from the truth: errors, medians, recall.

The measures are those of the long-term visual localization benchmark (Sattler et al., CVPR 2018):
an image counts as localized within (X m, Y deg) if both its position and its rotation error are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.geometry.similarity_fit import SimilarityFit, UnderdeterminedError, fit_cameras
from deviloc_ros.geometry.transform import Transform


@dataclass(frozen=True)
class Threshold:
    """A limit on both errors.

    Attributes:
        metres: largest position error (units of the truth, where it is not metric).
        degrees: largest rotation error.
    """

    metres: float
    degrees: float

    def __str__(self) -> str:
        """Return the form in which benchmarks print it."""
        return f"({self.metres:g} m, {self.degrees:g} deg)"

    @staticmethod
    def parse(text: str) -> Threshold:
        """Read "0.25,2".

        Raises:
            InputError: not two positive numbers.
        """
        try:
            metres, degrees = (float(value) for value in text.split(","))
        except ValueError:
            metres = degrees = math.nan
        if not (0 < metres < math.inf and 0 < degrees < math.inf):
            raise InputError(f"threshold {text!r}: expected 'metres,degrees', such as '0.25,2'")
        return Threshold(metres, degrees)


BENCHMARK_THRESHOLDS = (Threshold(0.25, 2), Threshold(0.5, 5), Threshold(5, 10))


@dataclass(frozen=True)
class ImageError:
    """Errors of one image.

    Attributes:
        name: the image.
        position: distance between estimated and true camera centre, metres; None without a pose.
        rotation: angle between estimated and true orientation, degrees; None without a pose.
    """

    name: str
    position: float | None
    rotation: float | None

    def within(self, threshold: Threshold) -> bool:
        """Return whether the image counts as localized; without a pose it does not."""
        return (
            self.position is not None
            and self.rotation is not None
            and self.position <= threshold.metres
            and self.rotation <= threshold.degrees
        )


@dataclass(frozen=True)
class Evaluation:
    """Errors of all images that have a true pose.

    Attributes:
        images: errors, by name.
        unknown: estimated images without a true pose; they count for nothing.
        fit: what was applied to the estimates first, or None.
    """

    images: Sequence[ImageError]
    unknown: Sequence[str] = ()
    fit: SimilarityFit | None = None

    @property
    def num_localized(self) -> int:
        """Number of images with an estimated pose."""
        return sum(image.position is not None for image in self.images)

    @property
    def median_position(self) -> float | None:
        """Median position error of the images with a pose, metres; None if there is none."""
        errors = [image.position for image in self.images if image.position is not None]
        return float(np.median(errors)) if errors else None

    @property
    def median_rotation(self) -> float | None:
        """Median rotation error of the images with a pose, degrees; None if there is none."""
        errors = [image.rotation for image in self.images if image.rotation is not None]
        return float(np.median(errors)) if errors else None

    def num_within(self, threshold: Threshold) -> int:
        """Return how many images are within a threshold."""
        return sum(image.within(threshold) for image in self.images)

    def recall(self, threshold: Threshold) -> float:
        """Return the share of all images within a threshold; one without a pose is not."""
        return self.num_within(threshold) / len(self.images)


def evaluate_poses(
    estimated: Mapping[str, Transform], truth: Mapping[str, Transform]
) -> Evaluation:
    """Compare poses camera_from_map by image name.

    Raises:
        InputError: there is no true pose.
    """
    if not truth:
        raise InputError("there is no image with a true pose to compare with")
    images = []
    for name, camera_from_map in sorted(truth.items()):
        if name in estimated:
            errors = estimated[name].inverse().distance_to(camera_from_map.inverse())
            images.append(ImageError(name, *errors))
        else:
            images.append(ImageError(name, None, None))
    return Evaluation(images, sorted(set(estimated) - set(truth)))


def evaluate_fitted(
    estimated: Mapping[str, Transform], truth: Mapping[str, Transform], fixed_scale: bool = False
) -> Evaluation:
    """Compare poses after moving all estimates by the one transform that fits them best.

    For maps without a metric scale or in another frame than the truth. The fit takes up a
    common part of the errors, so the numbers are those of the shape, not of absolute positions.

    Args:
        estimated: camera_from_map.
        truth: camera_from_truth.
        fixed_scale: align by a rigid transform (SE3) instead of a similarity (Sim3).

    Raises:
        InputError: too few images have both poses, or their positions give no scale.
    """
    common = sorted(set(estimated) & set(truth))
    try:
        fit = fit_cameras(
            [estimated[name] for name in common],
            [truth[name] for name in common],
            fixed_scale,
        )
    except UnderdeterminedError as error:
        raise InputError(f"the poses cannot be aligned: {error}") from None
    moved = move(estimated, fit.target_from_source)
    return replace(evaluate_poses(moved, truth), fit=fit)


def move(poses: Mapping[str, Transform], target_from_map: Similarity) -> dict[str, Transform]:
    """Return camera_from_target of every camera_from_map."""
    return {name: target_from_map.camera_pose(pose) for name, pose in poses.items()}
