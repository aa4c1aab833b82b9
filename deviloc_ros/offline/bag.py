"""Localize the images of a bag one after the other, as the node does, without middleware."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from deviloc_ros.bags.transforms import LOOK_AHEAD, BagTransforms
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.maps.map_file import map_id
from deviloc_ros.messages.repeated_stamps import RepeatedStamps
from deviloc_ros.offline.bag_frames import BagFrames, Listener, Moment
from deviloc_ros.offline.bag_results import BagRun, FrameResult
from deviloc_ros.offline.bag_robot import BagRobot
from deviloc_ros.robot.extrinsics import Extrinsics
from deviloc_ros.robot.gnss import SOURCE, SatelliteFixes
from deviloc_ros.robot.initial_pose import InitialPoses
from deviloc_ros.robot.localize_frames import ImageLocalizer, localize_frames
from deviloc_ros.robot.odometry import Odometry
from deviloc_ros.robot.outcome import Fix, Outcome
from deviloc_ros.robot.priors import Priors
from deviloc_ros.robot.saved_pose import PoseFile
from deviloc_ros.robot.told_once import ToldOnce
from deviloc_ros.robot.transform_buffer import TransformUnavailableError

Progress: TypeAlias = Callable[[Iterable[Moment], int], Iterable[Moment]]
Watch: TypeAlias = Callable[[FrameResult, Outcome], object]


def localize_bag(
    localizer: ImageLocalizer,
    map_path: Path,
    robot: BagRobot,
    progress: Progress = lambda items, total: items,
    watch: Watch = lambda result, outcome: None,
    tell: Callable[[str], object] = lambda text: None,
) -> BagRun:
    """Localize every image, or every instant of a rig; a Ctrl-C ends it early, with what was done.

    Args:
        localizer: gives the poses.
        map_path: named in the result.
        robot: what is localized.
        progress: wraps the moments to show how far it is, such as tqdm.
        watch: is shown every result.
        tell: takes a line about what in the bag could not be used.

    Raises:
        InputError: the bag is damaged.
    """
    run = BagRun(map_path, robot, [])
    drive = _Drive(localizer, robot, tell)
    keeps_pose = bool(robot.config.prior.file) and map_path.is_file()
    pose_file, name = PoseFile(drive.priors, tell), map_id(map_path) if keeps_pose else ""
    pose_file.restore(robot.config.prior, name, robot.bag.span[0])
    stamps = RepeatedStamps(robot.cameras[0].topic.name, tell)
    frames = BagFrames(robot.bag, robot.config, robot.cameras, drive.listeners, run.leave_out)
    try:
        for moment in progress(frames, frames.count):
            result, outcome = drive.localize(moment)
            result = replace(result, repeat=stamps.add(result.stamp))
            run.frames.append(result)
            watch(result, outcome)
    except KeyboardInterrupt:
        run = run.as_interrupted()
    except InputError as error:
        if not run.frames:
            raise
        run = replace(run, damage=str(error))
    pose_file.save(robot.config.prior, name)
    return run


class _Drive:
    """A robot on its way through a bag: what the node's session is to its topics."""

    def __init__(
        self, localizer: ImageLocalizer, robot: BagRobot, tell: Callable[[str], object]
    ) -> None:
        config = robot.config
        self._localizer = localizer
        self._base, self._tell = config.frames.base, tell
        self._refused = ToldOnce(tell)
        self._transforms = BagTransforms(robot.bag, robot.odometry_topic, tell=tell)
        self._odometry = Odometry(config.frames, self._transforms)
        self._extrinsics = Extrinsics(config.frames, self._transforms, LOOK_AHEAD, robot.mounts)
        self._initial_poses = InitialPoses(config.frames, self._transforms, self._odometry)
        self._fixes = SatelliteFixes(config.gnss)
        self.priors = Priors(config, self._odometry, LOOK_AHEAD)
        self.listeners: dict[str, Listener] = {}
        if robot.initial_pose is not None:
            self.listeners[robot.initial_pose] = self._on_initial_pose
        if robot.fix is not None:
            if localizer.map.metric and localizer.map.gravity_aligned:
                self.listeners[robot.fix] = self._on_fix
            else:
                tell(f"{SOURCE}: not used in this map, which is not metric and gravity-aligned")

    def localize(self, moment: Moment) -> tuple[FrameResult, Outcome]:
        """Do what the node does with images, in the bag's time."""
        frames = moment.frames
        self._transforms.advance(moment.at)
        mode = self.priors.state.mode
        prior, token = self.priors.predict(frames.stamp)
        outcome = localize_frames(frames, self._extrinsics, self._localizer, prior)
        self.priors.learn(outcome, prior is not None, token)
        map_from_odom = self._map_from_odom(outcome)
        return FrameResult.of(outcome, moment.at, map_from_odom, mode, prior is not None), outcome

    def _map_from_odom(self, outcome: Outcome) -> Transform | None:
        """Return the correction that a pose gives; None: there is no odometry at its stamp."""
        if not isinstance(outcome.result, Fix):
            return None
        try:
            odom_from_base = self._odometry.at(outcome.frames.stamp, LOOK_AHEAD)
        except TransformUnavailableError:
            return None
        return outcome.result.pose.map_from_base @ odom_from_base.inverse()

    def _on_initial_pose(self, message: Any, received: int) -> None:
        self._transforms.advance(received)
        try:
            self.priors.given(*self._initial_poses.read(message, received))
        except InputError as error:
            self._tell(str(error))

    def _on_fix(self, message: Any, received: int) -> None:
        try:
            pose = self._fixes.read(message)
        except InputError as error:
            self._refused.tell(SOURCE, str(error))
            return
        if pose is not None:
            self.priors.offered(pose, SOURCE)
