"""`ros2 run deviloc_ros localization_node`: the node in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from deviloc_ros.ros.process import Termination, run, spin


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal comes or the context is shut down.

    Without `autostart` a lifecycle manager, a launch file or `ros2 lifecycle` drives the states.

    Returns:
        0 after SIGINT, SIGTERM or a shutdown of the context, 2 for a wrong parameter or map.
    """
    termination = Termination()
    # Before there are other threads, which would take the signals that are held back.
    with termination.held_back():
        import pycolmap  # noqa: F401  # Its logging takes SIGTERM for a crash.

    def localize() -> int:
        # Imports take seconds. They stand here so that a signal ends the process also during them,
        # and a file of parameters that cannot be read ends it before.
        from deviloc_ros.localization import Localizer
        from deviloc_ros.ros.node.node import LocalizationNode

        node = LocalizationNode(Localizer.load)
        try:
            if node.autostart and not node.start():
                return 2
            spin(node, termination, on_fault=node.fault)
        finally:
            # The context lives on until then, so that what is in hand can still be published.
            node.destroy_node()
        return 0

    return run(localize, arguments, termination)


if __name__ == "__main__":
    sys.exit(main())
