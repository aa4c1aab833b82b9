"""A picture for people: which matches of an image agree with the pose."""

from __future__ import annotations

import array

import cv2
import numpy as np
from sensor_msgs.msg import Image

from deviloc_ros.images import to_gray
from deviloc_ros.messages.image import Pixels
from deviloc_ros.ros.processing import Fix, Outcome

INLIER = (0, 220, 0)
OUTLIER = (255, 60, 0)
WIDTH = 960


def draw(outcome: Outcome) -> Pixels:
    """Return the image of an outcome, (H, W, 3) RGB, with its matches drawn in.

    A match is a dot, green for an inlier, and a line to where the pose projects its 3D point.
    """
    assert outcome.pixels is not None
    gray = to_gray(outcome.pixels)
    scale = min(1.0, WIDTH / gray.shape[1])
    size = max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale))
    picture = cv2.cvtColor(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    if isinstance(outcome.result, Fix):
        estimate, camera = outcome.result.estimate, outcome.result.camera
        matches = estimate.correspondences
        projected = camera.project(estimate.camera_from_map.apply(matches.points3d))
        for found, expected, inlier in zip(
            matches.keypoints * scale, projected * scale, estimate.inliers, strict=True
        ):
            colour = INLIER if inlier else OUTLIER
            centre = (round(float(found[0])), round(float(found[1])))
            if inlier and np.all(np.isfinite(expected)):
                end = (round(float(expected[0])), round(float(expected[1])))
                cv2.line(picture, centre, end, (255, 220, 0), 1)
            cv2.circle(picture, centre, 1, colour, -1)
        text = f"{estimate.num_inliers} of {len(matches)} matches agree; {estimate.references[0]}"
    else:
        text = outcome.result.reason.name
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(
            picture, text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA
        )
    return np.asarray(picture, dtype=np.uint8)


def debug_message(outcome: Outcome) -> Image:
    """Return the picture as a message with the image's own header."""
    picture = draw(outcome)
    message = Image(
        header=outcome.frame.message.header,
        height=picture.shape[0],
        width=picture.shape[1],
        encoding="rgb8",
        step=picture.shape[1] * 3,
    )
    message.data = array.array("B", picture.tobytes())
    return message
