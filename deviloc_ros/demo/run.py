"""The demo from beginning to end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from deviloc_ros.bags.reader import Bag
from deviloc_ros.bags.topics import image_topic
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.poses import write_tum
from deviloc_ros.demo.page import Story, headline, write_page
from deviloc_ros.demo.passes import (
    IMAGE_TOPIC,
    INFO_TOPIC,
    Recording,
    Scene,
    photograph_first_pass,
    record_second_pass,
)
from deviloc_ros.demo.pictures import MatchPicture, jpeg, match_picture
from deviloc_ros.demo.score import Live, Score, Summary, score, summarize
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.types import PoseEstimate
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.maps.map import Map
from deviloc_ros.messages.image import Pixels
from deviloc_ros.offline.bag import localize_bag
from deviloc_ros.offline.bag_results import BagRun, FrameResult
from deviloc_ros.offline.bag_robot import bag_robot
from deviloc_ros.robot.config import RobotConfig, TrackingConfig
from deviloc_ros.robot.outcome import Outcome
from deviloc_ros.simulation.street import LANE

LOAD = 0.75
"""Share of the time between two images that the slowest pose takes: slow ones come in a row."""


@dataclass(frozen=True)
class DemoResult:
    """What came out.

    Attributes:
        summary: the headline numbers.
        scores: of every image.
        page: the HTML file.
        node_exit_code: of the node after SIGINT; None without a live run.
    """

    summary: Summary
    scores: list[Score]
    page: Path
    node_exit_code: int | None


@dataclass
class _Clock:
    """Wall times of the demo's parts."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.seconds[part] = time.monotonic() - begin


def run_demo(folder: Path, scene: Scene, live: bool, command: str = "deviloc demo") -> DemoResult:
    """Render, map, record, localize, replay, compare, and write folder/index.html.

    Args:
        folder: gets everything; exists.
        scene: what is driven through.
        live: replay through the node; needs rclpy.
        command: named on the page.

    Raises:
        InputError: something that is needed is missing, such as EGL.
    """
    clock = _Clock()
    with clock("rendering both passes"):
        images, model = photograph_first_pass(scene, folder / "first_pass")
        recording = record_second_pass(scene, folder)
    map_path = folder / "street.devmap"
    config = LocalizerConfig(seed=scene.seed)
    with clock("building the map"):
        built = build_map(
            images, map_path, model, BuildOptions(config=config, metric=True, gravity_aligned=True)
        )
    with clock("localizing offline"):
        offline, pictures = _offline(scene, map_path, config, recording, images)
    (folder / "offline").mkdir(exist_ok=True)
    offline.write(folder / "offline")
    answers: Mapping[int, Live] | None = None
    exit_code = None
    notes = []
    if live:
        with clock("replay through the node"):
            answers, exit_code, rate = _live(folder, map_path, recording, offline)
        notes.append(f"The bag was played at {rate:.2f} times its own speed.")
    scores = score(recording, offline, answers)
    summary = summarize(scores)
    parts = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in clock.seconds.items())
    notes.append(f"Time taken: {parts}.")
    notes.append(f"Files: {', '.join(sorted(item.name for item in folder.iterdir()))}.")
    page = folder / "index.html"
    write_page(
        page, _story(scores, summary, built.map, recording, images, pictures, notes, command)
    )
    return DemoResult(summary, scores, page, exit_code)


def _offline(
    scene: Scene, map_path: Path, config: LocalizerConfig, recording: Recording, images: Path
) -> tuple[BagRun, dict[int, MatchPicture]]:
    """Localize the bag as `deviloc bag` does, and draw the matches."""
    localizer = Localizer.load(map_path, config)
    names = [reference.name for reference in localizer.map.references]
    pictures: dict[int, MatchPicture] = {}

    def watch(result: FrameResult, outcome: Outcome) -> None:
        if isinstance(outcome.estimate, PoseEstimate):
            [pixels] = outcome.pixels.values()
            found = outcome.estimate
            picture = match_picture(result.stamp, pixels, scene.camera, found, images, names)
            if picture is not None:
                pictures[result.stamp] = picture

    # Images that the live run drops must not change the search for the others.
    robot = RobotConfig(seed=config.seed, tracking=TrackingConfig(enabled=False))
    with Bag(recording.bag) as bag:
        run = localize_bag(
            localizer,
            map_path,
            bag_robot(bag, robot),
            lambda items, total: tqdm(items, total=total, desc="localize offline"),
            watch,
        )
    if run.interrupted:
        raise KeyboardInterrupt
    return run, pictures


