"""A picture for people: which matches of an image agree with the pose."""

from __future__ import annotations

import array

import cv2
import numpy as np
from sensor_msgs.msg import Image

from deviloc_ros.images import to_gray
from deviloc_ros.localization.rig.types import CameraView
from deviloc_ros.messages.image import Pixels
from deviloc_ros.robot.outcome import Fix, Outcome

INLIER = (0, 220, 0)
OUTLIER = (255, 60, 0)
WIDTH = 960


def draw(outcome: Outcome) -> Pixels:
    """Return the images of an outcome beside each other, (H, W, 3) RGB, with matches drawn in.

    A match is a dot, green for an inlier, and a line to where the pose projects its 3D point.
    """
    width = max(1, WIDTH // len(outcome.pixels))
    pictures = []
    for name, pixels in outcome.pixels.items():
        scale = min(1.0, width / pixels.shape[1])
        label = f"{name}: " if name else ""
        if isinstance(outcome.result, Fix) and name in outcome.result.views:
            view = outcome.result.views[name]
            picture = _draw_matches(_shrink(pixels, scale), view, scale)
            label += f"{view.num_inliers} of {len(view.correspondences)} matches agree"
            label += "".join(f"; {reference}" for reference in view.references[:1])
        else:
            picture = _shrink(pixels, scale)
            refusal = outcome.left_out.get(name, outcome.result)
            label += "" if isinstance(refusal, Fix) else refusal.reason.name
        pictures.append(_write(picture, label))
    height = max(picture.shape[0] for picture in pictures)
    padded = [np.pad(p, ((0, height - p.shape[0]), (0, 0), (0, 0))) for p in pictures]
    return np.concatenate(padded, axis=1)


def debug_message(outcome: Outcome) -> Image:
    """Return the picture as a message with the first image's own header."""
    picture = draw(outcome)
    message = Image(
        header=outcome.frames.frames[0].image.header,
        height=picture.shape[0],
        width=picture.shape[1],
        encoding="rgb8",
        step=picture.shape[1] * 3,
    )
    message.data = array.array("B", picture.tobytes())
    return message


def _shrink(pixels: Pixels, scale: float) -> Pixels:
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    small = cv2.resize(to_gray(pixels), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def _draw_matches(picture: Pixels, view: CameraView, scale: float) -> Pixels:
    matches = view.correspondences
    projected = view.camera.project(view.camera_from_map.apply(matches.points3d))
    for found, expected, inlier in zip(
        matches.keypoints * scale, projected * scale, view.inliers, strict=True
    ):
        centre = (round(float(found[0])), round(float(found[1])))
        if inlier and np.all(np.isfinite(expected)):
            end = (round(float(expected[0])), round(float(expected[1])))
            cv2.line(picture, centre, end, (255, 220, 0), 1)
        cv2.circle(picture, centre, 1, INLIER if inlier else OUTLIER, -1)
    return picture


def _write(picture: Pixels, text: str) -> Pixels:
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(
            picture, text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA
        )
    return picture
