"""A rig against each of its cameras alone, on the simulated street; prints a Markdown table.

    ./run bench rig [--work DIR] [--size 512] [--length 40] [--hidden 0.3]

A map is made from a drive by day on the right lane with cameras to the left, to the rear and to the
right (`deviloc_ros.simulation.rig`), and localizes a drive in the evening on the left lane. A van
hides the view of each camera with a probability of --hidden. Every camera is localized alone, and
all as a rig. Maps are kept in --work.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.evaluation.nees import nees
from deviloc_ros.geometry.uncertainty import pose_error
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.rig.types import RigEstimate
from deviloc_ros.localization.types import PoseEstimate
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.robot.base_pose import BasePose, base_pose
from deviloc_ros.simulation.drive import Drive
from deviloc_ros.simulation.light import DAY, EVENING
from deviloc_ros.simulation.rig import RigCamera, robotcar_rig
from deviloc_ros.simulation.rig_drive import RigMoment, moments, write_map_images
from deviloc_ros.simulation.street import LANE, Street

BEYOND = 44.0
"""The street goes on for so long behind the drives, metres."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, help="keep the map here")
    parser.add_argument("--size", type=int, default=512, help="of the images, pixels a side")
    parser.add_argument("--length", type=float, default=40.0, help="of the drives, metres")
    parser.add_argument("--queries", type=int, default=40, help="moments of the second drive")
    parser.add_argument("--hidden", type=float, default=0.3, help="probability of a hidden view")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rig = robotcar_rig(args.size)
    values = {"features.max_size": args.size, "features.num_keypoints": 2048, "device": "cpu"}
    config = build(LocalizerConfig, values, "benchmark")
    work = args.work or Path(tempfile.mkdtemp(prefix="rig-"))
    try:
        path = work / f"rig_{args.size}_{args.length:g}_{args.seed}.devmap"
        if not path.exists():
            _make_map(path, rig, args.length, args.seed, config)
        second = moments(
            rig,
            Street(args.seed, args.seed + 1, args.length + BEYOND, evening=True),
            Drive(
                lane=LANE, start=5.7, end=2.0 + args.length + 1e-6, speed=4.0, yaw=0.06, sway=0.3,
                rate=(args.queries - 1) * 4.0 / (args.length - 3.7),
            ),
            EVENING,
            args.seed + 1,
            args.hidden,
        )  # fmt: skip
        _compare(Localizer.load(path, config), rig, list(tqdm(second, desc="second drive")))
    finally:
        if args.work is None:
            shutil.rmtree(work)


def _make_map(
    path: Path, rig: Sequence[RigCamera], length: float, seed: int, config: LocalizerConfig
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        street = Street(seed, seed, length + BEYOND)
        drive = Drive(lane=-LANE, start=4.0, end=4.0 + length, speed=4.0, rate=4.0 / 1.6)
        first = tqdm(moments(rig, street, drive, DAY, seed), desc="first drive")
        images, model = write_map_images(rig, iter(first), Path(folder))
        path.parent.mkdir(parents=True, exist_ok=True)
        options = BuildOptions(config=config, metric=True, gravity_aligned=True)
        build_map(images, path, model, options)


def _compare(localizer: Localizer, rig: Sequence[RigCamera], drive: Sequence[RigMoment]) -> None:
    names = [item.name for item in rig]
    found: dict[str, list[tuple[RigMoment, BasePose]]] = {name: [] for name in (*names, "rig")}
    for moment in tqdm(drive, desc="localize"):
        images = [moment.images[item.name] for item in rig]
        for item, image in zip(rig, images, strict=True):
            alone = localizer.localize(image, item.camera)
            if isinstance(alone, PoseEstimate):
                pose = base_pose(alone.map_from_camera, alone.covariance, item.base_from_camera)
                found[item.name].append((moment, pose))
        together = localizer.localize_rig(
            images, [item.camera for item in rig], [item.base_from_camera for item in rig]
        )
        if isinstance(together, RigEstimate):
            pose = BasePose(together.map_from_base, together.covariance)
            found["rig"].append((moment, pose))
    print(
        "| cameras | localized | median position | median rotation | p90 position "
        "| NEES position, rotation (medians; 1 is true) |"
    )
    print("|---|---|---|---|---|---|")
    for name, poses in found.items():
        print(f"| {name} | {len(poses)} of {len(drive)} | {_errors(poses)} |")


def _errors(poses: Sequence[tuple[RigMoment, BasePose]]) -> str:
    if not poses:
        return " | | | "
    errors = np.array(
        [pose.map_from_base.distance_to(moment.map_from_base) for moment, pose in poses]
    )
    median, p90 = np.median(errors, axis=0), np.quantile(errors[:, 0], 0.9)
    position, rotation = nees(
        [pose_error(pose.map_from_base, moment.map_from_base) for moment, pose in poses],
        [pose.covariance for _, pose in poses],
    )
    return (
        f"{median[0]:.3f} m | {median[1]:.3f} deg | {p90:.3f} m "
        f"| {position.median_ratio:.2f}, {rotation.median_ratio:.2f}"
    )


if __name__ == "__main__":
    main()
