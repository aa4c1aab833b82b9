"""`ros2 run deviloc_ros localization_node`: the node in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from deviloc_ros.ros.termination import Termination


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal comes or the context is shut down.

    Without `autostart` a lifecycle manager, a launch file or `ros2 lifecycle` drives the states.

    Returns:
        0 after SIGINT, SIGTERM or a shutdown of the context, 2 for a wrong parameter or map.
    """
    termination = Termination()
    # Imports stand here so that a signal ends the process also during them: they take seconds.
    with termination.held_back():
        import pycolmap  # noqa: F401  # Its logging takes SIGTERM for a crash.
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions
    from rclpy.task import Future

    from deviloc_ros.errors import InputError
    from deviloc_ros.localization import Localizer
    from deviloc_ros.ros.node import LocalizationNode

    rclpy.init(
        args=list(arguments) if arguments is not None else None,
        signal_handler_options=SignalHandlerOptions.NO,
    )
    node = None
    try:
        node = LocalizationNode(Localizer.load)
        if node.autostart and not termination.requested and not node.start():
            return 2
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        ended: Future[None] = Future(executor=executor)
        termination.call(lambda: ended.set_result(None))
        # The context lives on, so that what is in hand can still be published.
        executor.spin_until_future_complete(ended)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ExternalShutdownException:
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    if termination.requested:
        termination.end_process()
    return 0


if __name__ == "__main__":
    sys.exit(main())
