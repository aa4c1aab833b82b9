"""The lifecycle node: parameters and states. What it does while active stands in `session.py`."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.timer import Timer

from deviloc_ros.errors import InputError
from deviloc_ros.ros.config.node_config import why_fixed
from deviloc_ros.ros.config.parameters import NodeParameters
from deviloc_ros.ros.diagnostics.diagnostics import diagnostic_array, status
from deviloc_ros.ros.diagnostics.health import ITEMS
from deviloc_ros.ros.diagnostics.rules import Level, assess
from deviloc_ros.ros.node.bond import status_type
from deviloc_ros.ros.node.loaded_map import LoadedMap, LoadLocalizer, load_map
from deviloc_ros.ros.node.session import Session

Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def logged(transition: Transition) -> Transition:
    """Log what a transition raises: rclpy turns it into the error state without a word."""

    @functools.wraps(transition)
    def wrapper(node: Any, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception:
            node.get_logger().error(f"{transition.__name__}: {traceback.format_exc()}")
            raise

    return wrapper


class LocalizationNode(LifecycleNode):
    """Tells a robot with a camera where it is in a map.

    configure loads the map (seconds), activate starts to localize, cleanup lets the map go;
    each may be repeated. docs/ros-interface.md lists topics and parameters.

    Args:
        load: makes a localizer from a map file and a configuration.
        options: of rclpy's Node: context, namespace, parameter_overrides ...

    Raises:
        InputError: a parameter given at start is unknown or wrong.
    """

    def __init__(self, load: LoadLocalizer, name: str = "localization", **options: Any) -> None:
        """Declare parameters and begin to report diagnostics."""
        super().__init__(name, automatically_declare_parameters_from_overrides=True, **options)
        self._load = load
        self._session: Session | None = None
        self._active = False
        self._error = ""
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        try:
            self._parameters_in_use = NodeParameters(self)
            config = self._parameters_in_use.config()
        except InputError:
            self.destroy_node()
            raise
        self.autostart = config.autostart
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._limits = config.diagnostics
        self._timer: Timer | None = None
        self._start_diagnostics()

    def start(self) -> bool:
        """Configure and activate without a lifecycle manager; say whether both went well."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the map; failure leaves the node unconfigured with the reason in the log."""
        try:
            config = self._parameters_in_use.config()
            self.get_logger().info(f"loading map {config.map.path}")
            if config.bond.enabled:
                status_type()  # before the map, which takes seconds
            loaded = load_map(self._load, config)
        except InputError as error:
            self._error = str(error)
            self.get_logger().error(self._error)
            self._publish_diagnostics()
            return TransitionCallbackReturn.FAILURE
        self._error = ""
        self._session = Session(self, config, loaded, self._load_again)
        self.get_logger().info(f"map {config.map.path} is loaded")
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Enable the publishers and let images in."""
        assert self._session is not None
        result = super().on_activate(state)
        self._session.activate()
        self._active = True
        return result

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let no more images in, finish the one in hand, disable the publishers."""
        assert self._session is not None
        self._active = False
        self._session.deactivate()
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let the map go."""
        self._close()
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let everything go, from any state."""
        self._close()
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured after a transition that raised."""
        self._close()
        self._error = "a transition failed; the log says why"
        return TransitionCallbackReturn.SUCCESS

    def fault(self, text: str) -> None:
        """Tell of a fault of the node's own, with its traceback; it goes on."""
        self.get_logger().error(text)
        if self._session is not None:
            self._session.count_fault()

    def destroy_node(self) -> None:
        """Stop the worker before what it publishes on is gone."""
        self._close()
        super().destroy_node()

    def _close(self) -> None:
        self._active = False
        if self._session is not None:
            self._session.close()
            self._session = None

    def _on_set_parameters(self, changes: list[Parameter[Any]]) -> SetParametersResult:
        own = [change for change in changes if change.name != "use_sim_time"]
        if self._session is not None:
            fixed = next(filter(None, (why_fixed(change.name) for change in own)), "")
            if fixed:
                return SetParametersResult(successful=False, reason=fixed)
        try:
            config = self._parameters_in_use.changed(own)
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._session is not None:
            self._session.configure(config)
        if config.diagnostics != self._limits:
            self._limits = config.diagnostics
            self._start_diagnostics()
        return SetParametersResult(successful=True)

    def _load_again(self) -> LoadedMap:
        return load_map(self._load, self._parameters_in_use.config())

    def _start_diagnostics(self) -> None:
        if self._timer is not None:
            self.destroy_timer(self._timer)
        # On the machine's clock: diagnostics go on while simulated time stands still.
        self._timer = self.create_timer(
            self._limits.period,
            self._publish_diagnostics,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def _publish_diagnostics(self) -> None:
        if self._session is not None and self._active:
            level, text, values = assess(ITEMS, self._session.snapshot(), self._limits)
            values = {"state": "active", **values}
        else:
            label = "inactive" if self._session is not None else "unconfigured"
            level = Level.ERROR if self._error else Level.OK
            text, values = self._error or label, {"state": label}
        name = f"{self.get_fully_qualified_name().lstrip('/')}: localization"
        now = self.get_clock().now().nanoseconds
        message = diagnostic_array(now, status(name, level, text, values))
        self._diagnostics_publisher.publish(message)
