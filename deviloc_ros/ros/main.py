"""`ros2 run deviloc_ros localization_node`: the node in a process of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from deviloc_ros.errors import InputError
from deviloc_ros.localization import Localizer
from deviloc_ros.ros.node import LocalizationNode


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until the context is shut down; exit code 2 tells of a wrong parameter or map.

    Without `autostart` a lifecycle manager, a launch file or `ros2 lifecycle` drives the states.
    """
    # pycolmap's logging takes SIGTERM for a crash; rclpy's handler would pass it on to that.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    rclpy.init(args=list(arguments) if arguments is not None else None)
    node = None
    try:
        node = LocalizationNode(Localizer.load)
        if node.autostart and not node.start():
            return 2
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
