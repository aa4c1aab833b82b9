"""An evaluation as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deviloc_ros.evaluation.errors import Evaluation, Threshold


def summary_text(evaluation: Evaluation, thresholds: Sequence[Threshold]) -> str:
    """Return localized images, medians and recall, a line each."""
    total = len(evaluation.images)
    lines = [f"images with a true pose  {total}", f"localized  {evaluation.num_localized}"]
    if (fit := evaluation.fit) is not None:
        used = int(fit.inliers.sum())
        lines.append(
            f"aligned to the truth first  scale {fit.target_from_source.scale:.6g}, "
            f"by {used} of {len(fit.inliers)} positions"
        )
    if evaluation.median_position is not None:
        lines += [
            f"median position error  {evaluation.median_position:.4f} m",
            f"median rotation error  {evaluation.median_rotation:.4f} deg",
        ]
    for threshold in thresholds:
        within = evaluation.num_within(threshold)
        share = evaluation.recall(threshold)
        lines.append(f"within {threshold}  {within} of {total} ({100 * share:.1f} %)")
    if evaluation.unknown:
        count = len(evaluation.unknown)
        lines.append(f"not compared, no true pose  {count} ({evaluation.unknown[0]}, ...)")
    width = max(line.index("  ") for line in lines) + 2
    return "\n".join(
        f"{label:<{width}}{value.strip()}"
        for label, _, value in (line.partition("  ") for line in lines)
    )


def image_table(evaluation: Evaluation) -> str:
    """Return the errors of every image, the largest last."""
    ranked = sorted(
        evaluation.images,
        key=lambda image: (image.position is None, image.position or 0.0, image.name),
    )
    width = max(len("image"), *(len(image.name) for image in ranked))
    lines = [f"{'image':<{width}}  position, m  rotation, deg"]
    for image in ranked:
        if image.position is None or image.rotation is None:
            lines.append(f"{image.name:<{width}}  no pose")
        else:
            lines.append(f"{image.name:<{width}}  {image.position:11.4f}  {image.rotation:13.4f}")
    return "\n".join(lines)


def to_json(evaluation: Evaluation, thresholds: Sequence[Threshold]) -> dict[str, Any]:
    """Return everything as JSON-serialisable values; what is not known is null."""
    alignment = None
    if (fit := evaluation.fit) is not None:
        transform = fit.target_from_source
        x, y, z, w = (float(v) for v in transform.rotation.as_quat(canonical=True))
        alignment = {
            "scale": transform.scale,
            "quaternion_wxyz": [w, x, y, z],
            "translation": transform.translation.tolist(),
            "num_inliers": int(fit.inliers.sum()),
        }
    return {
        "num_images": len(evaluation.images),
        "num_localized": evaluation.num_localized,
        "median_position_error_m": evaluation.median_position,
        "median_rotation_error_deg": evaluation.median_rotation,
        "recall": [
            {
                "position_m": threshold.metres,
                "rotation_deg": threshold.degrees,
                "num_images": evaluation.num_within(threshold),
                "recall": evaluation.recall(threshold),
            }
            for threshold in thresholds
        ],
        "alignment": alignment,
        "images": [
            {
                "name": image.name,
                "localized": image.position is not None,
                "position_error_m": image.position,
                "rotation_error_deg": image.rotation,
            }
            for image in evaluation.images
        ],
        "unknown_images": list(evaluation.unknown),
    }
