"""The last pose, saved in a file from one run to the next."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deviloc_ros.atomic import atomic_path
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.carried_pose import CarriedPose
from deviloc_ros.robot.config import PriorConfig
from deviloc_ros.robot.priors import Priors

MAX_BYTES = 100_000
IDLE_SECONDS = 1.0
"""How often it is looked whether to save after all, where `save_period` is 0."""

Number = Annotated[float, Field(allow_inf_nan=False)]
Sigma = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Saved(BaseModel):
    """What the file holds; JSON."""

    model_config = ConfigDict(extra="forbid")

    map: str
    """Id of the map, as `deviloc map info` prints it: poses in another map mean nothing."""
    stamp: int
    position: tuple[Number, Number, Number]
    quaternion_xyzw: tuple[Number, Number, Number, Number]
    position_sigma: Sigma
    rotation_sigma: Sigma


def save_pose(path: Path, map_id: str, pose: CarriedPose) -> None:
    """Write a pose; the file is whole or not there.

    Raises:
        InputError: it cannot be written.
    """
    x, y, z = pose.map_from_base.translation.tolist()
    q = pose.map_from_base.quaternion_xyzw.tolist()
    saved = _Saved(
        map=map_id,
        stamp=pose.stamp,
        position=(x, y, z),
        quaternion_xyzw=(q[0], q[1], q[2], q[3]),
        position_sigma=max(pose.position_sigma, pose.vertical_sigma or 0.0),
        rotation_sigma=pose.rotation_sigma,
    )
    text = json.dumps(saved.model_dump(), indent=1) + "\n"
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        # Power may be lost just after the renaming: the content must be on the disk before.
        file.flush()
        os.fsync(file.fileno())


def load_pose(
    path: Path, map_id: str, now: int, least_position_sigma: float, least_rotation_sigma: float
) -> CarriedPose:
    """Read a pose of a former run, which is now at least so uncertain: the robot may have moved.

    Args:
        path: the file.
        map_id: of the map in use.
        now: nanoseconds; uncertainty grows from here.
        least_position_sigma: metres.
        least_rotation_sigma: radians.

    Raises:
        InputError: there is no such file, it is damaged, or its pose is in another map.
    """
    try:
        with path.open("rb") as file:
            saved = _Saved.model_validate_json(file.read(MAX_BYTES))
    except OSError as error:
        raise InputError(f"{path}: no saved pose can be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: not a saved pose: {name or 'JSON'}: {first['msg']}") from None
    if not map_id or saved.map != map_id:
        raise InputError(f"{path}: the saved pose is in map {saved.map}, not in {map_id or '?'}")
    x, y, z, w = saved.quaternion_xyzw
    if abs(float(np.linalg.norm(saved.quaternion_xyzw)) - 1) > 1e-3:
        raise InputError(f"{path}: not a saved pose: quaternion_xyzw is not a unit quaternion")
    return CarriedPose(
        Transform.from_quaternion((w, x, y, z), saved.position),
        max(saved.position_sigma, least_position_sigma),
        max(saved.rotation_sigma, least_rotation_sigma),
        now,
    )


class PoseFile:
    """`prior.file`; what is wrong with it is told and ends nothing.

    Args:
        priors: whose pose is meant.
        tell: takes one line for people.
    """

    def __init__(self, priors: Priors, tell: Callable[[str], object]) -> None:
        """Take the priors and who hears of faults."""
        self._priors = priors
        self._tell = tell
        self._lock = threading.Lock()
        self._saved: CarriedPose | None = None
        self._told = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, config: Callable[[], PriorConfig], map_id: Callable[[], str]) -> None:
        """Begin to save the pose every `save_period`, in a thread: disks may be slow.

        Args:
            config: returns the parameters as they are then.
            map_id: returns the id of the map in use.
        """
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._run, args=(config, map_id), name="pose file", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Save no more; what is being written is finished."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, config: Callable[[], PriorConfig], map_id: Callable[[], str]) -> None:
        while not self._stop.wait(config().save_period or IDLE_SECONDS):
            if config().save_period > 0:
                self.save(config(), map_id())

    def save(self, config: PriorConfig, map_id: str) -> None:
        """Write the last pose, if there is one and a file is named."""
        pose = self._priors.last_pose()
        if not config.file or pose is None or not map_id:
            return
        with self._lock:
            if pose is self._saved:
                return
            try:
                save_pose(Path(config.file).expanduser(), map_id, pose)
            except (InputError, OSError) as error:
                if str(error) != self._told:  # once, and not every few seconds
                    self._tell(f"the last pose is not saved: {error}")
                self._told = str(error)
                return
            self._saved, self._told = pose, ""

    def restore(self, config: PriorConfig, map_id: str, now: int) -> None:
        """Offer the saved pose to the priors, if that is asked for; it holds from now, ns."""
        if not config.restore:
            return
        try:
            pose = load_pose(
                Path(config.file).expanduser(),
                map_id,
                now,
                config.restored_position_sigma,
                config.restored_rotation_sigma,
            )
        except InputError as error:
            self._tell(f"the last pose is not restored: {error}")
            return
        self._priors.offered(pose, f"restored from {config.file}")
