"""Everything that exists while the node is configured: a map, its inputs, outputs and worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future

from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.robot.carried_pose import CarriedPose
from deviloc_ros.robot.extrinsics import Extrinsics, fixed_extrinsics
from deviloc_ros.robot.initial_pose import InitialPoses
from deviloc_ros.robot.odometry import Odometry
from deviloc_ros.robot.outcome import Fix, Outcome
from deviloc_ros.robot.priors import Priors
from deviloc_ros.robot.saved_pose import PoseFile
from deviloc_ros.ros.config.node_config import NodeConfig
from deviloc_ros.ros.diagnostics.snapshot import Snapshot, device_memory, process_memory
from deviloc_ros.ros.inputs.cameras import Cameras
from deviloc_ros.ros.inputs.given_poses import Gnss, InitialPose
from deviloc_ros.ros.inputs.transforms import on_time_jump_back, transform_lookup
from deviloc_ros.ros.node.bond import Bond
from deviloc_ros.ros.node.frame_worker import FrameWorker
from deviloc_ros.ros.node.loaded_map import LoadedMap, MapInUse, MapReload
from deviloc_ros.ros.node.services import ONCE_SECONDS, Answer, Services
from deviloc_ros.ros.outputs.results import Results
from deviloc_ros.ros.outputs.tf_output import TfOutput


class Session:
    """Frames go from the executor's thread to the worker's, results from there to the topics.

    Args:
        node: the node.
        config: its parameters.
        loaded: the map.
        load_again: loads the map that the parameters name now; raises InputError.
    """

    def __init__(
        self,
        node: LifecycleNode,
        config: NodeConfig,
        loaded: LoadedMap,
        load_again: Callable[[], LoadedMap],
    ) -> None:
        """Make publishers, and listen to what may come before activation."""
        self._node = node
        self._config = config
        self._map = loaded
        self._load_again = load_again
        self._active = self._paused = False
        self._transforms = transform_lookup(node)
        self._odometry = Odometry(config.frames, self._transforms)
        self._priors = Priors(config, self._odometry, config.tf.lookup_timeout)
        self._pose_file = PoseFile(self._priors, node.get_logger().warning)
        self._tf = TfOutput(node, config, loaded.localizer.map, self._odometry)
        self._results = Results(node, config, self._tf)
        self._cameras = Cameras(node, config, lambda frames: self._worker.submit(frames))
        self._worker = FrameWorker(
            node,
            config,
            self._cameras.read_pixels,
            Extrinsics(
                config.frames,
                self._transforms,
                config.tf.lookup_timeout,
                fixed_extrinsics(config),
            ),
            self._priors,
            self._results,
        )
        self._initial_pose = InitialPose(
            node,
            InitialPoses(config.frames, self._transforms, self._odometry),
            self._on_initial_pose,
        )
        self._gnss = Gnss(node, config.gnss, self._on_guess)
        self._map_in_use = MapInUse(node, loaded)
        self._bond = Bond(node, config.bond) if config.bond.enabled else None
        self._reload = MapReload(self._use_map, node.get_logger().error)
        self._services = Services(
            node, self.relocalize, self.localize_once, self.pause, self.reload_map
        )
        self._once: list[Future[Answer]] = []
        self._jump = on_time_jump_back(node, self._on_time_jump_back)

    def activate(self) -> None:
        """Start to localize; counters begin anew."""
        self._active, self._paused = True, False
        self._odometry.forget()
        self._priors.forget("no pose yet")
        now = self._node.get_clock().now().nanoseconds
        self._pose_file.restore(self._config.prior, self._map.id, now)
        self._tf.activate()
        self._worker.start(self._map)
        self._pose_file.start(lambda: self._config.prior, lambda: self._map.id)
        self._cameras.count_anew()
        self._cameras.start()
        if self._bond is not None:
            self._bond.start()
        self._say_state()

    def deactivate(self) -> None:
        """Stop; a frame in hand is finished first, and the last pose is saved before that."""
        if not self._active:
            return
        self._active = False
        if self._bond is not None:
            self._bond.stop()
        self._cameras.stop()
        self._pose_file.stop()
        self._pose_file.save(self._config.prior, self._map.id)
        self._worker.stop()
        for asked in list(self._once):
            _answer(asked, (False, "the node is active no longer"))
        self._tf.deactivate()

    def close(self) -> None:
        """Give everything back."""
        self.deactivate()
        for listener in (self._reload, self._services, self._initial_pose, self._gnss):
            listener.close()
        if self._bond is not None:
            self._bond.close()
        self._jump.unregister()
        for part in (self._cameras, self._transforms, self._tf, self._results, self._map_in_use):
            part.close()

    def configure(self, config: NodeConfig) -> None:
        """Take changed parameters: of those that may change at any time."""
        self._config = config
        self._priors.configure(config, config.tf.lookup_timeout)
        self._tf.configure(config, self._map.localizer.map)
        self._results.configure(config)
        self._worker.configure(config)
        self._map.localizer.set_verification(config.verification)

    def snapshot(self) -> Snapshot:
        """Return what /diagnostics says."""
        return replace(
            self._worker.snapshot(),
            mode="PAUSED" if self._paused else str(self._priors.state),
            map=str(self._map),
            reload=self._reload.text,
            reload_failed=self._reload.failed,
            image_topic=self._cameras.topics,
            uncalibrated=tuple(self._cameras.uncalibrated),
            cameras=self._cameras.counts,
            unpublished=self._cameras.unpublished,
            namesakes=self._namesakes(),
            rectified=self._cameras.decided,
            paused=self._paused,
            tf_withheld_by_map=self._tf.withheld_by_map,
            tf_lacks_odometry=self._tf.lacks_odometry,
            memory=process_memory(),
            device_memory=device_memory(),
        )

    def count_fault(self) -> None:
        """Count a fault of the node that belongs to no image."""
        self._worker.statistics.count_fault()

    def relocalize(self) -> Answer:
        """Search the whole map for the next images."""
        if not self._active:
            return False, "the node is not active"
        self._priors.forget("asked for by ~/relocalize")
        self._say_state()
        return True, "the next images search the whole map"

    def localize_once(self) -> Future[Answer]:
        """Say what becomes of the next images, also while paused; in the executor's thread."""
        asked: Future[Answer] = Future(executor=self._node.executor)
        if not self._active:
            asked.set_result((False, "the node is not active"))
            return asked
        late = f"no image came to a result within {ONCE_SECONDS:g} s"
        timer = self._node.create_timer(
            ONCE_SECONDS,
            lambda: _answer(asked, (False, late)),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

        def finish(_: Future[Answer]) -> None:
            self._node.destroy_timer(timer)
            self._once.remove(asked)
            if self._paused and not self._once:
                self._cameras.stop()

        self._once.append(asked)
        asked.add_done_callback(finish)
        self._worker.tell_next(lambda outcome: _answer(asked, self._in_words(outcome)))
        if self._paused and len(self._once) == 1:
            self._cameras.start()
        return asked

    def _in_words(self, outcome: Outcome) -> Answer:
        """Return a result as `~/localize_once` says it."""
        result = outcome.result
        if not isinstance(result, Fix):
            return False, f"{result.reason.name}: {result.details}"
        pose = result.pose.map_from_base
        x, y, z = pose.translation.round(3) + 0.0  # and no -0.000
        heading = pose.rotation.as_euler("ZYX", degrees=True)[0]
        seconds, rest = divmod(outcome.frames.stamp, NANOSECONDS)
        frames = self._config.frames
        return True, (
            f"LOCALIZED: {frames.base} in {frames.map} at {seconds}.{rest:09d} s: x {x:.3f} "
            f"y {y:.3f} z {z:.3f} m, heading {heading:.2f} deg; {outcome.num_inliers} inliers"
        )

    def pause(self, paused: bool) -> Answer:
        """Let no more images in, or let them in again."""
        if not self._active:
            return False, "the node is not active"
        if paused != self._paused:
            self._paused = paused
            if paused:
                self._cameras.stop()
            else:
                self._worker.statistics.listen()
                self._cameras.start()
            self._say_state()
        return True, "paused" if paused else "images are let in"

    def reload_map(self) -> Answer:
        """Begin to load the map that the parameters name now."""
        if self._reload.running:
            return False, f"{self._reload.text}; wait for it"
        path = self._config.map.path
        self._reload.start(path, self._load_again)
        return True, f"loading {path} in the background; /diagnostics tells what becomes of it"

    def _use_map(self, loaded: LoadedMap) -> None:
        """Change maps between two frames; what was known of the robot holds in the same map."""
        before, self._map = self._map, loaded

        def forget() -> None:
            if not loaded.is_like(before):
                self._tf.clear()
                self._priors.forget(f"map {loaded.path} is new")

        loaded.localizer.set_verification(self._config.verification)
        self._worker.use(loaded, forget)
        self._tf.configure(self._config, loaded.localizer.map)
        self._map_in_use.tell(loaded)
        self._node.get_logger().info(f"map {loaded.path} is loaded")
        self._say_state()

    def _namesakes(self) -> int:
        """Return how many other nodes have this one's name, and say it once."""
        own = self._node.get_name(), self._node.get_namespace()
        others = self._node.get_node_names_and_namespaces().count(own) - 1
        if others > 0:
            name = self._node.get_fully_qualified_name()
            self._node.get_logger().warning(
                f"another node is named {name}: give each a name or a namespace of its own",
                once=True,
            )
        return max(others, 0)

    def _on_initial_pose(self, pose: CarriedPose, source: str) -> None:
        self._priors.given(pose, source)
        self._say_state()

    def _on_guess(self, pose: CarriedPose, source: str) -> None:
        properties = self._map.localizer.map
        if not (properties.metric and properties.gravity_aligned):
            self._node.get_logger().warning(f"{source}: not used in this map", once=True)
            return
        before = self._priors.state.mode
        if self._priors.offered(pose, source) and self._priors.state.mode is not before:
            self._say_state()

    def _on_time_jump_back(self) -> None:
        self._cameras.clear()
        self._worker.forget_images()
        self._odometry.forget()
        self._tf.clear()
        self._priors.forget("time jumped back")
        self._say_state()

    def _say_state(self) -> None:
        if self._active:
            self._results.publish_state(self._priors.state, self._paused)


def _answer(asked: Future[Answer], answer: Answer) -> None:
    """Give an answer, unless one was given before."""
    if not asked.done():
        asked.set_result(answer)