def _live(
    folder: Path, map_path: Path, recording: Recording, offline: BagRun
) -> tuple[dict[int, Live], int | None, float]:
    """Play the bag to the node, not faster than this machine can localize."""
    from deviloc_ros.ros.tools.replay import ReplayTopics, replay

    needed = [sum(frame.stage_seconds.values()) for frame in offline.frames[1:]] or [0.5]
    stamps = [stamp for stamp, _ in recording.truth]
    between = float(np.median(np.diff(stamps))) * 1e-9 if len(stamps) > 1 else 1.0
    rate = min(1.0, LOAD * between / max(needed))
    (folder / "live").mkdir(exist_ok=True)
    with tqdm(total=len(stamps), desc="replay through node") as bar:
        topics = ReplayTopics(IMAGE_TOPIC, INFO_TOPIC)
        log = folder / "live" / "node.log"
        run = replay(map_path, recording.bag, topics, log, rate, bar.update)
    answers = {
        stamp: Live(status) for stamp, status in run.status.items() if stamp not in run.poses
    } | {
        stamp: Live("LOCALIZED", pose.map_from_base, pose.covariance, pose.numbers, pose.latency)
        for stamp, pose in run.poses.items()
    }
    poses = sorted((stamp, pose.map_from_base) for stamp, pose in run.poses.items())
    write_tum(folder / "live" / "poses_tum.txt", poses)
    write_tum(folder / "live" / "map_from_odom_tum.txt", run.map_from_odom)
    return answers, run.exit_code, rate


def _story(
    scores: list[Score],
    summary: Summary,
    reference_map: Map,
    recording: Recording,
    images: Path,
    pictures: Mapping[int, MatchPicture],
    notes: list[str],
    command: str,
) -> Story:
    """Choose what to show: the median, worst and best image, and a view from the drive."""
    ranked = sorted(
        (s for s in scores if s.error is not None and s.offline.stamp in pictures),
        key=lambda s: s.error or (0.0, 0.0),
    )
    chosen: dict[int, str] = {}
    if ranked:
        chosen[ranked[len(ranked) // 2].offline.stamp] = "The image with the median error"
        chosen.setdefault(ranked[-1].offline.stamp, "The image with the largest error")
        chosen.setdefault(ranked[0].offline.stamp, "The image with the smallest error")
    middle = scores[len(scores) // 3]
    nearest = min(
        reference_map.references,
        key=lambda r: r.camera_from_map.inverse().distance_to(middle.truth)[0],
    )
    day = cv2.imread(str(images / nearest.name), cv2.IMREAD_COLOR)
    assert day is not None, "the first pass was rendered a moment ago"
    return Story(
        scores=scores,
        summary=summary,
        reference_map=reference_map,
        day=jpeg(np.asarray(day[..., ::-1])),
        evening=jpeg(_image_at(recording, middle.offline.stamp)),
        pictures=[(label, pictures[stamp]) for stamp, label in chosen.items()],
        lane_distance=2 * LANE,
        notes=notes,
        command=command,
    )


def _image_at(recording: Recording, stamp: int) -> Pixels:
    from deviloc_ros.bags.types import stamp_of
    from deviloc_ros.messages.image import pixels_from_message

    with Bag(recording.bag) as bag:
        for _, message in bag.read([image_topic(bag).name]):
            if stamp_of(message) == stamp:
                return pixels_from_message(message)
    raise AssertionError(f"no image at {stamp} ns in {recording.bag}")


def result_line(result: DemoResult) -> str:
    """Return what is printed at the end, before the page's path."""
    text = headline(result.summary)
    if result.summary.identical is not None:
        text += (
            f"; live equals offline bit for bit in {result.summary.identical} of "
            f"{result.summary.answered}"
        )
    return text
