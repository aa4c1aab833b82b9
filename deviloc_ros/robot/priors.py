"""Where the robot is thought to be: a pose that was found or given, carried on by odometry."""

from __future__ import annotations

import threading
from dataclasses import replace

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.types import FailureReason, PosePrior
from deviloc_ros.robot.carried_pose import CarriedPose
from deviloc_ros.robot.config import RobotConfig
from deviloc_ros.robot.odometry import Odometry
from deviloc_ros.robot.outcome import Fix, Outcome
from deviloc_ros.robot.search_state import Mode, SearchState
from deviloc_ros.robot.transform_buffer import TransformUnavailableError

SAYS_NOTHING = (
    FailureReason.BAD_IMAGE,
    FailureReason.DAMAGED_MAP,
    FailureReason.NO_CALIBRATION,
    FailureReason.BAD_CALIBRATION,
    FailureReason.NO_EXTRINSICS,
    FailureReason.INTERNAL_ERROR,
)
"""Refusals that do not speak against a prior: nothing of the map was compared with the image."""


class Priors:
    """The state of the search and the pose that belongs to it; safe to use from any thread."""

    def __init__(self, config: RobotConfig, odometry: Odometry, timeout: float) -> None:
        """Begin without any idea; `timeout` is how long to wait for odometry, seconds."""
        self._lock = threading.RLock()
        self._odometry = odometry
        self._state = SearchState()
        self._pose: CarriedPose | None = None
        self._epoch = 0
        self.configure(config, timeout)

    def configure(self, config: RobotConfig, timeout: float) -> None:
        """Take parameters, changed ones too."""
        self._tracking, self._prior = config.tracking, config.prior
        self._timeout = timeout

    @property
    def state(self) -> SearchState:
        """Of the search."""
        return self._state

    def given(self, pose: CarriedPose, source: str) -> None:
        """Take the word of a person, or of whoever speaks for one."""
        with self._lock:
            self._state, self._pose = self._state.given(source), pose
            self._epoch += 1

    def offered(self, pose: CarriedPose, source: str) -> bool:
        """Take a guess where nothing better is known; say whether it was taken."""
        with self._lock:
            wanted = self._state.wants_offer(source)
            if wanted:
                self._state, self._pose = self._state.offered(source), pose
            return wanted

    def forget(self, why: str) -> None:
        """Search the whole map from now on."""
        with self._lock:
            self._state, self._pose = self._state.forgotten(why), None
            self._epoch += 1

    def predict(self, stamp: int) -> tuple[PosePrior | None, int]:
        """Return the prior for images of a stamp, nanoseconds, and a token for `learn`."""
        with self._lock:
            pose, state, epoch = self._pose, self._state, self._epoch
        if pose is None or not state.uses_prior:
            return None, epoch
        odom_from_base = self._odometry_at(stamp)
        if odom_from_base is None and state.mode is Mode.TRACKING:
            return None, epoch
        carried = pose.carried(odom_from_base, stamp, self._prior.drift)
        with self._lock:
            if self._pose is pose:
                self._pose = carried
        return self._limited(carried, state.mode), epoch

    def learn(self, outcome: Outcome, with_prior: bool, token: int) -> None:
        """Take a result; one that began before something was given or forgotten changes nothing.

        Args:
            outcome: what became of the images.
            with_prior: whether `predict` had a prior for them.
            token: of `predict`.
        """
        result = outcome.result
        stamp = outcome.frames.stamp
        odom_from_base = self._odometry_at(stamp) if isinstance(result, Fix) else None
        with self._lock:
            if token != self._epoch:
                return
            if isinstance(result, Fix):
                base = result.pose
                pose = CarriedPose.of_estimate(
                    base.map_from_base, base.covariance, stamp, odom_from_base
                )
                self._pose = pose
                if not self._tracking.enabled:
                    self._state = self._state.forgotten("tracking.enabled is false")
                elif odom_from_base is None:
                    self._state = self._state.forgotten("no odometry carries the last pose")
                else:
                    self._state = self._state.found()
            elif result.reason not in SAYS_NOTHING:
                state = self._state.refused(
                    result.reason.name, with_prior, self._tracking.max_refusals
                )
                self._state = state
                if state.widened:
                    self._pose = None

    def last_pose(self) -> CarriedPose | None:
        """Return the last pose that was not refuted."""
        return self._pose

    def _odometry_at(self, stamp: int) -> Transform | None:
        try:
            return self._odometry.at(stamp, self._timeout)
        except TransformUnavailableError:
            return None

    def _limited(self, pose: CarriedPose, mode: Mode) -> PosePrior:
        """Return a prior that is not too sure of itself, and that asks for few references."""
        position = max(pose.position_sigma, self._prior.min_position_sigma)
        rotation = max(pose.rotation_sigma, self._prior.min_rotation_sigma)
        prior = PosePrior(pose.map_from_base, position, rotation, pose.vertical_sigma)
        if mode is Mode.TRACKING and position <= self._tracking.max_position_sigma:
            prior = replace(prior, num_references=self._tracking.references)
        return prior
