"""The map in use, told to those who show it, and another one that is loaded while it serves."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from diagnostic_msgs.msg import KeyValue
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.maps.map_file import map_id
from deviloc_ros.robot.localize_frames import ImageLocalizer
from deviloc_ros.ros.config.node_config import NodeConfig

LoadLocalizer = Callable[[Path, LocalizerConfig], ImageLocalizer]


@dataclass(frozen=True)
class LoadedMap:
    """A localizer, and the map that it has.

    Attributes:
        path: of the file.
        id: names the content, as `deviloc map info` does; empty for a map without a file.
        localizer: of that map.
    """

    path: str
    id: str
    localizer: ImageLocalizer

    def is_like(self, other: LoadedMap) -> bool:
        """Whether poses in one are poses in the other."""
        return self.id == other.id != ""

    def __str__(self) -> str:
        """Describe it in one line."""
        properties = self.localizer.map
        return (
            f"{self.path} ({'' if properties.metric else 'not '}metric, "
            f"{'' if properties.gravity_aligned else 'not '}aligned to gravity)"
        )


def load_map(load: LoadLocalizer, config: NodeConfig) -> LoadedMap:
    """Load the map that the parameters name.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    if not config.map.path:
        raise InputError("parameter map.path is empty; give the file that `deviloc map build` made")
    path = Path(config.map.path).expanduser()
    localizer = load(path, config)
    if len(config.cameras) > 1:
        localizer.warm_up(len(config.cameras))
    # Whatever loads localizers may make a map up; such a one has no id.
    return LoadedMap(config.map.path, map_id(path) if path.is_file() else "", localizer)


class MapReload:
    """Loads a map in a thread of its own; the old one serves until the new one is ready.

    Args:
        use: takes the new map; called in the loading thread.
        log_error: for what went wrong.
    """

    def __init__(
        self, use: Callable[[LoadedMap], None], log_error: Callable[[str], object]
    ) -> None:
        """Wait to be asked."""
        self._use = use
        self._log_error = log_error
        self._thread: threading.Thread | None = None
        self._closed = False
        self.text = ""
        """What became of the last reload."""
        self.failed = False

    @property
    def running(self) -> bool:
        """Whether a map is being loaded."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, path: str, load: Callable[[], LoadedMap]) -> None:
        """Begin; must not be called while another is running."""
        self.text, self.failed = f"loading {path}", False
        self._thread = threading.Thread(
            target=self._run, args=(path, load), name="map reload", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Let what is being loaded be of no use; it is not waited for."""
        self._closed = True

    def _run(self, path: str, load: Callable[[], LoadedMap]) -> None:
        try:
            loaded = load()
            if not self._closed:
                self._use(loaded)
                self.text = f"{path} is in use"
        except InputError as error:
            self._fail(str(error), str(error))
        except Exception as error:
            self._fail(f"{path}: {type(error).__name__}: {error}", traceback.format_exc())

    def _fail(self, text: str, log: str) -> None:
        self.text, self.failed = f"failed: {text}", True
        self._log_error(f"the map is not reloaded, the old one stays: {log}")


LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class MapInUse:
    """Publishes file and id of the map, latched, from configuration on and after each reload.

    The publisher is not one of the lifecycle's: a map is loaded before the node is active.
    """

    def __init__(self, node: LifecycleNode, loaded: LoadedMap) -> None:
        """Make the publisher and say which map it is."""
        self._node = node
        self._publisher = node.create_publisher(KeyValue, "~/map_file", LATCHED)
        self.tell(loaded)

    def tell(self, loaded: LoadedMap) -> None:
        """Say which map is in use from now on; from any thread."""
        self._publisher.publish(KeyValue(key=loaded.path, value=loaded.id))

    def close(self) -> None:
        """Give the publisher back."""
        self._node.destroy_publisher(self._publisher)
